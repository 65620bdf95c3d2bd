/** A flat view of what the core lists: asked again on events, and every few seconds while shown. */
import * as vscode from 'vscode';

/** For counters; milliseconds. */
const PAUSE = 2_000;

export abstract class PolledView<T> implements vscode.TreeDataProvider<T>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  protected readonly view: vscode.TreeView<T>;
  private readonly timer: NodeJS.Timeout;
  private last = '';

  constructor(id: string) {
    this.view = vscode.window.createTreeView(id, { treeDataProvider: this });
    this.view.onDidChangeVisibility(() => this.refresh());
    this.timer = setInterval(() => void this.look(), PAUSE);
  }

  abstract items(): Promise<T[]>;
  abstract getTreeItem(item: T): vscode.TreeItem;

  async getChildren(item?: T): Promise<T[]> {
    if (item) return [];
    const items = await this.items();
    this.last = JSON.stringify(items);
    return items;
  }

  refresh(): void {
    this.changed.fire(undefined);
  }

  dispose(): void {
    clearInterval(this.timer);
    this.view.dispose();
    this.changed.dispose();
  }

  private async look(): Promise<void> {
    if (!this.view.visible) return;
    const items = await this.items().catch(() => undefined);
    if (items && JSON.stringify(items) !== this.last) this.refresh();
  }
}
