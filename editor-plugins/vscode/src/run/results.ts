/** The results view: runs, their groups of same outputs, single nodes; documents with outputs;
 * comparing, running again, cancelling. */
import * as vscode from 'vscode';
import type { Core } from '../core/core';
import { failedNodes, gathered, type Group, groups, outputOf, summary, verdict } from './gather';
import type { Run, Runs } from './run';

export const SCHEME = 'bssh-output';
/** The view is drawn again at most so often, in milliseconds. */
const REDRAW = 150;

type Item = { kind: 'run'; run: Run } | { kind: 'group'; run: Run; group: Group; name: string } | { kind: 'node'; run: Run; name: string };

export class Results implements vscode.TreeDataProvider<Item>, vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly changedTree = new vscode.EventEmitter<Item | undefined>();
  readonly onDidChangeTreeData = this.changedTree.event;
  private readonly changedText = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changedText.event;
  private readonly items = new Map<Run, Item>();
  private readonly view: vscode.TreeView<Item>;
  private readonly disposables: vscode.Disposable[] = [];
  private timer: NodeJS.Timeout | undefined;
  private readonly stale = new Set<Run>();

  constructor(private readonly core: Core, private readonly runs: Runs) {
    this.view = vscode.window.createTreeView('bssh.results', { treeDataProvider: this });
    this.disposables.push(this.view, vscode.workspace.registerTextDocumentContentProvider(SCHEME, this), runs.onChange((run) => this.later(run)));
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const one of this.disposables) one.dispose();
  }

  getTreeItem(item: Item): vscode.TreeItem {
    if (item.kind === 'run') return this.runItem(item.run);
    const how = item.kind === 'group' ? item.group.verdict : verdictOf(item.run, item.name);
    const many = item.kind === 'group' && item.group.names.length > 1;
    const tree = new vscode.TreeItem(item.name, many ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.None);
    tree.id = `${item.run.number}/${item.kind}/${item.name}`;
    tree.description = many ? `${item.group.names.length} · ${how.text}` : how.text;
    tree.iconPath = icon(how.ok);
    tree.contextValue = 'output';
    const node = item.kind === 'node' ? item.name : (item.group.names[0] ?? '');
    tree.command = { command: 'bssh.results.open', title: 'Open Output', arguments: [item.run.number, node] };
    tree.accessibilityInformation = { label: `${item.name}, ${how.text}` };
    return tree;
  }

  async getChildren(item?: Item): Promise<Item[]> {
    if (!item) return this.runs.list.map((run) => this.itemOf(run));
    if (item.kind === 'node') return [];
    if (item.kind === 'group') return item.group.names.map((name) => ({ kind: 'node', run: item.run, name }));
    const found = groups(item.run);
    const names = await this.fold(found);
    return found.map((group, at) => ({ kind: 'group', run: item.run, group, name: names[at] ?? '' }));
  }

  getParent(): undefined {
    return undefined;
  }

  /** A document: `/<run>/gathered` or `/<run>/<node>`. */
  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const { number, name } = parts(uri);
    const run = this.run(number);
    if (!run) return 'This run is not kept any more.\n';
    if (name === 'gathered') return gathered(run, await this.fold(groups(run)));
    const node = run.node(name);
    return node ? outputOf(node) : 'This node is not part of the run.\n';
  }

  run(number?: number): Run | undefined {
    return number === undefined ? this.runs.list[0] : this.runs.list.find((run) => run.number === number);
  }

  /** Shows the run's outputs: all, gathered, or one node's. */
  async open(run: Run, node?: string): Promise<vscode.TextEditor> {
    const document = await vscode.workspace.openTextDocument(uriOf(run, node ?? 'gathered'));
    return vscode.window.showTextDocument(document, { preview: true });
  }

  /** The outputs of two nodes side by side; without names, of the two largest groups. */
  async compare(run: Run, first?: string, second?: string): Promise<void> {
    const [a, b] = groups(run).map((group) => group.names[0]);
    const [left, right] = [first ?? a, second ?? b];
    if (!left || !right) return void vscode.window.showInformationMessage('All outputs are the same.');
    await vscode.commands.executeCommand('vscode.diff', uriOf(run, left), uriOf(run, right), `${left} ↔ ${right}: ${run.title}`);
  }

  /** For an argument of a command: an item of the tree, a run's number, or nothing (the newest). */
  runOf(argument: unknown): Run | undefined {
    return typeof argument === 'object' && argument !== null && 'run' in argument ? (argument as Item).run : this.run(argument as number | undefined);
  }

  failed(run: Run): string[] {
    return failedNodes(run);
  }

  private async fold(found: Group[]): Promise<string[]> {
    if (found.length === 0) return [];
    try {
      return (await this.core.request('group/fold', { sets: found.map((group) => group.names) })).exprs;
    } catch {
      return found.map((group) => group.names.join(','));
    }
  }

  private runItem(run: Run): vscode.TreeItem {
    const newest = this.runs.list[0] === run;
    const tree = new vscode.TreeItem(run.title.replace(/\s+/g, ' ').slice(0, 80), newest ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.Collapsed);
    tree.id = `run/${run.number}`;
    tree.description = `${run.order.targets} · ${summary(run)}`;
    tree.tooltip = `${run.title}\n${run.order.targets}\n${summary(run)}\nsince ${run.begun.toLocaleTimeString()}`;
    tree.contextValue = run.done ? 'run.done' : 'run.active';
    tree.iconPath = run.done ? icon(!run.failed && failedNodes(run).length === 0) : icon(undefined);
    tree.accessibilityInformation = { label: `${run.title} on ${run.order.targets}, ${summary(run)}` };
    return tree;
  }

  private itemOf(run: Run): Item {
    const item = this.items.get(run) ?? { kind: 'run', run };
    this.items.set(run, item);
    return item;
  }

  private later(run: Run): void {
    this.stale.add(run);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.draw();
    }, REDRAW);
  }

  private draw(): void {
    const whole = this.runs.list.some((run) => !this.items.has(run)) || this.items.size > this.runs.list.length;
    for (const run of this.items.keys()) if (!this.runs.list.includes(run)) this.items.delete(run);
    if (whole) this.changedTree.fire(undefined);
    else for (const run of this.stale) this.changedTree.fire(this.itemOf(run));
    const numbers = new Set([...this.stale].map((run) => String(run.number)));
    for (const document of vscode.workspace.textDocuments) {
      if (document.uri.scheme === SCHEME && numbers.has(document.uri.path.split('/')[1] ?? '')) this.changedText.fire(document.uri);
    }
    this.stale.clear();
    const bad = this.runs.list[0]?.done ? failedNodes(this.runs.list[0]).length : 0;
    this.view.badge = bad ? { value: bad, tooltip: `${bad} nodes failed` } : undefined;
  }
}

function verdictOf(run: Run, name: string): ReturnType<typeof verdict> {
  const node = run.node(name);
  return node ? verdict(node) : { text: 'unknown', ok: undefined };
}

function icon(ok: boolean | undefined): vscode.ThemeIcon {
  if (ok === undefined) return new vscode.ThemeIcon('sync~spin');
  return ok ? new vscode.ThemeIcon('pass-filled', new vscode.ThemeColor('testing.iconPassed')) : new vscode.ThemeIcon('error', new vscode.ThemeColor('testing.iconFailed'));
}

/** What a document's name says: the run, and a node or `gathered`. */
export function parts(uri: vscode.Uri): { number: number; name: string } {
  const [, number, name] = uri.path.split('/').map(decodeURIComponent);
  return { number: Number(number), name: name ?? '' };
}

function uriOf(run: Run, name: string): vscode.Uri {
  return vscode.Uri.from({ scheme: SCHEME, path: `/${run.number}/${encodeURIComponent(name)}` });
}
