/** The suites, run by mocha inside the extension host. `hosttest.mjs` prints the lines with [MOCHA]. */
import Mocha from 'mocha';
import { filesSuite } from './files';
import { questionsSuite } from './questions';
import { runsSuite } from './runs';
import { terminalsSuite } from './terminals';

/** Nothing that works takes this long, also on a machine that is busy; milliseconds. */
const TIMEOUT = 60_000;

class Reporter extends Mocha.reporters.Base {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const say = (text: string) => console.log(`[MOCHA] ${text}`);
    runner.on('pass', (test) => say(`ok   ${test.fullTitle()} (${test.duration} ms)`));
    runner.on('fail', (test, error: Error) => say(`not ok ${test.fullTitle()}\n${error.stack ?? error.message}`));
    runner.on('end', () => say(`${runner.stats?.passes} passed, ${runner.stats?.failures} failed`));
  }
}

export async function run(): Promise<void> {
  const mocha = new Mocha({ ui: 'bdd', timeout: TIMEOUT, reporter: Reporter, grep: process.env['ONLY'] ?? '' });
  mocha.suite.emit('pre-require', globalThis, '', mocha);
  runsSuite();
  questionsSuite();
  terminalsSuite();
  filesSuite();
  await new Promise<void>((resolve, reject) => {
    mocha.run((failures) => (failures ? reject(new Error(`${failures} tests failed`)) : resolve()));
  });
}
