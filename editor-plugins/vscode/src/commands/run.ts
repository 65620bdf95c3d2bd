/** Commands that run something on nodes, and those of the results view. */
import * as vscode from 'vscode';
import type { App } from '../app';
import { askCommand, askTargets } from '../ask';
import { addressOf } from '../files/address';
import type { Order, Run } from '../run/run';
import { search, type Wanted } from '../run/search';
import { taskOf } from '../run/tasks';
import { settings } from '../settings';
import { summary } from '../run/gather';
import type { NodeItem } from '../views/nodes';

/** How a file's interpreter takes a program from stdin. */
const INTERPRETERS: Record<string, string> = {
  sh: 'sh -s', bash: 'bash -s', dash: 'dash -s', zsh: 'zsh -s', ksh: 'ksh -s', shellscript: 'sh -s',
  python: 'python3 -', python3: 'python3 -', perl: 'perl -', ruby: 'ruby -', node: 'node -', javascript: 'node -', php: 'php',
};

/** The command that runs a document's text from stdin; undefined: it is not known how. */
export function interpreterFor(firstLine: string, language: string): string | undefined {
  const words = /^#!\s*(\S+)(?:\s+(?:-S\s+)?(\S+))?/.exec(firstLine);
  const program = words && (words[1]?.endsWith('/env') ? words[2] : words[1]);
  const name = program ? program.split('/').pop() ?? '' : language;
  return INTERPRETERS[name] ?? INTERPRETERS[name.replace(/[\d.]+$/, '')];
}

/** Runs, shows the results, and says how it went. */
export async function start(app: App, order: Order): Promise<Run | undefined> {
  const nodes = await app.nodes.resolve(order.targets);
  const many = settings.confirmAbove();
  if (many > 0 && nodes.length > many) {
    const yes = `Run on ${nodes.length} Nodes`;
    const answer = await vscode.window.showWarningMessage(`Run "${order.title ?? order.command}" on ${nodes.length} nodes?`, { modal: true, detail: order.targets }, yes);
    if (answer !== yes) return undefined;
  }
  await vscode.commands.executeCommand('bssh.results.focus', { preserveFocus: true });
  let begun: Run | undefined;
  const options = { location: vscode.ProgressLocation.Window, title: `bssh: ${order.targets}` };
  const run = await vscode.window.withProgress(options, async (progress) => {
    const watch = app.runs.onChange((one) => one === begun && progress.report({ message: summary(one) }));
    try {
      return await app.runs.start(order, {}, (one) => (begun = one));
    } finally {
      watch.dispose();
    }
  });
  await tell(app, run);
  return run;
}

async function tell(app: App, run: Run): Promise<void> {
  if (run.nodes.length === 1 && !run.failed) return void (await app.results.open(run, run.nodes[0]?.name));
  if (!run.failed && run.nodes.length) await app.results.open(run);
  const failed = app.results.failed(run);
  if (!run.failed && !failed.length) return;
  const again = failed.length ? ['Run Again on Failed'] : [];
  // Not awaited: a message that nobody answers must not keep the command.
  void vscode.window.showErrorMessage(`${run.order.targets}: ${summary(run)}`, ...again).then((answer) => {
    if (answer) void start(app, { ...run.order, targets: failed.join(',') });
  });
}

async function runText(app: App, text: string, title: string): Promise<Run | undefined> {
  if (!text.trim()) return void vscode.window.showInformationMessage('There is nothing to run.');
  const targets = await askTargets(app);
  return targets ? start(app, { targets, command: text, title }) : undefined;
}

