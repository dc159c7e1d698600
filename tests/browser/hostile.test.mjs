// Names and contents that try to become markup, to run as scripts, or to mislead the reader.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";
import { Project, enter, launch, screenshot } from "./support.mjs";

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

const RUN = "window.reportProblem('ran');alert(1)";
const NAMES = [
  `<img src=x onerror="${RUN}">.md`,
  `"><svg onload=${RUN}>.md`,
  `'-${RUN}-'.md`,
  "{{constructor.constructor('alert(1)')()}}.md",
  "esc\u001b[2J\u001b]0;x\u0007.md",
  "line\nbreak.md",
  "rtl\u202egnp.exe.md",
  "isolate\u2066x\u2069.md",
  "__proto__.md",
  "constructor.md",
  "a&amp;b&lt;c.md",
  "per%20cent%2F..%2F.md",
  "quote\".md",
  "back\\slash.md",
  "?class=input&feature=x#y.md",
];
const CONTENTS = [
  `<script>${RUN}</script>`,
  `<img src=x onerror="${RUN}">`,
  `# <svg onload="${RUN}">`,
  `[a](javascript:${RUN}) [b](JaVaScRiPt:${RUN}) [c](data:text/html,<script>${RUN}</script>) <javascript:${RUN}>`,
  `![a](x" onerror="${RUN}) ![pixel](http://evil.example/pixel.png)`,
  `<iframe srcdoc="<script>parent.${RUN}</script>"></iframe>`,
  `<a href="javascript:${RUN}">x</a><form action="http://evil.example"><button>go</button></form>`,
  `<style>body{display:none}</style><base href="http://evil.example/"><meta http-equiv="refresh" content="0;url=http://evil.example/">`,
  `\`\`\`html\n</code></pre><script>${RUN}</script>\n\`\`\``,
  `| <b onmouseover="${RUN}">a</b> |\n| --- |\n| </td><script>${RUN}</script> |`,
  `---\nkey: "<script>${RUN}</script>"\n---\n`,
  `${"> ".repeat(5000)}deep\n`,
  `${"[".repeat(20000)}`,
  `\u001b[31mred\u202e reversed \u2066x`,
  `<!--><script>${RUN}</script>-->`,
];

