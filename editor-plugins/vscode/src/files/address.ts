/** `bssh://node/path`: between URIs and what the protocol wants.
 *
 * VS Code lowers the case of an authority, and POSIX names are bytes. So a node whose name would
 * not survive is written as `x--` and hex, and a byte that is not UTF-8 as one character of a
 * private area. */
import * as vscode from 'vscode';
import type { PathBytes } from '../protocol';

export const SCHEME = 'bssh';
const HEX = 'x--';
const PRIVATE = 0xf700;

/** A place on a node. */
export interface Address {
  node: string;
  path: string;
}

export function nodeOf(authority: string): string {
  return authority.startsWith(HEX) ? Buffer.from(authority.slice(HEX.length), 'hex').toString('utf8') : authority;
}

export function authorityOf(node: string): string {
  return /^[a-z0-9._@:-]+$/.test(node) && !node.startsWith(HEX) ? node : HEX + Buffer.from(node, 'utf8').toString('hex');
}

export function uriOf(node: string, path: string): vscode.Uri {
  return vscode.Uri.from({ scheme: SCHEME, authority: authorityOf(node), path: path.startsWith('/') ? path : `/${path}` });
}

export function addressOf(uri: vscode.Uri): Address {
  return { node: nodeOf(uri.authority), path: uri.path || '/' };
}

/** The name as VS Code can hold it. */
export function textOf(name: PathBytes): string {
  if (typeof name === 'string') return name;
  const bytes = Buffer.from(name.b64, 'base64');
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const size = characterAt(bytes, at);
    text += size ? bytes.toString('utf8', at, at + size) : String.fromCharCode(PRIVATE + (bytes[at] ?? 0));
    at += size || 1;
  }
  return text;
}

/** And back. */
export function bytesOf(path: string): PathBytes {
  if (!/[\uf780-\uf7ff]/.test(path)) return path;
  const pieces = path.split(/([\uf780-\uf7ff])/).map((piece) => (/^[\uf780-\uf7ff]$/.test(piece) ? Buffer.from([piece.charCodeAt(0) - PRIVATE]) : Buffer.from(piece, 'utf8')));
  return { b64: Buffer.concat(pieces).toString('base64') };
}

/** How long the UTF-8 character at this place is; 0: there is none. */
function characterAt(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0;
  const size = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  const text = size ? bytes.toString('utf8', at, at + size) : '\ufffd';
  return !text.includes('\ufffd') && Buffer.byteLength(text) === size ? size : 0;
}
