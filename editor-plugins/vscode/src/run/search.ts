/** A search on nodes, as a run of `find` and `grep`.
 *
 * VS Code's search does not reach virtual folders (its API for that is not stable), so what is
 * found comes as the run's output, with links; nodes that found the same are shown once. */
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { App } from '../app';
import { askTargets } from '../ask';
import { quoted } from '../commands/nodes';
import { start } from '../commands/run';
import { addressOf, SCHEME } from '../files/address';
import type { Order, Run } from './run';

/** Lines of one node that are shown, and bytes of a line. */
const MOST = 5_000;
const LONGEST = 500;

/** Nothing that POSIX does not have, but for `-I` where grep knows it. Finding nothing is no failure. */
const SCRIPT = `cd -- "$2" || exit 2
here=$(pwd); [ "$here" != / ] || here=
grep -I x /dev/null >/dev/null 2>&1; [ $? -gt 1 ] || text=-I
printf x | grep -E $3 -e "$1" >/dev/null; [ $? -le 1 ] || exit 2
find "$here/" \\( -name .git -o -name node_modules \\) -prune -o -type f -exec grep -nE $text $3 -e "$1" /dev/null {} + 2>/dev/null |
head -n ${MOST} | cut -c 1-${LONGEST} | LC_ALL=C sort -t : -k 1,1 -k 2,2n
`;

/** What is run. The script goes to stdin, so that no login shell sees it. Without capitals in the pattern, capitals do not matter. */
export function searchOrder(targets: string, pattern: string, folder: string): Order {
  const flag = pattern === pattern.toLowerCase() ? '-i' : '';
  const command = `exec /bin/sh -s -- ${[pattern, folder, flag].map(quoted).join(' ')}`;
  return { targets, command, stdin: SCRIPT, title: `search ${pattern} in ${folder}` };
}

export interface Wanted {
  targets?: string;
  pattern?: string;
  folder?: string;
}

/** Asks for what is not given, and searches. */
export async function search(app: App, given: Wanted, nodes: string[]): Promise<Run | undefined> {
  const targets = given.targets ?? (await askTargets(app, nodes, 'Search on which nodes?'));
  const pattern = targets && (given.pattern ?? (await askPattern(targets)));
  const folder = pattern && (given.folder ?? (await askFolder(targets)));
  if (!targets || !pattern || !folder) return undefined;
  const run = await start(app, searchOrder(targets, pattern, folder));
  const cut = run?.nodes.filter((node) => Buffer.concat(node.output).toString('utf8').split('\n').length > MOST).map((node) => node.name) ?? [];
  if (cut.length) void vscode.window.showInformationMessage(`Only the first ${MOST} lines are shown of ${cut.join(', ')}.`);
  return run;
}

async function askPattern(targets: string): Promise<string | undefined> {
  const editor = vscode.window.activeTextEditor;
  const value = editor && !editor.selection.isEmpty && editor.selection.isSingleLine ? editor.document.getText(editor.selection) : '';
  return vscode.window.showInputBox({ title: `Search on ${targets}`, prompt: 'An extended regular expression; case matters if it has a capital', value });
}

async function askFolder(targets: string): Promise<string | undefined> {
  const open = vscode.window.activeTextEditor?.document.uri;
  const folders = (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri).filter((uri) => uri.scheme === SCHEME);
  const value = open?.scheme === SCHEME ? path.posix.dirname(addressOf(open).path) : folders[0] ? addressOf(folders[0]).path : '.';
  return vscode.window.showInputBox({ title: `A folder of ${targets}`, prompt: 'Where to search; .git and node_modules are left out', value });
}
