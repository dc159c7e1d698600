// User interaction with the page while files change and the daemon restarts.

import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, test } from "node:test";
import { Project, enter, launch, screenshot, wait } from "./support.mjs";

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

const SLUG = "001-bread";

async function open(project, slug = SLUG) {
  const entered = await enter(browser, project);
  await entered.page.click(`.features >> text=${slug}`);
  await entered.page.waitForSelector(".rows .row");
  return entered;
}

const rows = (page) => page.locator(".rows .row .c-key").allTextContents();

test("filters select matching artifacts and are part of the URL", async () => {
  const project = new Project().feature(SLUG, { "research/notes.md": "x", "plan.md": null });
  await project.start();
  try {
    const { context, page, problems } = await open(project);
    const all = await rows(page);
    assert.ok(all.includes("output.plan.main"), String(all));
    await page.selectOption("#class", "input");
    assert.deepEqual(await rows(page), ["input.spec.main"]);
    await page.waitForURL(/class=input/);
    await page.selectOption("#class", "");
    await page.selectOption("#wp", "WP01");
    assert.deepEqual(await rows(page), ["output.tasks.per_wp.WP01"]);
    await page.selectOption("#wp", "");
    await page.selectOption("#step", "plan");
    assert.deepEqual(await rows(page), ["output.plan.main"]);
    await page.selectOption("#step", "");
    await page.check("#missing");
    assert.deepEqual(await rows(page), ["output.plan.main"]);
    await page.uncheck("#missing");
    await page.check("#required");
    assert.ok(!(await rows(page)).includes("runtime.meta"));
    await page.fill("#q", "SPEC");
    assert.deepEqual(await rows(page), ["input.spec.main"]);
    assert.match(await page.textContent(".count"), /^1 of \d+ artifacts$/);
    await page.waitForURL(/q=SPEC/);
    // The URL alone restores the filters.
    const url = page.url();
    await page.reload();
    await page.waitForSelector(".rows .row");
    assert.equal(page.url(), url);
    assert.deepEqual(await rows(page), ["input.spec.main"]);
    assert.equal(await page.inputValue("#q"), "SPEC");
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("an artifact is shown, and updated after a change on disk without a reload", async () => {
  const project = new Project().feature(SLUG, { "data.json": "{\"loaves\": 3}", "big.md": "x".repeat(5_242_880) });
  await project.start();
  try {
    const { context, page, problems } = await open(project);
    await page.evaluate(() => { window.notReloaded = true; });
    await page.click(".rows .row:has-text('input.spec.main')");
    await page.waitForSelector(".rendered h3:has-text('Specification')");
    assert.equal(await page.textContent(".rendered em"), "why");
    assert.equal(await page.textContent(".rendered table td >> nth=1"), "bread");
    await page.waitForURL(/artifact=input\.spec\.main/);
    await screenshot(page, "artifact");
    await page.click("text=Source");
    assert.match(await page.textContent(".content pre"), /^# Specification\n/);
    await page.click("text=Source");
    project.write(`kitty-specs/${SLUG}/spec.md`, "# Rewritten\n\nby another editor\n");
    await page.waitForSelector(".rendered h3:has-text('Rewritten')");
    project.write(`kitty-specs/${SLUG}/late.md`, "# Late\n");
    await page.waitForSelector(".rows .row:has-text('late.md')");
    project.remove(`kitty-specs/${SLUG}/plan.md`);
    await page.waitForSelector(".facts:has-text('3 / 4')");
    await page.waitForSelector(".rows .row:has-text('output.plan.main'):has-text('deleted')");
    await page.waitForSelector(".feature .badge:has-text('incomplete')");
    // Another artifact, with the keyboard only.
    await page.keyboard.press("Escape");
    await page.waitForSelector(".detail", { state: "hidden" });
    assert.equal(await page.evaluate(() => document.activeElement.className), "grid");
    await page.fill("#q", "data.json");
    await page.focus(".grid");
    await page.keyboard.press("Home");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".rendered .key:has-text('loaves')");
    assert.equal(await page.textContent(".rendered .number"), "3");
    await page.fill("#q", "big.md");
    await page.click(".rows .row:has-text('big.md')");
    await page.waitForSelector(".notice:has-text('File >5MB, content not included')");
    assert.equal(await page.evaluate(() => window.notReloaded), true);
    await page.goBack();
    await page.waitForSelector(".detail h3:has-text('data.json')");
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("a feature selected by the name of its project is updated live", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    const { context, page, problems, address } = await enter(browser, project);
    await page.goto(`${address}?feature=${SLUG}&project=shop`);
    await page.waitForSelector(".rows .row");
    project.write(`kitty-specs/${SLUG}/late.md`, "# Late\n");
    await page.waitForSelector(".rows .row:has-text('late.md')");
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("drift is shown side by side, and a baseline is accepted after confirmation", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    project.run("baseline", "accept", SLUG);
    project.write(`kitty-specs/${SLUG}/spec.md`, "# Other\n");
    project.write(`kitty-specs/${SLUG}/added.md`, "# Added\n");
    project.remove(`kitty-specs/${SLUG}/tasks.md`);
    const { context, page, problems } = await open(project);
    await page.click(".tabs >> text=Drift");
    await page.waitForSelector("h3:has-text('Removed: 1')");
    const shown = async (kind) => page.locator(`section:has(h3:has-text('${kind}')) tbody th`).allTextContents();
    assert.deepEqual(await shown("Changed"), ["input.spec.main"]);
    assert.deepEqual(await shown("Removed"), ["output.tasks.list"]);
    assert.equal((await shown("Added")).length, 1);
    await screenshot(page, "drift");
    await page.click("text=Accept as baseline");
    await page.click("dialog >> text=Cancel");
    await page.waitForSelector("dialog", { state: "detached" });
    assert.ok(await page.isVisible("h3:has-text('Removed: 1')"), "nothing was accepted");
    await page.click("text=Accept as baseline");
    await page.click("dialog button.primary");
    await page.waitForSelector(".drift .badge:has-text('in parity')");
    await page.waitForSelector(".feature .badge:has-text('in parity')");
    assert.equal(JSON.parse(project.run("drift", SLUG, "--json")).state, "in_parity");
    // Only the reviewed state is accepted, without changes made in the meantime.
    await page.click("text=Accept as baseline");
    project.write(`kitty-specs/${SLUG}/meanwhile.md`, "# Meanwhile\n");
    await wait("the change", () => JSON.parse(project.run("drift", SLUG, "--json")).state === "drifted");
    await page.click("dialog button.primary");
    await page.waitForSelector(".error:has-text('Review it again')");
    assert.equal(JSON.parse(project.run("drift", SLUG, "--json")).state, "drifted");
    await page.click("text=Clear baseline");
    await page.click("dialog button.primary");
    await page.waitForSelector(".drift .badge:has-text('no baseline')");
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("the history shows events and updates live", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    const { context, page, problems } = await open(project);
    await page.click(".tabs >> text=History");
    await page.waitForSelector(".timeline li:has-text('was added')");
    assert.match(await page.getAttribute(".plot", "aria-label"), /now complete, 100 percent .* no baseline/);
    project.remove(`kitty-specs/${SLUG}/plan.md`);
    await page.waitForSelector(".timeline li.bad:has-text('output.plan.main was deleted and is required')");
    await page.waitForSelector(".plot[aria-label*='now incomplete, 75 percent']");
    await screenshot(page, "history");
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("after a restart of the daemon the tab continues with a new link, without missing events", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    const { context, page, problems } = await open(project);
    await page.evaluate(() => { window.notReloaded = true; });
    await page.waitForSelector(".connection[data-state='live']");
    await page.selectOption("#class", "evidence");
    await page.waitForURL(/class=evidence/);
    await project.stop();
    await page.waitForSelector(".connection[data-state='reconnecting']");
    await page.waitForSelector(".locked:has-text('does not answer')");
    assert.equal(await page.evaluate(() => window.notReloaded), true, "what was shown stays");
    project.write(`kitty-specs/${SLUG}/research/meanwhile.md`, "# Meanwhile\n");
    await project.start();
    // Another port: what another process may have left at the former one does not matter.
    const { url, address } = project.opened();
    assert.ok(!page.url().startsWith(address));
    await page.fill("#one-time-link", "http://evil.example/open/x");
    await page.click(".locked button");
    await page.waitForSelector(".locked .error:has-text('not a link')");
    problems.length = 0;
    const streams = [];
    page.on("request", (request) => { if (request.url().includes("/api/events")) streams.push(new URL(request.url())); });
    await page.fill("#one-time-link", ` ${url} `);
    await page.click(".locked button");
    await page.waitForURL(new RegExp(`^${address}\\?.*class=evidence`));
    await page.waitForSelector(".connection[data-state='live']");
    await page.waitForSelector(".rows .row:has-text('meanwhile.md')");
    const { seq, instance } = JSON.parse(project.run("status", "--json"));
    const since = streams[0].searchParams.get("since");
    assert.ok(since.startsWith(`${instance}:`) && Number(since.split(":")[1]) < seq, `${since} is before ${seq}`);
    project.write(`kitty-specs/${SLUG}/research/later.md`, "# Later\n");
    await page.waitForSelector(".rows .row:has-text('later.md')");
    // A page whose listener was closed shows that, and receives nothing more.
    project.run("dashboard", "--close");
    await page.waitForSelector(".connection[data-state='reconnecting']");
    assert.deepEqual(problems.filter((problem) => !problem.startsWith(`request: ${address}`)), []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("a snapshot is downloaded, and a tab that this one opens has its session", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    const { context, page, problems } = await open(project);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Export snapshot")]);
    assert.equal(download.suggestedFilename(), `${SLUG}.snapshot.json`);
    const snapshot = JSON.parse(fs.readFileSync(await download.path(), "utf8"));
    assert.equal(snapshot.feature_slug, SLUG);
    for (const click of [{ modifiers: ["Control"] }, { button: "middle" }]) {
      const [opened] = await Promise.all([context.waitForEvent("page"), page.click(".tabs >> text=History", click)]);
      await opened.waitForSelector(".timeline li");
      await opened.close();
    }
    assert.deepEqual(problems.filter((problem) => !problem.startsWith("request: blob:")), []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("a list of five thousand artifacts has elements for the visible rows only", async () => {
  const notes = Array.from({ length: 5000 }, (_, at) => [`research/n${String(at).padStart(4, "0")}.md`, `# ${at}\n`]);
  const project = new Project().feature(SLUG, Object.fromEntries(notes));
  await project.start();
  try {
    const { context, page, problems } = await open(project);
    await page.waitForFunction(() => /^500\d artifacts$/.test(document.querySelector(".count").textContent));
    assert.ok(await page.locator(".rows .row").count() < 80);
    const longest = await page.evaluate(() => new Promise((resolve) => {
      const grid = document.querySelector(".grid");
      let most = 0;
      let step = 0;
      (function scroll() {
        grid.scrollTop = (grid.scrollHeight * step) / 60;
        most = Math.max(most, grid.querySelectorAll(".rows .row").length);
        step += 1;
        if (step <= 60) requestAnimationFrame(scroll);
        else resolve(most);
      })();
    }));
    assert.ok(longest < 80, `${longest} rows at a time`);
    await page.waitForSelector(".rows .row[aria-rowindex='5001']");
    await page.focus(".grid");
    await page.keyboard.press("End");
    const last = Number(await page.getAttribute(".grid", "aria-rowcount"));
    await page.waitForSelector(`.rows .row[aria-rowindex='${last}'][aria-selected='true']`);
    await page.keyboard.press("Home");
    await page.waitForSelector(".rows .row[aria-rowindex='2'][aria-selected='true']");
    await page.fill("#q", "n4321");
    assert.equal((await rows(page)).length, 1);
    await page.fill("#q", "");
    // A new artifact does not change the scroll position.
    await page.evaluate(() => { document.querySelector(".grid").scrollTop = 60_000; });
    project.write(`kitty-specs/${SLUG}/zzz.md`, "x");
    await page.waitForFunction((before) => document.querySelector(".grid").getAttribute("aria-rowcount") > before, last);
    assert.equal(await page.evaluate(() => document.querySelector(".grid").scrollTop), 60_000);
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("messages of a stream are the same however it is cut, and each part is read once", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    const { context, page, problems } = await open(project);
    const { cut, scanned, length } = await page.evaluate(async () => {
      const { messagesOf } = await import("/assets/live.js");
      const read = async (chunks) => {
        const body = new ReadableStream({
          start(controller) {
            for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
            controller.close();
          },
        });
        const messages = [];
        for await (const message of messagesOf(body)) messages.push(message);
        return JSON.stringify(messages);
      };
      const text = ": comment\n\nid: 1\nevent: a\ndata: x\ndata:y\n\ndata\nid:2\n\n\ndata: z\n\ndata: incomplete\n";
      const cut = new Set();
      for (let at = 0; at <= text.length; at += 1) cut.add(await read([text.slice(0, at), text.slice(at)]));
      cut.add(await read([...text]));
      // A message of a megabyte in many chunks. Every character that is searched for line ends is counted.
      const chunks = ["data: ", ...Array(1_000).fill("x".repeat(1_000)), "\n\n"];
      const { split } = String.prototype;
      let scanned = 0;
      String.prototype.split = function (...args) {
        scanned += this.length;
        return split.apply(this, args);
      };
      const long = JSON.parse(await read(chunks));
      String.prototype.split = split;
      return { cut: [...cut], scanned, length: long[0].data.length };
    });
    assert.deepEqual(cut.map((text) => JSON.parse(text)), [[
      { id: "1", event: "a", data: "x\ny" }, { id: "2", data: "" }, { data: "z" },
    ]]);
    assert.equal(length, 1_000_000);
    assert.ok(scanned < 2_000_000, `${scanned} characters for a message of ${length}`);
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});
