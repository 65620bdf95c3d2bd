/** The one core of this window: found, started when first needed, greeted, started again.
 *
 * It is our child and ends with the window, or the user's shared core, which goes on. A core that
 * dies again and again is not started for ever. `questions` answers what it asks; everybody else calls `request` and listens with `on`. */
import { type ChildProcess, spawn } from 'node:child_process';
import * as os from 'node:os';
import * as vscode from 'vscode';
import type { Log } from '../log';
import { type ClientEnvironment, type Events, type InitializeResult, PROTOCOL } from '../protocol';
import { settings } from '../settings';
import { CallFailed, disconnected, explain } from '../wire/failure';
import { type CoreMethod, type EventName, Link, type Params, type Result } from '../wire/link';
import { find, type Found } from './find';
import { Limit } from './limit';
import { connectShared } from './place';

/** So many starts within that time, in milliseconds; then a person has to say so. */
const STARTS = 3;
const WITHIN = 3 * 60 * 1000;
/** Before the second start, in milliseconds; doubled for each further one. */
const BACKOFF = 500;
/** How long the handshake may take, in milliseconds. */
const HANDSHAKE = 20_000;
/** How long a core may take to end, in milliseconds. */
const LEAVE = 3_000;
/** Lines of the core's stderr that an error repeats. */
const LAST_WORDS = 3;

export type State = 'idle' | 'starting' | 'running' | 'failed';
type Handler = (params: unknown) => void;

/** Who answers the core's questions. */
export interface Questions {
  attach(link: Link): void;
  /** Questions a person is looking at. */
  readonly open: number;
}

export class Core implements vscode.Disposable {
  state: State = 'idle';
  hello: InitializeResult | undefined;
  found: Found | undefined;
  lastError: string | undefined;

  private readonly changed = new vscode.EventEmitter<State>();
  readonly onState = this.changed.event;
  private readonly lost = new vscode.EventEmitter<string>();
  /** The core has gone; what it held is gone with it. */
  readonly onLost = this.lost.event;

  private link: Link | undefined;
  private child: ChildProcess | undefined;
  private opening: Promise<Link> | undefined;
  private starts: number[] = [];
  private readonly handlers: Array<[EventName, Handler]> = [];
  private ended = false;

  constructor(
    private readonly extension: { path: string; version: string },
    private readonly log: Log,
    private readonly questions: Questions,
  ) {
    this.on('log/record', ({ level, message }) => this.log.info(`core: ${level ?? ''} ${message ?? ''}`));
  }

  /** The core's process, for diagnostics and tests. */
  get pid(): number | undefined {
    return this.hello?.core.pid;
  }

  /** Other frontends use this core, too. */
  get shared(): boolean {
    return this.link !== undefined && this.child === undefined;
  }

  /** Listens on this core and on every later one. */
  on<E extends EventName>(event: E, handler: (params: Events[E]['params']) => void): void {
    this.handlers.push([event, handler as Handler]);
    this.link?.on(event, handler);
  }

  /** Asks, and starts a core for it if need be. */
  async request<M extends CoreMethod>(method: M, params: Params<M>, token?: vscode.CancellationToken): Promise<Result<M>> {
    const link = this.current() ?? (await this.open());
    return link.request(method, params, token);
  }

  /** As `request`, with the configuration files of the settings. */
  async ask<M extends CoreMethod>(method: M, params: Params<M>, token?: vscode.CancellationToken): Promise<Result<M>> {
    return this.request(method, { ...params, ...settings.configuration() }, token);
  }

  /** As `ask`, given up after a while; what a person needs to answer questions does not count. */
  async within<M extends CoreMethod>(ms: number, method: M, params: Params<M>): Promise<Result<M>> {
    const limit = this.limit(ms);
    try {
      return await this.ask(method, params, limit.token);
    } catch (error) {
      if (limit.over && error instanceof CallFailed) throw new CallFailed({ code: 1071, message: `no answer to ${method} in ${ms / 1000} s`, data: { kind: 'timeout' } });
      throw error;
    } finally {
      limit.dispose();
    }
  }

  /** A clock that stands still while a person is asked. */
  limit(ms: number): Limit {
    return new Limit(ms, () => this.questions.open > 0);
  }

  /** The link, if there is one. */
  current(): Link | undefined {
    return this.link && this.link.closed === undefined ? this.link : undefined;
  }

  /** The link; starts a core if need be. */
  async open(): Promise<Link> {
    const link = this.current();
    if (link) return link;
    this.opening ??= this.start().finally(() => (this.opening = undefined));
    return this.opening;
  }

  /** Ends the core and forgets that it died too often. */
  async restart(): Promise<void> {
    await this.stop();
    this.starts = [];
    await this.open();
  }

