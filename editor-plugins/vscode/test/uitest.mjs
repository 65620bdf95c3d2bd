// uitest.mjs: the installed extension as a person sees it, in headless Chromium, with screenshots in $SHOTS.
//
// Not for CI: it waits for pixels. URL_BASE, WS, LAB; VS Code runs without the driver (see serve.sh) and with the vsix installed.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const { URL_BASE: base, LAB: lab, SHOTS: shots = '.' } = process.env;
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, viewport: { width: 1280, height: 800 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(30_000);
const shot = (name) => page.screenshot({ path: path.join(shots, `${name}.png`) });
const quick = page.locator('.quick-input-widget input');

/** The palette does not ask again for commands that come later, so the icon is waited for first. */
async function command(text) {
  await page.keyboard.press('F1');
  await quick.first().fill(`>${text}`);
  await page.locator('.quick-input-list .monaco-list-row', { hasText: text }).first().waitFor();
  await page.keyboard.press('Enter');
}

async function answer(text) {
  await page.locator('.quick-input-widget').waitFor();
  await page.waitForTimeout(400);
  await page.keyboard.type(text);
  await page.waitForTimeout(400);
  await page.keyboard.press('Enter');
}

const steps = [
  ['nodes', async () => {
    await page.goto(`${base}/?folder=${process.env.WS}`, { waitUntil: 'domcontentloaded' });
    await page.locator('.activitybar a[aria-label^="bssh"]').click();
    await page.locator('[aria-label^="lab, 3 nodes"]').click();
    await page.locator('[aria-label^="node alpha"]').first().waitFor();
  }],
  ['run', async () => {
    await command('bssh: Run on Nodes…');
    await answer('@mixed');
    await answer('uname -s; uptime -p');
    await page.locator('[aria-label^="dead, "]').first().waitFor();
    await page.locator('.notification-toast', { hasText: '1 failed' }).waitFor();
  }],
  ['terminal', async () => {
    await command('bssh: Open Terminal on Node');
    await answer('alpha');
    await page.locator('.xterm-rows').waitFor();
    await page.waitForTimeout(1500);
    await page.keyboard.type('echo typed-$((40+2)); stty size\n');
    await page.locator('.xterm-rows', { hasText: 'typed-42' }).waitFor();
    const before = await page.locator('.xterm-rows').innerText();
    await page.setViewportSize({ width: 1000, height: 700 });
    await page.waitForTimeout(1000);
    await page.keyboard.type('stty size\n');
    await page.waitForTimeout(1500);
    const sizes = [...(await page.locator('.xterm-rows').innerText()).matchAll(/^(\d+)\s(\d+)\s*$/gm)].map((match) => match[0].trim());
    assert.ok(new Set(sizes).size > 1, `sizes before and after: ${sizes} in ${before}`);
    await page.setViewportSize({ width: 1280, height: 800 });
  }],
  ['host-key', async () => {
    fs.rmSync(`${lab}/known_asked`, { force: true });
    await command('bssh: Open Terminal on Node');
    await answer('asks');
    const dialog = page.locator('.monaco-dialog-box');
    await dialog.waitFor();
    assert.match(await dialog.innerText(), /The host key of \[127\.0\.0\.6\]:\d+ \(asks\) is not known[\s\S]*SHA256:/);
    await shot('host-key-dialog');
    await dialog.locator('.monaco-button', { hasText: 'Trust' }).click();
    await page.locator('.xterm-rows:visible').waitFor();
    for (let tries = 0; !fs.existsSync(`${lab}/known_asked`); tries++) {
      assert.ok(tries < 100, 'known_hosts has no line');
      await page.waitForTimeout(100);
    }
  }],
  ['password', async () => {
    await command('bssh: Open Terminal on Node');
    await answer('keyed');
    await page.locator('.quick-input-widget input[type=password]').waitFor();
    await shot('passphrase');
    await answer('canary-phrase');
    await page.waitForTimeout(2000);
  }],
  ['views', async () => {
    await page.locator('[aria-label="Forwards Section"]').click();
    await page.locator('[aria-label="Sessions and Jobs Section"]').click();
    await command('bssh: Add Forward…');
    await answer('alpha');
    await answer('Local');
    await answer('0:127.0.0.1:22');
    await page.locator('[aria-label^="forward local"]').first().waitFor();
    await command('bssh: Open Session…');
    await answer('beta');
    await page.locator('[aria-label^="beta: session"][aria-label*="ready"]').first().waitFor();
  }],
  ['walkthrough', async () => {
    await command('Welcome: Open Walkthrough...');
    await answer('Get started with bssh');
    await page.locator('.getting-started-step', { hasText: 'See your nodes' }).first().waitFor();
    await page.waitForTimeout(1500);
  }],
  ['several', async () => {
    const folders = [{ uri: `bssh://alpha${lab}/root`, name: 'alpha: root' }, { uri: `bssh://beta${lab}/root`, name: 'beta: root' }, { path: process.env.WS }];
    fs.writeFileSync(`${lab}/several.code-workspace`, JSON.stringify({ folders }));
    fs.mkdirSync(`${lab}/root/shared-by-all`, { recursive: true });
    await page.goto(`${base}/?workspace=${lab}/several.code-workspace`, { waitUntil: 'domcontentloaded' });
    await page.locator('.explorer-folders-view .monaco-list-row', { hasText: 'beta: root' }).first().click();
    await page.locator('.explorer-folders-view .monaco-list-row', { hasText: 'shared-by-all' }).first().waitFor();
  }],
  ['files', async () => {
    fs.mkdirSync(`${lab}/root/site`, { recursive: true });
    fs.writeFileSync(`${lab}/root/site/index.py`, 'print("one")\n');
    await page.goto(`${base}/?folder=${encodeURIComponent(`bssh://alpha${lab}/root/site`)}`, { waitUntil: 'domcontentloaded' });
    await page.locator('.explorer-folders-view [aria-label="index.py"], .explorer-folders-view .monaco-list-row', { hasText: 'index.py' }).first().dblclick();
    await page.locator('.monaco-editor .view-line', { hasText: 'print' }).first().click();
    await page.keyboard.press('End');
    await page.keyboard.type(' # edited');
    await page.keyboard.press('Control+S');
    for (let tries = 0; !fs.readFileSync(`${lab}/root/site/index.py`, 'utf8').includes('# edited'); tries++) {
      assert.ok(tries < 100, 'nothing was saved');
      await page.waitForTimeout(100);
    }
  }],
  ['conflict', async () => {
    await page.keyboard.type(' mine');
    fs.writeFileSync(`${lab}/root/site/index.py`, fs.readFileSync(`${lab}/root/site/index.py`, 'utf8').replace('edited', 'theirs'));
    await page.keyboard.press('Control+S');
    await page.locator('.notification-toast', { hasText: 'was changed on alpha since it was opened' }).first().waitFor();
    await page.waitForTimeout(1000);
  }],
];

let failed = 0;
for (const [name, act] of steps) {
  const begun = Date.now();
  try {
    await act();
    console.log(`ok   ${name} (${Date.now() - begun} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${name}\n${String(error).slice(0, 1500)}`);
    await page.keyboard.press('Escape');
  }
  await shot(name);
}
await context.close().catch(() => {});
fs.rmSync(profile, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
