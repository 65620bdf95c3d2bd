/** Files of nodes for VS Code: `bssh://node/path`.
 *
 * What was read has an etag, and a save names it, so that nobody's change is overwritten unseen.
 * Saves are atomic (the core's business). A lost link is `Unavailable`: editors stay dirty.
 * `watch` polls; `stream` moves what does not fit one answer. */
import * as vscode from 'vscode';
import type { Core } from '../core/core';
import type { Attr, PathBytes } from '../protocol';
import { settings } from '../settings';
import { CallFailed, explain, printable } from '../wire/failure';
import type { CoreMethod, Params, Result } from '../wire/link';
import { addressOf, bytesOf, textOf } from './address';
import { Streams, TooLarge, type Watcher } from './stream';
import { Watch } from './watch';

/** The core's limit for one answer. */
export const SMALL = 8 * 1024 * 1024;
/** VS Code and its extensions look for dozens of files at every folder; milliseconds. */
const ABSENT_FOR = 3_000;
const ABSENT_KEPT = 500;
/** Links of one listing that are followed, to know what they lead to. */
const LINKS_FOLLOWED = 256;
const LINKS_AT_ONCE = 32;
const PAGE = 10_000;

/** What was last read or written. */
interface Known {
  etag: string;
  mtime: number;
  size: number;
}

type FsMethod = Extract<CoreMethod, `fs/${string}`>;