async function runFile(app: App, uri?: vscode.Uri): Promise<Run | undefined> {
  const document = uri ? await vscode.workspace.openTextDocument(uri) : vscode.window.activeTextEditor?.document;
  if (!document) return undefined;
  const command = interpreterFor(document.lineAt(0).text, document.languageId);
  const name = document.uri.path.split('/').pop() ?? 'file';
  if (!command) return void vscode.window.showErrorMessage(`${name}: it is not known how to run ${document.languageId} from stdin; its first line may say so (#!/bin/sh)`);
  const targets = await askTargets(app, undefined, `Run ${name} on which nodes?`);
  return targets ? start(app, { targets, command, stdin: document.getText(), title: `${name} (${command})` }) : undefined;
}

/** Command ids and what they do. */
export function runCommands(app: App): Record<string, (...args: never[]) => unknown> {
  const { results, runs } = app;
  return {
    /** `{targets, command}` from keybindings and tests, or an item of the nodes view. */
    'bssh.run': async (given?: Partial<Order> | NodeItem, selected?: NodeItem[]) => {
      const order = given && !('kind' in given) ? given : {};
      const nodes = given && 'kind' in given ? await app.nodesView.chosen(given, selected) : [];
      const targets = order.targets ?? (await askTargets(app, nodes));
      const command = targets && (order.command ?? (await askCommand(app, targets)));
      return targets && command ? start(app, { ...order, targets, command }) : undefined;
    },
    'bssh.runChecked': async () => {
      const targets = await askTargets(app, [...app.nodesView.checked]);
      const command = targets && (await askCommand(app, targets));
      return targets && command ? start(app, { targets, command }) : undefined;
    },
    'bssh.runSelection': async () => {
      const editor = vscode.window.activeTextEditor;
      if (!editor) return undefined;
      const text = editor.selection.isEmpty ? editor.document.lineAt(editor.selection.active.line).text : editor.document.getText(editor.selection);
      return runText(app, text, text.trim().split('\n')[0] ?? '');
    },
    'bssh.runFile': (uri?: vscode.Uri) => runFile(app, uri),
    /** `{targets, pattern, folder}` from keybindings and tests, a folder of the explorer, or an item of the nodes view. */
    'bssh.search': async (given?: Wanted | vscode.Uri | NodeItem, selected?: NodeItem[]) => {
      if (given instanceof vscode.Uri) return search(app, { targets: addressOf(given).node, folder: addressOf(given).path }, []);
      if (given && 'kind' in given) return search(app, {}, await app.nodesView.chosen(given, selected));
      return search(app, given ?? {}, []);
    },
    'bssh.runAsTask': async () => {
      const targets = await askTargets(app);
      const command = targets && (await askCommand(app, targets));
      if (targets && command) await vscode.tasks.executeTask(taskOf(runs, targets, command, command));
    },
    'bssh.results.open': async (given: unknown, node?: string) => {
      const run = results.runOf(given);
      return run && results.open(run, node);
    },
    'bssh.results.compare': async (given: unknown, selected?: Array<{ name?: string; group?: { names: string[] } }>) => {
      const run = results.runOf(given);
      const [first, second] = (selected ?? []).map((item) => item.group?.names[0] ?? item.name);
      if (run) await results.compare(run, first, second);
    },
    'bssh.results.compareWith': async (given: { run: Run; name?: string; group?: { names: string[] } }) => {
      const first = given.group?.names[0] ?? given.name;
      const others = given.run.nodes.map((node) => node.name).filter((name) => name !== first);
      const second = await vscode.window.showQuickPick(others, { title: `Compare ${first} with` });
      if (second) await results.compare(given.run, first, second);
    },
    'bssh.results.again': async (given: unknown) => {
      const run = results.runOf(given);
      return run && start(app, run.order);
    },
    'bssh.results.againFailed': async (given: unknown) => {
      const run = results.runOf(given);
      const failed = run ? results.failed(run) : [];
      if (run && !failed.length) return void vscode.window.showInformationMessage('No node has failed.');
      return run && start(app, { ...run.order, targets: failed.join(',') });
    },
    'bssh.results.cancel': async (given: unknown) => {
      const run = results.runOf(given);
      if (run) await runs.cancel(run);
    },
  };
}
