// What happened to a feature: a timeline of its events, and how complete and drifted it was.

import { ask } from "./api.js";
import { h, printable } from "./dom.js";
import { plot } from "./plot.js";
import * as labels from "./labels.js";

const KEPT = 20_000;
const SHOWN = 200;
const SNAPSHOT = "mission_dossier_snapshot_computed";
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const HOUR = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const CHANGE = { added: "appeared", modified: "changed", restored: "is back", reclassified: "counts otherwise" };
const REASON = {
  not_found: "is missing", unreadable: "cannot be read", invalid_format: "is not text", deleted_after_scan: "was deleted",
};

export class History {
  constructor(feature) {
    this.feature = feature;
    this.events = [];
    this.shown = SHOWN;
    this.chart = h("div", { class: "chart" });
    this.list = h("div", { class: "timeline" });
    this.wrong = h("p", { class: "wrong", role: "alert" });
    this.more = h("button", { hidden: true, on: { click: () => { this.shown += SHOWN; this.draw(); } } }, "Show earlier events");
    this.element = h("div", { class: "history" }, this.wrong, this.chart, this.list, this.more);
    this.load("");
  }

  changed(events) {
    if (!events.length) return;
    const last = this.events.at(-1)?.seq ?? 0;
    this.keep(events.filter((event) => event.seq > last));
    this.draw();
  }

  async load(since) {
    try {
      for (;;) {
        const page = await ask("/api/events", { ...this.feature.of, since });
        if (page.gap || !page.events.length) break;
        this.keep(page.events);
        since = page.next;
      }
    } catch (error) {
      this.wrong.textContent = printable(error.message);
    }
    this.draw();
  }

  keep(events) {
    this.events.push(...events);
    if (this.events.length > KEPT) this.events.splice(0, this.events.length - KEPT);
  }

  draw() {
    const states = this.events.filter((event) => event.event_type === SNAPSHOT);
    this.chart.replaceChildren(...(states.length ? [plot(states)] : []));
    const newest = this.events.slice(-this.shown).reverse();
    const days = new Map();
    for (const event of newest) {
      const day = DAY.format(new Date(event.emitted_at));
      if (!days.has(day)) days.set(day, []);
      days.get(day).push(event);
    }
    this.list.replaceChildren(...[...days].map(([day, events]) => h("section", {},
      h("h3", {}, day), h("ol", { reversed: true }, events.map(entry)))));
    if (!newest.length) this.list.append(h("p", { class: "empty" }, "The journal has nothing of this feature."));
    this.more.hidden = this.events.length <= this.shown;
  }
}

function entry(event) {
  const [tone, ...said] = described(event);
  return h("li", { class: tone },
    h("time", { datetime: event.emitted_at, title: event.emitted_at }, HOUR.format(new Date(event.emitted_at))),
    h("span", {}, ...said));
}

function described({ event_type: type, payload }) {
  const name = () => h("code", {}, printable(payload.artifact_key));
  switch (type) {
    case "mission_dossier_artifact_indexed":
      return ["good", name(), ` ${CHANGE[payload.change] ?? "was indexed"}`];
    case "mission_dossier_artifact_missing":
      return [payload.blocking ? "bad" : "dim", name(), ` ${REASON[payload.reason_code] ?? "is not there"}`, payload.blocking ? ", and is required" : ""];
    case SNAPSHOT: {
      const counts = payload.artifact_counts;
      return ["dim", `${payload.completeness_status}: ${counts.required_present} of ${counts.required} required, ${counts.total} in all, `,
        labels.drift({ state: payload.drift_state, severity: payload.drift_severity })[1]];
    }
    case "mission_dossier_parity_drift_detected":
      return [payload.severity === "error" ? "bad" : "fair", `drift (${payload.severity}): ${printable(payload.detail ?? "")}`];
    default:
      return ["dim", printable(type)];
  }
}
