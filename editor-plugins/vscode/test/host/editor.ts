/** What all suites need: the activated extension, the lab, waiting. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { App } from '../../src/app';
import type { Exports } from '../../src/extension';

export const lab = process.env['LAB'] ?? '';

export async function activated(): Promise<Exports & { app: App }> {
  const extension = vscode.extensions.all.find((one) => one.packageJSON.name === 'bssh');
  assert.ok(extension, 'the extension is there');
  const exports = (await extension.activate()) as Exports;
  assert.ok(exports.app, 'tests get the app');
  return exports as Exports & { app: App };
}

export async function until<T>(what: string, condition: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (const end = Date.now() + 30_000; ; ) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
    if (Date.now() > end) assert.fail(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A file that every node has. */
export function write(name: string, content: string): string {
  const file = path.join(lab, 'root', name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
  return file;
}

export async function edit(document: vscode.TextDocument, text: string): Promise<void> {
  const change = new vscode.WorkspaceEdit();
  change.replace(document.uri, new vscode.Range(0, 0, document.lineCount, 0), text);
  assert.ok(await vscode.workspace.applyEdit(change));
}

/** Puts something else in an object's place, for as long as `act` takes. */
export async function replaced<T extends object, K extends keyof T, R>(object: T, key: K, value: T[K], act: () => Promise<R>): Promise<R> {
  const before = object[key];
  object[key] = value;
  try {
    return await act();
  } finally {
    object[key] = before;
  }
}

/** Answers warnings with a button, as a person would; what they said. The driver shows none. */
export async function pressing<R>(button: string | undefined, act: (said: string[]) => Promise<R>, ready = () => true): Promise<R> {
  const said: string[] = [];
  const answer = async (message: string, ...rest: unknown[]) => {
    said.push(message);
    assert.ok(button === undefined || rest.includes(button), `there is no button ${button} in ${rest.join(', ')}`);
    await until('the person is ready', ready);
    return button;
  };
  return replaced(vscode.window, 'showWarningMessage', answer as typeof vscode.window.showWarningMessage, async () => act(said));
}

/** Takes the first proposal of quick picks, until what waits for it has gone on. */
export async function accepting<T>(done: Thenable<T>): Promise<T> {
  let over = false;
  void done.then(() => (over = true), () => (over = true));
  await until('the quick pick is answered', async () => {
    await vscode.commands.executeCommand('workbench.action.acceptSelectedQuickOpenItem');
    return over;
  });
  return done;
}
