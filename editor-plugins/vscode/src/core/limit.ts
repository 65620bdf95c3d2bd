/** A time limit as a cancellation token; its clock stands still while a person is asked. */
import * as vscode from 'vscode';

/** How exact it is, in milliseconds. */
const TICK = 250;

export class Limit implements vscode.Disposable {
  over = false;
  private readonly source = new vscode.CancellationTokenSource();
  private readonly timer: NodeJS.Timeout;

  private left: number;

  constructor(private readonly ms: number, paused: () => boolean) {
    this.left = ms;
    this.timer = setInterval(() => {
      if (paused()) return;
      this.left -= TICK;
      if (this.left > 0) return;
      clearInterval(this.timer);
      this.over = true;
      this.source.cancel();
    }, TICK);
  }

  /** Something has got on: the time begins anew. */
  renew(): void {
    this.left = this.ms;
  }

  get token(): vscode.CancellationToken {
    return this.source.token;
  }

  dispose(): void {
    clearInterval(this.timer);
    this.source.dispose();
  }
}
