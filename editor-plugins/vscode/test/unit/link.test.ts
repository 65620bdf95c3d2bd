/** The link, against a core that is played here: order, credit, cancelling, secrets, ends. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { CancellationTokenSource } from 'vscode-jsonrpc/node';
import { Questions } from '../../src/questions';
import { CallFailed } from '../../src/wire/failure';
import { encodeData, encodeMessage, FrameDecoder } from '../../src/wire/frames';
import { Link } from '../../src/wire/link';
import { SecretText } from '../../src/wire/secret';

interface Message {
  id?: number | string;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
}

/** A link, and the other end of it. */
function pair() {
  const [toCore, fromCore] = [new PassThrough(), new PassThrough()];
  const logged: string[] = [];
  const seen: Message[] = [];
  const sent: Array<[number, number, string]> = [];
  const waiters: Array<() => void> = [];
  const wake = () => waiters.splice(0).forEach((one) => one());
  const decoder = new FrameDecoder({
    message: (text) => void (seen.push(JSON.parse(text) as Message), wake()),
    data: (frame) => void (sent.push([frame.stream, frame.offset, Buffer.from(frame.bytes).toString()]), wake()),
  });
  toCore.on('data', (piece: Buffer) => decoder.feed(piece));
  const link = new Link(fromCore, toCore, { trace: (text) => logged.push(text), warn: (text) => logged.push(text) });
  const say = (message: object) => fromCore.write(encodeMessage(JSON.stringify({ jsonrpc: '2.0', ...message })));
  /** Waits until the core has got a message. */
  const got = async (method: string | undefined): Promise<Message> => {
    for (;;) {
      const found = seen.find((message) => message.method === method);
      if (found) return seen.splice(seen.indexOf(found), 1)[0] as Message;
      await new Promise<void>((resolve) => waiters.push(resolve));
    }
  };
  return { link, say, got, sent, logged, fromCore, data: (stream: number, offset: number, text: string) => fromCore.write(encodeData({ stream, offset, bytes: Buffer.from(text) })) };
}

test('a stream that follows its answer at once loses nothing', async () => {
  const { link, got, fromCore } = pair();
  const opening = link.request('pty/open', { nodes: 'alpha' }).then((opened) => {
    const heard: string[] = [];
    return new Promise<string>((resolve) => {
      link.receive(opened.output, { data: (bytes) => heard.push(Buffer.from(bytes).toString()), ended: () => resolve(heard.join('')) });
    });
  });
  const { id, params } = await got('pty/open');
  assert.deepEqual(params, { nodes: 'alpha' });
  const answer = { jsonrpc: '2.0', id, result: { pty: 1, node: 'alpha', output: 3, input: 4 } };
  // In one piece: the worst that can happen.
  fromCore.write(Buffer.concat([
    encodeMessage(JSON.stringify(answer)),
    encodeData({ stream: 3, offset: 0, bytes: Buffer.from('first ') }),
    encodeMessage(JSON.stringify({ jsonrpc: '2.0', method: 'stream/data', params: { stream: 3, offset: 6, data: Buffer.from('second').toString('base64') } })),
    encodeMessage(JSON.stringify({ jsonrpc: '2.0', method: 'stream/end', params: { stream: 3, bytes: 12 } })),
  ]));
  assert.equal(await opening, 'first second');
});

test('credit is granted when half the window is taken, with absolute limits', async () => {
  const { link, got, data } = pair();
  link.receive(5, { data: () => undefined, window: 10 });
  data(5, 0, 'abcd');
  data(5, 4, 'ef');
  assert.deepEqual((await got('stream/grant')).params, { stream: 5, limit: 16 });
});

test('a paced stream is granted no faster than its pace', async () => {
  const { link, got, data } = pair();
  link.receive(5, { data: () => undefined, window: 1000, pace: 10_000 });
  const begun = Date.now();
  data(5, 0, 'x'.repeat(1000));
  await got('stream/grant');
  data(5, 1000, 'x'.repeat(1000));
  await got('stream/grant');
  assert.ok(Date.now() - begun >= 180, `${Date.now() - begun} ms for 200 ms of bytes`);
});

