// All projects and their features at a glance.

import { address } from "./api.js";
import { h, printable } from "./dom.js";
import * as labels from "./labels.js";

const PROJECT = {
  live: ["good", "live"],
  rescanning: ["fair", "rescanning"],
  polling: ["fair", "polling"],
  degraded: ["fair", "degraded"],
  unreadable: ["bad", "unreadable"],
  root_unavailable: ["bad", "not there"],
};

const needsAttention = (feature) =>
  feature.completeness_status === "incomplete"
  || (feature.drift.state !== "in_parity" && feature.drift.state !== "no_baseline")
  || !["live", "settling"].includes(feature.watch)
  || Boolean(feature.meta_error || feature.step_error);

export class Overview {
  constructor(world, parameters, go) {
    this.world = world;
    this.go = go;
    this.open = new Set();
    this.search = h("input", {
      type: "search", id: "search", autocomplete: "off", spellcheck: "false", value: parameters.q ?? "",
      on: { input: () => this.said() },
    });
    this.attention = h("input", {
      type: "checkbox", id: "attention", checked: Boolean(parameters.attention),
      on: { change: () => this.said() },
    });
    this.summary = h("dl", { class: "facts" });
    this.projects = h("div", {});
    this.element = h("div", { class: "overview" },
      h("h2", { class: "unseen" }, "All features"),
      this.summary,
      h("div", { class: "filters", role: "search" },
        h("label", { for: "search" }, "Find"), this.search,
        h("label", { class: "check" }, this.attention, "only what needs attention")),
      this.projects);
    this.build();
  }

  follow(parameters) {
    if (this.search.value !== (parameters.q ?? "")) this.search.value = parameters.q ?? "";
    this.attention.checked = Boolean(parameters.attention);
    this.build();
    return true;
  }

  said() {
    this.go({ q: this.search.value, attention: this.attention.checked ? "1" : "" }, true);
  }

  changed() {
    this.build();
  }

  build() {
    const features = [...this.world.features.values()];
    const tally = (test) => features.filter(test).length;
    this.summary.replaceChildren(...[
      ["features", features.length, ""],
      ["complete", tally((f) => f.completeness_status === "complete"), "good"],
      ["incomplete", tally((f) => f.completeness_status === "incomplete"), "bad"],
      ["unknown", tally((f) => f.completeness_status === "unknown"), "dim"],
      ["drifted", tally((f) => f.drift.state === "drifted"), "fair"],
      ["missing", features.reduce((sum, f) => sum + f.missing_required_count, 0), "bad"],
    ].map(([name, number, tone]) =>
      h("div", {}, h("dt", {}, name), h("dd", { class: number ? tone : "" }, String(number)))));
    const wanted = this.search.value.toLowerCase();
    const passes = (feature) =>
      (!wanted || feature.feature_slug.toLowerCase().includes(wanted))
      && (!this.attention.checked || needsAttention(feature));
    const focused = document.activeElement?.closest?.("tr[data-name]")?.dataset.name;
    this.projects.replaceChildren(...this.world.status.projects.map((project) => this.project(project, passes)));
    if (focused) this.projects.querySelector(`tr[data-name="${CSS.escape(focused)}"] a`)?.focus();
    if (!this.world.status.projects.length) {
      this.projects.append(h("p", { class: "empty" }, "No project is watched. ", h("code", {}, "dossierd project add PATH"), " adds one."));
    }
  }

  project(project, passes) {
    const current = project.features.map((feature) =>
      this.world.features.get(`${project.root_id}/${feature.feature_slug}`) ?? feature);
    const shown = current.filter(passes);
    const rows = shown.map((feature) => this.row(project, feature));
    const id = `project-${project.root_id}`;
    const wrong = [
      ...project.manifest_errors.map((error) => `${error.file}: ${error.message}`),
      project.watch.detail,
    ].filter(Boolean);
    return h("section", { "aria-labelledby": id },
      h("div", { class: "bar" },
        h("h3", { id }, printable(project.project)),
        labels.badge(PROJECT[project.watch.state] ?? ["dim", project.watch.state]),
        h("span", { class: "path" }, printable(project.root))),
      wrong.length ? h("ul", { class: "wrong" }, wrong.map((line) => h("li", {}, printable(line)))) : null,
      this.noted(project),
      rows.length
        ? h("table", { class: "features" },
          h("caption", { class: "unseen" }, `Features of ${printable(project.project)}`),
          h("thead", {}, h("tr", {},
            ["Feature", "Completeness", "Required", "Artifacts", "Drift", "Step", "Seen"].map((name) =>
              h("th", { scope: "col" }, name)))),
          h("tbody", {}, rows))
        : h("p", { class: "empty" }, current.length ? "Nothing passes the filter." : "It has no features."));
  }

  /** What is odd, and what is no feature, for who wants to know. */
  noted(project) {
    const lines = [
      ...project.manifest_warnings,
      ...project.skipped.map((skipped) => `${skipped.name} is no feature: ${skipped.reason}`),
    ];
    if (!lines.length) return null;
    return h("details", { open: this.open.has(project.root_id), on: {
      toggle: (event) => (event.target.open ? this.open.add(project.root_id) : this.open.delete(project.root_id)),
    } },
    h("summary", {}, labels.count(lines.length, "note")),
    h("ul", {}, lines.map((line) => h("li", {}, printable(line)))));
  }

  row(project, feature) {
    const counts = feature.artifact_counts;
    const name = `${project.root_id}/${feature.feature_slug}`;
    return h("tr", { data: { name } },
      h("th", { scope: "row" }, h("a", {
        href: address("/", { feature: feature.feature_slug, project: project.root_id }), "data-go": true,
      }, printable(feature.feature_slug))),
      h("td", {}, labels.badge(labels.completeness(feature))),
      h("td", { class: "number", data: { label: "required" } }, counts.required ? `${counts.required_present} / ${counts.required}` : "–"),
      h("td", { class: "number", data: { label: "artifacts" } }, String(counts.total)),
      h("td", {}, labels.badge(labels.drift(feature.drift))),
      h("td", { data: { label: "step" } }, feature.step ? printable(feature.step) : "–"),
      h("td", {}, labels.badge(labels.watch(feature))));
  }
}
