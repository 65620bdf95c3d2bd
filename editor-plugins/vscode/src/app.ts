/** Everything the extension has, made once; commands get it as one value. */
import * as vscode from 'vscode';
import { Core } from './core/core';
import { Documents } from './documents';
import { Files } from './files/provider';
import { Transfers } from './files/transfer';
import { Log } from './log';
import { Nodes } from './nodes';
import { Questions } from './questions';
import { Links } from './run/links';
import { Results } from './run/results';
import { Runs } from './run/run';
import { Sessions } from './session';
import { Terminals } from './terminal/terminal';
import { ForwardsView } from './views/forwards';
import { JobsView } from './views/jobs';
import { NodesView } from './views/nodes';

export class App {
  readonly log = new Log();
  readonly questions: Questions;
  readonly core: Core;
  readonly runs: Runs;
  readonly nodes: Nodes;
  readonly files: Files;
  readonly transfers: Transfers;
  readonly terminals: Terminals;
  readonly sessions: Sessions;
  readonly documents = new Documents();
  readonly results: Results;
  readonly nodesView: NodesView;
  readonly forwards: ForwardsView;
  readonly jobs: JobsView;

  constructor(readonly context: vscode.ExtensionContext) {
    const version = String((context.extension.packageJSON as { version: string }).version);
    this.questions = new Questions(context.secrets, context.globalState, this.log);
    this.core = new Core({ path: context.extensionPath, version }, this.log, this.questions);
    this.runs = new Runs(this.core);
    this.nodes = new Nodes(this.core, this.runs);
    this.files = new Files(this.core);
    this.transfers = new Transfers(this.core);
    this.terminals = new Terminals(this.core);
    this.files.onReached = (node) => this.nodes.reached(node);
    this.terminals.onReached = (node) => this.nodes.reached(node);
    this.sessions = new Sessions(this.core);
    this.results = new Results(this.core, this.runs);
    this.nodesView = new NodesView(this.nodes);
    this.forwards = new ForwardsView(this.core);
    this.jobs = new JobsView(this.core);
    context.subscriptions.push(new Links(this.results), this.jobs, this.forwards, this.nodesView, this.results, this.documents, this.files, this.nodes, this.runs, this.core, this.log);
  }
}
