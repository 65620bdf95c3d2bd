/** Commands about nodes: connecting, explaining, terminals, forwards, sessions, jobs. */
import * as vscode from 'vscode';
import type { App } from '../app';
import { askNode, askTargets } from '../ask';
import { addressOf } from '../files/address';
import type { ForwardEntry, ForwardKind } from '../protocol';
import { printable } from '../wire/failure';
import type { Job } from '../views/jobs';
import type { NodeItem } from '../views/nodes';

/** One word for any POSIX shell, and for csh and fish. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A login shell in a folder, whatever the login shell is. */
export function shellIn(path: string): string {
  return `exec /bin/sh -c 'cd -- "$1" && exec "\${SHELL:-/bin/sh}" -l' sh ${quoted(path)}`;
}

async function explainNode(app: App, node: string): Promise<void> {
  const found = await app.nodes.explain(node);
  const head = [
    `${found.node}: ${found.user}@${found.host} port ${found.port}`,
    ...(found.hops?.length ? [`through ${found.hops.join(' → ')}`] : []),
    ...(found.warnings ?? []).map((text) => `warning: ${text}`),
  ];
  const width = Math.max(...found.values.map((value) => value.keyword.length));
  const lines = found.values.map((value) => `${value.keyword.padEnd(width)}  ${value.value}  (${value.origin}${value.status === 'applied' ? '' : `, ${value.status}`})`);
  await app.documents.show(`explain ${node}`, `${[...head, '', ...lines].map(printable).join('\n')}\n`);
}

const KINDS: Array<vscode.QuickPickItem & { forward: ForwardKind; example: string }> = [
  { label: 'Local (-L)', description: 'a port here leads to the node’s side', forward: 'local', example: '8080:localhost:80' },
  { label: 'Remote (-R)', description: 'a port on the node leads here', forward: 'remote', example: '9090:localhost:3000' },
  { label: 'Dynamic (-D)', description: 'a SOCKS proxy here, out of the node', forward: 'dynamic', example: '1080' },
];

async function addForward(app: App, nodes: string[]): Promise<void> {
  const node = await askNode(app, nodes, 'Forward through which node?');
  const kind = node && (await vscode.window.showQuickPick(KINDS, { title: `Forward through ${node}` }));
  if (!node || !kind) return;
  const prompt = '[bind:]port:host:hostport as after ssh’s flag; port 0 is a free one';
  const spec = await vscode.window.showInputBox({ title: kind.label, prompt, placeHolder: kind.example });
  if (!spec) return;
  const bound = await app.forwards.open(node, kind.forward, spec);
  const copy = 'Copy Address';
  void vscode.window.showInformationMessage(`Forward through ${node}: ${printable(bound)}`, copy).then((answer) => {
    if (answer) void vscode.env.clipboard.writeText(bound);
  });
}

async function runInSession(app: App, session: number, given?: string): Promise<void> {
  const command = given ?? (await vscode.window.showInputBox({ title: 'Run in Session', prompt: 'Its directory and environment are kept' }));
  if (!command) return;
  const said = await app.sessions.run(session, command);
  app.jobs.refresh();
  await app.documents.show(`session ${session}`, `$ ${command}\n${said.output}\n(${said.verdict}, now in ${said.cwd})\n`);
}

/** Command ids and what they do. */
export function nodeCommands(app: App): Record<string, (...args: never[]) => unknown> {
  const chosen = (item?: NodeItem, selected?: NodeItem[]) => app.nodesView.chosen(item, selected);
  return {
    'bssh.refresh': () => app.nodesView.refresh(),
    'bssh.connect': async (item?: NodeItem, selected?: NodeItem[]) => {
      const nodes = await chosen(item, selected);
      const targets = await askTargets(app, nodes, 'Connect to which nodes?');
      if (targets) await app.nodes.connect(nodes.length ? nodes : await app.nodes.resolve(targets));
    },
    'bssh.disconnect': async (item?: NodeItem, selected?: NodeItem[]) => app.nodes.disconnect(await chosen(item, selected)),
    'bssh.explain': async (item?: NodeItem) => {
      const node = await askNode(app, await chosen(item), 'Explain which node?');
      if (node) await explainNode(app, node);
    },
    'bssh.copyName': async (item?: NodeItem, selected?: NodeItem[]) => vscode.env.clipboard.writeText((await chosen(item, selected)).join(',')),
    'bssh.uncheckAll': () => {
      for (const node of [...app.nodesView.checked]) app.nodesView.setChecked(node, false);
    },
    'bssh.terminal': async (item?: NodeItem | string, selected?: NodeItem[]) => {
      const nodes = typeof item === 'string' ? [item] : await chosen(item, selected);
      if (nodes.length > 1) for (const node of nodes) app.terminals.show({ node });
      const node = nodes.length > 1 ? undefined : await askNode(app, nodes, 'A terminal on which node?');
      return node ? app.terminals.show({ node }) : undefined;
    },
    'bssh.terminalHere': async (uri: vscode.Uri) => {
      const { node, path } = addressOf(uri);
      const stat = await vscode.workspace.fs.stat(uri);
      const folder = stat.type & vscode.FileType.Directory ? path : path.replace(/\/[^/]*$/, '') || '/';
      return app.terminals.show({ node, command: shellIn(folder) });
    },
    'bssh.terminal.detach': () => {
      const options = vscode.window.activeTerminal?.creationOptions;
      const pty = options && 'pty' in options ? (options.pty as { detach?(): boolean }) : undefined;
      if (!pty?.detach?.()) void vscode.window.showInformationMessage('The active terminal is not on a node.');
      app.jobs.refresh();
    },
    'bssh.forward.add': async (item?: NodeItem) => addForward(app, await chosen(item)),
    'bssh.forward.copy': (entry: ForwardEntry) => vscode.env.clipboard.writeText(entry.bound),
    'bssh.forward.close': (entry: ForwardEntry) => app.forwards.close(entry),
    'bssh.job.attach': (job: Job) => (job.kind === 'pty' ? app.terminals.show({ node: job.entry.node, pty: job.entry.pty }) : undefined),
    'bssh.job.kill': (job: Job) => app.jobs.kill(job),
    'bssh.session.open': async (item?: NodeItem, selected?: NodeItem[]) => {
      const targets = await askTargets(app, await chosen(item, selected), 'A session on which nodes?');
      if (!targets) return;
      const { lost } = await app.sessions.open(targets);
      app.jobs.refresh();
      if (lost.length) void vscode.window.showErrorMessage(`No session: ${lost.join('; ')}`);
    },
    'bssh.session.run': (job: Job, command?: string) => (job.kind === 'session' ? runInSession(app, job.entry.session, command) : undefined),
  };
}