  async stop(): Promise<void> {
    const { child, link } = this;
    if (link && this.shared) {
      await link.request('link/close', {}).catch(() => undefined);
      link.finish('the link was closed');
    }
    link?.close();
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE);
      child.once('exit', () => {
        clearTimeout(timer);
        link?.finish('the core was stopped');
        resolve();
      });
    });
  }

  dispose(): void {
    this.ended = true;
    void this.stop();
    this.changed.dispose();
    this.lost.dispose();
  }

  private async start(): Promise<Link> {
    const now = Date.now();
    this.starts = this.starts.filter((at) => now - at < WITHIN);
    if (this.starts.length >= STARTS) {
      throw disconnected(`the core has ended ${STARTS} times in ${WITHIN / 60_000} minutes (${this.lastError ?? 'no reason known'}); "bssh: Restart Core" tries again`);
    }
    const pause = this.starts.length ? BACKOFF * 2 ** (this.starts.length - 1) : 0;
    this.starts.push(now);
    this.set('starting');
    if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
    if (this.ended) throw disconnected('the window closes');
    try {
      return (await this.attach()) ?? (await this.greet(this.launch()));
    } catch (error) {
      throw this.fail(error);
    }
  }

  /** The user's shared core, if it is wanted and there. A core that was named is wanted, and no other. */
  private async attach(): Promise<Link | undefined> {
    if (!settings.shared() || settings.path()) return undefined;
    try {
      const socket = await connectShared();
      if (!socket) return undefined;
      this.log.info('attaching to the shared core');
      this.child = undefined;
      return await this.greet(new Link(socket, socket, this.log), this.surroundings());
    } catch (error) {
      // It must not keep us from work.
      this.log.warn(`no shared core: ${explain(error)}`);
      return undefined;
    }
  }

  /** What a core that we have not started has to know of us. */
  private surroundings(): ClientEnvironment {
    const vars = Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined);
    return { cwd: this.folder(), home: os.homedir(), vars: Object.fromEntries(vars), umask: process.umask() };
  }

  /** Where relative paths start. A folder nobody trusts must not bring a ./config.yaml along. */
  private folder(): string {
    const folder = vscode.workspace.workspaceFolders?.find((one) => one.uri.scheme === 'file');
    return vscode.workspace.isTrusted && folder ? folder.uri.fsPath : os.homedir();
  }

  private launch(): Link {
    this.found = find(settings.path(), this.extension.path);
    this.log.info(`starting ${this.found.path} (${this.found.origin})`);
    const child = spawn(this.found.path, ['core', '--stdio', '--log', settings.logLevel()], { cwd: this.folder(), stdio: 'pipe' });
    const said: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').filter((one) => one.trim())) {
        this.log.info(`core: ${line}`);
        said.push(line.trim());
      }
      said.splice(0, Math.max(0, said.length - LAST_WORDS));
    });
    const link = new Link(child.stdout, child.stdin, this.log);
    child.on('error', (error) => link.finish(`cannot start the core: ${error.message}`));
    child.on('close', (code, signal) => {
      const words = said.length ? `: ${said.join(' ')}` : '';
      link.finish(signal ? `the core was ended by ${signal}${words}` : `the core has ended (${code})${words}`);
    });
    this.child = child;
    return link;
  }

  private async greet(link: Link, environment?: ClientEnvironment): Promise<Link> {
    for (const [event, handler] of this.handlers) link.on(event, handler);
    this.questions.attach(link);
    const timer = setTimeout(() => link.finish(`no handshake in ${HANDSHAKE / 1000} s`), HANDSHAKE);
    try {
      const hello = await link.request('initialize', {
        protocol: { majors: [PROTOCOL.major], level: PROTOCOL.level },
        client: { name: 'bssh-vscode', version: this.extension.version, kind: 'editor' },
        capabilities: { binaryFrames: true, prompts: ['hostKey', 'password', 'otp', 'passphrase', 'confirm'], log: environment && settings.logLevel() },
        environment,
      });
      if (hello.protocol?.major !== PROTOCOL.major) throw new Error(`this core speaks protocol ${hello.protocol?.major}, the extension ${PROTOCOL.major}`);
      link.window = hello.limits.window;
      link.maxData = hello.limits.maxData;
      this.hello = hello;
      this.log.info(`core ${hello.core.version}, protocol ${hello.protocol.major}.${hello.protocol.level}, pid ${hello.core.pid}`);
    } catch (error) {
      this.child?.kill('SIGKILL');
      link.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.link = link;
    link.onEnd((text) => this.gone(link, text));
    this.set('running');
    return link;
  }

  private gone(link: Link, text: string): void {
    if (this.link !== link) return;
    this.link = undefined;
    this.lastError = text;
    this.log.warn(text);
    if (this.ended) return;
    this.set('idle');
    this.lost.fire(text);
  }

  private fail(error: unknown): CallFailed {
    this.lastError = explain(error);
    this.log.warn(this.lastError);
    this.set('failed');
    return disconnected(this.lastError);
  }

  private set(state: State): void {
    this.state = state;
    if (!this.ended) this.changed.fire(state);
  }
}
