// Entry point: routes the URL to a view, loads the state and applies events to it.

import { requestJson } from "./api.js";
import { announce, h, printable } from "./dom.js";
import { follow } from "./live.js";
import { Feature } from "./feature.js";
import { showLocked } from "./locked.js";
import { Overview } from "./overview.js";
import { takeCursor } from "./session.js";

/** Maximum number of changed features that are fetched one by one; beyond it, all are reloaded. */
const MAX_SINGLE_FETCHES = 12;
/** Events that arrive within this time are applied together. */
const BATCH_MS = 60;
/** Interval of a full reload, for state that no event reports. */
const RELOAD_INTERVAL_MS = 30_000;
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 4000;
/** Failed attempts to connect after which the page explains how to continue. */
const MAX_FAILURES = 3;

const main = document.getElementById("main");
const breadcrumb = document.getElementById("breadcrumb");
const connection = document.getElementById("connection");
const notice = document.getElementById("notice");

/** The daemon's status, and the overview of each feature by `featureId`. */
const model = { status: null, features: new Map() };
let view = null;
let pendingEvents = [];
let batchTimer = null;
/** The event after which the page continues; null before the state was loaded. */
let cursor = null;
let hasSession = true;
let failures = 0;

const featureId = (rootId, slug) => `${rootId}/${slug}`;

function urlParameters() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** Changes the URL to these parameters and shows the matching view; empty ones are omitted. */
function navigate(parameters, replace = false) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
  const text = query.toString();
  history[replace ? "replaceState" : "pushState"](null, "", text ? `/?${text}` : "/");
  show();
}

function show() {
  const parameters = urlParameters();
  const View = parameters.feature ? Feature : Overview;
  if (view instanceof View && view.navigate(parameters)) return;
  view?.close?.();
  view = new View(model, parameters, navigate);
  main.replaceChildren(view.element);
  breadcrumb.replaceChildren(...(parameters.feature
    ? [h("a", { href: "/", "data-navigate": true }, "All features"), h("span", { "aria-current": "page" }, printable(parameters.feature))]
    : []));
  document.title = parameters.feature ? `${printable(parameters.feature)} – dossierd` : "dossierd";
  if (document.activeElement === document.body && history.state !== null) main.focus();
}

/** Loads the whole state; returns the cursor of the event that it includes last. */
async function load() {
  const status = await requestJson("/api/status");
  model.status = status;
  model.features = new Map();
  for (const project of status.projects) {
    for (const feature of project.features) {
      model.features.set(featureId(project.root_id, feature.feature_slug), feature);
    }
  }
  return `${status.instance}:${status.seq}`;
}

/** Fetches the features that pending events are about, and updates the view. */
async function applyPendingEvents() {
  batchTimer = null;
  const events = pendingEvents;
  pendingEvents = [];
  const changed = new Map(events.map((event) => [featureId(event.root_id, event.feature_slug), event]));
  try {
    if (changed.size > MAX_SINGLE_FETCHES) {
      await load();
    } else {
      await Promise.all([...changed].map(async ([id, event]) => {
        const overview = await requestJson("/api/dossier/overview", { feature: event.feature_slug, project: event.root_id });
        const known = model.features.get(id);
        if (!known) return load();
        Object.assign(known, overview);
      }));
    }
  } catch (error) {
    if (error.status === 404 || error.status === 409) await load().catch(() => {});
  }
  view?.update(new Set(changed.keys()), events);
}

function onEvent(event) {
  pendingEvents.push(event);
  batchTimer ??= setTimeout(applyPendingEvents, BATCH_MS);
}

async function reload() {
  try {
    await load();
    view?.update(new Set(model.features.keys()), []);
  } catch {
    // What is shown stays, and the bar reports that it is old.
  }
}

function showConnection(state, text) {
  if (state !== "reconnecting") failures = 0;
  else failures += 1;
  const problem = !hasSession ? "ended" : failures >= MAX_FAILURES ? "unreachable" : null;
  showLocked(notice, problem, () => cursor);
  if (connection.dataset.state === state) return;
  connection.dataset.state = state;
  connection.textContent = text;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-navigate]");
  if (!link || event.button !== 0 || event.altKey) return;
  event.preventDefault();
  if (event.metaKey || event.ctrlKey || event.shiftKey) openTab(link);
  else navigate(Object.fromEntries(new URL(link.href).searchParams));
});
document.addEventListener("auxclick", (event) => {
  const link = event.target.closest?.("a[data-navigate]");
  if (!link || event.button !== 1) return;
  event.preventDefault();
  openTab(link);
});
addEventListener("popstate", show);
addEventListener("session-ended", () => {
  hasSession = false;
  showConnection("locked", "no session");
  main.dataset.locked = "true";
});

/** Opens a link in a tab that gets a copy of this tab's storage, and with it the session. */
function openTab(link) {
  window.open(link.href, "_blank");
}

async function start() {
  for (let wait = RETRY_MIN_MS; hasSession; wait = Math.min(wait * 2, RETRY_MAX_MS)) {
    try {
      const current = await load();
      cursor = takeCursor() ?? current;
      show();
      main.dataset.ready = "true";
      performance.mark("shown");
      follow(cursor, {
        onEvent,
        onGap: reload,
        onCursor(id) {
          cursor = id;
        },
        onConnection(state, isReconnect) {
          showConnection(state, state);
          if (isReconnect) {
            reload();
            announce("reconnected");
          }
        },
      });
      setInterval(() => document.hidden || !hasSession || reload(), RELOAD_INTERVAL_MS);
      return;
    } catch (error) {
      if (error.status === 401) return;
      showConnection("reconnecting", error.message);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

start();
