// Measures the time until a browser has painted all features, for the benchmark: `node paint.mjs URL FEATURES`.

import { launch } from "./support.mjs";

const PROMISE_MS = 500;
const ROUNDS = 9;
const [, , url, features] = process.argv;

const browser = await launch();
const context = await browser.newContext();
const page = await context.newPage();
await page.goto(url);
await page.waitForSelector("main[data-ready]");
const address = new URL("/", url).href;
const times = [];
for (let round = 0; round < ROUNDS; round += 1) {
  await page.goto(address);
  await page.waitForSelector("main[data-ready]");
  const seen = await page.locator(".features tbody tr").count();
  if (seen !== Number(features)) throw new Error(`${seen} features are shown, not ${features}`);
  times.push(await page.evaluate(async () => {
    // The frame after the one that drew the features has been painted.
    const painted = await new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))));
    const shown = performance.getEntriesByName("shown")[0].startTime;
    const first = performance.getEntriesByType("paint").find((entry) => entry.name === "first-contentful-paint")?.startTime ?? painted;
    return { first, shown };
  }));
}
const median = (name) => times.map((time) => time[name]).sort((a, b) => a - b)[ROUNDS >> 1];
const [first, shown] = [median("first"), median("shown")];
console.log(`page of ${features} features: first paint ${first.toFixed(0)} ms, all features drawn ${shown.toFixed(0)} ms `
  + `(${PROMISE_MS} ms: ${Math.max(first, shown) < PROMISE_MS ? "met" : "BROKEN"})`);
await browser.close();
