/** The extension's parts without the editor, with the real core and a real sshd (`LAB`, `BSSH`). */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import type * as vscode from 'vscode';
import { Core } from '../../src/core/core';
import { uriOf } from '../../src/files/address';
import { Files } from '../../src/files/provider';
import { Streams } from '../../src/files/stream';
import { Transfers } from '../../src/files/transfer';
import { Log } from '../../src/log';
import { Nodes } from '../../src/nodes';
import { type Person, Questions } from '../../src/questions';
import { outputOf, summary, verdict } from '../../src/run/gather';
import { Runs } from '../../src/run/run';
import { Sessions } from '../../src/session';
import { Terminals } from '../../src/terminal/terminal';
import * as stub from './vscode';

const { configuration } = stub;

const env = (name: string) => process.env[name] ?? assert.fail(`${name} is not set; run editor-plugins/test.sh`);
const lab = env('LAB');
const root = path.join(lab, 'root', 'unit');
fs.mkdirSync(root, { recursive: true });
Object.assign(configuration, { path: env('BSSH'), configFile: `${lab}/config.yaml`, sshConfigFile: `${lab}/ssh_config` });

const log = new Log();
const kept = new Map<string, unknown>();
const stored = new Map<string, string>();
const memory = { get: (key: string, fallback: unknown) => kept.get(key) ?? fallback, update: async (key: string, value: unknown) => void kept.set(key, value) };
const secrets = { get: async (key: string) => stored.get(key), store: async (key: string, value: string) => void stored.set(key, value), delete: async (key: string) => void stored.delete(key) };
const questions = new Questions(secrets as unknown as vscode.SecretStorage, memory as unknown as vscode.Memento, log);
const core = new Core({ path: '/nowhere', version: '0.1.0' }, log, questions);
const runs = new Runs(core);
const nodes = new Nodes(core, runs);
const files = new Files(core);
const terminals = new Terminals(core);

after(async () => {
  files.dispose();
  await core.stop();
});