test('what is sent waits for its grant', async () => {
  const { link, say, got, sent } = pair();
  link.window = 4;
  link.write(9, Buffer.from('abcdefg'));
  link.end(9);
  assert.deepEqual(sent, [[9, 0, 'abcd']]);
  say({ method: 'stream/grant', params: { stream: 9, limit: 100 } });
  assert.deepEqual((await got('stream/end')).params, { stream: 9, bytes: 7 });
  assert.deepEqual(sent, [[9, 0, 'abcd'], [9, 4, 'efg']]);
});

test('an error is a CallFailed with its kind; cancelling says so to the core', async () => {
  const { link, say, got } = pair();
  const source = new CancellationTokenSource();
  const asked = link.request('fs/stat', { nodes: 'alpha', path: '/' }, source.token);
  const { id } = await got('fs/stat');
  source.cancel();
  assert.deepEqual((await got('$/cancelRequest')).params, { id });
  say({ id, error: { code: -32800, message: 'gone\u001b[31m', data: { kind: 'cancelled.byCaller', retryable: false } } });
  await assert.rejects(asked, (error: CallFailed) => error instanceof CallFailed && error.kind === 'cancelled.byCaller' && !error.message.includes('\u001b'));
});

test('an unknown answer and an unreadable message end nothing', async () => {
  const { link, say, got, fromCore } = pair();
  say({ id: 4711, result: {} });
  fromCore.write(encodeMessage('{nonsense'));
  const asked = link.request('core/ping', {});
  say({ id: (await got('core/ping')).id, result: { unixMs: 1 } });
  assert.deepEqual(await asked, { unixMs: 1 });
});

test('a secret is on the wire and nowhere else', async () => {
  const { link, say, got, logged } = pair();
  const secret = new SecretText('canary');
  link.answer('auth/prompt', async () => ({ outcome: 'answered', answers: { password: secret } }));
  say({ id: 'c1', method: 'auth/prompt', params: { prompt: 1, node: 'alpha', kind: 'password', title: 't', fields: [], attempt: 1 } });
  assert.deepEqual((await got(undefined)).result, { outcome: 'answered', answers: { password: 'canary' } });
  const printed = `${JSON.stringify({ secret })} ${String(secret)} ${(await import('node:util')).inspect(secret)} ${logged.join('\n')}`;
  assert.ok(!printed.includes('canary'), printed);
});

test('a confirmation is asked and withdrawn when somebody else has answered', async () => {
  const { link, say, got } = pair();
  const asked: string[] = [];
  const questions = new Questions({} as never, {} as never, { info: () => undefined } as never);
  questions.person = {
    choose: async (message) => (asked.push(message), asked.length === 1 ? 'Yes' : undefined),
    type: async (title, _prompt, hidden, mayRemember, token) => {
      asked.push(`${title} ${hidden} ${mayRemember}`);
      return new Promise((resolve) => token.onCancellationRequested(() => resolve(undefined)));
    },
  };
  questions.attach(link);
  say({ id: 'c1', method: 'auth/confirm', params: { prompt: 1, node: 'alpha', text: 'use key X?\u001b[2J' } });
  assert.deepEqual((await got(undefined)).result, { outcome: 'yes' });
  say({ id: 'c2', method: 'auth/confirm', params: { prompt: 2, node: 'alpha', text: 'again' } });
  assert.deepEqual((await got(undefined)).result, { outcome: 'cancelled' });
  const fields = [{ id: 'code', label: 'Code:', echo: true }];
  say({ id: 'c3', method: 'auth/prompt', params: { prompt: 3, node: 'alpha', hop: 'jump', kind: 'keyboardInteractive', title: 'OTP', fields, attempt: 1 } });
  say({ method: 'auth/promptDone', params: { prompt: 3 } });
  assert.deepEqual((await got(undefined)).result, { outcome: 'cancelled' });
  assert.deepEqual(asked, ['alpha: use key X?\ufffd[2J', 'alpha: again', 'alpha at jump: OTP false false']);
  assert.equal(questions.open, 0);
});

test('when the link ends, everybody who waits is told', async () => {
  const { link, got, fromCore } = pair();
  const asked = link.request('core/ping', {});
  const reset = new Promise<string>((resolve) => link.receive(3, { data: () => undefined, reset: resolve }));
  await got('core/ping');
  fromCore.destroy();
  await assert.rejects(asked, (error: CallFailed) => error.kind === 'disconnected');
  assert.equal(await reset, 'the core closed the link');
  await assert.rejects(link.request('core/ping', {}), (error: CallFailed) => error.kind === 'disconnected');
});
