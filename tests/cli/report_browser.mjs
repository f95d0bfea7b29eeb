// Opens pages in headless Chromium at two widths: report_browser.mjs CHROMIUM FOLDER_OF_NODE_MODULES SHOTS PAGE...   (SHOTS: folder for screenshots, or - for none)
// Fails on a console message, a request, a page wider than the window, a script, or a violation that axe-core finds.
import { createRequire } from 'module';
import fs from 'fs';
import path from 'path';
const [chromium_path, modules, shots, ...pages] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'x.js'));
const { chromium } = require('playwright-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({ executablePath: chromium_path, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
let bad = 0;
for (const page_path of pages)
  for (const [width, scheme] of [[1280, 'light'], [1280, 'dark'], [390, 'light'], [390, 'dark']]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, bypassCSP: true });
    const page = await context.newPage();
    const messages = [], requests = [];
    page.on('console', m => messages.push(m.text()));
    page.on('pageerror', e => messages.push(String(e)));
    page.on('request', r => requests.push(r.url()));
    await page.goto('file://' + page_path);
    const facts = await page.evaluate(() => ({ over: document.documentElement.scrollWidth - innerWidth, scripts: document.scripts.length, charts: document.querySelectorAll('svg').length }));
    if (shots !== '-' && (width === 1280) === (scheme === 'light'))
      await page.screenshot({ path: path.join(shots, `${path.basename(page_path, '.html')}-${width}.png`), fullPage: true });
    await page.evaluate(axe);
    const violations = (await page.evaluate(() => axe.run())).violations.map(v => `${v.id} x${v.nodes.length}: ${v.nodes[0].html.slice(0, 100)}`);
    const name = `${path.basename(page_path)} at ${width} px, ${scheme}`;
    const faults = [...messages.map(m => 'console: ' + m), ...requests.slice(1).map(r => 'request: ' + r), ...violations.map(v => 'axe: ' + v)];
    if (facts.over > 0) faults.push(`${facts.over} px wider than the window`);
    if (facts.scripts) faults.push(`${facts.scripts} scripts`);
    console.log(faults.length ? `FAIL ${name}: ${faults.join('; ')}` : `ok   ${name} (${facts.charts} pictures)`);
    bad += faults.length;
    await context.close();
  }
await browser.close();
process.exit(bad ? 1 : 0);
