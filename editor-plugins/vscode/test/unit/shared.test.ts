/** The user's shared core: attached to, left alone, and not trusted blindly (`LAB`, `BSSH`). */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Core } from '../../src/core/core';
import { connectShared, distrust, socketOf } from '../../src/core/place';
import { Log } from '../../src/log';
import { summary } from '../../src/run/gather';
import { Runs } from '../../src/run/run';
import { configuration } from './vscode';

const lab = process.env['LAB'] ?? assert.fail('LAB is not set; run editor-plugins/test.sh');
const runtime = path.join(lab, 'runtime');
const questions = { open: 0, attach: () => undefined };
let served: ChildProcess;

function core(): Core {
  return new Core({ path: '/nowhere', version: '0.1.0' }, new Log(), questions);
}

before(async () => {
  fs.mkdirSync(runtime, { mode: 0o700 });
  process.env['XDG_RUNTIME_DIR'] = runtime;
  Object.assign(configuration, { path: '', configFile: `${lab}/config.yaml`, sshConfigFile: `${lab}/ssh_config` });
  served = spawn(process.env['BSSH'] ?? '', ['core', 'serve', '--foreground'], { stdio: 'inherit' });
  for (const end = Date.now() + 20_000; ; ) {
    const socket = await connectShared();
    if (socket) return void socket.destroy();
    assert.ok(Date.now() < end, 'no shared core');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

after(() => void served.kill());

test('two windows share it, and it outlives both', async () => {
  const [first, second] = [core(), core()];
  assert.equal(summary(await new Runs(first).start({ targets: '@lab', command: 'true' })), '3 nodes: 3 ok, 0 failed');
  await second.open();
  assert.deepEqual([first.shared, second.shared, first.pid === second.pid, first.pid], [true, true, true, served.pid]);
  await first.stop();
  assert.equal(first.current(), undefined);
  await second.request('core/ping', {});
  await second.stop();
  assert.equal(served.exitCode, null);
});

test('a place that is not ours alone is not used', async () => {
  const folder = path.join(runtime, 'bssh');
  fs.chmodSync(folder, 0o755);
  await assert.rejects(connectShared(), /has mode 755: others must not get in/);
  // Nor does it keep anybody from a core of their own.
  configuration['path'] = process.env['BSSH'];
  const own = core();
  await own.open();
  assert.equal(own.shared, false);
  await own.stop();
  fs.chmodSync(folder, 0o700);
  fs.symlinkSync(folder, path.join(lab, 'link'));
  assert.match(distrust(path.join(lab, 'link'), 'directory', process.getuid?.() ?? 0) ?? '', /links are not followed/);
  assert.match(distrust(folder, 'directory', 4711) ?? '', /belongs to user/);
  assert.equal(distrust(path.join(lab, 'absent'), 'socket', 0), undefined);
  assert.equal(socketOf({ XDG_RUNTIME_DIR: 'relative', TMPDIR: '/t' }, 7), '/t/bssh-7/v1.sock');
});
