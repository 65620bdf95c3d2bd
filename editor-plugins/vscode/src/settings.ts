/** The extension's settings, as the protocol and the code want them. */
import * as os from 'node:os';
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Settings } from './protocol';

function get<T>(name: string, fallback: T): T {
  return vscode.workspace.getConfiguration('bssh').get<T>(name) ?? fallback;
}

function file(name: string): string | undefined {
  const value = get<string>(name, '').trim();
  if (!value) return undefined;
  return value.startsWith('~/') ? path.join(os.homedir(), value.slice(2)) : value;
}

export const settings = {
  /** The executable, if somebody chose one. */
  path: () => file('path'),
  /** What every call that touches the configuration carries. */
  configuration: (): { settings?: Settings } => {
    const [config, sshConfig] = [file('configFile'), file('sshConfigFile')];
    return config || sshConfig ? { settings: { config, sshConfig } } : {};
  },
  /** Whether the user's shared core is used if one runs. */
  shared: () => get<string>('core.shared', 'ifThere') === 'ifThere',
  logLevel: () => get<string>('core.logLevel', 'error'),
  /** How long a file operation may take, in milliseconds. */
  fileTimeout: () => get('files.timeout', 30) * 1000,
  /** Largest file that is opened, in bytes. */
  largestFile: () => get('files.maxSize', 64) * 1024 * 1024,
  /** Between two looks at open files and folders, in milliseconds; 0: never. */
  poll: () => get('files.pollInterval', 5) * 1000,
  fanout: () => get<number>('run.fanout', 0) || undefined,
  /** Bytes of output kept per node of a run. */
  maxOutput: () => get('run.maxOutput', 4) * 1024 * 1024,
  confirmAbove: () => get('run.confirmAbove', 20),
};