test("hostile names and contents run no script, fetch nothing and are shown escaped", async () => {
  const files = {};
  for (const [at, content] of CONTENTS.entries()) {
    for (const kind of ["md", "json", "yaml", "txt"]) files[`c${at}.${kind}`] = content;
  }
  for (const name of NAMES) files[name] = `# named\n\n<script>${RUN}</script>\n`;
  const slug = "001-x";
  const project = new Project(`shop<img src=x onerror=${"alert(1)"}>`).feature(slug, files);
  project.feature("002-meta", {
    "meta.json": `{"mission": "<script>${RUN}</script>", "target_branch": "<img src=x onerror=alert(1)>"}`,
    "tasks/WP02.md": `---\nwork_package_id: "<img src=x onerror=alert(1)>"\n---\n`,
  });
  // Not a valid slug: the page lists it as skipped.
  project.feature(`003-<img src=x onerror="${RUN}">\u001b[2J\u202e`);
  project.feature("004-research", { "meta.json": "{\"mission\": \"research\"}" });
  project.write(".kittify/overrides/missions/research/expected-artifacts.yaml", `"<img src=x onerror=alert(1)>": [`);
  await project.start();
  try {
    project.tries("baseline", "accept", slug);
    for (const name of NAMES.slice(0, 8)) project.write(`kitty-specs/${slug}/${name}`, "# other\n");
    const { context, page, problems } = await enter(browser, project);
    await page.waitForSelector(".features a >> nth=1");
    await page.waitForSelector("ul.error:has-text('<img')");
    await page.click("summary");
    await page.waitForSelector("details li:has-text('003-<img')");
    await screenshot(page, "hostile-overview");
    await page.click(".features a >> nth=0");
    await page.waitForSelector(".rows .row");
    const list = JSON.parse(project.tries("artifacts", slug, "--json")).artifacts.filter((item) => item.is_present);
    assert.ok(list.length >= NAMES.length + 4 * CONTENTS.length, `${list.length}`);
    for (const item of list) {
      await page.evaluate((key) => {
        const parameters = new URLSearchParams(location.search);
        parameters.set("artifact", key);
        history.pushState(null, "", `/?${parameters}`);
        dispatchEvent(new PopStateEvent("popstate"));
      }, item.artifact_key);
      await page.waitForFunction((path) =>
        [...document.querySelectorAll(".detail dd")].some((dd) => dd.textContent === path)
        && document.querySelector(".detail .content")?.childNodes.length > 0, shown(item.relative_path));
      const source = page.locator(".detail button[aria-pressed]");
      if (await source.count()) {
        await source.click();
        await source.click();
      }
    }
    await screenshot(page, "hostile-artifact");
    for (const tab of ["Drift", "History"]) {
      await page.click(`.tabs >> text=${tab}`);
      await page.waitForSelector(tab === "Drift" ? ".differences" : ".timeline li");
      await screenshot(page, `hostile-${tab.toLowerCase()}`);
    }
    // Invalid URLs.
    for (const query of [`?feature=<script>${RUN}</script>`, `?feature=x&tab=__proto__&artifact=<img>`, `?q=<img src=x onerror=${RUN}>`, "?feature=002-meta&class=__proto__&wp=<b>"]) {
      await page.goto(new URL(encodeURI(query), page.url()).href);
      await page.waitForSelector("main[data-ready]");
    }
    const foreign = await page.evaluate(() =>
      [...document.querySelectorAll("script, iframe, img, object, embed, form, style, base")].map((element) => element.outerHTML));
    assert.deepEqual(foreign.filter((html) => html !== '<script type="module" src="/assets/app.js"></script>'), []);
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("the page contains no control and no bidirectional characters", async () => {
  const files = Object.fromEntries(NAMES.map((name) => [name, "\u001b[2J\u202e\u0007 x\n"]));
  const project = new Project().feature("001-x", files);
  await project.start();
  try {
    const { context, page, problems } = await enter(browser, project);
    await page.click(".features a");
    for (const tab of ["Artifacts", "History"]) {
      await page.click(`.tabs >> text=${tab}`);
      await page.waitForSelector(tab === "Artifacts" ? ".rows .row:has-text('rtl')" : ".timeline li:has-text('rtl')");
      if (tab === "Artifacts") {
        await page.click(".rows .row:has-text('rtl')");
        await page.waitForSelector(".detail .content:has-text('u{202e}')");
      }
      const text = await page.evaluate(() => document.body.textContent);
      assert.doesNotMatch(text, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      if (tab === "Artifacts") assert.match(text, /\\u\{202e\}/);
    }
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

/** Returns a path as the page shows it. */
function shown(path) {
  return path.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

test("contents of too many nodes are shown as their source, completely", async () => {
  const slug = "001-x";
  const numbers = `[${Array.from({ length: 70_000 }, (_, at) => 10 + (at % 90)).join(",")}]`;
  const project = new Project().feature(slug, { "numbers.json": numbers, "few.json": "[1]" });
  await project.start();
  try {
    const { context, page, problems } = await enter(browser, project);
    await page.click(`.features >> text=${slug}`);
    await page.click(".rows .row:has-text('few.json')");
    await page.waitForSelector(".detail .rendered .number");
    assert.ok(!(await page.isVisible(".detail .notice")));
    await page.click(".rows .row:has-text('numbers.json')");
    await page.waitForSelector(".detail .notice");
    await page.waitForSelector(".detail .content pre");
    assert.equal((await page.textContent(".detail .content pre")).trim(), numbers);
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});

test("a feature names the worktrees in which it differs, as text", async () => {
  const project = new Project("main").feature("001-x").feature("002-same");
  const git = (...args) => {
    const done = spawnSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", ...args], { cwd: project.root, encoding: "utf8" });
    assert.equal(done.status, 0, done.stderr);
  };
  git("init", "-q");
  git("add", "-A");
  git("commit", "-q", "-m", "all");
  const name = `wt<img src=x onerror="${RUN.replaceAll("/", "")}">`;
  git("worktree", "add", "-q", "--detach", `../${name}`);
  project.write(`../${name}/kitty-specs/001-x/spec.md`, "# Elsewhere\n");
  await project.start();
  try {
    const { context, page, problems } = await enter(browser, project);
    await page.waitForSelector("tr:has-text('001-x') .differs:has-text('differs in wt<img src=x')");
    assert.equal(await page.locator("tr:has-text('002-same') .differs").count(), 0);
    await page.click(".features a >> nth=0");
    await page.waitForSelector("dt:has-text('differs in')");
    await page.waitForSelector("dd:has-text('<img src=x')");
    await screenshot(page, "differs-in");
    assert.deepEqual(problems, []);
    await context.close();
  } finally {
    await project.close();
  }
});
