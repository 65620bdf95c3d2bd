/** Everything that only makes words of words: addresses, results, logs, platforms. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as vscode from 'vscode';
import { interpreterFor } from '../../src/commands/run';
import { quoted } from '../../src/commands/nodes';
import { find, mismatch, platformOf } from '../../src/core/find';
import { addressOf, bytesOf, textOf, uriOf } from '../../src/files/address';
import { literal } from '../../src/files/transfer';
import { Watch } from '../../src/files/watch';
import { redact } from '../../src/log';
import { exitCode, failedNodes, gathered, groups, summary } from '../../src/run/gather';
import { spotOf } from '../../src/run/links';
import { Run, type RunNode } from '../../src/run/run';
import { printable } from '../../src/wire/failure';
import { Lines } from '../../src/run/tasks';

test('a node keeps its name, whatever VS Code does to the authority', () => {
  for (const node of ['alpha', 'root@alpha:2222', 'Web1.Example.com', 'x--41', 'a b', 'ünï', '[::1]:22']) {
    const uri = uriOf(node, '/etc/hosts');
    const lowered = { ...uri, authority: uri.authority.toLowerCase(), path: uri.path } as unknown as Parameters<typeof addressOf>[0];
    assert.deepEqual(addressOf(lowered), { node, path: '/etc/hosts' });
  }
});

test('names that are not UTF-8 come back byte for byte', () => {
  for (const bytes of [[0x61, 0xff, 0x62], [0xe4, 0xbd], [0xc3, 0xbc, 0x80], [0xf0, 0x9f, 0x98, 0x80, 0xfe]]) {
    const b64 = Buffer.from(bytes).toString('base64');
    assert.deepEqual(bytesOf(textOf({ b64 })), { b64 });
  }
  assert.equal(bytesOf('/ü/😀'), '/ü/😀');
});

test('patterns and words are taken literally', () => {
  assert.equal(literal('/a[1]*?{node}'), '/a[[]1][*][?][{]node}');
  assert.equal(quoted("it's"), "'it'\\''s'");
});

test('a script says by its first line how it is run', () => {
  const table: Array<[string, string, string | undefined]> = [
    ['#!/bin/bash', 'plaintext', 'bash -s'], ['#!/usr/bin/env python3', 'x', 'python3 -'], ['#!/usr/bin/env -S perl -w', 'x', 'perl -'],
    ['#!/usr/bin/python3.11', 'x', 'python3 -'], ['echo', 'shellscript', 'sh -s'], ['x', 'python', 'python3 -'], ['#!/opt/odd', 'x', undefined], ['x', 'rust', undefined],
  ];
  for (const [line, language, wanted] of table) assert.equal(interpreterFor(line, language), wanted, line);
});

test('a place in a line of output is found', () => {
  const table: Array<[string, string, number, number] | [string]> = [
    ['/srv/a b [1].txt:12:text: 3', '/srv/a b [1].txt', 12, 1], ['/a.c:3:9: error: /b.c:1', '/a.c', 3, 9],
    ['in /etc/hosts and at /x/y:8 too', '/x/y', 8, 1], ['(/x/y.js:8:2)', '/x/y.js', 8, 2],
    ['src/a.c:3: relative'], ['http://host/x:80/'], ['12:30:45'], ['/no/number:'],
  ];
  for (const [text, path, line, column] of table) {
    const spot = spotOf(text);
    assert.deepEqual(spot && [spot.path, spot.line, spot.column], path === undefined ? undefined : [path, line, column], text);
    if (spot) assert.ok(text.slice(spot.start, spot.end).startsWith(`${spot.path}:${spot.line}`), text);
  }
});

test('secrets in free text are redacted', () => {
  const text = redact('password=canary token: "canary" ssh://u:canary@h -----BEGIN OPENSSH PRIVATE KEY-----\ncanary');
  assert.ok(!text.includes('canary'), text);
});

test('text of a node is no link and no escape sequence', () => {
  assert.equal(printable('see [this](command:evil)\u001b[2J\nnow\u202e'), 'see [this] (command:evil)\ufffd[2J now\ufffd');
});

test('what cannot be reached is not looked at for ever', async () => {
  let looks = 0;
  const watch = new Watch(async () => Promise.reject((looks++, vscode.FileSystemError.Unavailable('no'))), async () => [], () => undefined);
  watch.add(uriOf('alpha', '/x'), false);
  for (let at = 0; at < 3; at++) await watch.look();
  assert.equal(looks, 1);
  watch.reached('alpha');
  await watch.look();
  assert.equal(looks, 2);
  watch.dispose();
});

test('a change is told once, with its kind', async () => {
  const told: unknown[] = [];
  const [file, folder] = [uriOf('alpha', '/d/x'), uriOf('alpha', '/d')];
  const stats = new Map<string, number>([['x', 1]]);
  const stat = (mtime: number) => ({ type: vscode.FileType.File, ctime: 0, mtime, size: 1 });
  const one = async () => {
    const mtime = stats.get('x');
    if (mtime === undefined) throw vscode.FileSystemError.FileNotFound(file);
    return stat(mtime);
  };
  const watch = new Watch(one, async () => [...stats].map(([name, mtime]) => [name, stat(mtime)]), (events) => told.push(events.map((event) => [event.type, event.uri.path])));
  watch.add(file, false);
  await watch.look();
  stats.set('x', 2);
  await watch.look();
  stats.delete('x');
  await watch.look();
  await watch.look();
  assert.deepEqual(told, [[[vscode.FileChangeType.Changed, '/d/x']], [[vscode.FileChangeType.Deleted, '/d/x']]]);
  watch.add(folder, true);
  watch.listed(folder);
  await watch.look();
  stats.set('y', 1);
  await watch.look();
  assert.deepEqual(told.at(-1), [[vscode.FileChangeType.Created, '/d/y']]);
  watch.dispose();
});

test('lines are whole, and characters that are split are not broken', () => {
  const lines = new Lines();
  const bytes = Buffer.from('äö\nü');
  const out = [...bytes].flatMap((byte) => lines.take(Buffer.from([byte])));
  assert.deepEqual([...out, ...lines.end()], ['äö', 'ü']);
});

function node(name: string, output: string, ended: object, omitted = 0): RunNode {
  return { name, state: 'ended', output: [Buffer.from(output)], kept: output.length, omitted, ended } as RunNode;
}

test('same outputs are shown once, failures first', () => {
  const run = new Run(1, { targets: '@lab', command: 'x' });
  run.nodes = [
    node('a', 'same\n', { exit: { status: 0 } }), node('b', 'same\n', { exit: { status: 0 } }), node('c', 'odd', { exit: { status: 3 } }),
    node('d', '', { exit: { signal: 'KILL' } }), node('e', '', { failure: { phase: 'dial', message: 'refused', hint: 'is it up?' } }),
  ];
  run.done = true;
  assert.deepEqual(groups(run).map((group) => [group.names, group.verdict.text]), [
    [['c'], 'exit 3'], [['d'], 'killed by KILL'], [['e'], '[dial] refused (is it up?)'], [['a', 'b'], 'ok'],
  ]);
  assert.equal(summary(run), '5 nodes: 2 ok, 3 failed');
  assert.deepEqual(failedNodes(run), ['c', 'd', 'e']);
  assert.deepEqual(run.nodes.map(exitCode), [0, 0, 3, 137, 255]);
  assert.match(gathered(run, ['c', 'd', 'e', '[a-b]']), /==> ✗ c \(1\): exit 3\nodd\n[\s\S]*==> ✓ \[a-b\] \(2\): ok\nsame\n$/);
});

test('a binary of another platform is refused with what to do', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'find-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const elf = Buffer.alloc(64);
  elf.write('\x7fELF\x02\x01', 'latin1');
  elf.writeUInt16LE(0xb7, 18);
  const file = path.join(folder, 'bssh');
  fs.writeFileSync(file, elf, { mode: 0o755 });
  assert.deepEqual(platformOf(elf), { platform: 'linux', arch: 'arm64' });
  assert.match(mismatch(file, { platform: 'linux', arch: 'x64' }) ?? '', /built for linux-arm64, this is linux-x64: install the extension for this platform, or set bssh.path/);
  assert.equal(mismatch(file, { platform: 'linux', arch: 'arm64' }), undefined);
  assert.match(mismatch(file, { platform: 'darwin', arch: 'arm64' }) ?? '', /built for linux/);
  fs.chmodSync(file, 0o644);
  assert.match(mismatch(file, { platform: 'linux', arch: 'arm64' }) ?? '', /cannot be run/);
  assert.throws(() => find(undefined, folder, { PATH: 'relative' }), /no bssh here: install it, or set bssh.path/);
  assert.throws(() => find('bin/bssh', folder), /absolute path/);
  fs.writeFileSync(file, '#!/bin/sh\n', { mode: 0o755 });
  fs.chmodSync(file, 0o755);
  assert.deepEqual(find(undefined, '/nowhere', { PATH: folder }), { path: file, origin: 'PATH' });
});
