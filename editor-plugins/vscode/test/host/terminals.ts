/** Terminals, as VS Code shows them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as vscode from 'vscode';
import type { NodeTerminal } from '../../src/terminal/terminal';
import { accepting, activated, lab, until } from './editor';

/** MiB of output that a terminal has to take; the full measure is 200. */
const FLOOD = Number(process.env['FLOOD_MIB'] ?? 12);

interface Shown {
  terminal: vscode.Terminal;
  pty: NodeTerminal;
  screen: () => string;
  closed: Promise<vscode.TerminalExitStatus | undefined>;
}

async function open(node: string, command?: string): Promise<Shown> {
  const { app } = await activated();
  const terminal = app.terminals.show({ node, command });
  const pty = (terminal.creationOptions as vscode.ExtensionTerminalOptions).pty as NodeTerminal;
  let screen = '';
  pty.onDidWrite((text) => (screen = (screen + text).slice(-100_000)));
  const closed = new Promise<vscode.TerminalExitStatus | undefined>((resolve) => {
    const watch = vscode.window.onDidCloseTerminal((one) => {
      if (one !== terminal) return;
      watch.dispose();
      resolve(one.exitStatus);
    });
  });
  return { terminal, pty, screen: () => screen, closed };
}

export function terminalsSuite(): void {
  describe('terminals', () => {
    it('has the size of its panel, and an exit code', async () => {
      const { terminal, screen, closed } = await open('alpha', 'sh');
      terminal.sendText('stty size; echo a$((40+2))');
      await until('the answer', () => /\d{2,} \d{2,}[\s\S]*a42/.test(screen()));
      terminal.sendText('exit 3');
      assert.equal((await closed)?.code, 3);
    });

    it('the profile asks for a node and opens a terminal on it', async () => {
      await activated();
      const terminals = vscode.workspace.getConfiguration('terminal.integrated');
      await terminals.update('defaultProfile.linux', 'bssh: Terminal on Node', vscode.ConfigurationTarget.Global);
      try {
        const opened = new Promise<vscode.Terminal>((resolve) => {
          const watch = vscode.window.onDidOpenTerminal((one) => (watch.dispose(), resolve(one)));
        });
        void vscode.commands.executeCommand('workbench.action.terminal.new');
        const terminal = await accepting(opened);
        const pty = (terminal.creationOptions as vscode.ExtensionTerminalOptions).pty as NodeTerminal;
        assert.deepEqual([terminal.name, pty.place.node], ['alpha', 'alpha']);
        let screen = '';
        pty.onDidWrite((text) => (screen += text));
        terminal.sendText('echo pro${z}file');
        await until('the answer', () => screen.includes('profile'));
        terminal.dispose();
      } finally {
        await terminals.update('defaultProfile.linux', undefined, vscode.ConfigurationTarget.Global);
      }
    });

    it('an exit by signal is no success', async () => {
      const { closed } = await open('alpha', 'kill -KILL $$');
      assert.equal((await closed)?.code, 137);
    });

    it('a lost connection keeps the terminal; Enter opens a new shell in it', async () => {
      const { terminal, screen } = await open('alpha', 'sh');
      terminal.sendText('echo be${x}fore');
      await until('output', () => screen().includes('before'));
      execFileSync(process.env['NODES'] ?? '', ['lose', lab]);
      await until('it is lost', () => screen().includes('Enter opens a new shell here'));
      terminal.sendText('');
      terminal.sendText('echo af${x}ter');
      await until('new output', () => screen().includes('after'));
      assert.equal(terminal.exitStatus, undefined);
      terminal.dispose();
    });

    it('a detached terminal goes on and can be attached to again', async () => {
      const { app } = await activated();
      const { terminal, screen, closed } = await open('alpha', 'sh');
      terminal.sendText('x=kept; echo re${y}ady');
      await until('output', () => screen().includes('ready'));
      await vscode.commands.executeCommand('bssh.terminal.detach');
      await closed;
      const job = await until('the job', async () => (await app.jobs.items()).find((one) => one.kind === 'pty' && one.entry.views === 0));
      const again = (await vscode.commands.executeCommand('bssh.job.attach', job)) as vscode.Terminal;
      const pty = (again.creationOptions as vscode.ExtensionTerminalOptions).pty as NodeTerminal;
      let shown = '';
      pty.onDidWrite((text) => (shown += text));
      again.sendText('echo still $x');
      await until('its state', () => shown.includes('still kept'));
      await vscode.commands.executeCommand('bssh.job.kill', job);
      await until('it is gone', async () => !(await app.jobs.items()).some((one) => one.kind === 'pty'));
      again.dispose();
    });

    it('much output arrives whole and leaves the extension host alive', async () => {
      const { pty, closed, terminal } = await open('alpha', `sleep 1; head -c ${FLOOD * 1024 * 1024} /dev/zero | tr '\\0' x; exit 0`);
      let [size, longest, last] = [0, 0, Date.now()];
      pty.onDidWrite((text) => (size += text.length));
      const heart = setInterval(() => {
        longest = Math.max(longest, Date.now() - last - 20);
        last = Date.now();
      }, 20);
      const begun = Date.now();
      await closed;
      clearInterval(heart);
      console.log(`[MOCHA]      ${FLOOD} MiB in ${Date.now() - begun} ms, the host was away for ${longest} ms at most`);
      assert.equal(size, FLOOD * 1024 * 1024);
      assert.ok(longest < 2000, `${longest} ms`);
      terminal.dispose();
    }).timeout(180_000);
  });
}
