// package.mjs [TARGET BINARY]: a vsix for one platform, with that platform's bssh inside; without arguments one without any, for PATH's.
//   node scripts/package.mjs linux-x64 ../../target/release/bssh
// The header of the binary has to fit the target: a vsix of another platform installs without a word.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const [target, binary] = process.argv.slice(2);
if (target && !binary) {
  console.error('usage: package.mjs [TARGET BINARY]');
  process.exit(2);
}

const ELF = { 0x3e: 'x64', 0xb7: 'arm64', 0x28: 'armhf' };
const MACH = { 0x01000007: 'x64', 0x0100000c: 'arm64' };
const PE = { 0x8664: 'x64', 0xaa64: 'arm64' };

/** The targets that a file's first bytes are for. */
function targets(head) {
  const prefixed = (platform, arch) => (arch ? [`${platform}-${arch}`] : []);
  if (head.readUInt32BE(0) === 0x7f454c46) {
    const arch = ELF[head.readUInt16LE(18)];
    // A program that asks for glibc's loader is none for Alpine.
    return [...prefixed('linux', arch), ...(head.includes('/ld-linux') ? [] : prefixed('alpine', arch))];
  }
  if (head.readUInt32LE(0) === 0xfeedfacf) return prefixed('darwin', MACH[head.readUInt32LE(4)]);
  // One file for several processors.
  if (head.readUInt32BE(0) === 0xcafebabe) return Array.from({ length: head.readUInt32BE(4) }, (_, at) => prefixed('darwin', MACH[head.readUInt32BE(8 + 20 * at)])).flat();
  if (head.toString('latin1', 0, 2) === 'MZ') return prefixed('win32', PE[head.readUInt16LE(head.readUInt32LE(0x3c) + 4)]);
  return [];
}

fs.rmSync('bin', { recursive: true, force: true });
if (binary) {
  const head = Buffer.alloc(4096);
  const file = fs.openSync(binary, 'r');
  fs.readSync(file, head, 0, head.length, 0);
  fs.closeSync(file);
  const fits = targets(head);
  if (!fits.includes(target)) {
    console.error(`${binary} is for ${fits.join(' or ') || 'an unknown platform'}, not for ${target}`);
    process.exit(1);
  }
  const inside = path.join('bin', target.startsWith('win32') ? 'bssh.exe' : 'bssh');
  fs.mkdirSync('bin');
  fs.copyFileSync(binary, inside);
  fs.chmodSync(inside, 0o755);
}
try {
  const out = target ? `bssh-${target}.vsix` : 'bssh.vsix';
  execFileSync('node_modules/.bin/vsce', ['package', '--no-dependencies', '--allow-missing-repository', ...(target ? ['--target', target] : []), '--out', out], { stdio: 'inherit' });
  console.log(`${out}: ${(fs.statSync(out).size / 1024 / 1024).toFixed(1)} MiB, extension.js ${fs.statSync('dist/extension.js').size} bytes`);
} finally {
  fs.rmSync('bin', { recursive: true, force: true });
}
