/** A run as people read it: nodes with the same output and end are shown once.
 *
 * Pure: no editor, no core. The core folds the names. */
import { explainFailure, printable } from '../wire/failure';
import type { Run, RunNode } from './run';

export interface Verdict {
  text: string;
  /** Undefined while it goes on. */
  ok: boolean | undefined;
}

export interface Group {
  names: string[];
  verdict: Verdict;
  text: string;
}

/** How a node ended, in a few words. */
export function verdict(node: RunNode): Verdict {
  if (node.state !== 'ended') return { text: node.state, ok: undefined };
  const { exit, failure, killed } = node.ended ?? {};
  if (exit && 'status' in exit) return { text: exit.status === 0 ? 'ok' : `exit ${exit.status}`, ok: exit.status === 0 };
  if (exit && 'signal' in exit) return { text: `killed by ${printable(exit.signal)}`, ok: false };
  const doubt = killed === 'unconfirmed' ? ' (whether its processes are gone is not known)' : '';
  return { text: explainFailure(failure ?? {}) + doubt, ok: false };
}

/** A node's exit as a shell would say it: 128 + n for signals, 255 without an exit. */
export function exitCode(node: RunNode): number {
  const exit = node.ended?.exit;
  if (exit && 'status' in exit) return exit.status;
  return exit && 'signal' in exit ? 128 + (SIGNALS[exit.signal] ?? 0) : 255;
}

/** Numbers of signals, as everywhere. */
export const SIGNALS: Record<string, number> = { HUP: 1, INT: 2, QUIT: 3, ILL: 4, TRAP: 5, ABRT: 6, BUS: 7, FPE: 8, KILL: 9, USR1: 10, SEGV: 11, USR2: 12, PIPE: 13, ALRM: 14, TERM: 15 };

/** A node's output as text, with what is not shown counted. */
export function outputOf(node: RunNode): string {
  const text = Buffer.concat(node.output).toString('utf8').replaceAll('\r\n', '\n');
  return node.omitted ? `${text}\n(${node.omitted} more bytes are not shown)\n` : text;
}

/** Nodes with the same output and the same end: failures first, then the largest group. */
export function groups(run: Run): Group[] {
  const found = new Map<string, Group>();
  for (const node of run.nodes) {
    const [how, text] = [verdict(node), outputOf(node)];
    const key = `${how.text}\0${text}`;
    const group = found.get(key) ?? { names: [], verdict: how, text };
    group.names.push(node.name);
    found.set(key, group);
  }
  const rank = (group: Group) => (group.verdict.ok === false ? 0 : 1);
  return [...found.values()].sort((a, b) => rank(a) - rank(b) || b.names.length - a.names.length);
}

/** Nodes without an exit status 0. */
export function failedNodes(run: Run): string[] {
  return run.nodes.filter((node) => verdict(node).ok !== true).map((node) => node.name);
}

/** `3 nodes: 2 ok, 1 failed`. */
export function summary(run: Run): string {
  if (run.failed) return `failed: ${run.failed}`;
  const verdicts = run.nodes.map((node) => verdict(node).ok);
  const count = (wanted: boolean | undefined) => verdicts.filter((one) => one === wanted).length;
  const running = run.done ? '' : `, ${count(undefined)} running`;
  return `${run.nodes.length} nodes: ${count(true)} ok, ${count(false)} failed${running}`;
}

/** The whole run as one text. `names` are the folded names of the groups. */
export function gathered(run: Run, names: string[]): string {
  const parts = groups(run).map((group, at) => {
    const mark = group.verdict.ok === undefined ? '…' : group.verdict.ok ? '✓' : '✗';
    const head = `==> ${mark} ${names[at] ?? group.names.join(',')} (${group.names.length}): ${group.verdict.text}`;
    return `${head}\n${group.text}${group.text && !group.text.endsWith('\n') ? '\n' : ''}`;
  });
  return [`$ ${run.title}\n${run.order.targets}: ${summary(run)}\n`, ...parts].join('\n');
}
