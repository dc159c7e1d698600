// The page: what the address means, the present state, and what happens to it.

import { ask } from "./api.js";
import { announce, h, printable } from "./dom.js";
import { follow } from "./live.js";
import { Feature } from "./feature.js";
import { Overview } from "./overview.js";

/** Features of which more than this have changed are asked for at once. */
const SEVERAL = 12;
const GATHER_MS = 60;
const LOOK_AGAIN_MS = 30_000;

const main = document.getElementById("main");
const trail = document.getElementById("trail");
const stateLine = document.getElementById("state");

/** The present state: the status, and each feature's overview by project and slug. */
const world = { status: null, features: new Map() };
let view = null;
let pending = [];
let gathering = null;

export const nameOf = (rootId, slug) => `${rootId}/${slug}`;

/** What the address says. */
function said() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** Goes to what these parameters mean; those without a value are left out. */
function go(parameters, replace = false) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
  const text = query.toString();
  history[replace ? "replaceState" : "pushState"](null, "", text ? `/?${text}` : "/");
  show();
}

function show() {
  const parameters = said();
  const kind = parameters.feature ? Feature : Overview;
  if (view instanceof kind && view.follow(parameters)) return;
  view?.leave?.();
  view = new kind(world, parameters, go);
  main.replaceChildren(view.element);
  trail.replaceChildren(...(parameters.feature
    ? [h("a", { href: "/", "data-go": true }, "All features"), h("span", { "aria-current": "page" }, printable(parameters.feature))]
    : []));
  document.title = parameters.feature ? `${printable(parameters.feature)} – dossierd` : "dossierd";
  if (document.activeElement === document.body && history.state !== null) main.focus();
}

async function load() {
  const status = await ask("/api/status");
  world.status = status;
  world.features = new Map();
  for (const project of status.projects) {
    for (const feature of project.features) {
      world.features.set(nameOf(project.root_id, feature.feature_slug), feature);
    }
  }
  return `${status.instance}:${status.seq}`;
}

/** Brings what has changed up to date, and tells the view. */
async function gather() {
  gathering = null;
  const events = pending;
  pending = [];
  const changed = new Map(events.map((event) => [nameOf(event.root_id, event.feature_slug), event]));
  try {
    if (changed.size > SEVERAL) {
      await load();
    } else {
      await Promise.all([...changed].map(async ([name, event]) => {
        const overview = await ask("/api/dossier/overview", { feature: event.feature_slug, project: event.root_id });
        const known = world.features.get(name);
        if (!known) return load();
        Object.assign(known, overview);
      }));
    }
  } catch (error) {
    if (error.status === 404 || error.status === 409) await load().catch(() => {});
  }
  view?.changed(new Set(changed.keys()), events);
}

function happened(event) {
  pending.push(event);
  gathering ??= setTimeout(gather, GATHER_MS);
}

async function reload() {
  try {
    await load();
    view?.changed(new Set(world.features.keys()), []);
    return true;
  } catch (error) {
    if (error.status === 401) say("locked", "not let in any more: run `dossierd dashboard`");
    return false;
  }
}

function say(kind, text) {
  if (stateLine.dataset.kind === kind) return;
  stateLine.dataset.kind = kind;
  stateLine.textContent = text;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-go]");
  if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(Object.fromEntries(new URL(link.href).searchParams));
});
addEventListener("popstate", show);

async function begin() {
  for (let wait = 250; ; wait = Math.min(wait * 2, 4000)) {
    try {
      const cursor = await load();
      show();
      main.dataset.ready = "true";
      performance.mark("shown");
      follow(cursor, {
        event: happened,
        gap: reload,
        state(kind, again) {
          say(kind, kind === "live" ? "live" : "reconnecting");
          if (again) {
            reload();
            announce("connected again");
          } else if (kind !== "live" && navigator.onLine) {
            reload();
          }
        },
      });
      setInterval(() => document.hidden || reload(), LOOK_AGAIN_MS);
      return;
    } catch (error) {
      say("reconnecting", error.message);
      if (error.status === 401) return;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

begin();
