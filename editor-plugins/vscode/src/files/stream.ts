/** What does not fit one answer: large files as streams of the core, and copies it makes itself.
 *
 * A stream is given up when nothing has come for as long as a file operation may take, or when the
 * person says so. Until the end of a write the old file is whole. */
import { createHash } from 'node:crypto';
import type * as vscode from 'vscode';
import type { Core } from '../core/core';
import type { Attr, FsTaskDone } from '../protocol';
import { settings } from '../settings';
import { CallFailed, explainFailure, printable } from '../wire/failure';
import { type Address, bytesOf } from './address';

/** Between two looks at how far a write has got, in milliseconds. */
const LOOK = 200;

/** A file and the name of its content. */
export interface Whole {
  content: Uint8Array;
  etag: string;
  attr: Attr;
}

/** It has more bytes than were wanted. */
export class TooLarge extends Error {
  constructor(readonly size: number) {
    super(`the file has ${size} bytes`);
  }
}

/** Who follows, and who may end it. */
export interface Watcher {
  /** Bytes so far, and of how many. */
  progress(done: number, total: number): void;
  token?: vscode.CancellationToken;
}

export class Streams {
  constructor(private readonly core: Core) {}

  /** A file of at most `most` bytes. */
  async read(at: Address, most: number, watcher: Watcher): Promise<Whole> {
    const opened = await this.core.within(settings.fileTimeout(), 'fs/openRead', { nodes: at.node, path: bytesOf(at.path) });
    const { attr, stream } = opened;
    const total = attr.size ?? 0;
    const [pieces, hash] = [[] as Uint8Array[], createHash('sha256')];
    let size = 0;
    await this.guarded(watcher.token, (settle, renew) => {
      const link = this.core.current();
      link?.receive(stream, {
        data: (bytes) => {
          renew();
          size += bytes.length;
          if (size > most) return settle(new TooLarge(Math.max(size, total)));
          // The frame shares its buffer with others.
          pieces.push(Uint8Array.from(bytes));
          hash.update(bytes);
          watcher.progress(size, total);
        },
        ended: () => settle(),
        reset: (text) => settle(new Error(printable(text))),
      });
      if (total > most) settle(new TooLarge(total));
      return () => link?.refuse(stream);
    });
    return { content: Buffer.concat(pieces), etag: hash.digest('hex').slice(0, 32), attr };
  }

  /** Replaces a file at once; `ifEtag` as for `fs/writeSmall`. */
  async write(at: Address, content: Uint8Array, ifEtag: string | undefined, watcher: Watcher): Promise<{ etag: string; attr: Attr }> {
    const writing = await this.core.within(settings.fileTimeout(), 'fs/openWrite', { nodes: at.node, path: bytesOf(at.path), size: content.length, ifEtag });
    const { stream, window } = writing;
    const done = this.done(writing.task, watcher.token, (renew) => {
      const link = this.core.current();
      link?.begin(stream, window);
      link?.write(stream, content);
      link?.end(stream);
      let before = 0;
      const look = () => {
        const sent = link?.sent(stream) ?? content.length;
        if (sent > before) renew();
        before = sent;
        watcher.progress(sent, content.length);
      };
      const timer = setInterval(look, LOOK);
      look();
      return () => {
        clearInterval(timer);
        link?.abandon(stream);
      };
    });
    const { etag, attr } = await done;
    return { etag: etag ?? '', attr: attr ?? {} };
  }

  /** A file or a folder to another name, on the same node or on another, without coming here. */
  async copy(from: Address, to: Address, overwrite: boolean, token?: vscode.CancellationToken): Promise<void> {
    const place = (at: Address) => ({ node: { nodes: at.node, ...settings.configuration() }, path: bytesOf(at.path) });
    const params = { from: place(from), to: place(to), overwrite: overwrite ? ('replace' as const) : ('fail' as const), recursive: true, exact: true, preserve: true };
    const { task } = await this.core.request('fs/copy', params);
    await this.done(task, token, (renew) => {
      // A copy tells nothing while it goes on; that the core lives is what can be known.
      const alive = async () => {
        const listed = await this.core.current()?.request('fs/taskList', {});
        if (listed?.tasks.some((one) => one.task === task)) renew();
      };
      const timer = setInterval(() => void alive().catch(() => undefined), settings.fileTimeout() / 4);
      return () => clearInterval(timer);
    });
  }

  /** Waits for a task's last word. */
  private async done(task: number, token: vscode.CancellationToken | undefined, begin: (renew: () => void) => () => void): Promise<FsTaskDone> {
    let last: FsTaskDone | undefined;
    await this.guarded(token, (settle, renew) => {
      const listener = this.core.current()?.on('fs/taskDone', (event) => {
        if (event.task !== task) return;
        last = event;
        settle(event.failure ? failed(event) : undefined);
      });
      const stop = begin(renew);
      return () => {
        listener?.dispose();
        stop();
        if (!last) void this.core.current()?.request('fs/taskCancel', { task }).catch(() => undefined);
      };
    });
    return last ?? {};
  }

  /** Runs something until it settles, nothing has come for too long, the link ends, or the person has enough. */
  private async guarded(token: vscode.CancellationToken | undefined, begin: (settle: (error?: Error) => void, renew: () => void) => () => void): Promise<void> {
    const limit = this.core.limit(settings.fileTimeout());
    const watches: Array<{ dispose(): void }> = [limit];
    let stop: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const settle = (error?: Error) => (error ? reject(error) : resolve());
        stop = begin(settle, () => limit.renew());
        watches.push(limit.token.onCancellationRequested(() => settle(new Error(`nothing has come for ${settings.fileTimeout() / 1000} s`))));
        const cancelled = () => settle(new Error('cancelled'));
        if (token?.isCancellationRequested) cancelled();
        if (token) watches.push(token.onCancellationRequested(cancelled));
        this.core.current()?.onEnd((text) => settle(new Error(text)));
      });
    } finally {
      stop();
      for (const one of watches) one.dispose();
    }
  }
}

/** A task's failure as the error a call would have had. */
function failed(done: FsTaskDone): CallFailed {
  const [fault] = done.errors ?? [];
  const code = fault?.code ?? done.failure?.code ?? 'io';
  const text = fault ? printable(fault.message ?? code) : explainFailure(done.failure ?? {});
  return new CallFailed({ code: 0, message: text, data: { kind: `fs.${code}` } });
}
