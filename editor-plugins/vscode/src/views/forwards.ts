/** The forwards view: what is open, where it is bound, how much went through. */
import * as vscode from 'vscode';
import type { Core } from '../core/core';
import type { ForwardEntry, ForwardKind } from '../protocol';
import { printable } from '../wire/failure';
import { PolledView } from './polled';

export class ForwardsView extends PolledView<ForwardEntry> {
  constructor(private readonly core: Core) {
    super('bssh.forwards');
    core.on('event/forward', (event) => {
      this.refresh();
      if (event.state === 'reconnecting' || (event.state === 'closed' && event.error)) {
        void vscode.window.showWarningMessage(`Forward on ${printable(event.node)}: ${event.state}${event.error ? `: ${printable(event.error)}` : ''}`);
      }
    });
    core.onLost(() => this.refresh());
  }

  async items(): Promise<ForwardEntry[]> {
    return this.core.current() ? (await this.core.request('forward/list', {})).forwards : [];
  }

  async open(node: string, kind: ForwardKind, spec: string): Promise<string> {
    const opened = await this.core.ask('forward/open', { nodes: node, kind, spec, keep: true });
    this.refresh();
    return opened.bound;
  }

  async close(entry: ForwardEntry): Promise<void> {
    await this.core.request('forward/close', { forward: entry.forward });
    this.refresh();
  }

  getTreeItem(entry: ForwardEntry): vscode.TreeItem {
    const arrow = { local: '→', remote: '←', dynamic: 'SOCKS' }[entry.kind];
    const tree = new vscode.TreeItem(printable(`${entry.bound} ${arrow} ${target(entry.spec)}`));
    tree.id = String(entry.forward);
    tree.description = `${printable(entry.node)} · ${entry.connections} open · ${size(entry.bytesIn)} in, ${size(entry.bytesOut)} out`;
    tree.tooltip = `${entry.kind} ${printable(entry.spec)} on ${printable(entry.node)}\n${entry.state ?? ''}${entry.error ? `: ${printable(entry.error)}` : ''}\n${entry.opened ?? 0} opened, ${entry.failed ?? 0} failed, ${entry.denied ?? 0} denied`;
    tree.iconPath = entry.state === 'reconnecting' ? new vscode.ThemeIcon('sync~spin') : new vscode.ThemeIcon('plug', new vscode.ThemeColor('testing.iconPassed'));
    tree.contextValue = 'forward';
    tree.accessibilityInformation = { label: `forward ${entry.kind}, ${entry.bound}, on ${entry.node}, ${entry.connections} connections` };
    return tree;
  }
}

/** The second half of ssh's notation. */
function target(spec: string): string {
  return /^(?:[^:[]*:)?\d+:(.+)$/.exec(spec)?.[1] ?? spec;
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
