// The history tab: a plot of completeness and drift, and a timeline of events.

import { requestJson } from "./api.js";
import { h, printable, replaceChildren } from "./dom.js";
import { plot } from "./plot.js";
import * as labels from "./labels.js";

/** Maximum number of events in memory; beyond it, the oldest are dropped. */
const MAX_EVENTS = 20_000;
/** Events shown at first, and added by each "Show earlier events". */
const PAGE_SIZE = 200;
const SNAPSHOT = "mission_dossier_snapshot_computed";
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const TIME_OF_DAY = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const CHANGE = { added: "was added", modified: "was changed", restored: "was restored", reclassified: "was reclassified" };
const ABSENCE = {
  not_found: "is missing", unreadable: "cannot be read", invalid_format: "is not text", deleted_after_scan: "was deleted",
};

export class History {
  constructor(feature) {
    this.feature = feature;
    this.events = [];
    this.shownCount = PAGE_SIZE;
    this.chart = h("div", { class: "chart" });
    this.list = h("div", { class: "timeline" });
    this.error = h("p", { class: "error", role: "alert" });
    this.more = h("button", { hidden: true, on: { click: () => { this.shownCount += PAGE_SIZE; this.draw(); } } }, "Show earlier events");
    this.element = h("div", { class: "history" }, this.error, this.chart, this.list, this.more);
    this.load("");
  }

  update(events) {
    if (!events.length) return;
    const last = this.events.at(-1)?.seq ?? 0;
    this.append(events.filter((event) => event.seq > last));
    this.draw();
  }

  async load(since) {
    try {
      for (;;) {
        const page = await requestJson("/api/events", { ...this.feature.selection, since });
        if (page.gap || !page.events.length) break;
        this.append(page.events);
        since = page.next;
      }
    } catch (error) {
      this.error.textContent = printable(error.message);
    }
    this.draw();
  }

  append(events) {
    this.events.push(...events);
    if (this.events.length > MAX_EVENTS) this.events.splice(0, this.events.length - MAX_EVENTS);
  }

  draw() {
    const snapshots = this.events.filter((event) => event.event_type === SNAPSHOT);
    this.chart.replaceChildren(...(snapshots.length ? [plot(snapshots)] : []));
    const newest = this.events.slice(-this.shownCount).reverse();
    const days = new Map();
    for (const event of newest) {
      const day = DAY.format(new Date(event.emitted_at));
      if (!days.has(day)) days.set(day, []);
      days.get(day).push(event);
    }
    replaceChildren(this.list, [...days].map(([day, events]) => h("section", {},
      h("h3", {}, day), h("ol", { reversed: true }, events.map(timelineEntry)))));
    if (!newest.length) this.list.append(h("p", { class: "empty" }, "The journal contains no events of this feature."));
    this.more.hidden = this.events.length <= this.shownCount;
  }
}

function timelineEntry(event) {
  const [tone, ...text] = describe(event);
  return h("li", { class: tone },
    h("time", { datetime: event.emitted_at, title: event.emitted_at }, TIME_OF_DAY.format(new Date(event.emitted_at))),
    h("span", {}, ...text));
}

/** Returns the tone of an event and the parts of its text. */
function describe({ event_type: type, payload }) {
  const name = () => h("code", {}, printable(payload.artifact_key));
  switch (type) {
    case "mission_dossier_artifact_indexed":
      return ["good", name(), ` ${CHANGE[payload.change] ?? "was indexed"}`];
    case "mission_dossier_artifact_missing":
      return [payload.blocking ? "bad" : "dim", name(), ` ${ABSENCE[payload.reason_code] ?? "is absent"}`, payload.blocking ? " and is required" : ""];
    case SNAPSHOT: {
      const counts = payload.artifact_counts;
      return ["dim", `${payload.completeness_status}: ${counts.required_present} of ${counts.required} required, ${counts.total} artifacts, `,
        labels.drift({ state: payload.drift_state, severity: payload.drift_severity })[1]];
    }
    case "mission_dossier_parity_drift_detected":
      return [payload.severity === "error" ? "bad" : "fair", `drift (${payload.severity}): ${printable(payload.detail ?? "")}`];
    default:
      return ["dim", printable(type)];
  }
}
