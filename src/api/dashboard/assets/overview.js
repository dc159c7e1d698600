// The start page: a summary, and a table of features for each project.

import { buildUrl } from "./api.js";
import { h, printable, replaceChildren } from "./dom.js";
import * as labels from "./labels.js";

const needsAttention = (feature) =>
  (feature.completeness_status === "incomplete" && !feature.archived)
  || (feature.drift.state !== "in_parity" && feature.drift.state !== "no_baseline")
  || !["live", "settling"].includes(feature.watch)
  || Boolean(feature.meta_error || feature.step_error);

export class Overview {
  constructor(model, parameters, navigate) {
    this.model = model;
    this.navigateTo = navigate;
    this.expanded = new Set();
    this.search = h("input", {
      type: "search", id: "search", autocomplete: "off", spellcheck: "false", value: parameters.q ?? "",
      on: { input: () => this.onFilterInput() },
    });
    this.attention = h("input", {
      type: "checkbox", id: "attention", checked: Boolean(parameters.attention),
      on: { change: () => this.onFilterInput() },
    });
    this.summary = h("dl", { class: "facts" });
    this.projects = h("div", {});
    this.element = h("div", { class: "overview" },
      h("h2", { class: "visually-hidden" }, "All features"),
      this.summary,
      h("div", { class: "filters", role: "search" },
        h("label", { for: "search" }, "Find"), this.search,
        h("label", { class: "check" }, this.attention, "only features that need attention")),
      this.projects);
    this.draw();
  }

  navigate(parameters) {
    if (this.search.value !== (parameters.q ?? "")) this.search.value = parameters.q ?? "";
    this.attention.checked = Boolean(parameters.attention);
    this.draw();
    return true;
  }

  onFilterInput() {
    this.navigateTo({ q: this.search.value, attention: this.attention.checked ? "1" : "" }, true);
  }

  update() {
    this.draw();
  }

  draw() {
    const features = [...this.model.features.values()];
    const countWhere = (test) => features.filter(test).length;
    this.summary.replaceChildren(...[
      ["features", features.length, ""],
      ["complete", countWhere((f) => f.completeness_status === "complete"), "good"],
      ["incomplete", countWhere((f) => f.completeness_status === "incomplete"), "bad"],
      ["unknown", countWhere((f) => f.completeness_status === "unknown"), "dim"],
      ["drifted", countWhere((f) => f.drift.state === "drifted"), "fair"],
      ["missing", features.reduce((sum, f) => sum + f.missing_required_count, 0), "bad"],
    ].map(([name, number, tone]) =>
      h("div", {}, h("dt", {}, name), h("dd", { class: number ? tone : "" }, String(number)))));
    const wanted = this.search.value.toLowerCase();
    const matches = (feature) =>
      (!wanted || feature.feature_slug.toLowerCase().includes(wanted))
      && (!this.attention.checked || needsAttention(feature));
    const focused = document.activeElement?.closest?.("tr[data-feature]")?.dataset.feature;
    replaceChildren(this.projects, this.model.status.projects.map((project) => this.projectSection(project, matches)));
    if (focused) this.projects.querySelector(`tr[data-feature="${CSS.escape(focused)}"] a`)?.focus();
    if (!this.model.status.projects.length) {
      this.projects.append(h("p", { class: "empty" },
        "No project is watched. Run ", h("code", {}, "dossierd project add PATH"), " to watch one."));
    }
  }

  projectSection(project, matches) {
    const current = project.features.map((feature) =>
      this.model.features.get(`${project.root_id}/${feature.feature_slug}`) ?? feature);
    const shown = current.filter(matches);
    const rows = shown.map((feature) => this.featureRow(project, feature));
    const id = `project-${project.root_id}`;
    const errors = [
      ...project.manifest_errors.map((error) => `${error.file}: ${error.message}`),
      project.watch.detail,
    ].filter(Boolean);
    return h("section", { "aria-labelledby": id },
      h("div", { class: "bar" },
        h("h3", { id }, printable(project.project)),
        labels.badge(labels.projectWatch(project.watch)),
        h("span", { class: "path" }, printable(project.root))),
      errors.length ? h("ul", { class: "error" }, errors.map((line) => h("li", {}, printable(line)))) : null,
      this.notes(project),
      rows.length
        ? h("table", { class: "features" },
          h("caption", { class: "visually-hidden" }, `Features of ${printable(project.project)}`),
          h("thead", {}, h("tr", {},
            ["Feature", "Completeness", "Required", "Artifacts", "Drift", "Step", "Watch state"].map((name) =>
              h("th", { scope: "col" }, name)))),
          h("tbody", {}, rows))
        : h("p", { class: "empty" }, current.length ? "No feature matches the filter." : "This project has no features."));
  }

  /** Creates a collapsible list of manifest warnings and skipped directories; null if there are none. */
  notes(project) {
    const lines = [
      ...project.manifest_warnings,
      ...project.skipped.map((skipped) => `skipped ${skipped.name}: ${skipped.reason}`),
    ];
    if (!lines.length) return null;
    return h("details", { open: this.expanded.has(project.root_id), on: {
      toggle: (event) => (event.target.open ? this.expanded.add(project.root_id) : this.expanded.delete(project.root_id)),
    } },
    h("summary", {}, labels.count(lines.length, "note")),
    h("ul", {}, lines.map((line) => h("li", {}, printable(line)))));
  }

  featureRow(project, feature) {
    const counts = feature.artifact_counts;
    const id = `${project.root_id}/${feature.feature_slug}`;
    const differsIn = labels.differsIn(feature, this.model.status.projects);
    return h("tr", { data: { feature: id } },
      h("th", { scope: "row" }, h("a", {
        href: buildUrl("/", { feature: feature.feature_slug, project: project.root_id }), "data-navigate": true,
      }, printable(feature.feature_slug)),
      differsIn ? h("div", { class: "differs dim" }, `differs in ${differsIn}`) : null),
      h("td", {}, labels.badge(labels.completeness(feature))),
      h("td", { class: "number", data: { label: "required" } }, counts.required ? `${counts.required_present} / ${counts.required}` : "–"),
      h("td", { class: "number", data: { label: "artifacts" } }, String(counts.total)),
      h("td", {}, labels.badge(labels.drift(feature.drift))),
      h("td", { data: { label: "step" } }, feature.step ? printable(feature.step) : "–"),
      h("td", {}, labels.badge(labels.featureWatch(feature))));
  }
}
