// How states, sizes and times are said.

import { h } from "./dom.js";

const COMPLETENESS = {
  complete: ["good", "complete"],
  incomplete: ["bad", "incomplete"],
  unknown: ["dim", "unknown"],
};
const SEVERITY = { error: "bad", warning: "fair", info: "dim" };
const WATCH = {
  live: ["good", "live"],
  settling: ["fair", "settling"],
  unreadable: ["bad", "unreadable"],
  gone: ["bad", "gone"],
  degraded: ["fair", "degraded"],
};
const REASON = {
  not_found: "missing",
  unreadable: "unreadable",
  invalid_format: "not text",
  deleted_after_scan: "deleted",
};

/** A state: a coloured dot and a word. */
export function badge([tone, word], title) {
  return h("span", { class: `badge ${tone}`, title }, word);
}

export const completeness = (overview) =>
  COMPLETENESS[overview.completeness_status] ?? ["dim", overview.completeness_status];

export function drift({ state, severity }) {
  switch (state) {
    case "no_baseline": return ["dim", "no baseline"];
    case "in_parity": return ["good", "in parity"];
    case "key_mismatch": return ["fair", "other baseline"];
    case "baseline_corrupt": return ["bad", "baseline corrupt"];
    case "drifted": return [SEVERITY[severity] ?? "fair", `drifted: ${severity}`];
    default: return ["dim", "not judged"];
  }
}

export const watch = (overview) => WATCH[overview.watch] ?? ["dim", overview.watch];

export const presence = (artifact) =>
  artifact.is_present ? ["good", "present"]
    : [artifact.required_status === "required" ? "bad" : "dim", REASON[artifact.error_reason] ?? "absent"];

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

export const short = (hash) => (hash ? hash.slice(0, 12) : "–");

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A time, in the reader's own zone. */
export function time(text) {
  const at = new Date(text);
  return h("time", { datetime: text, title: text }, Number.isNaN(at.getTime()) ? "–" : TIME.format(at));
}

/** A number and what it counts. */
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
