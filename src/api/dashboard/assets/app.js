// Entry point: routes the URL to a view, loads the state and applies events to it.

import { requestJson } from "./api.js";
import { announce, h, printable } from "./dom.js";
import { follow } from "./live.js";
import { Feature } from "./feature.js";
import { Overview } from "./overview.js";

/** Maximum number of changed features that are fetched one by one; beyond it, all are reloaded. */
const MAX_SINGLE_FETCHES = 12;
/** Events that arrive within this time are applied together. */
const BATCH_MS = 60;
/** Interval of a full reload, for state that no event reports. */
const RELOAD_INTERVAL_MS = 30_000;
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 4000;

const main = document.getElementById("main");
const breadcrumb = document.getElementById("breadcrumb");
const connection = document.getElementById("connection");

/** The daemon's status, and the overview of each feature by `featureId`. */
const model = { status: null, features: new Map() };
let view = null;
let pendingEvents = [];
let batchTimer = null;

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
  } catch (error) {
    if (error.status === 401) showConnection("locked", "session ended; run `dossierd dashboard`");
  }
}

function showConnection(state, text) {
  if (connection.dataset.state === state) return;
  connection.dataset.state = state;
  connection.textContent = text;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-navigate]");
  if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  navigate(Object.fromEntries(new URL(link.href).searchParams));
});
addEventListener("popstate", show);

async function start() {
  for (let wait = RETRY_MIN_MS; ; wait = Math.min(wait * 2, RETRY_MAX_MS)) {
    try {
      const cursor = await load();
      show();
      main.dataset.ready = "true";
      performance.mark("shown");
      follow(cursor, {
        onEvent,
        onGap: reload,
        onConnection(state, isReconnect) {
          showConnection(state, state);
          if (isReconnect) {
            reload();
            announce("reconnected");
          } else if (state !== "live" && navigator.onLine) {
            // An event stream's error does not have the status; a request finds out about a 401.
            reload();
          }
        },
      });
      setInterval(() => document.hidden || reload(), RELOAD_INTERVAL_MS);
      return;
    } catch (error) {
      showConnection("reconnecting", error.message);
      if (error.status === 401) return;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

start();
