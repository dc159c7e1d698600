// The page of one feature: a summary, and tabs for artifacts, drift and history.

import { buildUrl, download, featureParameters } from "./api.js";
import { h, printable } from "./dom.js";
import { Artifacts } from "./artifacts.js";
import { Drift } from "./drift.js";
import { History } from "./history.js";
import * as labels from "./labels.js";

const TABS = { artifacts: ["Artifacts", Artifacts], drift: ["Drift", Drift], history: ["History", History] };

const tabOf = (parameters) => (Object.hasOwn(TABS, parameters.tab ?? "") ? parameters.tab : "artifacts");

export class Feature {
  constructor(model, parameters, navigate) {
    this.model = model;
    this.navigateTo = navigate;
    this.selection = { feature: parameters.feature, project: parameters.project };
    this.summary = h("div", {});
    this.tabBar = h("nav", { class: "tabs", "aria-label": "Feature sections" });
    this.body = h("div", {});
    this.element = h("div", { class: "feature" }, this.summary, this.tabBar, this.body);
    this.drawSummary();
    this.openTab(parameters);
  }

  /** Applies new URL parameters; returns false if they select another feature. */
  navigate(parameters) {
    if (parameters.feature !== this.selection.feature || parameters.project !== this.selection.project) return false;
    if (tabOf(parameters) === this.tabName) this.tab.navigate?.(parameters);
    else this.openTab(parameters);
    return true;
  }

  close() {
    this.tab?.close?.();
  }

  /** The feature's overview, or null if the daemon does not watch it. */
  get overview() {
    for (const [id, overview] of this.model.features) {
      const [rootId] = id.split("/", 1);
      if (this.isSelected(rootId, overview.feature_slug)) return overview;
    }
    return null;
  }

  /** True if the URL selects this feature; `project` in the URL is a root id or a name. */
  isSelected(rootId, slug) {
    const { feature, project } = this.selection;
    const isProject = (it) => it.root_id === rootId && it.project === project;
    return slug === feature && (!project || rootId === project || this.model.status.projects.some(isProject));
  }

  update(changedIds, events) {
    this.drawSummary();
    const isChanged = [...changedIds].some((id) => {
      const [rootId, ...slug] = id.split("/");
      return this.isSelected(rootId, slug.join("/"));
    });
    if (isChanged) {
      this.tab.update?.(events.filter((event) => this.isSelected(event.root_id, event.feature_slug)));
    }
  }

  async exportSnapshot() {
    try {
      await download(`${this.selection.feature}.snapshot.json`, "/api/dossier/snapshots/export", featureParameters(this.selection));
    } catch (error) {
      this.summary.append(h("p", { class: "error", role: "alert" }, printable(error.message)));
    }
  }

  openTab(parameters) {
    this.close();
    this.tabName = tabOf(parameters);
    this.tabBar.replaceChildren(...Object.entries(TABS).map(([id, [name]]) => h("a", {
      href: buildUrl("/", { ...this.selection, tab: id === "artifacts" ? "" : id }),
      "data-navigate": true,
      "aria-current": id === this.tabName ? "page" : null,
    }, name)));
    const [, Tab] = TABS[this.tabName];
    this.tab = new Tab(this, parameters);
    this.body.replaceChildren(this.tab.element);
  }

  drawSummary() {
    const overview = this.overview;
    const title = h("h2", {}, printable(this.selection.feature));
    if (!overview) {
      this.summary.replaceChildren(title, h("p", { class: "empty" }, "This feature is not watched."));
      return;
    }
    const counts = overview.artifact_counts;
    const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
    const differsIn = labels.differsIn(overview, this.model.status.projects);
    const errors = [overview.meta_error, overview.step_error, overview.step_warning, overview.progress_error].filter(Boolean);
    this.summary.replaceChildren(
      h("div", { class: "bar" }, title,
        labels.badge(labels.completeness(overview)),
        labels.badge(labels.drift(overview.drift)),
        labels.badge(labels.featureWatch(overview)),
        h("button", { class: "button", on: { click: () => this.exportSnapshot() } }, "Export snapshot")),
      ...(errors.length ? [h("ul", { class: "error" }, errors.map((line) => h("li", {}, printable(line))))] : []),
      h("dl", { class: "facts" },
        fact("required", `${counts.required_present} / ${counts.required}`),
        fact("missing", String(overview.missing_required_count)),
        fact("artifacts", String(counts.total)),
        fact("mission", printable(overview.mission)),
        fact("step", overview.step ? printable(overview.step) : "–"),
        ...(overview.next_step ? [fact("next step", printable(overview.next_step))] : []),
        ...(overview.progress ? [fact("progress", labels.progress(overview.progress))] : []),
        ...(differsIn ? [fact("differs in", differsIn)] : []),
        fact("parity hash", h("code", { title: overview.parity_hash_sha256 }, labels.shortHash(overview.parity_hash_sha256))),
        fact("baseline accepted", overview.baseline ? labels.time(overview.baseline.captured_at) : "none"),
        fact("last checked", overview.last_scanned_at ? labels.time(overview.last_scanned_at) : "–")),
    );
  }
}
