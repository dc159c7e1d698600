// The artifacts of a feature: filters that are kept in the address, the list, and one in detail.

import { ask, meaning } from "./api.js";
import { announce, h, printable } from "./dom.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import * as labels from "./labels.js";

const CLASSES = ["input", "workflow", "output", "evidence", "policy", "runtime", "other"];
/** Names of the filters in the address. */
const FILTERS = ["q", "class", "wp", "step", "required", "missing"];
const GATHER_MS = 150;

export class Artifacts {
  constructor(feature, parameters) {
    this.feature = feature;
    this.all = [];
    const select = (id, options) => h("select", { id, on: { change: () => this.said() } }, options);
    const check = (id) => h("input", { type: "checkbox", id, on: { change: () => this.said() } });
    this.inputs = {
      q: h("input", { type: "search", id: "q", autocomplete: "off", spellcheck: "false", on: { input: () => this.said() } }),
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
      open: (item) => this.open(item.artifact_key),
    });
    this.detail = new Detail(feature.of, () => this.open(""));
    this.wrong = h("p", { class: "wrong", hidden: true });
    const field = (id, name) => h("span", { class: "field" }, h("label", { for: id }, name), this.inputs[id]);
    this.element = h("div", { class: "artifacts" },
      h("div", { class: "filters", role: "search" },
        field("q", "Find"), field("class", "Class"), field("wp", "Work package"), field("step", "Step"),
        h("label", { class: "check" }, this.inputs.required, "required"),
        h("label", { class: "check" }, this.inputs.missing, "missing"),
        this.count),
      this.wrong,
      h("div", { class: "panes" }, this.grid.element, this.detail.element));
    this.parameters = parameters;
    this.load();
    this.detail.show(parameters.artifact);
  }

  leave() {
    clearTimeout(this.timer);
    this.detail.leave();
  }

  follow(parameters) {
    this.parameters = parameters;
    this.fill();
    this.filter();
    this.detail.show(parameters.artifact);
  }

  changed(events) {
    // One load for what comes together.
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), GATHER_MS);
    this.detail.changed(events);
  }

  async load() {
    try {
      const list = await ask("/api/dossier/artifacts", meaning(this.feature.of));
      this.all = list.artifacts;
      this.wrong.hidden = true;
    } catch (error) {
      this.wrong.textContent = printable(error.message);
      this.wrong.hidden = false;
      return;
    }
    const options = (field) => [...new Set(this.all.map((item) => item[field]).filter(Boolean))].sort();
    for (const [id, field] of [["wp", "wp_id"], ["step", "step_id"]]) {
      const names = ["", ...options(field)];
      const wanted = this.parameters[id];
      if (wanted && !names.includes(wanted)) names.push(wanted);
      this.inputs[id].replaceChildren(...names.map((name) => h("option", { value: name }, name ? printable(name) : "any")));
    }
    this.fill();
    this.filter();
  }

  /** The inputs as the address says. */
  fill() {
    for (const name of FILTERS) {
      const input = this.inputs[name];
      const value = this.parameters[name] ?? "";
      if (input.type === "checkbox") input.checked = Boolean(value);
      else if (input.value !== value) input.value = value;
    }
  }

  said() {
    const filters = Object.fromEntries(FILTERS.map((name) => {
      const input = this.inputs[name];
      return [name, input.type === "checkbox" ? (input.checked ? "1" : "") : input.value];
    }));
    this.feature.go({ ...this.feature.of, ...filters, artifact: this.parameters.artifact }, true);
  }

  filter() {
    const { q, class: kind, wp, step, required, missing } = this.parameters;
    const wanted = (q ?? "").toLowerCase();
    const shown = this.all.filter((item) =>
      (!kind || item.artifact_class === kind)
      && (!wp || item.wp_id === wp)
      && (!step || item.step_id === step)
      && (!required || item.required_status === "required")
      && (!missing || !item.is_present)
      && (!wanted || item.artifact_key.toLowerCase().includes(wanted) || item.relative_path.toLowerCase().includes(wanted)));
    this.grid.show(shown, (a, b) => a.artifact_key === b.artifact_key && a.relative_path === b.relative_path);
    const said = shown.length === this.all.length
      ? labels.count(shown.length, "artifact") : `${shown.length} of ${labels.count(this.all.length, "artifact")}`;
    if (this.count.textContent !== said) this.count.textContent = said;
    const open = this.parameters.artifact;
    if (open && this.grid.active < 0) this.grid.mark(shown.findIndex((item) => item.artifact_key === open));
  }

  open(key) {
    this.feature.go({ ...this.feature.of, ...this.parameters, artifact: key });
    if (key) announce(`${printable(key)} is open`);
    else this.grid.element.focus();
  }
}
