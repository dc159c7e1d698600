// Sessions of the page, and attacks on them: another process at the port while the daemon does not run, a
// service worker that it leaves in the browser, a page at another port of the same host.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";
import { Project, enter, launch, wait } from "./support.mjs";

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser.close(); });

const SLUG = "001-bread";

/** Starts a server that records its requests. */
async function serve(port, respond) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(request);
    respond(request, response);
  });
  await new Promise((resolve, reject) => server.on("error", reject).listen(port, "127.0.0.1", resolve));
  return { requests, port: server.address().port, close: () => new Promise((resolve) => {
    server.closeAllConnections();
    server.close(resolve);
  }) };
}

/** A page of an attacker that registers a service worker, and the worker, which passes requests on and reads data. */
const PLANT = `<!doctype html><title>dossierd</title><p id=planted></p><script>
  navigator.serviceWorker.register("/worker.js").then(() => navigator.serviceWorker.ready)
    .then(() => { document.getElementById("planted").textContent = "planted"; });
</script>`;
const WORKER = `
  oninstall = () => skipWaiting();
  onactivate = (event) => event.waitUntil(clients.claim());
  onfetch = (event) => {
    if (event.request.mode === "navigate" && new URL(event.request.url).pathname === "/") {
      event.respondWith(new Response("<title>stolen</title>", { headers: { "Content-Type": "text/html" } }));
    }
  };
`;

function attack(request, response) {
  const isWorker = request.url === "/worker.js";
  response.writeHead(200, { "Content-Type": isWorker ? "text/javascript" : "text/html" });
  response.end(isWorker ? WORKER : PLANT);
}

/** Requests data with what another process has received of a page. */
const steal = (address, headers) => new Promise((resolve, reject) => {
  http.get(new URL("/api/status", address), { headers }, (response) => {
    response.resume();
    resolve(response.statusCode);
  }).on("error", reject);
});

test("another process at the port gets nothing of use, and its service worker not the next page", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    const { context, page, address } = await enter(browser, project);
    const port = Number(new URL(address).port);
    await project.stop();
    const squatter = await serve(port, attack);
    // The open page connects again by itself, with all that it has.
    await wait("the values of the page", () => squatter.requests.some((it) => it.headers["x-dossierd-session"]));
    await page.reload();
    await page.waitForSelector("#planted:has-text('planted')");
    const { headers } = squatter.requests.find((it) => it.headers["x-dossierd-session"]);
    assert.match(headers.cookie, new RegExp(`dossierd-${port}=`));
    await squatter.close();
    await project.start();
    const opened = project.opened();
    assert.notEqual(opened.address, address);
    await page.goto(opened.url);
    await page.waitForSelector("main[data-ready]");
    const newPort = new URL(opened.address).port;
    const values = { Cookie: headers.cookie.replaceAll(`-${port}=`, `-${newPort}=`), "X-Dossierd-Session": headers["x-dossierd-session"] };
    assert.equal(await steal(opened.address, values), 401);
    assert.equal(await page.evaluate(() => navigator.serviceWorker.getRegistrations().then((all) => all.length)), 0);
    await context.close();
  } finally {
    await project.close();
  }
});

test("a service worker at a configured port is removed when the browser meets the daemon there", async () => {
  const free = await serve(0, attack);
  await free.close();
  const project = new Project().feature(SLUG).config(`http: {listen: "127.0.0.1:${free.port}"}\n`);
  const squatter = await serve(free.port, attack);
  const context = await browser.newContext();
  try {
    const address = `http://127.0.0.1:${free.port}/`;
    const page = await context.newPage();
    await page.goto(address);
    await page.waitForSelector("#planted:has-text('planted')");
    await squatter.close();
    await project.start();
    // Without a session: the page is the worker's, as its update check meets the daemon's refusal.
    await page.goto(`${address}open/${"0".repeat(64)}`);
    await page.waitForSelector("text=no valid session");
    await page.goto(project.opened().url);
    await page.waitForSelector("main[data-ready]");
    assert.equal(await page.title(), "dossierd");
    assert.equal(await page.evaluate(() => navigator.serviceWorker.getRegistrations().then((all) => all.length)), 0);
  } finally {
    await context.close();
    await squatter.close().catch(() => {});
    await project.close();
  }
});

test("a page at another port of the host receives the cookie, which opens nothing", async () => {
  const project = new Project().feature(SLUG);
  const other = await serve(0, (request, response) => {
    response.writeHead(200, { "Content-Type": "text/html" });
    response.end("<!doctype html><title>other</title>");
  });
  await project.start();
  try {
    const { context, address } = await enter(browser, project);
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${other.port}/`);
    const { cookie } = other.requests[0].headers;
    assert.match(cookie, /dossierd-/);
    assert.equal(await steal(address, { Cookie: cookie }), 401);
    const bearer = cookie.split("=")[1];
    assert.equal(await steal(address, { Authorization: `Bearer ${bearer}` }), 401);
    // A tab without the key of the session, such as one whose address was typed.
    await page.goto(address);
    await page.waitForSelector(".locked:has-text('no session')");
    assert.ok(!(await page.content()).includes(SLUG));
    await context.close();
  } finally {
    await other.close();
    await project.close();
  }
});

test("two tabs of a browser have sessions, and a revoked one ends at once", async () => {
  const project = new Project().feature(SLUG);
  await project.start();
  try {
    const { context, page } = await enter(browser, project);
    const second = await context.newPage();
    await second.goto(project.opened().url);
    await second.waitForSelector("main[data-ready]");
    // The second one has replaced the cookie.
    await page.reload();
    await page.waitForSelector(".connection[data-state='live']");
    const { sessions } = JSON.parse(project.run("dashboard", "--sessions", "--json"));
    assert.equal(sessions.length, 2);
    assert.match(sessions[0].user_agent, /Chrom/);
    project.run("dashboard", "--revoke", sessions[0].id);
    await page.waitForSelector(".locked:has-text('This page has no session')");
    await page.waitForSelector(".connection[data-state='locked']");
    assert.ok(await page.isVisible(`text=${SLUG}`), "what was shown stays");
    project.write(`kitty-specs/${SLUG}/plan.md`, "# Other\n");
    project.remove(`kitty-specs/${SLUG}/plan.md`);
    await second.waitForSelector(".features .badge:has-text('incomplete')");
    assert.ok(!(await page.isVisible(".features .badge:has-text('incomplete')")));
    await context.close();
  } finally {
    await project.close();
  }
});
