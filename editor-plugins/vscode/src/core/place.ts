/** The user's shared core (`bssh core serve`): where it listens, and whether that place can be trusted.
 *
 * The same rules as every other frontend's: a directory and a socket that are ours alone, and no
 * links. What cannot be trusted is not used. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { PROTOCOL } from '../protocol';

/** How long a shared core may take to accept, in milliseconds. */
const ACCEPT = 1_000;

/** The socket of this user's shared core. */
export function socketOf(env: NodeJS.ProcessEnv, uid: number): string {
  const absolute = (value: string | undefined) => (value && path.isAbsolute(value) ? value : undefined);
  const runtime = absolute(env['XDG_RUNTIME_DIR']);
  const folder = runtime ? path.join(runtime, 'bssh') : path.join(absolute(env['TMPDIR']) ?? '/tmp', `bssh-${uid}`);
  return path.join(folder, `v${PROTOCOL.major}.sock`);
}

/** Why a place is not ours alone; undefined: it is, or nothing is there. */
export function distrust(file: string, kind: 'directory' | 'socket', uid: number): string | undefined {
  let seen: fs.Stats;
  try {
    seen = fs.lstatSync(file);
  } catch {
    return undefined;
  }
  if (!(kind === 'socket' ? seen.isSocket() : seen.isDirectory())) return `${file} is not a ${kind} (links are not followed); remove it`;
  if (seen.uid !== uid) return `${file} belongs to user ${seen.uid}, not to ${uid}`;
  return seen.mode & 0o077 ? `${file} has mode ${(seen.mode & 0o777).toString(8)}: others must not get in; chmod go= it` : undefined;
}

/** A connection to the shared core; undefined if none listens. Throws if the place cannot be trusted. */
export async function connectShared(env = process.env): Promise<net.Socket | undefined> {
  const uid = process.getuid?.();
  if (uid === undefined) return undefined;
  const file = socketOf(env, uid);
  const why = distrust(path.dirname(file), 'directory', uid) ?? distrust(file, 'socket', uid);
  if (why) throw new Error(why);
  if (!fs.existsSync(file)) return undefined;
  return new Promise((resolve) => {
    const socket = net.connect(file);
    const give = (value: net.Socket | undefined) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      if (!value) socket.destroy();
      resolve(value);
    };
    const timer = setTimeout(() => give(undefined), ACCEPT);
    socket.once('connect', () => give(socket));
    // A dead core's socket refuses.
    socket.once('error', () => give(undefined));
  });
}
