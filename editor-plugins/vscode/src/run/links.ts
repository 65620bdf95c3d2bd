/** `/path:line` and `/path:line:column` in what nodes wrote, as links to the nodes' files. */
import * as vscode from 'vscode';
import { uriOf } from '../files/address';
import { groups } from './gather';
import type { Run } from './run';
import { parts, type Results, SCHEME } from './results';

/** Of one document. */
const MOST = 20_000;

/** A place in a line of output. */
export interface Spot {
  start: number;
  end: number;
  path: string;
  line: number;
  column: number;
}

/** The place a line begins with (as grep writes it, spaces and all), or else names first. */
export function spotOf(text: string): Spot | undefined {
  const found = /^(\/[^:]+):(\d{1,9})(?::(\d{1,9}))?(?!\d)/d.exec(text) ?? /(?<=[\s"'(\[=])(\/[^\s:"'()]+):(\d{1,9})(?::(\d{1,9}))?(?!\d)/d.exec(text);
  const [start, end] = found?.indices?.[0] ?? [];
  if (!found || start === undefined || end === undefined) return undefined;
  const [, path = '', line, column] = found;
  return { start, end, path, line: Number(line), column: Number(column ?? 1) };
}

export class Links implements vscode.DocumentLinkProvider, vscode.Disposable {
  private readonly registration = vscode.languages.registerDocumentLinkProvider({ scheme: SCHEME }, this);

  constructor(private readonly results: Results) {}

  provideDocumentLinks(document: vscode.TextDocument): vscode.DocumentLink[] {
    const { number, name } = parts(document.uri);
    const run = this.results.run(number);
    if (!run) return [];
    const links: vscode.DocumentLink[] = [];
    const heads = name === 'gathered' ? headsOf(run) : [];
    let node = heads.length ? undefined : name;
    for (let at = 0; at < document.lineCount && links.length < MOST; at++) {
      const { text } = document.lineAt(at);
      // A group's place is its first node's file.
      if (heads.length && text.startsWith('==> ')) node = heads.shift() ?? node;
      const spot = node === undefined ? undefined : spotOf(text);
      if (!spot || node === undefined) continue;
      const target = uriOf(node, spot.path).with({ fragment: `L${spot.line},${spot.column}` });
      links.push(new vscode.DocumentLink(new vscode.Range(at, spot.start, at, spot.end), target));
    }
    return links;
  }

  dispose(): void {
    this.registration.dispose();
  }
}

function headsOf(run: Run): string[] {
  return groups(run).map((group) => group.names[0] ?? '');
}
