/** Errors of calls and failures of nodes, as people read them. */
import type { CallError, ErrorData, Failure } from '../protocol';

/** A call that was answered with an error. */
export class CallFailed extends Error {
  readonly code: number;
  readonly data: ErrorData;

  constructor(error: { code: number; message: string; data?: unknown }) {
    super(printable(error.message));
    this.name = 'CallFailed';
    this.code = error.code;
    this.data = (error.data ?? {}) as ErrorData;
  }

  /** The stable key, e.g. `fs.notFound`. */
  get kind(): string {
    return this.data.kind ?? '';
  }
}

/** Text from a node or the core in one line, without control characters, and without the links
 * (commands, even) that VS Code makes of `[text](target)` in messages. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  const plain = text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, '\ufffd').replace(/\s*\n\s*/g, ' ');
  return plain.replaceAll('](', '] (');
}

function withPlace(message: string, hop?: string | null, hint?: string | null): string {
  const where = hop ? `at ${printable(hop)}: ` : '';
  return `${where}${printable(message)}${hint ? ` (${printable(hint)})` : ''}`;
}

/** What, where, and what to do. */
export function explain(error: unknown): string {
  if (error instanceof CallFailed) return withPlace(error.message, error.data.hop, error.data.hint);
  return error instanceof Error ? printable(error.message) : printable(String(error));
}

/** A node's failure: phase, cause, advice. */
export function explainFailure(failure: Failure): string {
  return `[${printable(failure.phase ?? '?')}] ${withPlace(failure.message ?? '', failure.hop, failure.hint)}`;
}

/** The error for whoever still waits when the link is gone. */
export function disconnected(text: string): CallFailed {
  const error: CallError = { code: 1070, message: text, data: { kind: 'disconnected', retryable: true } };
  return new CallFailed(error);
}
