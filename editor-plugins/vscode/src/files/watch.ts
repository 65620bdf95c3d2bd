/** Changes that others make: files that are open and folders that are shown are looked at every
 * few seconds, while the window has the focus. */
import * as vscode from 'vscode';
import { settings } from '../settings';

/** Folders below a watched one that are looked at; the last ones that were listed. */
const FOLDERS = 32;

type Listing = Map<string, { mtime: number; type: vscode.FileType }>;

export class Watch implements vscode.Disposable {
  private readonly files = new Map<string, { uri: vscode.Uri; count: number; recursive: boolean; last: string | undefined }>();
  private readonly folders = new Map<string, { uri: vscode.Uri; last: Listing | undefined }>();
  /** Nodes that could not be reached: looking must not connect, or ask for passwords, for ever. */
  private readonly lost = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private over = false;

  constructor(
    private readonly stat: (uri: vscode.Uri) => Promise<vscode.FileStat>,
    private readonly list: (uri: vscode.Uri) => Promise<Array<[string, vscode.FileStat]>>,
    private readonly tell: (events: vscode.FileChangeEvent[]) => void,
  ) {}

  add(uri: vscode.Uri, recursive: boolean): vscode.Disposable {
    const key = uri.toString();
    const entry = this.files.get(key) ?? { uri, count: 0, recursive, last: undefined };
    entry.count += 1;
    entry.recursive ||= recursive;
    this.files.set(key, entry);
    this.schedule();
    return new vscode.Disposable(() => {
      entry.count -= 1;
      if (entry.count === 0) this.files.delete(key);
    });
  }

  /** A node has answered, to somebody else or to us. */
  reached(authority: string): void {
    this.lost.delete(authority);
  }

  /** A folder was shown. */
  listed(uri: vscode.Uri): void {
    const key = uri.toString();
    const known = this.folders.get(key);
    this.folders.delete(key);
    this.folders.set(key, known ?? { uri, last: undefined });
    const oldest = this.folders.keys().next().value;
    if (this.folders.size > FOLDERS && oldest !== undefined) this.folders.delete(oldest);
    this.schedule();
  }

  dispose(): void {
    this.over = true;
    clearTimeout(this.timer);
  }

  /** Looks once; for tests, and by the timer. */
  async look(): Promise<void> {
    const events: vscode.FileChangeEvent[] = [];
    for (const entry of [...this.files.values()]) if (!entry.recursive && !this.lost.has(entry.uri.authority)) await this.lookAtFile(entry, events);
    for (const folder of [...this.folders.values()]) if (this.isWatched(folder.uri) && !this.lost.has(folder.uri.authority)) await this.lookAtFolder(folder, events);
    if (events.length) this.tell(events);
  }

  private schedule(): void {
    const pause = settings.poll();
    if (this.over || this.timer || pause <= 0) return;
    this.timer = setTimeout(() => void this.turn(), pause);
  }

  private async turn(): Promise<void> {
    try {
      if (vscode.window.state.focused) await this.look();
    } finally {
      this.timer = undefined;
      if (this.files.size) this.schedule();
    }
  }

  private async lookAtFile(entry: { uri: vscode.Uri; last: string | undefined }, events: vscode.FileChangeEvent[]): Promise<void> {
    let now: string;
    try {
      const stat = await this.stat(entry.uri);
      now = `${stat.mtime} ${stat.size}`;
    } catch (error) {
      if (!(error instanceof vscode.FileSystemError && error.code === 'FileNotFound')) return this.failed(entry.uri, error);
      now = 'absent';
    }
    const before = entry.last;
    entry.last = now;
    if (before === undefined || before === now) return;
    const type = now === 'absent' ? vscode.FileChangeType.Deleted : before === 'absent' ? vscode.FileChangeType.Created : vscode.FileChangeType.Changed;
    events.push({ type, uri: entry.uri });
  }

  private async lookAtFolder(folder: { uri: vscode.Uri; last: Listing | undefined }, events: vscode.FileChangeEvent[]): Promise<void> {
    let now: Listing;
    try {
      now = new Map((await this.list(folder.uri)).map(([name, stat]) => [name, { mtime: stat.mtime, type: stat.type }]));
    } catch (error) {
      return this.failed(folder.uri, error);
    }
    const before = folder.last;
    folder.last = now;
    if (!before) return;
    const push = (type: vscode.FileChangeType, name: string) => events.push({ type, uri: vscode.Uri.joinPath(folder.uri, name) });
    for (const [name, entry] of now) {
      const old = before.get(name);
      if (!old) push(vscode.FileChangeType.Created, name);
      else if (old.mtime !== entry.mtime && entry.type === vscode.FileType.File) push(vscode.FileChangeType.Changed, name);
    }
    for (const name of before.keys()) if (!now.has(name)) push(vscode.FileChangeType.Deleted, name);
  }

  /** What cannot be looked at now is left until its node has answered somebody. */
  private failed(uri: vscode.Uri, error: unknown): void {
    if (error instanceof vscode.FileSystemError && error.code === 'Unavailable') this.lost.add(uri.authority);
  }

  private isWatched(uri: vscode.Uri): boolean {
    const inside = (above: vscode.Uri) => above.authority === uri.authority && `${uri.path}/`.startsWith(above.path.endsWith('/') ? above.path : `${above.path}/`);
    return [...this.files.values()].some((entry) => entry.recursive && inside(entry.uri)) || this.files.has(uri.toString());
  }
}
