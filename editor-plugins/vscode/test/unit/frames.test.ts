/** Bytes to frames and back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeData, encodeMessage, FrameDecoder } from '../../src/wire/frames';

function decode(pieces: Buffer[]): unknown[] {
  const seen: unknown[] = [];
  const decoder = new FrameDecoder({
    message: (text) => seen.push(text),
    data: ({ stream, offset, bytes }) => seen.push([stream, offset, Buffer.from(bytes).toString('latin1')]),
  });
  for (const piece of pieces) decoder.feed(piece);
  return seen;
}

test('frames are found wherever the pieces end', () => {
  const bytes = Buffer.from('a\0b\r\n\r\n\xff', 'latin1');
  const whole = Buffer.concat([encodeMessage('{"a":"ü"}'), encodeData({ stream: 7, offset: 5_000_000_000, bytes }), encodeMessage('{"b":2}')]);
  const wanted = ['{"a":"ü"}', [7, 5_000_000_000, 'a\0b\r\n\r\n\xff'], '{"b":2}'];
  assert.deepEqual(decode([whole]), wanted);
  assert.deepEqual(decode([...whole].map((byte) => Buffer.from([byte]))), wanted);
  for (let cut = 1; cut < whole.length; cut++) assert.deepEqual(decode([whole.subarray(0, cut), whole.subarray(cut)]), wanted);
});

test('other headers are ignored, other kinds of frames are skipped', () => {
  const later = encodeData({ stream: 1, offset: 0, bytes: Buffer.from('x') });
  later[later.indexOf(0xb1) + 1] = 9;
  assert.deepEqual(decode([Buffer.from('X: y\r\ncontent-length: 2\r\n\r\n{}'), later, Buffer.from('Content-Length: 3\r\n\r\n[1]'), encodeMessage('{}')]), ['{}', '{}']);
});

test('what is no frame is an error', () => {
  for (const text of ['Content-Length: x\r\n\r\n', 'Content-Length: 99999999999\r\n\r\n', 'X: 1\r\n\r\n', 'x'.repeat(5000)]) {
    assert.throws(() => decode([Buffer.from(text)]), /frame|header/, text.slice(0, 30));
  }
});
