/** The core's questions, put to the person: host keys, passwords, confirmations.
 *
 * A host key is asked about before anything secret is sent. An answer goes to the core; it is
 * kept (SecretStorage) only when the person says so. A key that has changed is never asked about:
 * the core refuses it. */
import * as vscode from 'vscode';
import type { Questions as CoreQuestions } from './core/core';
import type { Log } from './log';
import type { ConfirmAnswer, ConfirmQuestion, HostKeyAnswer, HostKeyQuestion, PromptAnswer, PromptField, PromptQuestion } from './protocol';
import { printable } from './wire/failure';
import type { Link } from './wire/link';
import { SecretText } from './wire/secret';

/** `SecretStorage` cannot list its keys in every version we run in. */
const INDEX = 'bssh.remembered';

/** An answer a person typed. */
export interface Typed {
  text: string;
  remember: boolean;
}

/** How a person is asked; tests put another one here. */
export interface Person {
  choose(message: string, detail: string, choices: string[]): Promise<string | undefined>;
  type(title: string, prompt: string, hidden: boolean, mayRemember: boolean, token: vscode.CancellationToken): Promise<Typed | undefined>;
}

export class Questions implements CoreQuestions {
  open = 0;
  person: Person = { choose, type };
  private readonly shown = new Map<number, vscode.CancellationTokenSource>();

  constructor(
    private readonly secrets: vscode.SecretStorage,
    private readonly memory: vscode.Memento,
    private readonly log: Log,
  ) {}

  attach(link: Link): void {
    link.answer('auth/hostKey', (question) => this.ask(question.prompt, () => this.hostKey(question)));
    link.answer('auth/prompt', (question) => this.ask(question.prompt, (token) => this.fields(question, token)));
    link.answer('auth/confirm', (question) => this.ask(question.prompt, () => this.confirm(question)));
    link.on('auth/promptDone', ({ prompt }) => this.shown.get(prompt)?.cancel());
    link.onEnd(() => {
      for (const source of this.shown.values()) source.cancel();
    });
  }

  /** Forgets every remembered answer; how many there were. */
  async forget(): Promise<number> {
    const keys = this.remembered();
    for (const key of keys) await this.secrets.delete(key);
    await this.memory.update(INDEX, []);
    return keys.length;
  }

  private async ask<T>(prompt: number, put: (token: vscode.CancellationToken) => Promise<T>): Promise<T> {
    const source = new vscode.CancellationTokenSource();
    this.shown.set(prompt, source);
    this.open += 1;
    try {
      return await put(source.token);
    } finally {
      this.open -= 1;
      this.shown.delete(prompt);
      source.dispose();
    }
  }

  private async hostKey(question: HostKeyQuestion): Promise<HostKeyAnswer> {
    const known = question.known?.length ? `\nThe same key is known by: ${printable(question.known.join(', '))}` : '';
    const detail = `${printable(question.key.type)} key\nfingerprint ${printable(question.key.fingerprint)}${known}\n\nCompare it with the node's own before you trust it.`;
    const message = `The host key of ${printable(question.host)} (${place(question)}) is not known.`;
    const choice = await this.person.choose(message, detail, ['Connect Once', 'Trust']);
    this.log.info(`host key of ${question.node}: ${choice ?? 'rejected'}`);
    if (choice === 'Trust') return { outcome: 'accept', scope: 'file' };
    return choice === 'Connect Once' ? { outcome: 'accept', scope: 'once' } : { outcome: 'reject' };
  }

  private async fields(question: PromptQuestion, token: vscode.CancellationToken): Promise<PromptAnswer> {
    const answers: Record<string, SecretText> = {};
    for (const field of question.fields) {
      const answer = await this.field(question, field, token);
      if (!answer) return { outcome: 'cancelled' };
      answers[field.id] = answer;
    }
    return { outcome: 'answered', answers };
  }

  private async field(question: PromptQuestion, field: PromptField, token: vscode.CancellationToken): Promise<SecretText | undefined> {
    // Codes are good once; and who typed `yes` did not type a secret.
    const mayRemember = !field.echo && ['password', 'passphrase', 'sudo'].includes(question.kind);
    const key = `bssh:${question.kind}:${question.node}:${question.hop ?? ''}:${question.title}:${field.id}`;
    const stored = mayRemember ? await this.secrets.get(key) : undefined;
    if (stored !== undefined && question.attempt <= 1) return new SecretText(stored);
    if (stored !== undefined) await this.secrets.delete(key);
    const again = question.attempt > 1 && question.kind !== 'keyboardInteractive' ? `(attempt ${question.attempt}) ` : '';
    const prompt = `${again}${printable(question.instructions ?? '')} ${printable(field.label)}`.trim();
    const typed = await this.person.type(`${place(question)}: ${printable(question.title)}`, prompt, !field.echo, mayRemember, token);
    if (!typed) return undefined;
    if (typed.remember) {
      await this.secrets.store(key, typed.text);
      await this.memory.update(INDEX, [...new Set([...this.remembered(), key])]);
    }
    return new SecretText(typed.text);
  }

  private async confirm(question: ConfirmQuestion): Promise<ConfirmAnswer> {
    const text = printable(question.text);
    const choice = await this.person.choose(text.startsWith(`${question.node} `) ? text : `${place(question)}: ${text}`, '', ['Yes', 'No']);
    return { outcome: choice === 'Yes' ? 'yes' : choice === 'No' ? 'no' : 'cancelled' };
  }

  private remembered(): string[] {
    return this.memory.get<string[]>(INDEX, []);
  }
}

function place(question: { node: string; hop?: string | null }): string {
  return question.hop ? `${printable(question.node)} at ${printable(question.hop)}` : printable(question.node);
}

async function choose(message: string, detail: string, choices: string[]): Promise<string | undefined> {
  return vscode.window.showWarningMessage(message, { modal: true, detail }, ...choices);
}

async function type(title: string, prompt: string, hidden: boolean, mayRemember: boolean, token: vscode.CancellationToken): Promise<Typed | undefined> {
  const box = vscode.window.createInputBox();
  let remember = false;
  const show = () => {
    const tooltip = remember ? 'Will be remembered in the system keyring' : 'Remember in the system keyring';
    box.buttons = mayRemember ? [{ iconPath: new vscode.ThemeIcon(remember ? 'pass-filled' : 'save'), tooltip }] : [];
    box.prompt = remember ? `${prompt} (will be remembered)` : prompt;
  };
  Object.assign(box, { title, password: hidden, ignoreFocusOut: true });
  show();
  try {
    return await new Promise<Typed | undefined>((resolve) => {
      box.onDidTriggerButton(() => {
        remember = !remember;
        show();
      });
      box.onDidAccept(() => resolve({ text: box.value, remember }));
      box.onDidHide(() => resolve(undefined));
      token.onCancellationRequested(() => resolve(undefined));
      box.show();
    });
  } finally {
    box.dispose();
  }
}
