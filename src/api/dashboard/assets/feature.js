// One feature: its facts, and its artifacts, drift or history below them.

import { address, meaning } from "./api.js";
import { h, printable } from "./dom.js";
import { Artifacts } from "./artifacts.js";
import { Drift } from "./drift.js";
import { History } from "./history.js";
import * as labels from "./labels.js";

const TABS = { artifacts: ["Artifacts", Artifacts], drift: ["Drift", Drift], history: ["History", History] };

export class Feature {
  constructor(world, parameters, go) {
    this.world = world;
    this.go = go;
    this.of = { feature: parameters.feature, project: parameters.project };
    this.facts = h("div", {});
    this.tabs = h("nav", { class: "tabs", "aria-label": "Parts of the feature" });
    this.body = h("div", {});
    this.element = h("div", { class: "feature" }, this.facts, this.tabs, this.body);
    this.showFacts();
    this.showTab(parameters);
  }

  /** Whether it can go on to what the address says now. */
  follow(parameters) {
    if (parameters.feature !== this.of.feature || parameters.project !== this.of.project) return false;
    const tab = Object.hasOwn(TABS, parameters.tab ?? "") ? parameters.tab : "artifacts";
    if (tab === this.tab) this.part.follow?.(parameters);
    else this.showTab(parameters);
    return true;
  }

  leave() {
    this.part?.leave?.();
  }

  get overview() {
    for (const [name, overview] of this.world.features) {
      const [root] = name.split("/", 1);
      const isProject = !this.of.project || root === this.of.project || overview.project === this.of.project;
      if (overview.feature_slug === this.of.feature && isProject) return overview;
    }
    return null;
  }

  changed(names, events) {
    this.showFacts();
    const own = [...names].some((name) => {
      const [root, ...slug] = name.split("/");
      return slug.join("/") === this.of.feature && (!this.of.project || root === this.of.project);
    });
    if (own) {
      const mine = (event) => event.feature_slug === this.of.feature && (!this.of.project || event.root_id === this.of.project);
      this.part.changed?.(events.filter(mine));
    }
  }

  showTab(parameters) {
    this.leave();
    this.tab = Object.hasOwn(TABS, parameters.tab ?? "") ? parameters.tab : "artifacts";
    this.tabs.replaceChildren(...Object.entries(TABS).map(([id, [name]]) => h("a", {
      href: address("/", { ...this.of, tab: id === "artifacts" ? "" : id }),
      "data-go": true,
      "aria-current": id === this.tab ? "page" : null,
    }, name)));
    const [, Part] = TABS[this.tab];
    this.part = new Part(this, parameters);
    this.body.replaceChildren(this.part.element);
  }

  showFacts() {
    const overview = this.overview;
    const title = h("h2", {}, printable(this.of.feature));
    if (!overview) {
      this.facts.replaceChildren(title, h("p", { class: "empty" }, "This feature is not watched now."));
      return;
    }
    const counts = overview.artifact_counts;
    const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
    const wrong = [overview.meta_error, overview.step_error].filter(Boolean);
    this.facts.replaceChildren(
      h("div", { class: "bar" }, title,
        labels.badge(labels.completeness(overview)),
        labels.badge(labels.drift(overview.drift)),
        labels.badge(labels.watch(overview)),
        h("a", {
          class: "button", download: `${overview.feature_slug}.snapshot.json`,
          href: address("/api/dossier/snapshots/export", meaning(this.of)),
        }, "Export snapshot")),
      ...(wrong.length ? [h("ul", { class: "wrong" }, wrong.map((line) => h("li", {}, printable(line))))] : []),
      h("dl", { class: "facts" },
        fact("required", `${counts.required_present} / ${counts.required}`),
        fact("missing", String(overview.missing_required_count)),
        fact("artifacts", String(counts.total)),
        fact("mission", printable(overview.mission)),
        fact("step", overview.step ? printable(overview.step) : "–"),
        fact("parity", h("code", { title: overview.parity_hash_sha256 }, labels.short(overview.parity_hash_sha256))),
        fact("baseline", overview.baseline ? labels.time(overview.baseline.captured_at) : "none"),
        fact("compared", overview.last_scanned_at ? labels.time(overview.last_scanned_at) : "–")),
    );
  }
}
