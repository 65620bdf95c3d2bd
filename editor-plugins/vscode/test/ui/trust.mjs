// trust.mjs: a folder that nobody trusts brings neither an executable nor a configuration along.
//
// As walk.mjs, with workspace trust on. EVIL is the folder; its settings name EVIL/bssh, which leaves EVIL/started if it is run.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { answer, command, open, page, toast, walk } from './window.mjs';

const { EVIL: evil } = process.env;
const group = (name) => page.locator(`[aria-label^="${name}, "]`).first();

async function runsOnAlpha(word) {
  await command('bssh: Run on Nodes…');
  await answer('Run on which nodes?', 'alpha');
  await answer('Run on alpha', `echo ${word}`);
  await page.locator('.monaco-editor .view-line', { hasText: word }).first().waitFor();
  assert.ok(!fs.existsSync(`${evil}/started`), 'the folder\'s executable was run');
}

await walk([
  ['untrusted', async () => {
    await open(`folder=${evil}`);
    await page.locator('.statusbar-item', { hasText: 'Restricted Mode' }).waitFor();
    await page.locator('.activitybar a[aria-label^="bssh"]').click();
    await group('ssh_config').waitFor();
    assert.equal(await group('intruder').count(), 0);
    await runsOnAlpha('restricted');
    assert.equal(await toast('').count(), 0);
  }],
  ['trusted', async () => {
    await command('Workspaces: Manage Workspace Trust');
    await page.locator('.workspace-trust-editor .monaco-button', { hasText: 'Trust' }).first().click();
    await page.locator('.workspace-trust-editor', { hasText: 'You trust this folder' }).waitFor();
    // Now its config.yaml counts, without a new window. Who says which executable is run is still the user alone.
    await group('intruder').waitFor();
    await open(`folder=${evil}`);
    await page.locator('.activitybar a[aria-label^="bssh"]').click();
    await group('intruder').waitFor();
    await runsOnAlpha('granted');
  }],
]);
