// The artifacts tab: filters that are stored in the URL, the list, and the selected artifact.

import { featureParameters, requestJson } from "./api.js";
import { announce, h, printable, replaceChildren } from "./dom.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import * as labels from "./labels.js";

const CLASSES = ["input", "workflow", "output", "evidence", "policy", "runtime", "other"];
/** Inputs of the filters, and their URL parameters. */
const FILTERS = ["q", "class", "wp", "step", "required", "missing"];
/** Events that arrive within this time cause one reload of the list. */
const RELOAD_DELAY_MS = 150;

export class Artifacts {
  constructor(feature, parameters) {
    this.feature = feature;
    this.artifacts = [];
    const select = (id, options) => h("select", { id, on: { change: () => this.onFilterInput() } }, options);
    const check = (id) => h("input", { type: "checkbox", id, on: { change: () => this.onFilterInput() } });
    this.inputs = {
      q: h("input", { type: "search", id: "q", autocomplete: "off", spellcheck: "false", on: { input: () => this.onFilterInput() } }),
      class: select("class", ["", ...CLASSES].map((name) => h("option", { value: name }, name || "any"))),
      wp: select("wp", [h("option", { value: "" }, "any")]),
      step: select("step", [h("option", { value: "" }, "any")]),
      required: check("required"),
      missing: check("missing"),
    };
    this.count = h("p", { class: "count", role: "status" });
    this.grid = new Grid({
      label: "Artifacts",
      columns: [
        ["Key", "c-key", (item) => printable(item.artifact_key)],
        ["Path", "c-path", (item) => printable(item.relative_path)],
        ["Class", "c-class", (item) => item.artifact_class],
        ["WP", "c-wp", (item) => (item.wp_id ? printable(item.wp_id) : "–")],
        ["Status", "c-status", (item) => item.required_status],
        ["State", "c-state", (item) => labels.badge(labels.presence(item))],
        ["Size", "c-size", (item) => (item.is_present ? labels.size(item.size_bytes) : "–")],
      ],
      onOpen: (item) => this.open(item.artifact_key),
    });
    this.detail = new Detail(feature.selection, () => this.open(""));
    this.error = h("p", { class: "error", hidden: true });
    const field = (id, name) => h("span", { class: "field" }, h("label", { for: id }, name), this.inputs[id]);
    this.element = h("div", { class: "artifacts" },
      h("div", { class: "filters", role: "search" },
        field("q", "Find"), field("class", "Class"), field("wp", "Work package"), field("step", "Step"),
        h("label", { class: "check" }, this.inputs.required, "required"),
        h("label", { class: "check" }, this.inputs.missing, "missing"),
        this.count),
      this.error,
      h("div", { class: "panes" }, this.grid.element, this.detail.element));
    this.parameters = parameters;
    this.load();
    this.detail.show(parameters.artifact);
  }

  close() {
    clearTimeout(this.reloadTimer);
    this.detail.close();
  }

  navigate(parameters) {
    this.parameters = parameters;
    this.fillInputs();
    this.drawList();
    this.detail.show(parameters.artifact);
  }

  update(events) {
    clearTimeout(this.reloadTimer);
    this.reloadTimer = setTimeout(() => this.load(), RELOAD_DELAY_MS);
    this.detail.update(events);
  }

  async load() {
    try {
      const list = await requestJson("/api/dossier/artifacts", featureParameters(this.feature.selection));
      this.artifacts = list.artifacts;
      this.error.hidden = true;
    } catch (error) {
      this.error.textContent = printable(error.message);
      this.error.hidden = false;
      return;
    }
    const valuesOf = (field) => [...new Set(this.artifacts.map((item) => item[field]).filter(Boolean))].sort();
    for (const [id, field] of [["wp", "wp_id"], ["step", "step_id"]]) {
      const names = ["", ...valuesOf(field)];
      const selected = this.parameters[id];
      if (selected && !names.includes(selected)) names.push(selected);
      replaceChildren(this.inputs[id], names.map((name) => h("option", { value: name }, name ? printable(name) : "any")));
    }
    this.fillInputs();
    this.drawList();
  }

  /** Sets the inputs from the URL parameters. */
  fillInputs() {
    for (const name of FILTERS) {
      const input = this.inputs[name];
      const value = this.parameters[name] ?? "";
      if (input.type === "checkbox") input.checked = Boolean(value);
      else if (input.value !== value) input.value = value;
    }
  }

  onFilterInput() {
    const filters = Object.fromEntries(FILTERS.map((name) => {
      const input = this.inputs[name];
      return [name, input.type === "checkbox" ? (input.checked ? "1" : "") : input.value];
    }));
    this.feature.navigateTo({ ...this.feature.selection, ...filters, artifact: this.parameters.artifact }, true);
  }

  drawList() {
    const { q, class: artifactClass, wp, step, required, missing } = this.parameters;
    const text = (q ?? "").toLowerCase();
    const shown = this.artifacts.filter((item) =>
      (!artifactClass || item.artifact_class === artifactClass)
      && (!wp || item.wp_id === wp)
      && (!step || item.step_id === step)
      && (!required || item.required_status === "required")
      && (!missing || !item.is_present)
      && (!text || item.artifact_key.toLowerCase().includes(text) || item.relative_path.toLowerCase().includes(text)));
    this.grid.show(shown, (a, b) => a.artifact_key === b.artifact_key && a.relative_path === b.relative_path);
    const total = labels.count(this.artifacts.length, "artifact");
    const count = shown.length === this.artifacts.length ? total : `${shown.length} of ${total}`;
    // An unchanged text is not set again, or screen readers would announce it.
    if (this.count.textContent !== count) this.count.textContent = count;
    const open = this.parameters.artifact;
    if (open && this.grid.activeIndex < 0) this.grid.select(shown.findIndex((item) => item.artifact_key === open));
  }

  open(key) {
    this.feature.navigateTo({ ...this.feature.selection, ...this.parameters, artifact: key });
    if (key) announce(`opened ${printable(key)}`);
    else this.grid.element.focus();
  }
}
