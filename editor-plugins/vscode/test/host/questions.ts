/** What the core asks, and in which order; what is remembered. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { App } from '../../src/app';
import type { Person } from '../../src/questions';
import { exitCode } from '../../src/run/gather';
import { activated, lab } from './editor';

/** With a fresh core and a person who gives these answers. */
async function answering<T>(person: Partial<Person>, act: (app: App) => Promise<T>): Promise<T> {
  const { app } = await activated();
  await app.core.restart();
  const before = app.questions.person;
  app.questions.person = { choose: async (message) => assert.fail(message), type: async (title) => assert.fail(title), ...person };
  try {
    return await act(app);
  } finally {
    app.questions.person = before;
  }
}

async function codeOf(app: App, targets: string, command: string): Promise<number> {
  const [node] = (await app.runs.start({ targets, command })).nodes;
  return node ? exitCode(node) : 255;
}

/** What sshd has seen of a node's address: connections, and whether one got as far as naming a user. */
function seen(address: string): { connections: number; users: number } {
  const log = fs.readFileSync(path.join(lab, 'log'), 'utf8');
  const ports = [...log.matchAll(new RegExp(`^Connection from \\S+ port (\\d+) on ${address.replaceAll('.', '\\.')} `, 'gm'))].map((match) => match[1]);
  const users = ports.filter((port) => new RegExp(`(user|for) \\S+ (from )?127\\S+ port ${port}\\b`).test(log));
  return { connections: ports.length, users: users.length };
}

export function questionsSuite(): void {
  describe('questions', () => {
    it('a host key comes first: before it is trusted nothing secret is asked for or sent', async () => {
      const known = path.join(lab, 'known_stranger');
      fs.rmSync(known, { force: true });
      const asked: string[] = [];
      const person = (answer?: string): Partial<Person> => ({
        choose: async (message, detail) => (asked.push(`key ${message} ${detail}`), answer),
        type: async (title) => (asked.push(`secret ${title}`), { text: 'canary-phrase', remember: false }),
      });
      assert.equal(await answering(person(), (app) => codeOf(app, 'stranger', 'true')), 255);
      assert.match(asked.join('\n'), /^key The host key of \[127\.0\.0\.9\]:\d+ \(stranger\) is not known[\s\S]*SHA256:/);
      assert.equal(asked.length, 1);
      assert.deepEqual(seen('127.0.0.9'), { connections: 1, users: 0 });
      assert.equal(await answering(person('Connect Once'), (app) => codeOf(app, 'stranger', 'true')), 0);
      assert.deepEqual(asked.slice(1).map((one) => one.split(' ')[0]), ['key', 'secret']);
      assert.deepEqual(seen('127.0.0.9'), { connections: 2, users: 1 });
      assert.ok(!fs.existsSync(known));
    });

    it('a passphrase is kept in SecretStorage only when asked to, and forgotten on demand', async () => {
      const { app } = await activated();
      let times = 0;
      const type = (remember: boolean): Partial<Person> => ({ type: async () => (times++, { text: 'canary-phrase', remember }) });
      const index = () => app.context.globalState.get<string[]>('bssh.remembered', []);
      assert.equal(await answering(type(false), () => codeOf(app, 'keyed', 'true')), 0);
      assert.deepEqual([times, index()], [1, []]);
      assert.equal(await answering(type(true), () => codeOf(app, 'keyed', 'true')), 0);
      const [key] = index();
      assert.deepEqual([times, index().length, await app.context.secrets.get(key ?? '')], [2, 1, 'canary-phrase']);
      assert.equal(await answering({}, () => codeOf(app, 'keyed', 'true')), 0);
      assert.equal(await app.questions.forget(), 1);
      assert.equal(await app.context.secrets.get(key ?? ''), undefined);
      assert.equal(await answering(type(false), () => codeOf(app, 'keyed', 'true')), 0);
      assert.deepEqual([times, index()], [3, []]);
      assert.ok(!app.log.tail().join('\n').includes('canary'));
    });

    it('a remembered secret that is wrong is asked for again, and forgotten', async () => {
      const { app } = await activated();
      const answers = ['wrong', 'canary-phrase'];
      const person: Partial<Person> = { type: async () => ({ text: answers.shift() ?? assert.fail('asked too often'), remember: answers.length > 0 }) };
      assert.equal(await answering(person, () => codeOf(app, 'keyed', 'true')), 0);
      const [key] = app.context.globalState.get<string[]>('bssh.remembered', []);
      assert.equal(await app.context.secrets.get(key ?? ''), undefined);
      await app.questions.forget();
    });

    it('a node that uses the forwarded agent is confirmed each time', async () => {
      const sign = 'd=$(mktemp -d) && cd "$d" && echo x > f && ssh-add -L > k && ssh-keygen -q -Y sign -n git -f k f; s=$?; rm -rf "$d"; exit $s';
      const said: string[] = [];
      const person = (answer: string): Partial<Person> => ({ choose: async (message, _detail, choices) => (said.push(message), choices.includes(answer) ? answer : assert.fail(choices.join())) });
      assert.equal(await answering(person('Yes'), (app) => codeOf(app, 'lends', sign)), 0);
      assert.match(said.join(), /^lends wants to sign something in the namespace git, with your key SHA256:\S+ \("user_key"\)\. Allow it\?$/);
      assert.notEqual(await answering(person('No'), (app) => codeOf(app, 'lends', sign)), 0);
      assert.equal(said.length, 2);
    });
  });
}
