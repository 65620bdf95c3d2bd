/** The output channel `bssh`, and what of it may be copied. Nothing secret gets here: messages are
 * logged by method and size, and what people or nodes wrote is redacted once more. */
import * as vscode from 'vscode';
import { printable } from './wire/failure';

/** Lines that `Copy diagnostics` takes along. */
const KEPT = 200;

/** Whatever looks like a secret in free text: `password=…`, private keys, tokens in URLs. */
export function redact(text: string): string {
  return text
    .replace(/-----BEGIN [^-]*PRIVATE KEY-----[\s\S]*?(-----END [^-]*-----|$)/g, '***')
    .replace(/\b(pass(word|phrase)?|secret|token|otp)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|\S+)/gi, '$1$3***')
    .replace(/(\/\/[^/:@\s]+):[^/@\s]+@/g, '$1:***@');
}

export class Log {
  readonly channel = vscode.window.createOutputChannel('bssh', { log: true });
  private readonly lines: string[] = [];

  trace(text: string): void {
    this.channel.trace(this.keep(text));
  }

  info(text: string): void {
    this.channel.info(this.keep(text));
  }

  warn(text: string): void {
    this.channel.warn(this.keep(text));
  }

  /** The last lines. */
  tail(): string[] {
    return [...this.lines];
  }

  dispose(): void {
    this.channel.dispose();
  }

  private keep(text: string): string {
    const line = redact(printable(text));
    this.lines.push(`${new Date().toISOString()} ${line}`);
    if (this.lines.length > KEPT) this.lines.shift();
    return line;
  }
}
