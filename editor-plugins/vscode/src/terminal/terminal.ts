/** A terminal on a node: VS Code's terminal on one side, a pty of the core on the other.
 *
 * A lost connection leaves the screen as it is, and Enter opens a new shell in place. VS Code has
 * no flow control for extension terminals, so the core is granted no more than xterm can take. */
import * as vscode from 'vscode';
import type { Core } from '../core/core';
import type { PtyExited } from '../protocol';
import { SIGNALS } from '../run/gather';
import { explain, explainFailure, printable } from '../wire/failure';

/** What xterm takes in a second, with some to spare (8 MiB/s were measured). */
const PACE = 6 * 1024 * 1024;
const WINDOW = 256 * 1024;
/** VS Code calls an exit that comes earlier a failed launch; milliseconds. */
const EARLY = 600;
/** Where nothing is known about the window. */
const SIZE = { columns: 80, rows: 24 };

export interface Place {
  node: string;
  command?: string;
  /** A pty that is there already, to look at it and take its input over. */
  pty?: number;
}

export class NodeTerminal implements vscode.Pseudoterminal {
  private readonly written = new vscode.EventEmitter<string>();
  readonly onDidWrite = this.written.event;
  private readonly closed = new vscode.EventEmitter<number | void>();
  readonly onDidClose = this.closed.event;
  private readonly renamed = new vscode.EventEmitter<string>();
  readonly onDidChangeName = this.renamed.event;

  pty: number | undefined;
  private input: number | undefined;
  private output: number | undefined;
  private state: 'opening' | 'open' | 'lost' | 'over' = 'opening';
  private size: vscode.TerminalDimensions = SIZE;
  private decoder = new TextDecoder('utf-8');
  private typed: string[] = [];
  private opened = Date.now();

  constructor(private readonly core: Core, readonly place: Place, private readonly terminals: Terminals) {}

  open(size: vscode.TerminalDimensions | undefined): void {
    this.size = size ?? SIZE;
    this.opened = Date.now();
    void this.connect();
  }

  close(): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.terminals.delete(this);
    const link = this.core.current();
    if (this.pty === undefined || !link) return;
    const { pty, output } = this;
    const attached = this.place.pty !== undefined && output !== undefined;
    void (attached ? link.request('pty/detach', { pty, output }) : link.request('pty/close', { pty })).catch(() => undefined);
  }

  /** Closes the tab; the pty goes on and can be attached to again. */
  detach(): boolean {
    const link = this.core.current();
    if (this.state !== 'open' || this.pty === undefined || this.output === undefined || !link) return false;
    this.state = 'over';
    this.terminals.delete(this);
    void link.request('pty/detach', { pty: this.pty, output: this.output }).catch(() => undefined);
    this.closed.fire();
    return true;
  }

  handleInput(text: string): void {
    const link = this.core.current();
    if (this.state === 'open' && this.input !== undefined && link) link.write(this.input, Buffer.from(text, 'utf8'));
    else if (this.state === 'opening') this.typed.push(text);
    else if (this.state === 'lost' && text.includes('\r')) void this.connect();
    else if (this.state === 'lost' && /[\x03\x04]/.test(text)) this.end(255);
  }

  setDimensions(size: vscode.TerminalDimensions): void {
    this.size = size;
    if (this.state === 'open' && this.pty !== undefined) this.resize(this.pty);
  }

  /** The core, or the connection to the node, has gone. */
  lose(text: string): void {
    if (this.state === 'over' || this.state === 'lost') return;
    [this.state, this.pty, this.input, this.output] = ['lost', undefined, undefined, undefined];
    // Whatever mode the lost program has left the terminal in.
    this.written.fire('\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[0m');
    this.say(`${text}. Enter opens a new shell here, Ctrl-D closes`);
  }

  exited(event: PtyExited): void {
    this.written.fire(this.decoder.decode());
    const { exit, failure } = event;
    if (exit && 'signal' in exit) {
      this.say(`killed by signal ${printable(exit.signal)}`);
      this.end(128 + (SIGNALS[exit.signal] ?? 0));
    } else if (exit && 'status' in exit) {
      this.end(exit.status);
    } else if (failure) {
      this.lose(explainFailure(failure));
    } else {
      this.end(undefined);
    }
  }

  private async connect(): Promise<void> {
    this.state = 'opening';
    this.decoder = new TextDecoder('utf-8');
    try {
      await (this.place.pty === undefined ? this.openPty() : this.attach(this.place.pty));
    } catch (error) {
      // A pty that has ended cannot be looked at again.
      this.place.pty = undefined;
      return this.lose(explain(error));
    }
    const typed = this.typed.splice(0).join('');
    if (typed) this.handleInput(typed);
  }

  private async openPty(): Promise<void> {
    const asked = this.size;
    const { node, command } = this.place;
    const opened = await this.core.ask('pty/open', { nodes: node, command, term: 'xterm-256color', cols: asked.columns, rows: asked.rows, window: WINDOW });
    this.take(opened.output, opened.pty, opened.input);
    if (asked !== this.size) this.resize(opened.pty);
  }

  private async attach(pty: number): Promise<void> {
    const attached = await this.core.request('pty/attach', { pty, from: 'replay', window: WINDOW });
    this.take(attached.output, pty, attached.input ?? undefined);
    this.resize(pty);
  }

  private take(output: number, pty: number, input: number | undefined): void {
    if ((this.state as string) === 'over') {
      // Closed while it was opening.
      void this.core.current()?.request('pty/close', { pty }).catch(() => undefined);
      return;
    }
    const data = (bytes: Uint8Array) => this.written.fire(this.decoder.decode(bytes, { stream: true }));
    this.core.current()?.receive(output, { data, window: WINDOW, pace: PACE });
    [this.state, this.pty, this.input, this.output] = ['open', pty, input, output];
    this.terminals.known(this, pty);
  }

  private resize(pty: number): void {
    const { columns: cols, rows } = this.size;
    void this.core.current()?.request('pty/resize', { pty, cols, rows }).catch(() => undefined);
  }

  private say(text: string): void {
    this.written.fire(`\r\n\x1b[2m[${this.place.node}: ${text}]\x1b[0m\r\n`);
  }

  private end(code: number | undefined): void {
    this.state = 'over';
    this.terminals.delete(this);
    const wait = code ? Math.max(0, EARLY - (Date.now() - this.opened)) : 0;
    setTimeout(() => this.closed.fire(code), wait);
  }
}

