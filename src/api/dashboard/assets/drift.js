// The drift tab: the differences from the baseline, and accepting and clearing a baseline.

import { featureParameters, requestJson } from "./api.js";
import { Changes } from "./changes.js";
import { announce, confirmDialog, h, printable } from "./dom.js";
import * as labels from "./labels.js";

const KINDS = [
  ["changed", "Changed", "fair"],
  ["missing_in_local", "Removed", "bad"],
  ["missing_in_baseline", "Added", "good"],
];
/** Maximum number of differences of a kind in the table; further ones are counted. */
const MAX_ROWS = 2000;

export class Drift {
  constructor(feature) {
    this.feature = feature;
    this.body = h("div", {});
    this.error = h("p", { class: "error", role: "alert" });
    this.changes = new Changes(feature.selection);
    this.element = h("div", { class: "drift" }, this.error, this.body, this.changes.element);
    this.load();
  }

  update() {
    this.load();
  }

  async load() {
    try {
      this.drift = await requestJson("/api/dossier/drift", featureParameters(this.feature.selection));
      if (this.hasLoadError) this.showError("");
      this.hasLoadError = false;
      this.draw();
      await this.changes.load(Boolean(this.drift.baseline));
    } catch (error) {
      this.hasLoadError = true;
      this.showError(error.message);
    }
  }

  showError(message) {
    this.error.textContent = printable(message);
  }

  draw() {
    const { drift } = this;
    const isCorrupt = drift.state === "baseline_corrupt";
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    this.body.replaceChildren(
      h("div", { class: "bar" },
        labels.badge(labels.drift(drift)),
        h("p", { class: "summary" }, printable(drift.detail)),
        h("button", { class: "primary", data: { action: "accept" }, on: { click: () => this.accept(isCorrupt) } }, "Accept as baseline"),
        ...(drift.baseline || isCorrupt
          ? [h("button", { data: { action: "clear" }, on: { click: () => this.clear() } }, "Clear baseline")] : [])),
      this.comparison(),
      ...KINDS.map(([kind, name, tone]) => this.differences(kind, name, tone)).filter(Boolean));
    if (focused) this.focusButton(focused);
  }

  /** Creates the table that compares hashes and key fields of the baseline and the current state. */
  comparison() {
    const { drift } = this;
    const code = (hash) => h("code", { title: hash ?? "" }, labels.shortHash(hash));
    const row = (name, baseline, current) =>
      h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, baseline), h("td", {}, current));
    const fields = drift.key.mismatch.map((field) =>
      row(field.replaceAll("_", " "), printable(drift.key.baseline?.[field] ?? "–"), printable(drift.key.local[field] ?? "–")));
    return h("table", { class: "comparison" },
      h("caption", { class: "visually-hidden" }, "Baseline and current state"),
      h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "Baseline"), h("th", { scope: "col" }, "Current"))),
      h("tbody", {},
        row("accepted", drift.baseline ? labels.time(drift.baseline.captured_at) : "–", "–"),
        row("parity hash", code(drift.baseline?.parity_hash_sha256), code(drift.local_parity_hash)),
        fields));
  }

  /** Creates the table of the differences of a kind; null if there are none. */
  differences(kind, name, tone) {
    const found = this.drift.differences.filter((difference) => difference.kind === kind);
    if (!found.length) return null;
    const hash = (value) => h("td", {}, value ? h("code", { title: value }, labels.shortHash(value)) : "–");
    return h("section", {},
      h("h3", {}, labels.badge([tone, `${name}: ${found.length}`])),
      h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `${name} artifacts` },
        h("table", { class: "differences" },
          h("thead", {}, h("tr", {}, ["Artifact", "Path", "Baseline hash", "Current hash", "Note"].map((title) => h("th", { scope: "col" }, title)))),
          h("tbody", {}, found.slice(0, MAX_ROWS).map((difference) => h("tr", {},
            h("th", { scope: "row" }, printable(difference.artifact_key)),
            h("td", {}, printable(difference.relative_path)),
            hash(difference.baseline_hash), hash(difference.local_hash),
            h("td", {}, difference.churn ? "churn" : "")))))),
      ...(found.length > MAX_ROWS ? [h("p", { class: "notice" }, `${found.length - MAX_ROWS} more not shown; see \`dossierd drift\`.`)] : []));
  }

  async accept(isCorrupt) {
    const lines = [`Later states of ${printable(this.feature.selection.feature)} will be compared with its current state.`];
    if (this.drift.differences.length) lines.push(`This accepts ${labels.count(this.drift.differences.length, "difference")}.`);
    if (isCorrupt) lines.push("The existing baseline is corrupt and will be replaced.");
    // The hash of the state that is shown now: the daemon refuses to accept another one.
    const reviewedHash = this.drift.local_tree_hash;
    if (!await confirmDialog("Accept this state as the baseline?", lines, "Accept")) return this.focusButton("accept");
    return this.changeBaseline("POST", { tree_hash_sha256: reviewedHash, replace_corrupt: isCorrupt }, "baseline accepted");
  }

  async clear() {
    const lines = ["The accepted state is deleted, and drift is no longer reported."];
    if (!await confirmDialog("Clear the baseline?", lines, "Clear")) return this.focusButton("clear");
    return this.changeBaseline("DELETE", null, "baseline cleared");
  }

  /** Moves the focus to a button, which `draw` may have replaced. */
  focusButton(action) {
    this.body.querySelector(`[data-action="${action}"]`)?.focus();
  }

  async changeBaseline(method, body, announcement) {
    let message = "";
    try {
      await requestJson("/api/dossier/baseline", featureParameters(this.feature.selection), {
        method,
        ...(body ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {}),
      });
      announce(announcement);
    } catch (error) {
      message = error.code === "state_changed"
        ? "The feature changed after it was shown. Review it again, then accept it." : error.message;
    }
    await this.load();
    if (!this.hasLoadError) this.showError(message);
    this.focusButton("accept");
  }
}
