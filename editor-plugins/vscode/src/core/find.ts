/** Which executable is the core, and whether it can run here.
 *
 * The setting, else the one in the extension, else PATH. A vsix of another platform installs
 * without a word, so the file's own header is looked at first. */
import * as fs from 'node:fs';
import * as path from 'node:path';

/** A platform as `process` names it. */
export interface Platform {
  platform: string;
  arch: string;
}

export interface Found {
  path: string;
  origin: 'setting' | 'extension' | 'PATH';
}

const ELF_MACHINES: Record<number, string> = { 0x3e: 'x64', 0xb7: 'arm64', 0x28: 'arm', 0x03: 'ia32', 0xf3: 'riscv64', 0x15: 'ppc64', 0x16: 's390x' };
const MACH_CPUS: Record<number, string> = { 0x01000007: 'x64', 0x0100000c: 'arm64' };

/** What a file's first bytes say it runs on; undefined: anything (a script), or unknown. */
export function platformOf(head: Buffer): Platform | undefined {
  if (head.length < 20) return undefined;
  if (head.readUInt32BE(0) === 0x7f454c46) {
    const machine = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18);
    return { platform: 'linux', arch: ELF_MACHINES[machine] ?? `machine ${machine}` };
  }
  if (head.readUInt32LE(0) === 0xfeedfacf) {
    const cpu = head.readUInt32LE(4);
    return { platform: 'darwin', arch: MACH_CPUS[cpu] ?? `cpu ${cpu}` };
  }
  return head.toString('latin1', 0, 2) === 'MZ' ? { platform: 'win32', arch: process.arch } : undefined;
}

/** Why this file cannot run here; undefined: nothing speaks against it. */
export function mismatch(file: string, here: Platform = process): string | undefined {
  let head: Buffer;
  try {
    const handle = fs.openSync(file, 'r');
    try {
      head = Buffer.alloc(20);
      head = head.subarray(0, fs.readSync(handle, head, 0, 20, 0));
      fs.accessSync(file, fs.constants.X_OK);
    } finally {
      fs.closeSync(handle);
    }
  } catch (error) {
    return `${file} cannot be run: ${(error as Error).message}`;
  }
  const made = platformOf(head);
  // Android, FreeBSD and others run ELF files as well.
  const elfHere = !['darwin', 'win32'].includes(here.platform);
  const fits = !made || (made.arch === here.arch && (made.platform === here.platform || (made.platform === 'linux' && elfHere)));
  if (fits) return undefined;
  return `${file} was built for ${made.platform}-${made.arch}, this is ${here.platform}-${here.arch}: install the extension for this platform, or set bssh.path`;
}

function inPath(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const folders = (env['PATH'] ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  return folders.map((folder) => path.join(folder, name)).find((file) => fs.existsSync(file));
}

/** The executable. Throws with what to do if there is none. */
export function find(setting: string | undefined, extension: string, env = process.env): Found {
  const name = process.platform === 'win32' ? 'bssh.exe' : 'bssh';
  const bundled = path.join(extension, 'bin', name);
  const found: Found | undefined = setting
    ? { path: setting, origin: 'setting' }
    : fs.existsSync(bundled)
      ? { path: bundled, origin: 'extension' }
      : ((file) => file && ({ path: file, origin: 'PATH' } as const))(inPath(name, env)) || undefined;
  if (!found) throw new Error('no bssh here: install it, or set bssh.path');
  if (setting && !path.isAbsolute(setting)) throw new Error(`bssh.path: expected an absolute path, not ${setting}`);
  const wrong = mismatch(found.path);
  if (wrong) throw new Error(wrong);
  return found;
}
