/** Commands about files: folders of nodes in the workspace, upload, download, conflicts. */
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { App } from '../app';
import { askNode, askTargets } from '../ask';
import { addressOf, bytesOf, SCHEME, textOf, uriOf } from '../files/address';
import { literal, type Outcome } from '../files/transfer';
import type { TransferParams } from '../protocol';
import { printable } from '../wire/failure';
import type { NodeItem } from '../views/nodes';

async function askFolder(app: App, node: string): Promise<vscode.Uri | undefined> {
  const home = textOf((await app.core.ask('fs/realpath', { nodes: node, path: '.' })).path);
  const typed = await vscode.window.showInputBox({ title: `A folder of ${node}`, value: home, valueSelection: [home.length, home.length] });
  if (!typed) return undefined;
  const real = await app.core.ask('fs/realpath', { nodes: node, path: bytesOf(typed) });
  return uriOf(node, textOf(real.path));
}

/** Runs a transfer with a progress message that can be cancelled. */
async function transfer(app: App, title: string, params: TransferParams): Promise<Outcome> {
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  const outcome = await vscode.window.withProgress(options, async (progress, token) => {
    let before = 0;
    return app.transfers.transfer(params, (message, done, total) => {
      const percent = total ? (done / total) * 100 : 0;
      progress.report({ message, increment: Math.max(0, percent - before) });
      before = Math.max(before, percent);
    }, token);
  });
  const [first] = outcome.failures;
  if (first !== undefined) void vscode.window.showErrorMessage(`${title}: ${outcome.failures.length} failed: ${first}`);
  else vscode.window.setStatusBarMessage(`bssh: ${title}: ${outcome.files} files`, 5000);
  return outcome;
}

/** `{targets, to}` comes from keybindings and tests. */
async function upload(app: App, uris: vscode.Uri[], given: { targets?: string; to?: string }): Promise<Outcome | undefined> {
  const local = uris.filter((uri) => uri.scheme === 'file');
  const sources = local.length ? local : ((await vscode.window.showOpenDialog({ canSelectFolders: true, canSelectMany: true, openLabel: 'Upload' })) ?? []);
  if (!sources.length) return undefined;
  const targets = given.targets ?? (await askTargets(app, undefined, 'Upload to which nodes?'));
  const to = targets && (given.to ?? (await vscode.window.showInputBox({ title: `Upload to ${targets}`, prompt: 'Where to; a folder that is there receives the files', value: './' })));
  if (!targets || !to) return undefined;
  const names = sources.map((uri) => path.basename(uri.fsPath)).join(', ');
  const from = sources.map((uri) => literal(uri.fsPath));
  return transfer(app, `Upload of ${names} to ${targets}`, { direction: 'upload', nodes: targets, from, to, recursive: true });
}

async function download(app: App, uris: vscode.Uri[], folder?: vscode.Uri): Promise<Outcome | undefined> {
  const [first] = uris;
  if (!first) return undefined;
  const picked = folder ?? (await vscode.window.showOpenDialog({ canSelectFiles: false, canSelectFolders: true, openLabel: 'Download Here' }))?.[0];
  if (!picked) return undefined;
  const places = uris.map(addressOf).filter((place) => place.node === addressOf(first).node);
  const names = places.map((place) => path.posix.basename(place.path)).join(', ');
  const from = places.map((place) => bytesOf(literal(place.path)));
  return transfer(app, `Download of ${printable(names)}`, { direction: 'download', nodes: addressOf(first).node, from, to: picked.fsPath, recursive: true });
}

/** A save was refused: what now? */
async function conflict(app: App, uri: vscode.Uri): Promise<void> {
  const { node, path: at } = addressOf(uri);
  const answer = await vscode.window.showWarningMessage(`${at} was changed on ${node} since it was opened.`, 'Compare', 'Overwrite', 'Reload');
  const document = vscode.workspace.textDocuments.find((one) => one.uri.toString() === uri.toString());
  if (!document) return;
  if (answer === 'Compare') {
    const theirs = Buffer.from(await app.files.readFile(uri)).toString('utf8');
    // Looking is no permission to overwrite; but what was looked at may be replaced.
    const shown = await app.documents.show(`${node}${at}`, theirs);
    await vscode.commands.executeCommand('vscode.diff', shown.document.uri, uri, `${at}: ${node} ↔ here`);
  } else if (answer === 'Overwrite') {
    app.files.forgetEtag(uri);
    await document.save();
  } else if (answer === 'Reload') {
    await vscode.window.showTextDocument(document);
    await vscode.commands.executeCommand('workbench.action.files.revert');
  }
}

/** Command ids and what they do. */
export function fileCommands(app: App): Record<string, (...args: never[]) => unknown> {
  app.files.onConflict = (uri) => void conflict(app, uri);
  app.files.onTooLarge = (uri, size) => {
    const text = `${addressOf(uri).path} has ${Math.ceil(size / 1024 / 1024)} MiB.`;
    void vscode.window.showWarningMessage(text, 'Download').then((answer) => answer && download(app, [uri]));
  };
  return {
    'bssh.openFolder': async (item?: NodeItem) => {
      const node = await askNode(app, await app.nodesView.chosen(item), 'A folder of which node?');
      const uri = node && (await askFolder(app, node));
      if (!node || !uri) return;
      const folders = vscode.workspace.workspaceFolders ?? [];
      const name = `${node}: ${path.posix.basename(uri.path) || '/'}`;
      // The first folder of an empty window restarts it; so the whole window becomes the node's.
      if (!folders.length) await vscode.commands.executeCommand('vscode.openFolder', uri);
      else vscode.workspace.updateWorkspaceFolders(folders.length, 0, { uri, name });
    },
    'bssh.openFile': async (item?: NodeItem) => {
      const node = await askNode(app, await app.nodesView.chosen(item), 'A file of which node?');
      const file = node && (await vscode.window.showInputBox({ title: `A file of ${node}`, value: '/' }));
      if (node && file) await vscode.window.showTextDocument(uriOf(node, file));
    },
    'bssh.upload': async (uri?: vscode.Uri, selected?: vscode.Uri[], given: { targets?: string; to?: string } = {}) => upload(app, selected?.length ? selected : uri ? [uri] : [], given),
    'bssh.download': async (uri: vscode.Uri, selected?: vscode.Uri[], folder?: vscode.Uri) => download(app, (selected?.length ? selected : [uri]).filter((one) => one.scheme === SCHEME), folder),
  };
}
