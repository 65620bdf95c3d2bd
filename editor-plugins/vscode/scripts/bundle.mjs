// bundle.mjs [--production]: the extension (dist/), and without --production the tests (out/).
import { build } from 'esbuild';
import fs from 'node:fs';

const production = process.argv.includes('--production');
const base = { bundle: true, format: 'cjs', platform: 'node', target: 'node20', logLevel: 'warning' };

await build({
  ...base, entryPoints: ['src/extension.ts'], outfile: 'dist/extension.js', external: ['vscode'],
  minify: production, sourcemap: production ? false : 'linked',
});
if (!production) {
  const files = fs.readdirSync('test/unit').filter((name) => name.endsWith('.test.ts'));
  // Without an editor: a stub stands for it.
  await build({ ...base, entryPoints: files.map((name) => `test/unit/${name}`), outdir: 'out/unit', logOverride: { 'import-is-undefined': 'silent' }, alias: { vscode: './test/unit/vscode.ts' }, sourcemap: 'inline' });
  await build({ ...base, entryPoints: ['test/host/index.ts'], outfile: 'out/host/index.js', external: ['vscode', 'mocha'], sourcemap: 'inline' });
}
