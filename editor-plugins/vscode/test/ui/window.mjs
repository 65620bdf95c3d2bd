// window.mjs: VS Code in headless Chromium, and the moves of a person. Everything waits for what is on the screen, nothing for time.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const { SHOTS: shots = '.' } = process.env;
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, viewport: { width: 1280, height: 800 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
export const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(45_000);
export const shot = (name) => page.screenshot({ path: path.join(shots, `${name}.png`) });

export const quick = page.locator('.quick-input-widget:visible');
const rows = quick.locator('.quick-input-list .monaco-list-row');
export const toast = (hasText) => page.locator('.notification-toast', { hasText }).first();
export const dialog = page.locator('.monaco-dialog-box');

/** Opens the window, until the extension's icon is there: the palette does not ask again for commands that come later. */
export async function open(query) {
  await page.goto(`${process.env.URL_BASE}/?${query}`, { waitUntil: 'domcontentloaded' });
  await page.locator('.activitybar a[aria-label^="bssh"]').waitFor();
}

export async function command(text) {
  await page.keyboard.press('F1');
  await quick.locator('input').first().fill(`>${text}`);
  await quick.locator(`.monaco-list-row[aria-label^="${text}"]`).first().click();
}

/** Answers the question of this title; what was typed has to be the proposal, if there are proposals. */
export async function answer(title, text) {
  await quick.locator('.quick-input-title', { hasText: title }).waitFor();
  const input = quick.locator('input[type=text], input[type=password]').first();
  await input.fill(text);
  if (await rows.count()) await quick.locator('.monaco-list-row.focused', { hasText: text }).waitFor();
  await input.press('Enter');
}

/** Types into the terminal that has the focus until its screen has the text. */
export async function typed(line, wanted) {
  await page.locator('.terminal-wrapper.active .xterm.focus').waitFor();
  await page.keyboard.type(`${line}\n`);
  await page.locator('.terminal-wrapper.active .xterm-rows', { hasText: wanted }).waitFor();
}

export const screen = () => page.locator('.terminal-wrapper.active .xterm-rows').innerText();

export async function until(what, condition) {
  for (const end = Date.now() + 30_000; !(await condition()); ) {
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Goes through the steps, with a picture of each; exits with 1 if one failed. */
export async function walk(steps) {
  let failed = 0;
  for (const [name, act] of steps) {
    const begun = Date.now();
    try {
      await act();
      console.log(`ok   ${name} (${Date.now() - begun} ms)`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${name}\n${String(error?.stack ?? error).slice(0, 2000)}`);
      await shot(`${name}-failed`);
      await page.keyboard.press('Escape');
    }
    await shot(name);
  }
  await context.close().catch(() => {});
  fs.rmSync(profile, { recursive: true, force: true });
  process.exit(failed ? 1 : 0);
}
