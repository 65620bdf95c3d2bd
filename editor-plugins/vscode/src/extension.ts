/** Where VS Code comes in. Nothing is started here: the core starts when something needs it. */
import * as vscode from 'vscode';
import { App } from './app';
import { askNode } from './ask';
import { fileCommands } from './commands/files';
import { nodeCommands } from './commands/nodes';
import { runCommands } from './commands/run';
import { diagnostics } from './diagnostics';
import { SCHEME } from './files/address';
import { Tasks, TYPE } from './run/tasks';
import { StatusBar } from './status';
import { explain } from './wire/failure';

/** What tests of the extension work with; nobody else gets it. */
export interface Exports {
  app: App | undefined;
  activationMs: number;
}

export function activate(context: vscode.ExtensionContext): Exports {
  const begun = performance.now();
  const app = new App(context);
  current = app;
  const { subscriptions } = context;
  const register = (commands: Record<string, (...args: never[]) => unknown>) => {
    for (const [id, act] of Object.entries(commands)) subscriptions.push(vscode.commands.registerCommand(id, guarded(app, act)));
  };
  register(runCommands(app));
  register(nodeCommands(app));
  register(fileCommands(app));
  register({
    'bssh.restart': () => app.core.restart(),
    'bssh.showLog': () => app.log.channel.show(),
    'bssh.copyDiagnostics': async () => {
      const text = await diagnostics(app);
      await vscode.env.clipboard.writeText(text);
      void vscode.window.showInformationMessage('Diagnostics are in the clipboard. They hold names of nodes and files; read them before you pass them on.');
      return text;
    },
    'bssh.forgetSecrets': async () => {
      const count = await app.questions.forget();
      void vscode.window.showInformationMessage(`${count} remembered answers were forgotten.`);
    },
  });
  subscriptions.push(
    vscode.workspace.registerFileSystemProvider(SCHEME, app.files, { isCaseSensitive: true }),
    vscode.tasks.registerTaskProvider(TYPE, new Tasks(app.runs)),
    vscode.window.registerTerminalProfileProvider('bssh.terminal-profile', {
      provideTerminalProfile: async () => {
        const node = await askNode(app, undefined, 'A terminal on which node?');
        return node ? new vscode.TerminalProfile(app.terminals.options({ node })) : undefined;
      },
    }),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('bssh.path') || event.affectsConfiguration('bssh.core')) void app.core.stop();
      if (event.affectsConfiguration('bssh.configFile') || event.affectsConfiguration('bssh.sshConfigFile')) app.nodesView.refresh();
    }),
    // Its config.yaml counts from now on; the core starts where that is.
    vscode.workspace.onDidGrantWorkspaceTrust(async () => {
      await app.core.stop();
      app.nodesView.refresh();
    }),
    new StatusBar(app),
  );
  const test = context.extensionMode === vscode.ExtensionMode.Test;
  return { app: test ? app : undefined, activationMs: performance.now() - begun };
}

let current: App | undefined;

/** The core is told before the window is gone; everything else is in `subscriptions`. */
export async function deactivate(): Promise<void> {
  await current?.core.stop();
}

/** An error of a command is shown once, with what to do. */
function guarded(app: App, act: (...args: never[]) => unknown): (...args: never[]) => Promise<unknown> {
  return async (...args) => {
    try {
      return await act(...args);
    } catch (error) {
      const text = explain(error);
      app.log.warn(text);
      void vscode.window.showErrorMessage(text, 'Show Log').then((answer) => answer && app.log.channel.show());
      return undefined;
    }
  };
}
