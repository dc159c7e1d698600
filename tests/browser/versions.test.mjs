// Differences, versions and restoring, while files change.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Project, enter, launch, screenshot, wait } from "./support.mjs";

const AXE = fs.readFileSync(path.resolve(import.meta.dirname, "node_modules/axe-core/axe.min.js"), "utf8");
const SLUG = "001-bread";
const SPEC = `kitty-specs/${SLUG}/spec.md`;

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

/** Waits until all versions are stored. */
const stored = (project) => wait("all versions", () => {
  project.run("rescan", "--json");
  return JSON.parse(project.run("history", "status", "--json")).backlog === 0;
});

async function violations(page) {
  const found = await page.evaluate(`(() => { ${AXE}; return axe.run(document); })()`);
  return found.violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.target).join(", ")}`);
}

/** Presses Tab until a button to restore that matches the selector has the focus. */
async function tabTo(page, selector) {
  const hasFocus = (selector) =>
    document.activeElement.matches(selector) && document.activeElement.textContent.includes("Restore");
  for (let presses = 0; presses < 200; presses += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(hasFocus, selector)) return;
  }
  assert.fail(`Tab does not reach ${selector}`);
}

test("a difference is read, a deleted artifact's last content is seen, and it is restored", async () => {
  const hostile = "# Spec\n\n<script>window.reportProblem('ran')</script> \u001b[31m\u202e one two\r\n";
  const project = new Project().feature(SLUG, { "spec.md": hostile });
  await project.start();
  try {
    await stored(project);
    project.run("baseline", "accept", SLUG);
    const { context, page, problems } = await enter(browser, project, { viewport: { width: 400, height: 800 } });
    await page.click(`.features >> text=${SLUG}`);
    await page.click(".tabs >> text=Drift");
    await page.waitForSelector("button:has-text('Accept as baseline')");

    project.write(SPEC, hostile.replace("two", "2"));
    await page.waitForSelector(".diff .added:has-text('one 2')");
    assert.equal(await page.textContent(".diff .added mark"), "2");
    assert.match(await page.textContent(".diff .removed"), /^-<script>.*\\u\{1b\}\[31m\\u\{202e\} one two\\u\{d\}/);
    assert.deepEqual(await violations(page), []);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0);
    await screenshot(page, "diff-narrow");

    await stored(project);
    project.remove(SPEC);
    await page.waitForSelector(".changes summary:has-text('spec.md: missing')");
    await page.click(".tabs >> text=Artifacts");
    await page.click(".rows .row:has-text('input.spec.main')");
    await page.waitForSelector(".versions h4:has-text('Last content of')");
    assert.match(await page.textContent(".versions pre"), /one 2/);
    assert.deepEqual(await violations(page), []);

    // By keyboard alone.
    await tabTo(page, ".versions button");
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog[open]");
    assert.deepEqual(await violations(page), []);
    await tabTo(page, "dialog button");
    await page.keyboard.press("Enter");
    await wait("the restored file", () => fs.existsSync(path.join(project.root, SPEC)));
    assert.equal(fs.readFileSync(path.join(project.root, SPEC), "utf8"), hostile.replace("two", "2"));
    await page.waitForSelector(".detail .badge:has-text('present')");
    await screenshot(page, "versions-narrow");
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});
