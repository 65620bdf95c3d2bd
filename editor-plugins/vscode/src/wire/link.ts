/** The link to a core: typed requests in both directions, events, and streams with credit.
 *
 * vscode-jsonrpc does ids, cancellation and dispatch; the reader and the writer are ours, because
 * of the raw data frames. A data frame goes through the same queue as messages, so the order of
 * the wire is the order of the handlers. `core` starts it and says hello. */
import type { Readable, Writable } from 'node:stream';
import {
  AbstractMessageReader,
  AbstractMessageWriter,
  createMessageConnection,
  type CancellationToken,
  type DataCallback,
  type Disposable,
  type Message,
  type MessageConnection,
  type MessageReader,
  type MessageWriter,
  ResponseError,
} from 'vscode-jsonrpc/node';
import type { Events, Methods } from '../protocol';
import { CallFailed, disconnected } from './failure';
import { type DataFrame, encodeData, encodeMessage, FrameDecoder } from './frames';
import { SecretText } from './secret';

type Wanted<Direction extends string> = { [M in keyof Methods]: Methods[M]['to'] extends Direction ? M : never }[keyof Methods];
export type CoreMethod = Wanted<'core'>;
export type FrontendMethod = Wanted<'frontend'>;
export type Params<M extends keyof Methods> = Methods[M]['params'];
export type Result<M extends keyof Methods> = Methods[M]['result'];
export type EventName = keyof Events;

/** Who takes a stream's bytes. */
export interface Receiver {
  data(bytes: Uint8Array): void;
  ended?(): void;
  reset?(text: string): void;
  /** The first credit, if the call that made the stream named one. */
  window?: number;
  /** At most so many bytes a second are granted. */
  pace?: number;
}

interface Reception extends Receiver {
  window: number;
  limit: number;
  taken: number;
  /** A paced stream had so many bytes at that time. */
  since: number;
  paced: number;
}

interface Sender {
  sent: number;
  limit: number;
  queue: Uint8Array[];
  ending: boolean;
}

/** Credit of a stream where nothing was agreed. */
const WINDOW = 1024 * 1024;
/** How long the owner of the process has to name the reason of an end, in milliseconds. */
const GRACE = 500;
const DATA_METHOD = 'bssh/dataFrame';

/** What goes over the wire, for the log: method and size only. */
export interface WireLog {
  trace(text: string): void;
  warn(text: string): void;
}

class FrameReader extends AbstractMessageReader implements MessageReader {
  constructor(private readonly input: Readable, private readonly log: WireLog) {
    super();
  }

  listen(callback: DataCallback): Disposable {
    const decoder = new FrameDecoder({
      message: (text) => {
        let message: Message & { method?: string };
        try {
          message = JSON.parse(text) as Message & { method?: string };
        } catch {
          return this.log.warn(`an unreadable message of ${text.length} characters`);
        }
        this.log.trace(`<- ${message.method ?? 'answer'} (${text.length})`);
        callback(message);
      },
      data: (frame) => callback({ jsonrpc: '2.0', method: DATA_METHOD, params: [frame] } as Message),
    });
    const take = (piece: Buffer) => {
      try {
        decoder.feed(piece);
      } catch (error) {
        this.input.off('data', take);
        this.fireError(error);
        this.fireClose();
      }
    };
    this.input.on('data', take);
    this.input.on('error', (error) => this.fireError(error));
    this.input.on('close', () => this.fireClose());
    return { dispose: () => this.input.off('data', take) };
  }
}

/** The only place that reveals secrets. */
function reveal(this: unknown, key: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[key];
  return original instanceof SecretText ? original.reveal() : value;
}

class FrameWriter extends AbstractMessageWriter implements MessageWriter {
  constructor(private readonly output: Writable, private readonly log: WireLog) {
    super();
    output.on('error', (error) => this.fireError(error));
    output.on('close', () => this.fireClose());
  }

  async write(message: Message): Promise<void> {
    const text = JSON.stringify(message, reveal);
    this.log.trace(`-> ${(message as { method?: string }).method ?? 'answer'} (${text.length})`);
    this.send(encodeMessage(text));
  }

