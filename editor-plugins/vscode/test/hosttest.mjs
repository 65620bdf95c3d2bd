// hosttest.mjs: runs out/host/index.js inside VS Code's real extension host, through headless Chromium, and exits with its result.
//
// As VS Code's own browser tests do: the payload names the extension and its tests, and the page calls codeAutomationLog and
// codeAutomationExit. URL_BASE, WS (the folder that is opened), LIMIT_MS, VERBOSE.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const extension = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');
const base = process.env.URL_BASE;
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, viewport: { width: 1280, height: 800 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = context.pages()[0] ?? (await context.newPage());
page.on('pageerror', (error) => console.log('page:', String(error).slice(0, 200)));
let code = 1;
const done = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error('the tests take too long')), Number(process.env.LIMIT_MS ?? 150_000));
  void page.exposeFunction('codeAutomationExit', (status) => resolve(status));
  void page.exposeFunction('codeAutomationLog', (_type, args) => {
    const text = args.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join(' ');
    if (process.env.VERBOSE || text.includes('[MOCHA]')) console.log(text.replace(/^.*\[MOCHA\] /s, ''));
  });
});
try {
  const authority = new URL(base).host;
  const payload = JSON.stringify([
    ['extensionDevelopmentPath', `vscode-remote://${authority}${extension}`],
    ['extensionTestsPath', `vscode-remote://${authority}${extension}/out/host/index.js`],
    ['skipWelcome', 'true'],
  ]);
  await page.goto(`${base}/?folder=${process.env.WS}&payload=${encodeURIComponent(payload)}`, { waitUntil: 'domcontentloaded' });
  code = await done;
} catch (error) {
  console.error(String(error));
} finally {
  await context.close().catch(() => {});
  fs.rmSync(profile, { recursive: true, force: true });
  process.exit(code);
}
