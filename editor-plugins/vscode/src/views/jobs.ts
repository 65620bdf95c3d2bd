/** The jobs view: terminals, runs, transfers and sessions of this window's core. */
import * as vscode from 'vscode';
import type { Core } from '../core/core';
import type { PtyEntry, RunEntry, SessionEntry, TransferEntry } from '../protocol';
import { printable } from '../wire/failure';
import { PolledView } from './polled';

export type Job =
  | { kind: 'pty'; entry: PtyEntry }
  | { kind: 'run'; entry: RunEntry }
  | { kind: 'transfer'; entry: TransferEntry }
  | { kind: 'session'; entry: SessionEntry };

export class JobsView extends PolledView<Job> {
  constructor(private readonly core: Core) {
    super('bssh.jobs');
    for (const event of ['pty/exited', 'exec/done', 'transfer/done', 'session/state'] as const) core.on(event, () => this.refresh());
    core.onLost(() => this.refresh());
  }

  async items(): Promise<Job[]> {
    if (!this.core.current()) return [];
    const [ptys, runs, transfers, sessions] = await Promise.all([
      this.core.request('pty/list', {}),
      this.core.request('exec/list', {}),
      this.core.request('transfer/list', {}),
      this.core.request('session/list', {}),
    ]);
    return [
      ...ptys.ptys.map((entry): Job => ({ kind: 'pty', entry: { ...entry, runningMs: 0, bytes: 0 } })),
      // What holds connections is shown at its nodes.
      ...runs.runs.filter((entry) => entry.action !== 'hold').map((entry): Job => ({ kind: 'run', entry: { ...entry, runningMs: 0 } })),
      ...transfers.transfers.map((entry): Job => ({ kind: 'transfer', entry: { ...entry, runningMs: 0 } })),
      ...sessions.sessions.map((entry): Job => ({ kind: 'session', entry })),
    ];
  }

  getTreeItem(job: Job): vscode.TreeItem {
    const tree = new vscode.TreeItem('');
    tree.contextValue = `job.${job.kind}`;
    switch (job.kind) {
      case 'pty':
        tree.label = printable(`${job.entry.node}: ${job.entry.command ?? 'shell'}`);
        tree.description = job.entry.views ? `terminal · ${job.entry.cols}×${job.entry.rows}` : 'terminal · detached';
        tree.iconPath = new vscode.ThemeIcon('terminal');
        break;
      case 'run':
        tree.label = printable(actionText(job.entry));
        tree.description = `run · ${job.entry.ended}/${job.entry.nodes} nodes ended`;
        tree.iconPath = new vscode.ThemeIcon('play');
        break;
      case 'transfer':
        tree.label = job.entry.direction;
        tree.description = `transfer · ${job.entry.ended}/${job.entry.nodes} nodes ended`;
        tree.iconPath = new vscode.ThemeIcon(job.entry.direction === 'upload' ? 'cloud-upload' : 'cloud-download');
        break;
      case 'session':
        tree.label = printable(`${job.entry.node}: ${job.entry.name ?? `session ${job.entry.session}`}`);
        tree.description = printable(`session · ${stage(job.entry)} · ${job.entry.cwd}`);
        tree.iconPath = new vscode.ThemeIcon('vm-active');
        break;
    }
    tree.accessibilityInformation = { label: `${String(tree.label)}, ${String(tree.description)}` };
    return tree;
  }

  /** Ends a job: hangs up, cancels or closes. */
  async kill(job: Job): Promise<void> {
    if (job.kind === 'pty') await this.core.request('pty/close', { pty: job.entry.pty });
    else if (job.kind === 'run') await this.core.request('exec/cancel', { run: job.entry.run });
    else if (job.kind === 'transfer') await this.core.request('transfer/cancel', { transfer: job.entry.transfer });
    else await this.core.request('session/close', { session: job.entry.session });
    this.refresh();
  }
}

function stage(entry: SessionEntry): string {
  return 'state' in entry.stage ? String(entry.stage.state) : '';
}

function actionText(entry: RunEntry): string {
  const { action } = entry;
  if (typeof action === 'string') return action;
  return 'command' in action ? action.command : 'run';
}