  send(frame: Buffer): void {
    if (!this.output.destroyed && !this.output.writableEnded) this.output.write(frame);
  }

  end(): void {
    this.output.end();
  }
}

/** One core's link. */
export class Link {
  /** Credit of streams nobody named a window for; `initialize` says. */
  window = WINDOW;
  maxData = 65536;
  /** Why it is over. */
  closed: string | undefined;

  private readonly connection: MessageConnection;
  private readonly writer: FrameWriter;
  private readonly receptions = new Map<number, Reception>();
  private readonly senders = new Map<number, Sender>();
  private readonly listeners = new Map<string, Set<(params: never) => void>>();
  private readonly pending = new Set<(error: Error) => void>();
  private readonly endings: Array<(text: string) => void> = [];

  constructor(input: Readable, output: Writable, private readonly log: WireLog) {
    this.writer = new FrameWriter(output, log);
    const quiet = { error: log.warn, warn: log.warn, info: () => undefined, log: () => undefined };
    this.connection = createMessageConnection(new FrameReader(input, log), this.writer, quiet);
    this.connection.onNotification(DATA_METHOD, (frame: DataFrame) => this.take(frame.stream, frame.bytes));
    this.connection.onNotification((method, params) => this.event(method, params as Record<string, never>));
    this.connection.onError(([error]) => log.warn(`link: ${error.message}`));
    // Whoever owns the process knows better why, and says so in a moment.
    this.connection.onClose(() => setTimeout(() => this.finish('the core closed the link'), GRACE));
    this.connection.listen();
  }

  /** Asks. The error is a `CallFailed` in any case. */
  async request<M extends CoreMethod>(method: M, params: Params<M>, token?: CancellationToken): Promise<Result<M>> {
    if (this.closed !== undefined) throw disconnected(this.closed);
    return new Promise<Result<M>>((resolve, reject) => {
      this.pending.add(reject);
      const done = () => this.pending.delete(reject);
      const failed = (error: unknown) => {
        done();
        if (error instanceof ResponseError) reject(new CallFailed(error));
        else reject(this.closed === undefined ? error : disconnected(this.closed));
      };
      const answered = (result: Result<M>) => {
        done();
        resolve(result);
      };
      const sent = token ? this.connection.sendRequest<Result<M>>(method, params as object, token) : this.connection.sendRequest<Result<M>>(method, params as object);
      sent.then(answered, failed);
    });
  }

  /** Answers the core's questions of one kind. */
  answer<M extends FrontendMethod>(method: M, handler: (params: Params<M>) => Promise<Result<M>>): void {
    this.connection.onRequest(method, (params: Params<M>) => handler(params));
  }