/** All terminals of the window. */
export class Terminals {
  private readonly all = new Set<NodeTerminal>();
  private readonly byPty = new Map<number, Set<NodeTerminal>>();
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onChange = this.changed.event;
  /** A node has answered. */
  onReached: (node: string) => void = () => undefined;

  constructor(private readonly core: Core) {
    core.on('pty/exited', (event) => {
      for (const one of this.byPty.get(event.pty) ?? []) one.exited(event);
      this.byPty.delete(event.pty);
      this.changed.fire();
    });
    core.onLost((text) => {
      for (const one of this.all) one.lose(text);
      this.byPty.clear();
      this.changed.fire();
    });
  }

  get open(): number {
    return this.all.size;
  }

  /** A terminal's options, for `createTerminal` and profiles. */
  options(place: Place): vscode.ExtensionTerminalOptions & { pty: NodeTerminal } {
    const pty = new NodeTerminal(this.core, place, this);
    this.all.add(pty);
    const color = new vscode.ThemeColor(COLORS[hash(place.node) % COLORS.length] ?? 'terminal.ansiBlue');
    return { name: place.node, pty, iconPath: new vscode.ThemeIcon('terminal'), color };
  }

  show(place: Place): vscode.Terminal {
    const terminal = vscode.window.createTerminal(this.options(place));
    terminal.show();
    return terminal;
  }

  known(terminal: NodeTerminal, pty: number): void {
    const set = this.byPty.get(pty) ?? new Set();
    this.byPty.set(pty, set.add(terminal));
    this.onReached(terminal.place.node);
    this.changed.fire();
  }

  delete(terminal: NodeTerminal): void {
    this.all.delete(terminal);
    this.changed.fire();
  }
}

/** A node has the same colour in every window. */
const COLORS = ['terminal.ansiBlue', 'terminal.ansiGreen', 'terminal.ansiMagenta', 'terminal.ansiCyan', 'terminal.ansiYellow'];

function hash(text: string): number {
  return [...text].reduce((sum, char) => (sum * 31 + (char.codePointAt(0) ?? 0)) >>> 0, 7);
}
