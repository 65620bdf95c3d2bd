/** What commands ask the person for: nodes, commands, paths. */
import * as vscode from 'vscode';
import type { App } from './app';
import { explain } from './wire/failure';

const HISTORY = 'bssh.history';
const TARGETS = 'bssh.targets';
const KEPT = 50;

/** A node set expression: what was given, what is checked, or what the person says. */
export async function askTargets(app: App, given?: string[], title = 'Run on which nodes?'): Promise<string | undefined> {
  if (given?.length) return given.join(',');
  const checked = [...app.nodesView.checked].join(',');
  const [{ groups }, nodes] = await Promise.all([app.nodes.groups().catch((error: unknown) => ({ groups: [], warnings: [explain(error)] })), app.nodes.all()]);
  const last = app.context.workspaceState.get<string>(TARGETS, '');
  const pick = vscode.window.createQuickPick();
  const fixed: vscode.QuickPickItem[] = [
    ...(checked ? [{ label: checked, description: 'checked in the Nodes view' }] : []),
    ...(last && last !== checked ? [{ label: last, description: 'last used' }] : []),
    ...groups.map((group) => ({ label: group.source === 'ssh' ? '@ssh:' : `@${group.name}`, description: `${group.count ?? ''} nodes` })),
    ...nodes.map((node) => ({ label: node })),
  ];
  Object.assign(pick, { title, placeholder: 'A node, @group, or an expression such as web[1-3],@db!db2', items: fixed, matchOnDescription: true });
  pick.onDidChangeValue((value) => {
    // What is typed is an expression of its own.
    const own = value && !fixed.some((item) => item.label === value) ? [{ label: value, description: 'this expression', alwaysShow: true }] : [];
    pick.items = [...fixed, ...own];
  });
  const targets = await chosen(pick);
  if (targets) await app.context.workspaceState.update(TARGETS, targets);
  return targets;
}

/** One node. */
export async function askNode(app: App, given?: string[], title = 'Which node?'): Promise<string | undefined> {
  if (given?.length) return given[0];
  const nodes = await app.nodes.all();
  const pick = vscode.window.createQuickPick();
  const items = nodes.map((node): vscode.QuickPickItem => ({ label: node }));
  Object.assign(pick, { title, placeholder: 'A node, or user@host:port', items });
  pick.onDidChangeValue((value) => {
    pick.items = value && !nodes.includes(value) ? [...items, { label: value, description: 'this destination', alwaysShow: true }] : items;
  });
  return chosen(pick);
}

/** A command line, with the last ones offered. */
export async function askCommand(app: App, targets: string): Promise<string | undefined> {
  const history = app.context.globalState.get<string[]>(HISTORY, []);
  const pick = vscode.window.createQuickPick();
  const items = history.map((label): vscode.QuickPickItem => ({ label }));
  Object.assign(pick, { title: `Run on ${targets}`, placeholder: 'A command line for the nodes’ shells', items });
  pick.onDidChangeValue((value) => {
    pick.items = value && !history.includes(value) ? [{ label: value, description: 'run this', alwaysShow: true }, ...items] : items;
  });
  const command = await chosen(pick);
  if (command) await app.context.globalState.update(HISTORY, [command, ...history.filter((one) => one !== command)].slice(0, KEPT));
  return command;
}

async function chosen(pick: vscode.QuickPick<vscode.QuickPickItem>): Promise<string | undefined> {
  try {
    return await new Promise<string | undefined>((resolve) => {
      pick.onDidAccept(() => resolve(pick.activeItems[0]?.label ?? (pick.value || undefined)));
      pick.onDidHide(() => resolve(undefined));
      pick.show();
    });
  } finally {
    pick.dispose();
  }
}
