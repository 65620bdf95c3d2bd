/** Tasks of `type: "bssh"`: a command on a node or a group, with problem matchers.
 *
 * The output of one node is shown as it is, so that matchers see what the tool wrote; with several
 * nodes whole lines, each behind its node's name unless `prefix` is false. The task's exit code is
 * the greatest one. */
import * as vscode from 'vscode';
import { exitCode, summary, verdict } from './gather';
import type { Run, RunNode, Runs } from './run';

export const TYPE = 'bssh';

interface Definition extends vscode.TaskDefinition {
  targets?: string;
  command?: string;
  prefix?: boolean;
}

export class Tasks implements vscode.TaskProvider {
  constructor(private readonly runs: Runs) {}

  provideTasks(): vscode.Task[] {
    // What to run is written in tasks.json.
    return [];
  }

  resolveTask(task: vscode.Task): vscode.Task | undefined {
    const definition = task.definition as Definition;
    if (!definition.targets || !definition.command) return undefined;
    const scope = task.scope ?? vscode.TaskScope.Workspace;
    // VS Code only takes the very same definition object.
    return new vscode.Task(definition, scope, task.name, TYPE, execution(this.runs, definition), task.problemMatchers);
  }
}

/** A task of a command, without tasks.json. */
export function taskOf(runs: Runs, targets: string, command: string, name: string): vscode.Task {
  const definition: Definition = { type: TYPE, targets, command };
  return new vscode.Task(definition, vscode.TaskScope.Workspace, name, TYPE, execution(runs, definition));
}

function execution(runs: Runs, definition: Definition): vscode.CustomExecution {
  return new vscode.CustomExecution(async (resolved) => new TaskTerminal(runs, { ...definition, ...(resolved as Definition) }));
}

/** A longer line is shown in pieces. */
const LONGEST_LINE = 256 * 1024;

/** Splits one node's bytes into whole lines, at character borders. */
export class Lines {
  private readonly decoder = new TextDecoder('utf-8');
  private rest = '';

  take(bytes: Uint8Array): string[] {
    const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split('\n');
    this.rest = lines.pop() ?? '';
    if (this.rest.length > LONGEST_LINE) lines.push(...this.end());
    return lines;
  }

  end(): string[] {
    const last = this.rest + this.decoder.decode();
    this.rest = '';
    return last ? [last] : [];
  }
}

class TaskTerminal implements vscode.Pseudoterminal {
  private readonly written = new vscode.EventEmitter<string>();
  readonly onDidWrite = this.written.event;
  private readonly closed = new vscode.EventEmitter<number>();
  readonly onDidClose = this.closed.event;
  private readonly cancel = new vscode.CancellationTokenSource();
  private readonly lines = new Map<RunNode, Lines>();

  constructor(private readonly runs: Runs, private readonly definition: Definition) {}

  open(): void {
    void this.run();
  }

  close(): void {
    this.cancel.cancel();
  }

  /** Ctrl-C ends the remote processes. */
  handleInput(text: string): void {
    if (text.includes('\x03')) this.cancel.cancel();
  }

  private async run(): Promise<void> {
    const { targets = '', command = '' } = this.definition;
    let current: Run | undefined;
    const prefix = () => this.definition.prefix ?? (current?.nodes.length ?? 0) > 1;
    const write = (node: RunNode, lines: string[]) => {
      if (lines.length) this.written.fire(lines.map((line) => `${prefix() ? `${node.name}: ` : ''}${line.replace(/\r$/, '')}\r\n`).join(''));
    };
    const follower = {
      output: (node: RunNode, bytes: Uint8Array) => {
        const lines = this.lines.get(node) ?? new Lines();
        this.lines.set(node, lines);
        write(node, lines.take(bytes));
      },
      ended: (node: RunNode) => {
        write(node, this.lines.get(node)?.end() ?? []);
        const how = verdict(node);
        if (!how.ok) this.written.fire(`\x1b[31m${node.name}: ${how.text}\x1b[0m\r\n`);
      },
    };
    const run = await this.runs.start({ targets, command }, follower, (started) => (current = started), this.cancel.token);
    if (run.failed || run.nodes.length > 1) this.written.fire(`\x1b[2m${summary(run)}\x1b[0m\r\n`);
    this.closed.fire(run.failed ? 255 : Math.max(0, ...run.nodes.map(exitCode)));
  }
}
