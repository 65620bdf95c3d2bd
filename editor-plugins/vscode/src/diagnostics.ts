/** What a report about a problem needs, without secrets. */
import * as vscode from 'vscode';
import type { App } from './app';
import { redact } from './log';
import { settings } from './settings';
import { explain } from './wire/failure';

export async function diagnostics(app: App): Promise<string> {
  const { core } = app;
  const version = String((app.context.extension.packageJSON as { version: string }).version);
  const stats = core.current() ? await core.request('core/stats', {}).then(JSON.stringify, explain) : 'no core';
  const problems = core.current() ? await core.ask('config/check', {}).then((checked) => checked.problems.map((one) => `${one.file}:${one.line}: ${one.message}`), (error: unknown) => [explain(error)]) : [];
  const configuration = settings.configuration().settings ?? {};
  const lines = [
    `bssh extension ${version}, VS Code ${vscode.version}, ${process.platform}-${process.arch}, node ${process.version}`,
    `core: ${core.state}${core.shared ? ' (shared)' : ''}, ${core.found ? `${core.found.path} (${core.found.origin})` : 'not started'}, ${core.hello ? `version ${core.hello.core.version}, protocol ${core.hello.protocol.major}.${core.hello.protocol.level}` : 'no handshake'}`,
    `last error: ${core.lastError ?? 'none'}`,
    `trusted: ${vscode.workspace.isTrusted}, files: ${Object.values(configuration).join(', ') || 'the usual ones'}`,
    `stats: ${stats}`,
    ...problems.map((text) => `configuration: ${text}`),
    '',
    ...app.log.tail(),
  ];
  return `${lines.map(redact).join('\n')}\n`;
}
