/** The nodes view: clusters, groups and ssh_config hosts, with states and checkboxes. */
import * as vscode from 'vscode';
import type { Group, Nodes } from '../nodes';
import { explain, printable } from '../wire/failure';

export type NodeItem = { kind: 'group'; group: Group } | { kind: 'node'; node: string; group: string } | { kind: 'problem'; text: string };

export class NodesView implements vscode.TreeDataProvider<NodeItem>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<NodeItem | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  /** Checked nodes, in the order they were checked. */
  readonly checked = new Set<string>();
  private readonly shown = new Map<string, NodeItem>();
  private readonly view: vscode.TreeView<NodeItem>;
  private readonly watch: vscode.Disposable;

  constructor(private readonly nodes: Nodes) {
    this.view = vscode.window.createTreeView('bssh.nodes', { treeDataProvider: this, canSelectMany: true, manageCheckboxStateManually: true });
    this.view.onDidChangeCheckboxState(({ items }) => void this.check(items));
    this.watch = nodes.onChange((node) => this.redraw(node));
  }

  dispose(): void {
    this.watch.dispose();
    this.view.dispose();
  }

  refresh(): void {
    this.shown.clear();
    this.changed.fire(undefined);
  }

  async getChildren(item?: NodeItem): Promise<NodeItem[]> {
    try {
      if (!item) {
        const { groups, warnings } = await this.nodes.groups();
        return [...groups.map((group): NodeItem => ({ kind: 'group', group })), ...warnings.map((text): NodeItem => ({ kind: 'problem', text }))];
      }
      if (item.kind !== 'group') return [];
      const nodes = await this.nodes.resolve(item.group.expr);
      return nodes.map((node) => this.nodeItem(node, item.group.name));
    } catch (error) {
      return [{ kind: 'problem', text: explain(error) }];
    }
  }

  getTreeItem(item: NodeItem): vscode.TreeItem {
    if (item.kind === 'problem') return problem(item.text);
    return item.kind === 'group' ? groupItem(item.group) : this.leaf(item.node, item.group);
  }

  /** Where a node comes from is looked up only when somebody hovers. */
  async resolveTreeItem(tree: vscode.TreeItem, item: NodeItem): Promise<vscode.TreeItem> {
    if (item.kind !== 'node') return tree;
    try {
      const found = await this.nodes.explain(item.node);
      const hops = found.hops?.length ? `\nthrough ${found.hops.join(', ')}` : '';
      const { text } = this.nodes.state(item.node);
      tree.tooltip = printable(`${found.user}@${found.host} port ${found.port}`) + printable(hops) + (text ? `\n${text}` : '');
    } catch (error) {
      tree.tooltip = explain(error);
    }
    return tree;
  }

  /** What commands of the view act on: what was clicked and selected, else what is checked. */
  async chosen(item?: NodeItem, selected?: NodeItem[]): Promise<string[]> {
    const items = selected?.length ? selected : item ? [item] : [];
    const nodes = await Promise.all(items.map((one) => this.nodesOf(one)));
    return items.length ? [...new Set(nodes.flat())] : [...this.checked];
  }

  setChecked(node: string, checked: boolean): void {
    if (checked) this.checked.add(node);
    else this.checked.delete(node);
    void vscode.commands.executeCommand('setContext', 'bssh.checked', this.checked.size > 0);
    this.redraw(node);
  }

  private async check(items: ReadonlyArray<[NodeItem, vscode.TreeItemCheckboxState]>): Promise<void> {
    for (const [item, state] of items) {
      for (const node of await this.nodesOf(item)) this.setChecked(node, state === vscode.TreeItemCheckboxState.Checked);
    }
  }

  private async nodesOf(item: NodeItem): Promise<string[]> {
    if (item.kind === 'node') return [item.node];
    return item.kind === 'group' ? this.nodes.resolve(item.group.expr) : [];
  }

  private nodeItem(node: string, group: string): NodeItem {
    const key = `${group}/${node}`;
    const item = this.shown.get(key) ?? { kind: 'node', node, group };
    this.shown.set(key, item);
    return item;
  }

  private leaf(node: string, group: string): vscode.TreeItem {
    const now = this.nodes.state(node);
    const tree = new vscode.TreeItem(printable(node));
    tree.id = `${group}/${node}`;
    // What is not held was reached by a run, a file or a terminal, and may be let go by now.
    const how = now.hold ? 'connected' : 'reached';
    const words = { unknown: '', connecting: 'connecting', up: now.latencyMs === undefined ? how : `${how} · ${now.latencyMs} ms`, failed: now.text ?? 'failed' };
    tree.description = words[now.state];
    tree.iconPath = icon(now.state, now.hold !== undefined);
    tree.contextValue = now.hold ? 'node.up' : now.state === 'up' ? 'node.reached' : 'node.down';
    tree.checkboxState = this.checked.has(node) ? vscode.TreeItemCheckboxState.Checked : vscode.TreeItemCheckboxState.Unchecked;
    tree.accessibilityInformation = { label: `node ${node}, ${words[now.state] || 'not connected'}`, role: 'treeitem' };
    return tree;
  }

  private redraw(node?: string): void {
    if (node === undefined) return this.changed.fire(undefined);
    for (const item of this.shown.values()) if (item.kind === 'node' && item.node === node) this.changed.fire(item);
    const { failed } = this.nodes.counts();
    this.view.badge = failed ? { value: failed, tooltip: `${failed} nodes failed` } : undefined;
  }
}

function groupItem(group: Group): vscode.TreeItem {
  const tree = new vscode.TreeItem(printable(group.name), vscode.TreeItemCollapsibleState.Collapsed);
  tree.id = `group/${group.source}/${group.name}`;
  tree.description = `${group.count ?? ''}${group.source === 'cluster' || group.source === 'ssh' ? '' : ` · ${group.source}`}`;
  tree.iconPath = new vscode.ThemeIcon(group.source === 'ssh' ? 'settings-gear' : 'server-environment');
  tree.contextValue = 'group';
  tree.tooltip = group.origin ?? group.source;
  tree.accessibilityInformation = { label: `${group.name}, ${group.count ?? 'some'} nodes` };
  return tree;
}

function problem(text: string): vscode.TreeItem {
  const tree = new vscode.TreeItem(printable(text));
  tree.iconPath = new vscode.ThemeIcon('warning');
  tree.tooltip = text;
  tree.command = { command: 'bssh.showLog', title: 'Show Log' };
  return tree;
}

function icon(state: 'unknown' | 'connecting' | 'up' | 'failed', held: boolean): vscode.ThemeIcon {
  switch (state) {
    case 'up': return new vscode.ThemeIcon(held ? 'pass-filled' : 'pass', new vscode.ThemeColor('testing.iconPassed'));
    case 'failed': return new vscode.ThemeIcon('error', new vscode.ThemeColor('testing.iconFailed'));
    case 'connecting': return new vscode.ThemeIcon('sync~spin');
    case 'unknown': return new vscode.ThemeIcon('circle-large-outline');
  }
}