export class Files implements vscode.FileSystemProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.changed.event;
  private readonly watches: Watch;
  private readonly streams: Streams;
  private readonly known = new Map<string, Known>();
  private readonly absent = new Map<string, number>();
  /** A save was refused because the file is another one now. */
  onConflict: (uri: vscode.Uri) => void = () => undefined;
  /** A file is too large to be opened. */
  onTooLarge: (uri: vscode.Uri, size: number) => void = () => undefined;

  /** A node has answered. */
  onReached: (node: string) => void = () => undefined;

  constructor(private readonly core: Core) {
    this.streams = new Streams(core);
    this.watches = new Watch(
      (uri) => this.stat(uri, true),
      (uri) => this.list(uri),
      (events) => this.changed.fire(events),
    );
  }

  dispose(): void {
    this.watches.dispose();
    this.changed.dispose();
  }

  watch(uri: vscode.Uri, options: { recursive: boolean }): vscode.Disposable {
    return this.watches.add(uri, options.recursive);
  }

  async stat(uri: vscode.Uri, fresh = false): Promise<vscode.FileStat> {
    const key = uri.toString();
    const until = this.absent.get(key) ?? 0;
    if (!fresh && until > Date.now()) throw vscode.FileSystemError.FileNotFound(uri);
    try {
      const itself = await this.call('fs/lstat', uri, {});
      const linked = itself.type === 'link';
      const attr = linked ? await this.call('fs/stat', uri, {}).catch(() => itself) : itself;
      this.absent.delete(key);
      const stat = statOf(attr, linked);
      const known = this.known.get(key);
      // A newer file of another size is what VS Code itself asks about before it saves; then its
      // answer counts. A change of the same size or second only the etag notices.
      if (known && stat.mtime > known.mtime && stat.size !== known.size) this.known.delete(key);
      return stat;
    } catch (error) {
      if (error instanceof vscode.FileSystemError && error.code === 'FileNotFound') this.remember(key);
      throw error;
    }
  }

  async readDirectory(uri: vscode.Uri): Promise<Array<[string, vscode.FileType]>> {
    this.watches.listed(uri);
    const entries = await this.list(uri);
    const links = entries.filter(([, stat]) => stat.type === vscode.FileType.SymbolicLink).slice(0, LINKS_FOLLOWED);
    for (let at = 0; at < links.length; at += LINKS_AT_ONCE) {
      await Promise.all(links.slice(at, at + LINKS_AT_ONCE).map(async ([name, stat]) => {
        const target = await this.call('fs/stat', vscode.Uri.joinPath(uri, name), {}).catch(() => undefined);
        if (target) stat.type |= typeOf(target);
      }));
    }
    return entries.map(([name, stat]) => [name, stat.type]);
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const key = uri.toString();
    try {
      const content = await this.request('fs/readSmall', uri, { maxBytes: SMALL });
      const { mtime, size } = statOf(content.attr, false);
      this.known.set(key, { etag: content.etag, mtime, size });
      return Buffer.from(content.data, 'base64');
    } catch (error) {
      if (!(error instanceof CallFailed && error.kind === 'limit.exceeded')) throw await this.explained(error, uri);
    }
    return this.readLarge(uri);
  }

  async writeFile(uri: vscode.Uri, content: Uint8Array, options: { create: boolean; overwrite: boolean }): Promise<void> {
    const key = uri.toString();
    const known = this.known.get(key);
    const fresh = options.create && !options.overwrite;
    if (!options.create && !known) await this.stat(uri, true);
    try {
      const ifEtag = fresh ? '' : known?.etag;
      const written = content.length > SMALL
        ? await this.shown(`Saving ${name(uri)}`, (watcher) => this.streams.write(addressOf(uri), content, ifEtag, watcher))
        : await this.request('fs/writeSmall', uri, { data: Buffer.from(content).toString('base64'), ifEtag });
      const { mtime, size } = statOf(written.attr, false);
      this.known.set(key, { etag: written.etag, mtime, size });
    } catch (error) {
      if (!(error instanceof CallFailed && error.kind === 'fs.conflict')) throw await this.explained(error, uri);
      if (fresh) throw vscode.FileSystemError.FileExists(uri);
      this.onConflict(uri);
      throw vscode.FileSystemError.Unavailable(`${uri.path} was changed on ${addressOf(uri).node} since it was opened; nothing was saved`);
    }
    this.absent.delete(key);
    this.changed.fire([{ type: vscode.FileChangeType.Changed, uri }]);
  }

  /** The next save replaces whatever is there. */
  forgetEtag(uri: vscode.Uri): void {
    this.known.delete(uri.toString());
  }

  async createDirectory(uri: vscode.Uri): Promise<void> {
    await this.call('fs/mkdir', uri, {});
    this.tell(vscode.FileChangeType.Created, uri);
  }

  async delete(uri: vscode.Uri, options: { recursive: boolean }): Promise<void> {
    await this.call('fs/remove', uri, { recursive: options.recursive });
    this.known.delete(uri.toString());
    this.tell(vscode.FileChangeType.Deleted, uri);
  }

  async rename(from: vscode.Uri, to: vscode.Uri, options: { overwrite: boolean }): Promise<void> {
    if (from.authority === to.authority) {
      await this.call('fs/rename', from, { to: bytesOf(addressOf(to).path), overwrite: options.overwrite });
    } else {
      // To another node it goes as a copy.
      await this.copied(from, to, options.overwrite);
      await this.call('fs/remove', from, { recursive: true });
    }
    this.known.delete(from.toString());
    this.known.delete(to.toString());
    this.tell(vscode.FileChangeType.Deleted, from);
    this.tell(vscode.FileChangeType.Created, to);
  }

  /** The nodes' own business: nothing comes here. */
  async copy(from: vscode.Uri, to: vscode.Uri, options: { overwrite: boolean }): Promise<void> {
    await this.copied(from, to, options.overwrite);
    this.known.delete(to.toString());
    this.tell(vscode.FileChangeType.Created, to);
  }

  private async copied(from: vscode.Uri, to: vscode.Uri, overwrite: boolean): Promise<void> {
    if (!overwrite && (await this.exists(to))) throw vscode.FileSystemError.FileExists(to);
    try {
      await this.shown(`Copying ${name(from)}`, ({ token }) => this.streams.copy(addressOf(from), addressOf(to), overwrite, token));
    } catch (error) {
      throw await this.explained(error, from);
    }
  }

  private async readLarge(uri: vscode.Uri): Promise<Uint8Array> {
    try {
      const { content, etag, attr } = await this.shown(`Reading ${name(uri)}`, (watcher) => this.streams.read(addressOf(uri), settings.largestFile(), watcher));
      const { mtime, size } = statOf(attr, false);
      this.known.set(uri.toString(), { etag, mtime, size });
      return content;
    } catch (error) {
      if (!(error instanceof TooLarge)) throw await this.explained(error, uri);
      this.onTooLarge(uri, error.size);
      throw vscode.FileSystemError.Unavailable(`${uri.path} has ${Math.ceil(error.size / 1024 / 1024)} MiB, more than bssh.files.maxSize; download it instead`);
    }
  }

  /** With a message that says how far it has got, and where it can be given up. */
  private async shown<T>(title: string, act: (watcher: Watcher) => Promise<T>): Promise<T> {
    const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
    return vscode.window.withProgress(options, async (progress, token) => {
      let before = 0;
      const report = (done: number, total: number) => {
        const percent = total ? Math.floor((done / total) * 100) : 0;
        if (percent > before) progress.report({ message: `${percent} %`, increment: percent - before });
        before = Math.max(before, percent);
      };
      return act({ progress: report, token });
    });
  }

  private async list(uri: vscode.Uri): Promise<Array<[string, vscode.FileStat]>> {
    const entries: Array<[string, vscode.FileStat]> = [];
    let cursor: string | undefined;
    do {
      const page: Result<'fs/list'> = await this.call('fs/list', uri, { cursor, limit: PAGE });
      for (const entry of page.entries) {
        const name = textOf(entry.name);
        if (name !== '.' && name !== '..') entries.push([name, statOf(entry.attr, false)]);
      }
      cursor = page.cursor ?? undefined;
    } while (cursor);
    return entries;
  }

  private async exists(uri: vscode.Uri): Promise<boolean> {
    return this.stat(uri, true).then(() => true, () => false);
  }

  private async request<M extends FsMethod>(method: M, uri: vscode.Uri, params: Omit<Params<M>, 'nodes' | 'path'>): Promise<Result<M>> {
    const { node, path } = addressOf(uri);
    const place: { nodes: string; path: PathBytes } = { nodes: node, path: bytesOf(path) };
    const result = await this.core.within(settings.fileTimeout(), method, { ...params, ...place } as Params<M>);
    this.onReached(node);
    this.watches.reached(uri.authority);
    return result;
  }

  private async call<M extends FsMethod>(method: M, uri: vscode.Uri, params: Omit<Params<M>, 'nodes' | 'path'>): Promise<Result<M>> {
    try {
      return await this.request(method, uri, params);
    } catch (error) {
      throw await this.explained(error, uri);
    }
  }

  private async explained(error: unknown, uri: vscode.Uri): Promise<vscode.FileSystemError> {
    if (error instanceof vscode.FileSystemError) return error;
    const { node, path } = addressOf(uri);
    const text = `${node}: ${path}: ${explain(error)}`;
    switch (error instanceof CallFailed ? error.kind : '') {
      case 'fs.notFound': return vscode.FileSystemError.FileNotFound(uri);
      case 'fs.permission': return vscode.FileSystemError.NoPermissions(text);
      case 'fs.exists': return vscode.FileSystemError.FileExists(text);
      default: return vscode.FileSystemError.Unavailable(text);
    }
  }

  private remember(key: string): void {
    this.absent.set(key, Date.now() + ABSENT_FOR);
    const oldest = this.absent.keys().next().value;
    if (this.absent.size > ABSENT_KEPT && oldest !== undefined) this.absent.delete(oldest);
  }

  private tell(type: vscode.FileChangeType, uri: vscode.Uri): void {
    this.absent.clear();
    this.changed.fire([{ type, uri }, { type: vscode.FileChangeType.Changed, uri: vscode.Uri.joinPath(uri, '..') }]);
  }
}

function name(uri: vscode.Uri): string {
  return printable(`${uri.path.split('/').pop() ?? ''} of ${addressOf(uri).node}`);
}

function typeOf(attr: Attr): vscode.FileType {
  const types: Record<string, vscode.FileType> = { file: vscode.FileType.File, dir: vscode.FileType.Directory, link: vscode.FileType.SymbolicLink };
  return types[attr.type ?? ''] ?? vscode.FileType.Unknown;
}

function statOf(attr: Attr, linked: boolean): vscode.FileStat {
  const type = typeOf(attr) | (linked ? vscode.FileType.SymbolicLink : 0);
  // SFTP has no time of creation; 0 would be 1970 in every list.
  const mtime = attr.mtimeMs ?? 0;
  return { type, ctime: mtime, mtime, size: attr.size ?? 0 };
}
