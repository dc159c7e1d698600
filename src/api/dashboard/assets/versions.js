// The stored versions of one artifact: a list, the content of one, and restoring it.

import { restoreVersion } from "./changes.js";
import { featureParameters, requestJson } from "./api.js";
import { h, printable, printableLines } from "./dom.js";
import * as labels from "./labels.js";

/** Number of versions that are listed. */
const MAX_VERSIONS = 50;

export class Versions {
  constructor(selection) {
    this.selection = selection;
    this.shown = null;
    this.content = h("div", { class: "content" });
    this.error = h("p", { class: "error", role: "alert" });
    this.list = h("div", {});
    this.element = h("section", { class: "versions", "aria-label": "Versions" }, this.list, this.error, this.content);
  }

  async load(artifact) {
    const path = artifact.relative_path;
    let response;
    try {
      response = await requestJson("/api/dossier/versions", {
        ...featureParameters(this.selection), artifact_key: path, limit: String(MAX_VERSIONS),
      });
    } catch (error) {
      // Some artifacts have no versions.
      this.list.replaceChildren();
      if (error.status !== 404) this.error.textContent = printable(error.message);
      return;
    }
    const versions = response.versions.filter((version) => version.relative_path === path);
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    this.draw(versions, artifact.is_present);
    if (focused) this.list.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus();
    const last = versions.find((version) => version.not_stored === null);
    if (!artifact.is_present && last && this.shown === null) await this.show(last, "Last content");
  }

  draw(versions, isPresent) {
    if (!versions.length) return this.list.replaceChildren();
    const rows = versions.map((version) => {
      const lines = version.added_lines === null ? "–" : `+${version.added_lines} −${version.removed_lines}`;
      const id = `${version.from_seq ?? ""} ${version.content_hash_sha256}`;
      const time = labels.time(version.from);
      const action = (name, text, run) => h("button", {
        data: { action: `${name} ${id}` }, "aria-label": `${text} the version of ${version.from}`, on: { click: run },
      }, text);
      const isCurrent = version.until === null && isPresent;
      return h("tr", {},
        h("th", { scope: "row" }, time),
        h("td", {}, lines),
        h("td", {}, labels.size(version.size_bytes)),
        h("td", {}, stateText(version)),
        h("td", {}, ...(version.not_stored ? [] : [
          action("show", "Show", () => this.show(version, "Content")),
          ...(isCurrent ? [] : [action("restore", "Restore", () => this.restore(version, isPresent))]),
        ])));
    });
    return this.list.replaceChildren(
      h("h4", {}, "Versions"),
      h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "List of versions" },
        h("table", {},
          h("thead", {}, h("tr", {}, ["Time", "Lines", "Size", "State", "Actions"].map((title) => h("th", { scope: "col" }, title)))),
          h("tbody", {}, rows))));
  }

  async show(version, title) {
    this.shown = version.content_hash_sha256;
    let message = "";
    try {
      const { content } = await requestJson("/api/dossier/content", {
        ...featureParameters(this.selection), hash: version.content_hash_sha256,
      });
      const text = content === null ? "It is not text." : printableLines(content);
      this.content.replaceChildren(
        h("h4", { tabindex: -1 }, `${title} of `, labels.time(version.from)),
        h("pre", { tabindex: 0 }, text));
    } catch (error) {
      message = error.message;
    }
    this.error.textContent = printable(message);
  }

  async restore(version, isPresent) {
    const error = await restoreVersion(this.selection, version.relative_path, version.content_hash_sha256, isPresent);
    this.error.textContent = printable(error);
  }
}

function stateText(version) {
  const words = [];
  if (version.until === null) words.push("current");
  if (version.end === "deleted") words.push("deleted later");
  if (version.in_baseline) words.push("baseline");
  if (version.not_stored) words.push(`not stored: ${version.not_stored.replaceAll("_", " ")}`);
  return words.join(", ");
}
