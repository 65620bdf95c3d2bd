/** What is known about nodes: their groups, whether they are connected, and why not.
 *
 * A connected node is one that is held (`hold`), or that some run, file or terminal has reached. */
import * as vscode from 'vscode';
import type { Core } from './core/core';
import type { Connected, Explained, Failure } from './protocol';
import type { Runs } from './run/run';
import { explainFailure } from './wire/failure';

export interface NodeState {
  state: 'unknown' | 'connecting' | 'up' | 'failed';
  latencyMs?: number;
  text?: string;
  /** The run that holds the connection. */
  hold?: { run: number; index: number };
}

/** A named set of nodes. */
export interface Group {
  name: string;
  source: string;
  expr: string;
  count?: number;
  origin?: string;
}

const UNKNOWN: NodeState = { state: 'unknown' };

export class Nodes implements vscode.Disposable {
  private readonly states = new Map<string, NodeState>();
  private readonly changed = new vscode.EventEmitter<string | undefined>();
  /** A node's state has changed; undefined: all may have. */
  readonly onChange = this.changed.event;
  private readonly holds = new Set<number>();

  constructor(private readonly core: Core, runs: Runs) {
    core.on('exec/node', (event) => {
      if (!this.holds.has(event.run)) return;
      if (event.state === 'connecting') this.set(event.node, { state: 'connecting' });
      else if (event.state === 'connected') this.up(event.node, event, { run: event.run, index: event.index });
      else if (event.state === 'ended') this.down(event.node, event.failure ?? undefined);
    });
    core.on('exec/done', ({ run }) => this.holds.delete(run));
    core.onLost(() => {
      this.states.clear();
      this.holds.clear();
      this.changed.fire(undefined);
    });
    runs.onNode(({ node, connected, failure }) => {
      if (connected) this.up(node, connected);
      else if (failure && failure.phase !== 'exec') this.down(node, failure);
    });
  }

  state(node: string): NodeState {
    return this.states.get(node) ?? UNKNOWN;
  }

  /** A file or a terminal has got through to a node. */
  reached(node: string): void {
    const before = this.state(node);
    if (before.state === 'unknown' || before.state === 'failed') this.set(node, { state: 'up' });
  }

  /** Nodes that are held or were reached, and nodes that could not be. */
  counts(): { up: number; failed: number } {
    const all = [...this.states.values()];
    const count = (wanted: NodeState['state']) => all.filter((one) => one.state === wanted).length;
    return { up: count('up'), failed: count('failed') };
  }

  async groups(): Promise<{ groups: Group[]; warnings: string[] }> {
    const listed = await this.core.ask('group/list', {});
    const groups: Group[] = listed.groups.map((group) => ({ name: group.name, source: group.source, expr: group.nodes, count: group.count, origin: group.origin ?? undefined }));
    const ssh = await this.resolve('@ssh:').catch(() => []);
    if (ssh.length) groups.push({ name: 'ssh_config', source: 'ssh', expr: '@ssh:', count: ssh.length });
    return { groups, warnings: listed.warnings ?? [] };
  }

  async resolve(expr: string): Promise<string[]> {
    return (await this.core.ask('group/resolve', { expr })).nodes;
  }

  /** Every node the configuration names. */
  async all(): Promise<string[]> {
    const sets = await Promise.all(['@*', '@ssh:'].map((expr) => this.resolve(expr).catch(() => [])));
    return [...new Set(sets.flat())];
  }

  async explain(node: string): Promise<Explained> {
    return this.core.ask('node/resolve', { node });
  }

  /** Connects and stays so; resolves once every node is connected or has failed. */
  async connect(nodes: string[]): Promise<void> {
    const wanted = nodes.filter((node) => !this.state(node).hold);
    if (!wanted.length) return;
    for (const node of wanted) this.set(node, { state: 'connecting' });
    try {
      const started = await this.core.ask('exec/start', { nodes: wanted.join(','), action: 'hold', timeoutMs: 0 });
      this.holds.add(started.run);
    } catch (error) {
      for (const node of wanted) this.set(node, UNKNOWN);
      throw error;
    }
    await this.settled(wanted);
  }

  /** Ends what holds the nodes, and the connection for their files. */
  async disconnect(nodes: string[]): Promise<void> {
    for (const node of nodes) {
      const { hold } = this.state(node);
      if (hold) await this.core.request('exec/cancel', { run: hold.run, nodes: [hold.index] });
      if (this.core.current()) await this.core.ask('fs/close', { nodes: node });
      this.set(node, UNKNOWN);
    }
  }

  dispose(): void {
    this.changed.dispose();
  }

  private async settled(nodes: string[]): Promise<void> {
    const busy = () => nodes.some((node) => this.state(node).state === 'connecting');
    if (!busy()) return;
    await new Promise<void>((resolve) => {
      const watch = this.onChange(() => {
        if (busy()) return;
        watch.dispose();
        resolve();
      });
    });
  }

  private up(node: string, connected: Connected, hold?: NodeState['hold']): void {
    const before = this.state(node);
    const latencyMs = connected.reused ? (before.latencyMs ?? connected.connectMs) : connected.connectMs;
    this.set(node, { state: 'up', latencyMs, text: connected.address, hold: hold ?? before.hold });
  }

  private down(node: string, failure?: Failure): void {
    const quiet = !failure || failure.code === 'cancelled';
    this.set(node, quiet ? UNKNOWN : { state: 'failed', text: explainFailure(failure) });
  }

  private set(node: string, state: NodeState): void {
    if (state === UNKNOWN) this.states.delete(node);
    else this.states.set(node, state);
    this.changed.fire(node);
  }
}