  on<E extends EventName>(event: E, handler: (params: Events[E]['params']) => void): Disposable {
    const set = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, set);
    set.add(handler as (params: never) => void);
    return { dispose: () => set.delete(handler as (params: never) => void) };
  }

  /** Called once, with the reason, when the link is over. */
  onEnd(handler: (text: string) => void): void {
    if (this.closed !== undefined) handler(this.closed);
    else this.endings.push(handler);
  }

  /** Takes a stream. Has to be said before anything else is awaited: its bytes are right behind. */
  receive(stream: number, receiver: Receiver): void {
    const window = receiver.window ?? this.window;
    const { data, ended, reset, pace } = receiver;
    this.receptions.set(stream, { data, ended, reset, pace, window, limit: window, taken: 0, since: Date.now(), paced: 0 });
  }

  /** Refuses the rest of a stream. */
  refuse(stream: number): void {
    if (!this.receptions.delete(stream)) return;
    const error = { code: -32800, message: 'not wanted any more' };
    void this.connection.sendNotification('stream/reset', { stream, error });
  }

  /** A stream we send on begins with this credit. */
  begin(stream: number, credit: number): void {
    this.sender(stream).limit = credit;
  }

  /** Ends a stream we send on before all was said. */
  abandon(stream: number): void {
    if (!this.senders.delete(stream)) return;
    void this.connection.sendNotification('stream/reset', { stream, error: { code: -32800, message: 'given up' } });
  }

  /** Bytes of a stream that have been sent, or none of a stream that is over. */
  sent(stream: number): number | undefined {
    return this.senders.get(stream)?.sent;
  }

  /** Sends on a stream as far as the core has granted; the rest follows its grants. */
  write(stream: number, bytes: Uint8Array): void {
    const sender = this.sender(stream);
    if (bytes.length) sender.queue.push(bytes);
    this.flush(stream, sender);
  }

  /** No more bytes on a stream. */
  end(stream: number): void {
    const sender = this.sender(stream);
    sender.ending = true;
    this.flush(stream, sender);
  }

  /** Ends the link; the core ends its work and then itself. */
  close(): void {
    this.writer.end();
  }

  /** Everybody who waits is told, once. */
  finish(text: string): void {
    if (this.closed !== undefined) return;
    this.closed = text;
    const error = disconnected(text);
    for (const reject of this.pending) reject(error);
    for (const reception of this.receptions.values()) reception.reset?.(text);
    for (const handler of this.endings) handler(text);
    this.pending.clear();
    this.receptions.clear();
    this.senders.clear();
    this.connection.dispose();
  }

  private event(method: string, params: Record<string, never>): void {
    const stream = Number(params['stream']);
    if (method === 'stream/data') {
      this.take(stream, Buffer.from(String(params['data'] ?? ''), 'base64'));
    } else if (method === 'stream/end' || method === 'stream/reset') {
      const reception = this.receptions.get(stream);
      this.receptions.delete(stream);
      this.senders.delete(stream);
      if (method === 'stream/end') reception?.ended?.();
      else reception?.reset?.((params['error'] as { message?: string } | undefined)?.message ?? 'reset');
    } else if (method === 'stream/grant') {
      const sender = this.sender(stream);
      sender.limit = Math.max(sender.limit, Number(params['limit']));
      this.flush(stream, sender);
    }
    for (const handler of this.listeners.get(method) ?? []) {
      try {
        handler(params as never);
      } catch (error) {
        this.log.warn(`${method}: ${String(error)}`);
      }
    }
  }

  private take(stream: number, bytes: Uint8Array): void {
    const reception = this.receptions.get(stream);
    if (!reception) return;
    reception.taken += bytes.length;
    reception.data(bytes);
    if (reception.limit - reception.taken > reception.window / 2) return;
    const limit = reception.taken + reception.window;
    reception.limit = limit;
    const early = reception.pace ? this.early(reception, reception.pace) : 0;
    if (early > 5) setTimeout(() => this.grant(stream, limit), early);
    else this.grant(stream, limit);
  }

  /** How long a paced stream is ahead of its pace, in milliseconds. */
  private early(reception: Reception, pace: number): number {
    const due = reception.since + ((reception.taken - reception.paced) / pace) * 1000;
    // A quiet time is no credit for a flood.
    if (due < Date.now()) [reception.since, reception.paced] = [Date.now(), reception.taken];
    return due - Date.now();
  }

  private grant(stream: number, limit: number): void {
    if (this.closed === undefined && this.receptions.has(stream)) {
      void this.connection.sendNotification('stream/grant', { stream, limit });
    }
  }

  private sender(stream: number): Sender {
    const known = this.senders.get(stream);
    if (known) return known;
    const sender: Sender = { sent: 0, limit: this.window, queue: [], ending: false };
    this.senders.set(stream, sender);
    return sender;
  }

  private flush(stream: number, sender: Sender): void {
    for (let first = sender.queue[0]; first && sender.sent < sender.limit; first = sender.queue[0]) {
      const size = Math.min(first.length, sender.limit - sender.sent, this.maxData);
      this.writer.send(encodeData({ stream, offset: sender.sent, bytes: first.subarray(0, size) }));
      sender.sent += size;
      if (size === first.length) sender.queue.shift();
      else sender.queue[0] = first.subarray(size);
    }
    if (sender.ending && sender.queue.length === 0 && this.senders.delete(stream)) {
      void this.connection.sendNotification('stream/end', { stream, bytes: sender.sent });
    }
  }
}
