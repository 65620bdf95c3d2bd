/** Transfers: upload and download for the explorer.
 *
 * Bytes do not cross the link: the core reads and writes the local file itself. */
import * as vscode from 'vscode';
import type { Core } from '../core/core';
import type { NodeProgress, TransferParams, Transferred } from '../protocol';
import { explainFailure, printable } from '../wire/failure';

/** `from` takes patterns; these characters mean themselves in brackets. */
export function literal(text: string): string {
  return text.replace(/[[*?]/g, '[$&]').replaceAll('{node}', '[{]node}');
}

/** How a transfer went. */
export interface Outcome {
  files: number;
  bytes: number;
  failures: string[];
}

type Progress = (message: string, done: number, total: number) => void;

export class Transfers {
  constructor(private readonly core: Core) {}

  /** Runs a transfer to its end. */
  async transfer(params: TransferParams, progress?: Progress, token?: vscode.CancellationToken): Promise<Outcome> {
    const link = await this.core.open();
    const outcome: Outcome = { files: 0, bytes: 0, failures: [] };
    const nodes = new Map<number, NodeProgress>();
    const disposables: Array<{ dispose(): void }> = [];
    try {
      await new Promise<void>((resolve, reject) => {
        let id: number | undefined;
        link.onEnd((text) => reject(new Error(text)));
        disposables.push(
          link.on('transfer/node', (event) => {
            if (event.transfer === id && event.state === 'ended') outcome.failures.push(...failures(event.node, event));
          }),
          link.on('transfer/progress', (event) => {
            if (event.transfer !== id) return;
            // An event tells of the nodes that got on; the others are where they were.
            for (const node of event.nodes) nodes.set(node.index ?? 0, node);
            const sum = (of: (node: NodeProgress) => number | undefined) => [...nodes.values()].reduce((all, node) => all + (of(node) ?? 0), 0);
            progress?.(`${sum((node) => node.files)} files`, sum((node) => node.bytes), sum((node) => node.totalBytes));
          }),
          link.on('transfer/done', (event) => {
            if (event.transfer !== id) return;
            [outcome.files, outcome.bytes] = [event.files, event.bytes];
            resolve();
          }),
        );
        this.core.ask('transfer/start', params).then((started) => {
          id = started.transfer;
          const cancel = () => void link.request('transfer/cancel', { transfer: started.transfer }).catch(() => undefined);
          if (token?.isCancellationRequested) cancel();
          if (token) disposables.push(token.onCancellationRequested(cancel));
        }, reject);
      });
    } finally {
      for (const one of disposables) one.dispose();
    }
    return outcome;
  }
}

function failures(node: string, ended: Transferred): string[] {
  const faults = (ended.faults ?? []).map((fault) => `${node}: ${printable(String(typeof fault.path === 'string' ? fault.path : 'a name that is not UTF-8'))}: ${printable(fault.message ?? '')}`);
  if (faults.length === 0 && ended.failure) return [`${node}: ${explainFailure(ended.failure)}`];
  return faults;
}
