// Appearance and accessibility: both colour schemes, a narrow window, the keyboard, axe.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Project, enter, launch, screenshot } from "./support.mjs";

const AXE = fs.readFileSync(path.resolve(import.meta.dirname, "node_modules/axe-core/axe.min.js"), "utf8");
const SLUG = "001-sourdough-starter";

let browser;
let project;

before(async () => {
  browser = await launch();
  project = new Project("bakery")
    .feature(SLUG, {
      "data.json": "{\"loaves\": [1, true, \"rye\"]}",
      "contracts/api.yaml": "openapi: 3.1.0 # version\ninfo: {title: \"Bread\"}\n",
      "research/notes.md": "# Notes\n\n> quoted\n\n```json\n{\"a\": 1}\n```\n\n[link](https://example.org)\n",
    })
    .feature("002-oven-schedule", { "plan.md": null })
    .feature("003-allergen-labels")
    .feature("004-delivery-routes", { "spec.md": null, "tasks.md": null })
    .feature("005-price-list", { "meta.json": "{\"mission\": \"unheard-of\"}\n" })
    .feature("006-seasonal-menu")
    .feature("007-a-name-that-is-so-long-that-no-narrow-window-can-show-it-on-one-line-whatever-it-does");
  await project.start();
  project.run("baseline", "accept", "--all");
  project.write(`kitty-specs/${SLUG}/spec.md`, "# Sourdough starter\n\nThe starter is **fed** every morning, and twice on Fridays.\n\n| day | feedings |\n| --- | --- |\n| Monday | 1 |\n| Friday | 2 |\n\n- [x] flour\n- [ ] water\n");
  project.write(`kitty-specs/${SLUG}/new.md`, "# New\n");
  project.remove(`kitty-specs/${SLUG}/tasks.md`);
  project.write("kitty-specs/006-seasonal-menu/plan.md", "# Another plan\n");
});
after(async () => {
  await browser.close();
  await project.close();
});

/** Opens every view in turn and calls `check` with its name. */
async function tour(page, check) {
  await page.waitForSelector(".features .badge:has-text('drifted: error')");
  await check("overview");
  await page.click(`.features >> text=${SLUG}`);
  await page.waitForSelector(".rows .row:has-text('input.spec.main')");
  await check("artifacts");
  for (const [key, sign] of [["input.spec.main", "table"], ["data.json", ".key"], ["api.yaml", ".comment"], ["notes.md", "blockquote"]]) {
    await page.click(`.rows .row:has-text('${key}')`);
    await page.waitForSelector(`.detail .rendered ${sign}`);
    await check(`artifact-${key}`);
  }
  await page.click(".detail .close");
  await page.click(".tabs >> text=Drift");
  await page.waitForSelector(".differences");
  await check("drift");
  await page.click("text=Accept as baseline");
  await page.waitForSelector("dialog[open]");
  await check("confirm");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
  await page.click(".tabs >> text=History");
  await page.waitForSelector(".timeline li");
  await check("history");
  await page.evaluate(() => dispatchEvent(new Event("session-ended")));
  await page.waitForSelector(".locked input");
  await check("locked");
}

async function violations(page) {
  // Evaluated through the debugger, because the page's policy blocks injected scripts.
  const found = await page.evaluate(`(() => { ${AXE}; return axe.run(document); })()`);
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
}

for (const colorScheme of ["light", "dark"]) {
  for (const [name, width] of [["wide", 1280], ["narrow", 400]]) {
    test(`${colorScheme} and ${name}: nothing overflows, and axe reports no violation`, async () => {
      const options = { colorScheme, viewport: { width, height: 800 } };
      const { context, page, problems } = await enter(browser, project, options);
      await tour(page, async (view) => {
        // During a transition axe would measure intermediate colours.
        await page.waitForFunction(() => document.getAnimations().every((it) => it.playState !== "running"));
        await screenshot(page, `${view}-${colorScheme}-${name}`);
        const out = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(out <= 0, `${view} is ${out} px wider than the window`);
        assert.deepEqual(await violations(page), [], view);
      });
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const light = Number(/\d+/.exec(ground)[0]) > 128;
      assert.equal(light, colorScheme === "light", ground);
      assert.deepEqual(problems, []);
      await context.close();
    });
  }
}

test("everything is reachable with the keyboard alone", async () => {
  const { context, page, problems } = await enter(browser, project);
  await page.waitForSelector(".features a");
  const focused = () => page.evaluate(() => {
    const element = document.activeElement;
    return element.id || element.textContent.trim() || element.className;
  });
  const until = async (wanted) => {
    for (let at = 0; at < 60; at += 1) {
      await page.keyboard.press("Tab");
      if (await focused() === wanted) return;
    }
    assert.fail(`${wanted} is not reached; at ${await focused()}`);
  };
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to content");
  await until(SLUG);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".rows .row");
  await until("required");
  await page.keyboard.press("Space");
  await page.waitForURL(/required=1/);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.waitForSelector(".grid:focus");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".detail .content");
  await page.keyboard.press("Escape");
  await page.waitForSelector(".grid:focus");
  await page.focus(".tabs a");
  await until("Drift");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".differences");
  await until("Accept as baseline");
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
  assert.equal(await focused(), "Accept as baseline", "the focus returns to where it was");
  assert.deepEqual(problems, []);
  await context.close();
});
