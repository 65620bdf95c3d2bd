/** The status bar: how many nodes are connected. Red only when a node or the core has failed. */
import * as vscode from 'vscode';
import type { App } from './app';

export class StatusBar implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem('bssh.status', vscode.StatusBarAlignment.Left, 50);
  private readonly watches: vscode.Disposable[];

  constructor(private readonly app: App) {
    this.item.name = 'bssh';
    this.item.command = 'bssh.nodes.focus';
    this.watches = [app.core.onState(() => this.draw()), app.nodes.onChange(() => this.draw()), app.terminals.onChange(() => this.draw())];
    this.draw();
    this.item.show();
  }

  dispose(): void {
    for (const watch of this.watches) watch.dispose();
    this.item.dispose();
  }

  private draw(): void {
    const { core, nodes, terminals } = this.app;
    const { up, failed } = nodes.counts();
    const broken = core.state === 'failed';
    this.item.text = broken ? '$(error) bssh' : `$(server) ${up}${failed ? ` $(error) ${failed}` : ''}`;
    const words = [`${up} nodes connected or reached`, ...(failed ? [`${failed} failed`] : []), `${terminals.open} terminals`, ...(broken ? [core.lastError ?? ''] : [])];
    this.item.tooltip = `bssh: ${words.join(', ')}`;
    this.item.accessibilityInformation = { label: `bssh: ${words.join(', ')}` };
    this.item.backgroundColor = broken || failed ? new vscode.ThemeColor('statusBarItem.errorBackground') : undefined;
  }
}