const file = (name: string) => path.join(root, name);
const uri = (name: string, node = 'alpha') => uriOf(node, path.join(root, name));
const run = (targets: string, command: string, stdin?: string) => runs.start({ targets, command, stdin });
const text = async (promise: Promise<Uint8Array>) => Buffer.from(await promise).toString();
const code = (wanted: string) => (error: { code?: string }) => error.code === wanted || assert.fail(`${wanted} expected, not ${String(error)}`);
async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !condition(); ) {
    if (Date.now() > end) assert.fail(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** With a person who gives these answers; what was asked. */
async function asked(person: Partial<Person>, act: () => Promise<void>): Promise<void> {
  await core.restart();
  const before = questions.person;
  questions.person = { choose: async () => assert.fail('nothing to choose'), type: async () => assert.fail('nothing to type'), ...person };
  try {
    await act();
  } finally {
    questions.person = before;
    await core.restart();
  }
}

test('a run on a group gathers outputs and ends', async () => {
  const done = await run('@lab', 'echo out; echo err >&2');
  assert.equal(summary(done), '3 nodes: 3 ok, 0 failed');
  assert.deepEqual(done.nodes.map(outputOf), Array(3).fill('out\nerr\n'));
  assert.equal(nodes.counts().up, 3);
});

test('a script goes to stdin; an exit, a signal and an unreachable node are told apart', async () => {
  assert.equal(outputOf((await run('alpha', 'sh -s', 'echo $((6*7))\n')).nodes[0] ?? assert.fail()), '42\n');
  assert.deepEqual((await run('alpha', 'exit 3')).nodes.map((one) => verdict(one).text), ['exit 3']);
  assert.deepEqual((await run('alpha', 'kill -9 $$')).nodes.map((one) => verdict(one).text), ['killed by KILL']);
  const [alpha, dead] = (await run('@mixed', 'true')).nodes.map((one) => verdict(one).text);
  assert.equal(alpha, 'ok');
  assert.match(dead ?? '', /^\[dial\] connection refused .*\(is sshd running there/);
  assert.match((await run('n[1-', 'true')).failed ?? '', /missing "\]" at column 4/);
});

test('cancelling ends the remote processes', async () => {
  let pid = '';
  const over = runs.start({ targets: 'alpha', command: 'echo $$; exec sleep 87655' }, { output: (_, bytes) => (pid += Buffer.from(bytes).toString()) });
  await until('the command runs', () => pid.includes('\n'));
  await runs.cancel(runs.list[0] ?? assert.fail());
  await over;
  await until('the process is gone', () => !fs.existsSync(`/proc/${pid.trim()}`));
});

test('much output arrives whole, and what is not kept is counted', async () => {
  const size = 50 * 1024 * 1024;
  const [node] = (await run('alpha', `head -c ${size} /dev/zero`)).nodes;
  assert.deepEqual([node?.kept, (node?.kept ?? 0) + (node?.omitted ?? 0)], [4 * 1024 * 1024, size]);
});

test('files: read, stat, atomic write that keeps the mode, list, rename, delete', async () => {
  fs.writeFileSync(file('a'), 'one', { mode: 0o751 });
  fs.chmodSync(file('a'), 0o751);
  assert.equal(await text(files.readFile(uri('a'))), 'one');
  await files.writeFile(uri('a'), Buffer.from('two'), { create: false, overwrite: true });
  assert.equal(fs.readFileSync(file('a'), 'utf8'), 'two');
  assert.equal(fs.statSync(file('a')).mode & 0o777, 0o751);
  fs.symlinkSync('a', file('link'));
  fs.symlinkSync('nowhere', file('dangling'));
  await files.createDirectory(uri('sub'));
  assert.deepEqual((await files.readDirectory(uri('.'))).sort(), [['a', 1], ['dangling', 64], ['link', 65], ['sub', 2]]);
  assert.equal((await files.stat(uri('link'))).type, 65);
  await files.writeFile(uri('sub/b'), Buffer.from('b'), { create: true, overwrite: false });
  await assert.rejects(files.writeFile(uri('sub/b'), Buffer.from('c'), { create: true, overwrite: false }), code('FileExists'));
  await assert.rejects(files.rename(uri('a'), uri('sub/b'), { overwrite: false }), code('FileExists'));
  await files.rename(uri('a'), uri('sub/b'), { overwrite: true });
  assert.equal(fs.readFileSync(file('sub/b'), 'utf8'), 'two');
  await assert.rejects(files.delete(uri('sub'), { recursive: false }), code('Unavailable'));
  await files.delete(uri('sub'), { recursive: true });
  await assert.rejects(files.stat(uri('sub')), code('FileNotFound'));
  await assert.rejects(files.readFile(uri('sub')), code('FileNotFound'));
  await assert.rejects(files.stat(uri('x', 'dead')), /dead: .*connection refused/);
});

test('somebody else\'s change is not overwritten, also of the same size in the same second', async () => {
  const conflicts: string[] = [];
  files.onConflict = (one) => conflicts.push(one.path);
  fs.writeFileSync(file('c'), 'one');
  await files.readFile(uri('c'));
  fs.writeFileSync(file('c'), 'two');
  await files.stat(uri('c'), true);
  await assert.rejects(files.writeFile(uri('c'), Buffer.from('mine'), { create: false, overwrite: true }), /was changed on alpha since it was opened/);
  assert.deepEqual([fs.readFileSync(file('c'), 'utf8'), conflicts], ['two', [uri('c').path]]);
  files.forgetEtag(uri('c'));
  await files.writeFile(uri('c'), Buffer.from('mine'), { create: false, overwrite: true });
  assert.equal(fs.readFileSync(file('c'), 'utf8'), 'mine');
});

test('a file beyond one answer is a stream, with the same care', async () => {
  const content = Buffer.alloc(12 * 1024 * 1024, 'abcdefg');
  const big = uri('big [1]*');
  const conflicts: string[] = [];
  files.onConflict = (one) => conflicts.push(one.path);
  fs.writeFileSync(file('big [1]*'), content, { mode: 0o640 });
  assert.ok(Buffer.compare(await files.readFile(big), content) === 0);
  content.write('changed');
  await files.writeFile(big, content, { create: false, overwrite: true });
  assert.ok(Buffer.compare(fs.readFileSync(file('big [1]*')), content) === 0);
  assert.equal(fs.statSync(file('big [1]*')).mode & 0o777, 0o640);
  // Somebody else's change of the same size.
  const theirs = Buffer.from(content).fill('x', 5, 9);
  fs.writeFileSync(file('big [1]*'), theirs);
  await assert.rejects(files.writeFile(big, content, { create: false, overwrite: true }), /was changed on alpha since it was opened/);
  assert.deepEqual([conflicts, Buffer.compare(fs.readFileSync(file('big [1]*')), theirs)], [[big.path], 0]);
  await files.readFile(big);
  await files.writeFile(big, content, { create: false, overwrite: true });
  configuration['files.maxSize'] = 10;
  await assert.rejects(files.readFile(big), /more than bssh.files.maxSize/);
  delete configuration['files.maxSize'];
});

test('a large file that is given up is left as it was', async () => {
  const content = Buffer.alloc(32 * 1024 * 1024, 'abcdefg');
  fs.writeFileSync(file('given-up'), content);
  const at = { node: 'alpha', path: file('given-up') };
  const streams = new Streams(core);
  const source = new stub.CancellationTokenSource();
  const watcher = { progress: () => source.cancel(), token: source.token as unknown as vscode.CancellationToken };
  await assert.rejects(streams.read(at, content.length, watcher), /cancelled/);
  const other = new stub.CancellationTokenSource();
  const writing = streams.write(at, Buffer.alloc(content.length), undefined, { progress: (done) => done > 0 && other.cancel(), token: other.token as unknown as vscode.CancellationToken });
  await assert.rejects(writing, /cancelled/);
  const tasks = async () => (await core.request('fs/taskList', {})).tasks.length;
  for (const end = Date.now() + 20_000; await tasks(); ) assert.ok(Date.now() < end, 'the core still writes');
  assert.ok(Buffer.compare(fs.readFileSync(file('given-up')), content) === 0);
  assert.deepEqual(fs.readdirSync(root).filter((name) => name.includes('given-up')), ['given-up']);
});

test('copies and moves between nodes do not come here', async () => {
  fs.mkdirSync(file('tree/deep'), { recursive: true });
  fs.writeFileSync(file('tree/deep/one [1]*'), 'one');
  await files.copy(uri('tree'), uri('twin', 'beta'), { overwrite: false });
  assert.equal(fs.readFileSync(file('twin/deep/one [1]*'), 'utf8'), 'one');
  await assert.rejects(files.copy(uri('tree'), uri('twin', 'beta'), { overwrite: false }), code('FileExists'));
  await files.rename(uri('twin', 'beta'), uri('moved'), { overwrite: false });
  assert.deepEqual([fs.existsSync(file('twin')), fs.readFileSync(file('moved/deep/one [1]*'), 'utf8')], [false, 'one']);
  await assert.rejects(files.copy(uri('nowhere'), uri('other', 'beta'), { overwrite: true }), /nowhere/);
});

test('names that are not UTF-8 can be listed and opened', async () => {
  const folder = file('odd');
  fs.mkdirSync(folder);
  fs.writeFileSync(Buffer.concat([Buffer.from(`${folder}/x`), Buffer.from([0xff])]), 'odd');
  const [[name = ''] = []] = await files.readDirectory(uri('odd'));
  assert.equal(await text(files.readFile(uri(`odd/${name}`))), 'odd');
});

test('ten thousand entries', async () => {
  fs.mkdirSync(file('many'));
  for (let at = 0; at < 10_000; at++) fs.writeFileSync(file(`many/f${at}`), '');
  const begun = Date.now();
  assert.equal((await files.readDirectory(uri('many'))).length, 10_000);
  console.log(`10,000 entries in ${Date.now() - begun} ms`);
});

test('upload and download name what failed', async () => {
  const large = new Transfers(core);
  fs.writeFileSync(file('up'), 'up');
  const done = await large.transfer({ direction: 'upload', nodes: 'alpha,beta', from: [file('up')], to: `${root}/copy-{node}` });
  assert.deepEqual([done.files, done.failures], [2, []]);
  assert.equal(fs.readFileSync(file('copy-beta'), 'utf8'), 'up');
  const { failures } = await large.transfer({ direction: 'download', nodes: 'alpha', from: [file('absent')], to: `${root}/x` });
  assert.match(failures.join(), /alpha/);
});

test('a session keeps its directory between commands', async () => {
  const sessions = new Sessions(core);
  const { sessions: [session = 0], lost } = await sessions.open('alpha');
  assert.deepEqual(lost, []);
  await sessions.run(session, `cd ${root}`);
  const said = await sessions.run(session, 'pwd; false');
  assert.deepEqual(said, { output: `${root}\n`, verdict: 'exit 1', cwd: root });
});

test('connect holds a node, disconnect lets it go', async () => {
  await nodes.connect(['alpha', 'dead']);
  assert.equal(nodes.state('alpha').state, 'up');
  assert.match(nodes.state('dead').text ?? '', /connection refused/);
  await files.stat(uri('.'));
  await nodes.disconnect(['alpha', 'beta']);
  const gone = async () => (await core.request('core/stats', {})).connections === 0;
  for (const end = Date.now() + 10_000; !(await gone()); ) assert.ok(Date.now() < end, 'connections are left');
});

test('a terminal: input, size, exit, signal, reconnecting in place', async () => {
  const { pty } = terminals.options({ node: 'alpha', command: 'sh' });
  let screen = '';
  const closed: Array<number | void> = [];
  pty.onDidWrite((piece) => (screen += piece));
  pty.onDidClose((value) => closed.push(value));
  pty.open({ columns: 91, rows: 23 });
  pty.handleInput('stty size; echo ä$((40+2))\r');
  await until('size and answer', () => screen.includes('23 91') && screen.includes('ä42'));
  pty.setDimensions({ columns: 77, rows: 11 });
  pty.handleInput('stty size\r');
  await until('the new size', () => screen.includes('11 77'));
  execFileSync(env('NODES'), ['lose', lab]);
  await until('it is lost', () => screen.includes('Enter opens a new shell here'));
  pty.handleInput('\r');
  pty.handleInput('echo again$((1+1))\r');
  await until('it is there again', () => screen.includes('again2'));
  pty.handleInput('exit 3\r');
  await until('it ends', () => closed.length === 1);
  assert.deepEqual(closed, [3]);

  const other = terminals.options({ node: 'alpha', command: 'kill -TERM $$' }).pty;
  const ends = new Promise((resolve) => other.onDidClose(resolve));
  other.open(undefined);
  assert.equal(await ends, 143);
});

test('an unknown host key is asked about before anything is sent, and cancel sends nothing', async () => {
  const known = `${lab}/known_asked`;
  fs.rmSync(known, { force: true });
  const seen: string[] = [];
  const choose = (answer?: string) => async (message: string, detail: string) => {
    seen.push(message, detail);
    return answer;
  };
  await asked({ choose: choose() }, async () => assert.match((await run('asks', 'echo in')).nodes.map((one) => verdict(one).text).join(), /host-key/));
  assert.match(seen.join('\n'), /The host key of \[127\.0\.0\.6\]:\d+ \(asks\) is not known\.\nssh-ed25519 key\nfingerprint SHA256:/);
  await asked({ choose: choose('Connect Once') }, async () => assert.equal(summary(await run('asks', 'true')), '1 nodes: 1 ok, 0 failed'));
  assert.ok(!fs.existsSync(known));
  await asked({ choose: choose('Trust') }, async () => assert.equal(summary(await run('asks', 'true')), '1 nodes: 1 ok, 0 failed'));
  assert.match(fs.readFileSync(known, 'utf8'), /127\.0\.0\.6/);
  await asked({}, async () => assert.equal(summary(await run('asks', 'true')), '1 nodes: 1 ok, 0 failed'));
});

test('a passphrase is kept only when asked to, and is in no log', async () => {
  let times = 0;
  const type = (remember: boolean, answer = 'canary-phrase') => async () => (times++, { text: answer, remember });
  await asked({ type: type(false) }, async () => assert.equal(summary(await run('keyed', 'true')), '1 nodes: 1 ok, 0 failed'));
  assert.deepEqual([times, stored.size], [1, 0]);
  await asked({ type: type(true) }, async () => assert.equal(summary(await run('keyed', 'true')), '1 nodes: 1 ok, 0 failed'));
  await asked({}, async () => assert.equal(summary(await run('keyed', 'true')), '1 nodes: 1 ok, 0 failed'));
  assert.deepEqual([times, stored.size, await questions.forget(), stored.size], [2, 1, 1, 0]);
  assert.ok(!log.tail().join('\n').includes('canary'));
});

test('a key that has changed is refused, with the file and the line', async () => {
  const [how] = (await run('changed', 'true')).nodes.map((one) => verdict(one).text);
  assert.match(how ?? '', /HAS CHANGED.*known_others:1.*ssh-keygen -f '.*known_others' -R/);
});

test('a core that dies is told, and the next call starts another', async () => {
  const pid = core.pid ?? assert.fail();
  const over = run('alpha', 'sleep 100');
  await until('it runs', () => runs.list[0]?.nodes[0]?.state === 'executing');
  process.kill(pid, 'SIGKILL');
  assert.match((await over).failed ?? '', /the core was ended by SIGKILL/);
  assert.equal(summary(await run('alpha', 'true')), '1 nodes: 1 ok, 0 failed');
  assert.notEqual(core.pid, pid);
});

test('a core that does not start says why, and is not started for ever', async () => {
  await core.stop();
  configuration['path'] = '/bin/false';
  const broken = new Core({ path: '/nowhere', version: '0.1.0' }, log, questions);
  await assert.rejects(broken.request('core/ping', {}), /the core has ended \(1\)/);
  await assert.rejects(broken.request('core/ping', {}));
  await assert.rejects(broken.request('core/ping', {}));
  await assert.rejects(broken.request('core/ping', {}), /has ended 3 times in 3 minutes.*Restart Core/);
  configuration['path'] = '/nowhere/bssh';
  await assert.rejects(new Core({ path: '/', version: '' }, log, questions).request('core/ping', {}), /\/nowhere\/bssh cannot be run/);
  configuration['path'] = env('BSSH');
});
