// Support for the browser tests: temporary projects, the real daemon, a real Chromium on its page.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";

export const TIMEOUT_MS = 30_000;
const REPOSITORY = path.resolve(import.meta.dirname, "../..");
const BINARY = process.env.DOSSIERD ?? path.join(REPOSITORY, "target/release/dossierd");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS = process.env.DOSSIERD_SCREENSHOTS ?? path.join(REPOSITORY, "target/screenshots");

/** Waits until `done` returns a truthy value, and returns it. */
export async function wait(what, done) {
  const end = Date.now() + TIMEOUT_MS;
  for (;;) {
    const value = await done();
    if (value) return value;
    assert.ok(Date.now() < end, `${what}: not within ${TIMEOUT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A temporary project with an empty home directory. */
export class Project {
  constructor(name = "shop") {
    this.base = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "dossierd-browser-"));
    this.root = path.join(this.base, name);
    fs.mkdirSync(path.join(this.base, "run"), { mode: 0o700 });
    this.write(".kittify/config.yaml", "project: {uuid: 11111111-2222-4333-8444-555555555555, node_id: abcdef123456}\n");
  }

  write(file, text) {
    const target = path.join(this.root, file);
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, text);
    return this;
  }

  remove(file) {
    fs.rmSync(path.join(this.root, file));
  }

  /** Creates a feature that is complete at every step of `software-dev`. */
  feature(slug, more = {}) {
    const files = {
      "spec.md": "# Specification\n\nWhat is wanted, and *why*.\n\n| who | what |\n| --- | --- |\n| baker | bread |\n",
      "plan.md": "# Plan\n\n1. Mix\n2. Bake\n",
      "tasks.md": "# Tasks\n\n- [x] WP01\n- [ ] WP02\n",
      "tasks/WP01.md": "---\nwork_package_id: WP01\nlane: planned\n---\n# Mix\n\nFlour and water.\n",
      "meta.json": "{\"mission\": \"software-dev\", \"target_branch\": \"main\"}\n",
      ...more,
    };
    for (const [name, text] of Object.entries(files)) if (text !== null) this.write(`kitty-specs/${slug}/${name}`, text);
    return this;
  }

  get environment() {
    return { HOME: path.join(this.base, "home"), PATH: process.env.PATH, LOGNAME: "tester", XDG_RUNTIME_DIR: path.join(this.base, "run") };
  }

  run(...args) {
    const done = this.spawn(args);
    assert.equal(done.status, 0, `dossierd ${args.join(" ")}: ${done.stderr}`);
    return done.stdout;
  }

  /** As `run`, but without checking the exit code, for projects with invalid metadata. */
  tries(...args) {
    return this.spawn(args).stdout;
  }

  spawn(args) {
    return spawnSync(BINARY, args, { cwd: this.root, env: this.environment, encoding: "utf8", timeout: TIMEOUT_MS, maxBuffer: 1 << 28 });
  }

  async start() {
    const log = fs.openSync(path.join(this.base, "daemon.log"), "a");
    this.daemon = spawn(BINARY, ["run", this.root], { env: this.environment, stdio: ["ignore", "ignore", log] });
    await wait("readiness", () => {
      // Other commands fall back to a scan while no daemon listens.
      const rescan = this.spawn(["rescan", "--json"]);
      return rescan.status === 0;
    });
  }

  async stop() {
    const ended = once(this.daemon, "exit");
    this.daemon.kill("SIGTERM");
    await ended;
    this.daemon = null;
  }

  config(text) {
    const target = path.join(this.base, "home/.config/dossierd/config.yaml");
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, text);
    return this;
  }

  /** Opens the dashboard; the URL lets one browser in. */
  opened() {
    return JSON.parse(this.run("dashboard", "--json"));
  }

  async close() {
    if (this.daemon) await this.stop();
    fs.rmSync(this.base, { recursive: true, force: true });
  }
}

export async function launch() {
  const sandbox = process.getuid() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: CHROMIUM, args: [...sandbox, "--disable-dev-shm-usage"] });
}

/** Opens the page of a project; `problems` collects errors, policy violations and foreign requests. */
export async function enter(browser, project, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(TIMEOUT_MS);
  const page = await context.newPage();
  const problems = [];
  const { url, address } = project.opened();
  page.on("pageerror", (error) => problems.push(`error: ${error.stack}`));
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    if (/Content.Security.Policy|Trusted ?Type/i.test(message.text())) problems.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(address)) problems.push(`request: ${request.url()}`);
  });
  await page.exposeFunction("reportProblem", (text) => problems.push(text));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) =>
      window.reportProblem(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  await page.goto(url);
  await page.waitForURL(address);
  await page.waitForSelector("main[data-ready]");
  return { context, page, problems, address };
}

/** Stores a screenshot for reviewers of the run. */
export async function screenshot(page, name) {
  fs.mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}
