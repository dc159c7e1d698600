// How a feature differs from its baseline, side by side; accepting and clearing it.

import { ask, meaning } from "./api.js";
import { announce, confirmed, h, printable } from "./dom.js";
import * as labels from "./labels.js";

const KINDS = [
  ["changed", "Changed", "fair"],
  ["missing_in_local", "Removed", "bad"],
  ["missing_in_baseline", "Added", "good"],
];
const MOST = 2000;

export class Drift {
  constructor(feature) {
    this.feature = feature;
    this.body = h("div", {});
    this.wrong = h("p", { class: "wrong", role: "alert" });
    this.element = h("div", { class: "drift" }, this.wrong, this.body);
    this.load();
  }

  changed() {
    this.load();
  }

  async load() {
    try {
      this.drift = await ask("/api/dossier/drift", meaning(this.feature.of));
      if (this.failed) this.say("");
      this.failed = false;
      this.draw();
    } catch (error) {
      this.failed = true;
      this.say(error.message);
    }
  }

  say(wrong) {
    this.wrong.textContent = printable(wrong);
  }

  draw() {
    const { drift } = this;
    const corrupt = drift.state === "baseline_corrupt";
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    this.body.replaceChildren(
      h("div", { class: "bar" },
        labels.badge(labels.drift(drift)),
        h("p", { class: "sentence" }, printable(drift.detail)),
        h("button", { class: "primary", data: { act: "accept" }, on: { click: () => this.accept(corrupt) } }, "Accept as baseline"),
        ...(drift.baseline || corrupt
          ? [h("button", { data: { act: "clear" }, on: { click: () => this.clear() } }, "Clear baseline")] : [])),
      this.sides(),
      ...KINDS.map(([kind, name, tone]) => this.table(kind, name, tone)).filter(Boolean));
    if (focused) this.body.querySelector(`[data-act="${focused}"]`)?.focus();
  }

  sides() {
    const { drift } = this;
    const code = (hash) => h("code", { title: hash ?? "" }, labels.short(hash));
    const row = (name, then, now) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, then), h("td", {}, now));
    const fields = drift.key.mismatch.map((field) =>
      row(field.replaceAll("_", " "), printable(drift.key.baseline?.[field] ?? "–"), printable(drift.key.local[field] ?? "–")));
    return h("table", { class: "sides" },
      h("caption", { class: "unseen" }, "Baseline and present state"),
      h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "Baseline"), h("th", { scope: "col" }, "Now"))),
      h("tbody", {},
        row("accepted", drift.baseline ? labels.time(drift.baseline.captured_at) : "–", "–"),
        row("parity", code(drift.baseline?.parity_hash_sha256), code(drift.local_parity_hash)),
        fields));
  }

  table(kind, name, tone) {
    const found = this.drift.differences.filter((difference) => difference.kind === kind);
    if (!found.length) return null;
    const hash = (value) => h("td", {}, value ? h("code", { title: value }, labels.short(value)) : "–");
    return h("section", {},
      h("h3", {}, labels.badge([tone, `${name}: ${found.length}`])),
      h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `${name} artifacts` },
        h("table", { class: "differences" },
          h("thead", {}, h("tr", {}, ["Artifact", "Path", "Baseline", "Now", "Note"].map((title) => h("th", { scope: "col" }, title)))),
          h("tbody", {}, found.slice(0, MOST).map((difference) => h("tr", {},
            h("th", { scope: "row" }, printable(difference.artifact_key)),
            h("td", {}, printable(difference.relative_path)),
            hash(difference.baseline_hash), hash(difference.local_hash),
            h("td", {}, difference.churn ? "runtime bookkeeping" : "")))))),
      ...(found.length > MOST ? [h("p", { class: "notice" }, `${found.length - MOST} more are not shown.`)] : []));
  }

  async accept(corrupt) {
    const lines = [`${printable(this.feature.of.feature)} as it is now becomes what later states are compared with.`];
    if (this.drift.differences.length) lines.push(`${labels.count(this.drift.differences.length, "difference")} will be taken as meant.`);
    if (corrupt) lines.push("The baseline that is there cannot be understood, and is replaced.");
    const looked = this.drift.local_tree_hash;
    if (!await confirmed("Accept this state as the baseline?", lines, "Accept")) return this.return("accept");
    return this.change("POST", { tree_hash_sha256: looked, replace_corrupt: corrupt }, "The baseline is accepted.");
  }

  async clear() {
    const lines = ["The accepted state is forgotten; drift is no longer judged."];
    if (!await confirmed("Clear the baseline?", lines, "Clear")) return this.return("clear");
    return this.change("DELETE", null, "The baseline is cleared.");
  }

  /** The focus goes back to where it was; what it was on may have been drawn anew. */
  return(act) {
    this.body.querySelector(`[data-act="${act}"]`)?.focus();
  }

  async change(method, body, done) {
    let wrong = "";
    try {
      await ask("/api/dossier/baseline", meaning(this.feature.of), {
        method,
        ...(body ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {}),
      });
      announce(done);
    } catch (error) {
      wrong = error.code === "moved_on"
        ? "The feature has changed meanwhile; look again before you accept it." : error.message;
    }
    await this.load();
    if (!this.failed) this.say(wrong);
    this.return("accept");
  }
}
