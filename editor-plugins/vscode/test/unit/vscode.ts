/** Stands for the editor in unit tests: what the tested modules touch, and no more. */
/* eslint-disable @typescript-eslint/no-explicit-any */
export class Disposable {
  constructor(private readonly act: () => void) {}
  dispose(): void {
    this.act();
  }
}

export class EventEmitter<T> {
  private readonly handlers = new Set<(value: T) => void>();
  readonly event = (handler: (value: T) => void) => {
    this.handlers.add(handler);
    return { dispose: () => this.handlers.delete(handler) };
  };
  fire(value: T): void {
    for (const handler of [...this.handlers]) handler(value);
  }
  dispose(): void {
    this.handlers.clear();
  }
}

export class CancellationTokenSource {
  private readonly emitter = new EventEmitter<void>();
  readonly token = { isCancellationRequested: false, onCancellationRequested: this.emitter.event };
  cancel(): void {
    this.token.isCancellationRequested = true;
    this.emitter.fire();
  }
  dispose(): void {
    this.emitter.dispose();
  }
}

export class Uri {
  private constructor(readonly scheme: string, readonly authority: string, readonly path: string) {}
  static from(parts: { scheme: string; authority?: string; path?: string }): Uri {
    return new Uri(parts.scheme, parts.authority ?? '', parts.path ?? '');
  }
  static joinPath(uri: Uri, ...names: string[]): Uri {
    const joined = [...uri.path.split('/'), ...names].filter((one) => one && one !== '.');
    const path = joined.reduce<string[]>((all, one) => (one === '..' ? all.slice(0, -1) : [...all, one]), []);
    return new Uri(uri.scheme, uri.authority, `/${path.join('/')}`);
  }
  /** As VS Code: the authority loses its case. */
  toString(): string {
    return `${this.scheme}://${this.authority.toLowerCase()}${encodeURI(this.path)}`;
  }
}

export class FileSystemError extends Error {
  private constructor(readonly code: string, what?: unknown) {
    super(String(what));
  }
  static FileNotFound = (what?: unknown) => new FileSystemError('FileNotFound', what);
  static FileExists = (what?: unknown) => new FileSystemError('FileExists', what);
  static NoPermissions = (what?: unknown) => new FileSystemError('NoPermissions', what);
  static Unavailable = (what?: unknown) => new FileSystemError('Unavailable', what);
}

export const ProgressLocation = { Window: 10, Notification: 15 };
export const FileType = { Unknown: 0, File: 1, Directory: 2, SymbolicLink: 64 };
export const FileChangeType = { Changed: 1, Created: 2, Deleted: 3 };

/** What `getConfiguration('bssh')` answers. */
export const configuration: Record<string, unknown> = {};
export const workspace = {
  isTrusted: true,
  workspaceFolders: undefined as any,
  getConfiguration: () => ({ get: (name: string) => configuration[name] }),
};
export const window = {
  state: { focused: true },
  withProgress: async (_options: unknown, act: (progress: unknown, token: unknown) => Promise<unknown>) => act({ report() {} }, new CancellationTokenSource().token),
  createOutputChannel: () => ({ trace() {}, info() {}, warn() {}, dispose() {} }),
};
export class ThemeColor {
  constructor(readonly id: string) {}
}
export class ThemeIcon {
  constructor(readonly id: string) {}
}
