/** Sessions: a shell's state on a node (directory, environment) that outlives single commands. */
import * as vscode from 'vscode';
import type { Core } from './core/core';
import type { SessionExecDone } from './protocol';
import { explainFailure, printable } from './wire/failure';

/** Output kept of one command. */
const KEPT = 1024 * 1024;

/** What a command in a session said and how it ended. */
export interface Said {
  output: string;
  verdict: string;
  cwd: string;
}

export class Sessions {
  constructor(private readonly core: Core) {}

  /** A session on each node; resolves when each is ready or lost. The reasons of those that are lost. */
  async open(nodes: string, name?: string): Promise<{ sessions: number[]; lost: string[] }> {
    const link = await this.core.open();
    const lost: string[] = [];
    const waiting = new Set<number>();
    const settled = new vscode.EventEmitter<void>();
    const listener = link.on('session/state', (event) => {
      if (event.state !== 'ready' && event.state !== 'lost') return;
      if (event.state === 'lost') lost.push(`${printable(event.node)}: ${explainFailure(event.failure)}`);
      waiting.delete(event.session);
      settled.fire();
    });
    try {
      const opened = await this.core.ask('session/open', { nodes, name });
      for (const { session } of opened.sessions) waiting.add(session);
      await new Promise<void>((resolve) => {
        settled.event(() => waiting.size === 0 && resolve());
        link.onEnd(() => resolve());
        if (waiting.size === 0) resolve();
      });
      return { sessions: opened.sessions.map(({ session }) => session), lost };
    } finally {
      listener.dispose();
      settled.dispose();
    }
  }

  /** Runs a command in a session, to its end. */
  async run(session: number, command: string): Promise<Said> {
    const link = await this.core.open();
    const started = await this.core.request('session/exec', { session, command });
    const pieces: Uint8Array[] = [];
    let size = 0;
    const data = (bytes: Uint8Array) => {
      if (size < KEPT) pieces.push(Uint8Array.from(bytes));
      size += bytes.length;
    };
    link.receive(started.stdout, { data });
    link.receive(started.stderr, { data });
    const done = await new Promise<SessionExecDone>((resolve, reject) => {
      const listener = link.on('session/execDone', (event) => {
        if (event.exec !== started.exec) return;
        listener.dispose();
        resolve(event);
      });
      link.onEnd((text) => reject(new Error(text)));
    });
    const cut = size > KEPT ? `\n(${size - KEPT} more bytes are not shown)\n` : '';
    return { output: Buffer.concat(pieces).toString('utf8') + cut, verdict: verdict(done), cwd: done.cwd ?? '' };
  }
}

function verdict(done: SessionExecDone): string {
  if (done.failure) return explainFailure(done.failure);
  if (done.exit && 'signal' in done.exit) return `killed by ${printable(done.exit.signal)}`;
  return done.exit && 'status' in done.exit && done.exit.status !== 0 ? `exit ${done.exit.status}` : 'ok';
}
