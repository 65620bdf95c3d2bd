/** One command on many nodes: started, collected, cancelled.
 *
 * `gather` shows what was collected; the results view, tasks and terminals follow `onChange`. */
import * as vscode from 'vscode';
import type { Core } from '../core/core';
import type { Connected, Ended, ExecNode, ExecParams, Failure, Summary } from '../protocol';
import { settings } from '../settings';
import { explain, printable } from '../wire/failure';

/** One node of a run. */
export interface RunNode {
  name: string;
  state: 'waiting' | 'connecting' | 'connected' | 'executing' | 'ended';
  ended?: Ended;
  connected?: Connected;
  output: Uint8Array[];
  kept: number;
  /** Bytes that were not kept. */
  omitted: number;
}

/** What is run, where. */
export interface Order {
  targets: string;
  command: string;
  /** Sent to the command's stdin on every node. */
  stdin?: string;
  /** What people see instead of the command. */
  title?: string;
}

export class Run {
  readonly begun = new Date();
  nodes: RunNode[] = [];
  summary: Summary | undefined;
  /** Why there was no run at all, or none to its end. */
  failed: string | undefined;
  done = false;
  /** The core's number. */
  id: number | undefined;

  constructor(readonly number: number, readonly order: Order) {}

  get title(): string {
    return this.order.title ?? this.order.command;
  }

  node(name: string): RunNode | undefined {
    return this.nodes.find((one) => one.name === name);
  }
}

/** What a follower of one run hears. */
export interface Follower {
  output?(node: RunNode, bytes: Uint8Array): void;
  ended?(node: RunNode): void;
}

/** Runs that are shown; older ones are forgotten. */
const KEPT = 20;

export class Runs implements vscode.Disposable {
  /** Newest first. */
  readonly list: Run[] = [];
  private readonly changed = new vscode.EventEmitter<Run>();
  readonly onChange = this.changed.event;
  private readonly saw = new vscode.EventEmitter<{ node: string; connected?: Connected; failure?: Failure }>();
  /** What runs learn about nodes. */
  readonly onNode = this.saw.event;
  private readonly active = new Map<number, { run: Run; follower: Follower; finished: () => void }>();
  private count = 0;

  constructor(private readonly core: Core) {
    core.on('exec/node', (event) => this.event(event));
    core.on('exec/done', ({ run, summary }) => this.finish(run, summary));
    core.onLost((text) => {
      for (const [id, { run }] of this.active) {
        run.failed = text;
        this.finish(id);
      }
    });
  }

  /** Starts; resolves when it is over. `show` keeps it in the list. */
  async start(order: Order, follower: Follower = {}, started?: (run: Run) => void, token?: vscode.CancellationToken): Promise<Run> {
    const run = new Run(++this.count, order);
    this.list.unshift(run);
    this.list.splice(KEPT);
    started?.(run);
    this.changed.fire(run);
    try {
      await this.begin(run, follower, token);
    } catch (error) {
      run.failed = explain(error);
    }
    run.done = true;
    this.changed.fire(run);
    return run;
  }

  /** Ends the remote processes, of some nodes or of all. */
  async cancel(run: Run): Promise<void> {
    if (run.id !== undefined && !run.done) await this.core.request('exec/cancel', { run: run.id });
  }

  dispose(): void {
    this.changed.dispose();
    this.saw.dispose();
  }

  private async begin(run: Run, follower: Follower, token?: vscode.CancellationToken): Promise<void> {
    const { order } = run;
    const params: ExecParams = { nodes: order.targets, action: { command: order.command }, guard: true, stderr: 'merge', fanout: settings.fanout(), timeoutMs: 0 };
    const started = await this.core.ask('exec/start', { ...params, stdin: order.stdin === undefined ? 'null' : 'stream' });
    run.id = started.run;
    run.nodes = started.nodes.map((name) => ({ name, state: 'waiting', output: [], kept: 0, omitted: 0 }));
    const over = new Promise<void>((finished) => this.active.set(started.run, { run, follower, finished }));
    if (order.stdin !== undefined && typeof started.stdin === 'number') {
      const link = this.core.current();
      link?.write(started.stdin, Buffer.from(order.stdin));
      link?.end(started.stdin);
    }
    const watch = token?.onCancellationRequested(() => void this.cancel(run));
    if (token?.isCancellationRequested) await this.cancel(run);
    this.changed.fire(run);
    await over;
    watch?.dispose();
  }

  private event(event: ExecNode): void {
    const active = this.active.get(event.run);
    const node = active?.run.nodes[event.index];
    if (!active || !node) return;
    switch (event.state) {
      case 'connecting':
        node.state = 'connecting';
        break;
      case 'connected':
        [node.state, node.connected] = ['connected', event];
        this.saw.fire({ node: node.name, connected: event });
        break;
      case 'executing':
        node.state = 'executing';
        if (typeof event.stdout === 'number') this.collect(active.run, node, event.stdout, active.follower);
        break;
      case 'ended':
        [node.state, node.ended] = ['ended', event];
        active.follower.ended?.(node);
        if (event.failure) this.saw.fire({ node: node.name, failure: event.failure });
        break;
    }
    this.changed.fire(active.run);
  }

  private collect(run: Run, node: RunNode, stream: number, follower: Follower): void {
    this.core.current()?.receive(stream, {
      data: (bytes) => {
        const kept = bytes.subarray(0, Math.max(0, settings.maxOutput() - node.kept));
        // The frame shares its buffer with others.
        if (kept.length) node.output.push(Uint8Array.from(kept));
        node.kept += kept.length;
        node.omitted += bytes.length - kept.length;
        follower.output?.(node, bytes);
        this.changed.fire(run);
      },
      reset: (text) => {
        node.output.push(Buffer.from(`\n(the output was cut: ${printable(text)})\n`));
        this.changed.fire(run);
      },
    });
  }

  private finish(id: number, summary?: Summary): void {
    const active = this.active.get(id);
    this.active.delete(id);
    if (active) active.run.summary = summary;
    active?.finished();
  }
}
