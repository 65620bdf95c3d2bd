/** `bssh://` files, as VS Code works with them. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as vscode from 'vscode';
import { uriOf } from '../../src/files/address';
import { activated, edit, lab, pressing, until, write } from './editor';

const { fs: files } = vscode.workspace;

export function filesSuite(): void {
  describe('files', () => {
    it('a file is opened, changed and saved', async () => {
      const file = write('host/hello.py', 'print(1)\n');
      const document = await vscode.workspace.openTextDocument(uriOf('alpha', file));
      assert.deepEqual([document.languageId, document.getText()], ['python', 'print(1)\n']);
      await edit(document, 'print("ü")\n');
      assert.ok(await document.save());
      assert.equal(fs.readFileSync(file, 'utf8'), 'print("ü")\n');
    });

    it('VS Code\'s own file calls', async () => {
      const folder = uriOf('alpha', path.join(lab, 'root', 'host', 'tree'));
      const [a, b] = [vscode.Uri.joinPath(folder, 'a'), vscode.Uri.joinPath(folder, 'b')];
      await files.createDirectory(folder);
      await files.writeFile(a, Buffer.from('a'));
      await files.copy(a, b);
      await files.rename(a, vscode.Uri.joinPath(folder, 'c'));
      assert.deepEqual((await files.readDirectory(folder)).sort(), [['b', 1], ['c', 1]]);
      await files.copy(b, uriOf('beta', path.join(lab, 'root', 'host', 'other')), { overwrite: true });
      assert.equal(fs.readFileSync(path.join(lab, 'root', 'host', 'other'), 'utf8'), 'a');
      await files.delete(folder, { recursive: true });
      await assert.rejects(async () => files.stat(folder), (error: vscode.FileSystemError) => error.code === 'FileNotFound');
      await assert.rejects(async () => files.stat(uriOf('dead', '/')), /connection refused/);
    });

    it('a conflict saves nothing and leaves the editor dirty', async () => {
      const { app } = await activated();
      const file = write('host/shared.txt', 'one');
      const document = await vscode.workspace.openTextDocument(uriOf('alpha', file));
      await vscode.window.showTextDocument(document);
      await edit(document, 'mine');
      // Of the same size, in the same second.
      fs.writeFileSync(file, 'two');
      assert.equal(await document.save(), false);
      assert.deepEqual([document.isDirty, fs.readFileSync(file, 'utf8')], [true, 'two']);
      app.files.forgetEtag(document.uri);
      assert.ok(await document.save());
      assert.equal(fs.readFileSync(file, 'utf8'), 'mine');
    });

    it('the buttons of a conflict: compare, overwrite, reload', async () => {
      await activated();
      const file = write('host/disputed.txt', 'one');
      const document = await vscode.workspace.openTextDocument(uriOf('alpha', file));
      await vscode.window.showTextDocument(document);
      // Of the same size: a newer file of another size is VS Code's own to ask about.
      let refused = false;
      const collide = async (mine: string, theirs: string) => {
        refused = false;
        await edit(document, mine);
        fs.writeFileSync(file, theirs);
        assert.equal(await document.save(), false);
        refused = true;
      };
      // Nobody presses a button before the save has failed.
      const ready = () => refused;
      await pressing('Compare', async (said) => {
        await collide('our', 'two');
        const diff = await until('the comparison', () => {
          const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
          return input instanceof vscode.TabInputTextDiff ? input : undefined;
        });
        assert.deepEqual([diff.original.scheme, diff.modified.toString()], ['bssh-text', document.uri.toString()]);
        assert.equal((await vscode.workspace.openTextDocument(diff.original)).getText(), 'two');
        assert.match(said.join(), /disputed.txt was changed on alpha since it was opened/);
      }, ready);
      assert.deepEqual([document.isDirty, fs.readFileSync(file, 'utf8')], [true, 'two']);
      await pressing('Overwrite', async () => {
        await collide('own', 'six');
        await until('it is saved', () => !document.isDirty);
      }, ready);
      assert.equal(fs.readFileSync(file, 'utf8'), 'own');
      await pressing('Reload', async () => {
        await collide('old', 'ten');
        await until('it is theirs', () => !document.isDirty && document.getText() === 'ten');
      }, ready);
      assert.equal(fs.readFileSync(file, 'utf8'), 'ten');
    });

    it('a lost core leaves the editor dirty, and the next save is a new connection', async () => {
      const { app } = await activated();
      const file = write('host/lost.txt', 'one');
      const document = await vscode.workspace.openTextDocument(uriOf('alpha', file));
      await edit(document, 'two');
      const pid = app.core.pid;
      process.kill(pid ?? 0, 'SIGKILL');
      await until('it is noticed', () => !app.core.current());
      assert.equal(document.isDirty, true);
      assert.ok(await document.save());
      assert.deepEqual([fs.readFileSync(file, 'utf8'), app.core.pid === pid], ['two', false]);
    });

    it('a change on the node is seen by an open editor', async () => {
      const { app } = await activated();
      const file = write('host/watched.txt', 'before');
      const document = await vscode.workspace.openTextDocument(uriOf('alpha', file));
      await vscode.window.showTextDocument(document);
      const look = () => (app.files as unknown as { watches: { look(): Promise<void> } }).watches.look();
      await until('the watch', async () => look().then(() => true));
      fs.writeFileSync(file, 'after, of another size');
      await until('the new text', async () => {
        await look();
        return document.getText() === 'after, of another size';
      });
    });

    it('ten thousand entries', async () => {
      const folder = path.join(lab, 'root', 'host', 'many');
      fs.mkdirSync(folder, { recursive: true });
      for (let at = 0; at < 10_000; at++) fs.writeFileSync(path.join(folder, `f${at}`), '');
      const begun = Date.now();
      assert.equal((await files.readDirectory(uriOf('alpha', folder))).length, 10_000);
      console.log(`[MOCHA]      10,000 entries in ${Date.now() - begun} ms`);
    });

    it('upload and download from the explorer', async () => {
      const file = write('host/up.txt', 'up');
      const target = path.join(lab, 'root', 'host', 'uploaded-{node}');
      await vscode.commands.executeCommand('bssh.upload', vscode.Uri.file(file), undefined, { targets: 'alpha,beta', to: target });
      assert.equal(fs.readFileSync(target.replace('{node}', 'beta'), 'utf8'), 'up');
      const here = path.join(lab, 'root', 'host', 'here');
      fs.mkdirSync(here, { recursive: true });
      await vscode.commands.executeCommand('bssh.download', uriOf('alpha', file), undefined, vscode.Uri.file(here));
      assert.equal(fs.readFileSync(path.join(here, 'up.txt'), 'utf8'), 'up');
    });
  });
}
