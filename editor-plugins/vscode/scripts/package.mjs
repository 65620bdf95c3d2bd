// package.mjs TARGET BINARY: a vsix for one platform, with that platform's bssh inside.
//   node scripts/package.mjs linux-x64 ../../target/release/bssh
// The header of the binary has to fit the target: a vsix of another platform installs without a word.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const [target, binary] = process.argv.slice(2);
if (!target || !binary) {
  console.error('usage: package.mjs TARGET BINARY');
  process.exit(2);
}
const head = fs.readFileSync(binary).subarray(0, 4096);
// A program that asks for glibc's loader is none for Alpine.
const needsGlibc = head.includes('/ld-linux');
const elf = head.readUInt32BE(0) === 0x7f454c46 && { 0x3e: 'x64', 0xb7: 'arm64', 0x28: 'armhf' }[head.readUInt16LE(18)];
const mach = head.readUInt32LE(0) === 0xfeedfacf && { 0x01000007: 'x64', 0x0100000c: 'arm64' }[head.readUInt32LE(4)];
const fits = elf ? [`linux-${elf}`, ...(needsGlibc ? [] : [`alpine-${elf}`])] : mach ? [`darwin-${mach}`] : [];
if (!fits.includes(target)) {
  console.error(`${binary} is for ${fits.join(' or ') || 'an unknown platform'}, not for ${target}`);
  process.exit(1);
}
fs.mkdirSync('bin', { recursive: true });
fs.copyFileSync(binary, path.join('bin', 'bssh'));
fs.chmodSync(path.join('bin', 'bssh'), 0o755);
try {
  const out = `bssh-${target}.vsix`;
  execFileSync('node_modules/.bin/vsce', ['package', '--no-dependencies', '--allow-missing-repository', '--target', target, '--out', out], { stdio: 'inherit' });
  console.log(`${out}: ${(fs.statSync(out).size / 1024 / 1024).toFixed(1)} MiB, extension.js ${fs.statSync('dist/extension.js').size} bytes`);
} finally {
  fs.rmSync('bin', { recursive: true, force: true });
}
