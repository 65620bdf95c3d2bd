/** Activation, nodes, runs, tasks, forwards, diagnostics. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Run } from '../../src/run/run';
import { searchOrder } from '../../src/run/search';
import { accepting, activated, lab, pressing, replaced, until, write } from './editor';

/** Milliseconds that activation may take; a busy machine needs more than the 50 that are meant. */
const ACTIVATION = 200;

export function runsSuite(): void {
  describe('runs', () => {
    it('activation starts nothing and is quick', async () => {
      const { app, activationMs } = await activated();
      console.log(`[MOCHA]      activated in ${activationMs.toFixed(1)} ms`);
      assert.ok(activationMs < ACTIVATION, `${activationMs} ms`);
      assert.equal(typeof app.core.state, 'string');
      const manifest = app.context.extension.packageJSON as { contributes: { commands: Array<{ command: string }> } };
      const known = new Set(await vscode.commands.getCommands(true));
      assert.deepEqual(manifest.contributes.commands.map((one) => one.command).filter((one) => !known.has(one)), []);
    });

    it('nodes are listed, connected, and let go', async () => {
      const { app } = await activated();
      const groups = await app.nodesView.getChildren();
      assert.deepEqual(groups.map((item) => item.kind === 'group' && item.group.name), ['lab', 'mixed', 'ssh_config']);
      const [alpha] = await app.nodesView.getChildren(groups[0]);
      assert.ok(alpha?.kind === 'node');
      await vscode.commands.executeCommand('bssh.connect', alpha, [alpha]);
      const tree = app.nodesView.getTreeItem(alpha);
      assert.match(String(tree.description), /^connected · \d+ ms$/);
      assert.equal(tree.contextValue, 'node.up');
      assert.equal(tree.accessibilityInformation?.label.startsWith('node alpha, connected'), true);
      await vscode.commands.executeCommand('bssh.disconnect', alpha, [alpha]);
      assert.equal(app.nodesView.getTreeItem(alpha).contextValue, 'node.down');
      await vscode.commands.executeCommand('bssh.explain', alpha);
      assert.match(vscode.window.activeTextEditor?.document.getText() ?? '', /hostname +127\.0\.0\.2 +\(.*ssh_config:2\)/);
    });

    it('a run is gathered, shown, compared and run again on what failed', async () => {
      const { app } = await activated();
      const command = 'case $SSH_CONNECTION in *127.0.0.3*) echo odd; exit 3;; *) echo even;; esac';
      const run = await vscode.commands.executeCommand<Run>('bssh.run', { targets: '@lab', command });
      const shown = () => vscode.window.visibleTextEditors.map((editor) => editor.document).find((one) => one.uri.scheme === 'bssh-output');
      const document = await until('the results', shown);
      await until('the final text', () => /beta \(1\): exit 3\nodd\n\n==> ✓ alpha,gamma \(2\): ok\neven/.test(document.getText()));
      const [first] = await app.results.getChildren();
      const groups = await app.results.getChildren(first);
      assert.deepEqual(groups.map((item) => app.results.getTreeItem(item).label), ['beta', 'alpha,gamma']);
      await vscode.commands.executeCommand('bssh.results.compare', run.number);
      const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input as vscode.TabInputTextDiff;
      assert.match(input.modified.path, /alpha$/);
      const again = await vscode.commands.executeCommand<Run>('bssh.results.againFailed', run.number);
      assert.deepEqual([again.order.targets, again.nodes.map((node) => node.name)], ['beta', ['beta']]);
    });

    it('a script file runs by its first line', async () => {
      const file = write('script', '#!/usr/bin/env python3\nprint(6 * 7)\n');
      const { app } = await activated();
      app.nodesView.setChecked('alpha', true);
      const done = vscode.commands.executeCommand<Run>('bssh.runFile', vscode.Uri.file(file));
      // The checked nodes are the first proposal.
      const run = await accepting(done);
      app.nodesView.setChecked('alpha', false);
      assert.equal(Buffer.concat(run.nodes[0]?.output ?? []).toString(), '42\n');
    });

    it('two nodes that were chosen are compared', async () => {
      const { app } = await activated();
      const run = await vscode.commands.executeCommand<Run>('bssh.run', { targets: 'alpha,beta', command: 'echo "$SSH_CONNECTION"' });
      const [item] = await app.results.getChildren();
      const [, second] = await app.results.getChildren(item);
      await accepting(vscode.commands.executeCommand('bssh.results.compareWith', second));
      const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input as vscode.TabInputTextDiff;
      assert.deepEqual([input.original.path, input.modified.path], [`/${run.number}/beta`, `/${run.number}/alpha`]);
    });

    it('cancelling a run ends its processes on the nodes', async () => {
      const { app } = await activated();
      const file = path.join(lab, 'root', 'cancelled');
      const done = vscode.commands.executeCommand<Run>('bssh.run', { targets: 'alpha,beta', command: `trap '' HUP; echo $$ >> '${file}'; sleep 1000` });
      const pids = () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim().split('\n').map(Number) : []);
      await until('both run', () => pids().length === 2);
      const [item] = await app.results.getChildren();
      await vscode.commands.executeCommand('bssh.results.cancel', item);
      const run = await done;
      assert.deepEqual(run.nodes.map((node) => [node.ended?.failure?.code, node.ended?.killed]), [['cancelled', 'confirmed'], ['cancelled', 'confirmed']]);
      for (const pid of pids()) assert.throws(() => process.kill(pid, 0), /ESRCH/);
    });

    it('a run on many nodes is asked about first', async () => {
      await activated();
      const asked = (answer?: string) => replaced(vscode.workspace, 'getConfiguration', ((section: string) => {
        const real = configuration(section);
        return { ...real, get: (key: string) => (key === 'run.confirmAbove' ? 1 : real.get(key)) };
      }) as typeof vscode.workspace.getConfiguration, () => pressing(answer, async (said) => {
        const run = await vscode.commands.executeCommand<Run | undefined>('bssh.run', { targets: 'alpha,beta', command: 'true' });
        return [said.length, run?.nodes.length];
      }));
      const configuration = vscode.workspace.getConfiguration;
      assert.deepEqual([await asked(), await asked('Run on 2 Nodes')], [[1, undefined], [1, 2]]);
    });

    it('a search on nodes has links into their files', async () => {
      const { app } = await activated();
      const file = write('host/searched/deep/here [1].txt', 'nothing\nthe Needle in it\n');
      write('host/searched/.git/config', 'needle');
      const folder = path.dirname(path.dirname(file));
      const run = await vscode.commands.executeCommand<Run>('bssh.search', { targets: 'alpha,beta', pattern: 'needle|x{9}', folder });
      const text = `${file}:2:the Needle in it\n`;
      assert.deepEqual(run.nodes.map((node) => Buffer.concat(node.output).toString()), [text, text]);
      const document = await app.results.open(run);
      const links = await vscode.commands.executeCommand<vscode.DocumentLink[]>('vscode.executeLinkProvider', document.document.uri);
      const [link] = links.filter((one) => one.target?.scheme === 'bssh');
      assert.equal(document.document.getText(link?.range), `${file}:2`);
      assert.deepEqual([link?.target?.authority, link?.target?.path, link?.target?.fragment], ['alpha', file, 'L2,1']);
      await vscode.commands.executeCommand('vscode.open', link?.target);
      await until('the file', () => vscode.window.activeTextEditor?.document.uri.path === file);
      assert.equal(vscode.window.activeTextEditor?.selection.active.line, 1);
      const [none, wrong] = await Promise.all(['no[s]uch', 'wrong['].map((pattern) => app.runs.start(searchOrder('alpha', pattern, folder))));
      assert.deepEqual([none, wrong].map((one) => one?.nodes[0]?.ended?.exit), [{ status: 0 }, { status: 2 }]);
    });

    it('a task has an exit code, and problem matchers see its lines', async () => {
      await activated();
      const source = write('x.c', '\n'.repeat(30));
      const lines = Array.from({ length: 20 }, (_, at) => `${source}:${at + 1}:2: error: number ${at}`).join('\\n');
      const folder = vscode.workspace.workspaceFolders?.[0] ?? assert.fail('a folder is open');
      const pattern = { regexp: '^(/.*?):(\\d+):(\\d+): (error): (.*)$', file: 1, line: 2, column: 3, severity: 4, message: 5 };
      const settings = { version: '2.0.0', tasks: [{ type: 'bssh', label: 'make', targets: 'alpha', command: `printf '${lines}\\n'; exit 4`, problemMatcher: { owner: 'cc', fileLocation: 'absolute', pattern } }] };
      await vscode.workspace.fs.writeFile(vscode.Uri.joinPath(folder.uri, '.vscode', 'tasks.json'), Buffer.from(JSON.stringify(settings)));
      const task = await until('the task of tasks.json', async () => (await vscode.tasks.fetchTasks({ type: 'bssh' })).find((one) => one.name === 'make'));
      const ended = new Promise<number | undefined>((resolve) => vscode.tasks.onDidEndTaskProcess((event) => event.execution.task.name === 'make' && resolve(event.exitCode)));
      await vscode.tasks.executeTask(task);
      assert.equal(await ended, 4);
      const found = () => vscode.languages.getDiagnostics().flatMap(([, all]) => all).filter((one) => one.message.startsWith('number'));
      await until('the problems', () => found().length === 20);
    });

    it('a forward reaches the other end, is listed and closed', async () => {
      const { app } = await activated();
      const { values } = await app.nodes.explain('alpha');
      const port = values.find((value) => value.keyword === 'port')?.value;
      const bound = await app.forwards.open('alpha', 'local', `0:127.0.0.1:${port}`);
      const hello = await new Promise<string>((resolve, reject) => {
        const socket = net.connect(Number(bound.split(':').pop()), '127.0.0.1');
        socket.once('data', (bytes) => {
          socket.destroy();
          resolve(bytes.toString());
        });
        socket.once('error', reject);
      });
      assert.match(hello, /^SSH-2.0/);
      const [entry] = await app.forwards.getChildren();
      assert.ok(entry);
      assert.match(String(app.forwards.getTreeItem(entry).description), /^alpha · \d open/);
      await vscode.commands.executeCommand('bssh.forward.close', entry);
      assert.deepEqual(await app.forwards.getChildren(), []);
    });

    it('diagnostics say what is needed and hold no secret', async () => {
      const { app } = await activated();
      app.log.info('password=canary');
      const text = await vscode.commands.executeCommand<string>('bssh.copyDiagnostics');
      assert.match(text, /core: running, .*protocol 1\.\d/);
      assert.ok(!text.includes('canary'));
    });
  });
}
