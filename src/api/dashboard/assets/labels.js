// Texts for states, sizes and times.

import { h, printable } from "./dom.js";

// Each label is `[tone, text]`; the tone is a class of the style sheet.
const COMPLETENESS = {
  complete: ["good", "complete"],
  incomplete: ["bad", "incomplete"],
  unknown: ["dim", "unknown"],
};
const SEVERITY_TONE = { error: "bad", warning: "fair", info: "dim" };
const PROJECT_WATCH = {
  live: ["good", "live"],
  rescanning: ["fair", "rescanning"],
  polling: ["fair", "polling"],
  degraded: ["fair", "degraded"],
  unreadable: ["bad", "unreadable"],
  root_unavailable: ["bad", "root unavailable"],
  unresponsive: ["bad", "unresponsive"],
};
const FEATURE_WATCH = {
  live: ["good", "live"],
  settling: ["fair", "settling"],
  unreadable: ["bad", "unreadable"],
  unavailable: ["bad", "unavailable"],
  unresponsive: ["bad", "unresponsive"],
  gone: ["bad", "deleted"],
  degraded: ["fair", "degraded"],
};
const ABSENCE = {
  not_found: "missing",
  unreadable: "unreadable",
  invalid_format: "not text",
  deleted_after_scan: "deleted",
};

/** Creates a badge: a coloured dot and a text. */
export function badge([tone, text], title) {
  return h("span", { class: `badge ${tone}`, title }, text);
}

/** Returns the names of the other work trees in which a feature differs; null if there are none. */
export function differsIn(overview, projects) {
  const names = (overview.differs_in ?? []).map((rootId) =>
    projects.find((project) => project.root_id === rootId)?.project ?? rootId);
  return names.length ? printable(names.join(", ")) : null;
}

export const completeness = (overview) =>
  COMPLETENESS[overview.completeness_status] ?? ["dim", overview.completeness_status];

export function drift({ state, severity }) {
  switch (state) {
    case "no_baseline": return ["dim", "no baseline"];
    case "in_parity": return ["good", "in parity"];
    case "key_mismatch": return ["fair", "baseline key mismatch"];
    case "baseline_corrupt": return ["bad", "baseline corrupt"];
    case "drifted": return [SEVERITY_TONE[severity] ?? "fair", `drifted: ${severity}`];
    default: return ["dim", "not evaluated"];
  }
}

export const projectWatch = (watch) => PROJECT_WATCH[watch.state] ?? ["dim", watch.state];

export const featureWatch = (overview) => FEATURE_WATCH[overview.watch] ?? ["dim", overview.watch];

export const presence = (artifact) =>
  artifact.is_present ? ["good", "present"]
    : [artifact.required_status === "required" ? "bad" : "dim", ABSENCE[artifact.error_reason] ?? "absent"];

/** Returns a size in decimal units, with two or three digits. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = -1;
  do {
    value /= 1000;
    unit += 1;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const shortHash = (hash) => (hash ? hash.slice(0, 12) : "–");

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Creates an element for an RFC 3339 time, shown in the browser's locale and time zone. */
export function time(text) {
  const at = new Date(text);
  return h("time", { datetime: text, title: text }, Number.isNaN(at.getTime()) ? "–" : TIME.format(at));
}

/** Returns a number and its noun: "1 artifact", "2 artifacts". */
export const count = (number, singular, plural = `${singular}s`) => `${number} ${number === 1 ? singular : plural}`;

/** Returns the numbers of finished and of all required items. */
export const progress = ({ done, total }) => `${done} / ${total}`;
