/** Bytes to frames and back: Content-Length around JSON messages and raw data frames.
 *
 * Knows no stream and no process; `link` does. A data frame is
 * `B1 | kind u8 | reserved u16 | stream u32 | offset u64 | payload`, big-endian. */

/** A header longer than this is no header. */
const LONGEST_HEADER = 4096;
/** As `limits.maxFrame` of the core. */
const LARGEST_BODY = 16 * 1024 * 1024;
const DATA = 0xb1;
const DATA_HEADER = 16;

/** Raw bytes of a stream. */
export interface DataFrame {
  stream: number;
  offset: number;
  bytes: Uint8Array;
}

/** What a decoder finds, in order. */
export interface Frames {
  message(text: string): void;
  data(frame: DataFrame): void;
}

/** A JSON message as a frame. */
export function encodeMessage(text: string): Buffer {
  const body = Buffer.from(text, 'utf8');
  return Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`, 'latin1'), body]);
}

/** Bytes of a stream as a frame. */
export function encodeData(frame: DataFrame): Buffer {
  const head = Buffer.alloc(DATA_HEADER);
  head.writeUInt8(DATA, 0);
  head.writeUInt32BE(frame.stream, 4);
  head.writeBigUInt64BE(BigInt(frame.offset), 8);
  const size = DATA_HEADER + frame.bytes.length;
  return Buffer.concat([Buffer.from(`Content-Length: ${size}\r\n\r\n`, 'latin1'), head, frame.bytes]);
}

/** Finds whole frames in pieces of any size. */
export class FrameDecoder {
  private pieces: Buffer[] = [];
  private size = 0;
  private need: number | undefined;

  constructor(private readonly out: Frames) {}

  /** Throws when the bytes make no sense; then nothing more can be read. */
  feed(piece: Buffer): void {
    this.pieces.push(piece);
    this.size += piece.length;
    while (this.step());
  }

  private step(): boolean {
    if (this.need === undefined) {
      const buffer = this.joined();
      const ends = buffer.indexOf('\r\n\r\n');
      if (ends < 0) {
        if (buffer.length > LONGEST_HEADER) throw new Error('a header without an end');
        return false;
      }
      this.need = lengthOf(buffer.toString('latin1', 0, ends));
      this.keep(buffer.subarray(ends + 4));
    }
    if (this.size < this.need) return false;
    const buffer = this.joined();
    const body = buffer.subarray(0, this.need);
    this.keep(buffer.subarray(this.need));
    this.need = undefined;
    this.emit(body);
    return true;
  }

  private emit(body: Buffer): void {
    if (body[0] === DATA && body.length >= DATA_HEADER) {
      // Another kind is from a later level, and no reason to end the link.
      if (body[1] !== 0) return;
      const offset = Number(body.readBigUInt64BE(8));
      this.out.data({ stream: body.readUInt32BE(4), offset, bytes: body.subarray(DATA_HEADER) });
    } else if (body[0] === 0x7b) {
      this.out.message(body.toString('utf8'));
    }
  }

  private joined(): Buffer {
    const [first, ...others] = this.pieces;
    const buffer = others.length > 0 || !first ? Buffer.concat(this.pieces) : first;
    this.pieces = [buffer];
    return buffer;
  }

  private keep(rest: Buffer): void {
    this.pieces = rest.length ? [rest] : [];
    this.size = rest.length;
  }
}

function lengthOf(header: string): number {
  const length = Number(/^content-length:\s*(\d+)\s*$/im.exec(header)?.[1] ?? NaN);
  if (!(length <= LARGEST_BODY)) throw new Error('a frame of impossible size');
  return length;
}
