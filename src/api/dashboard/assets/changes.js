// What changed since the baseline, line by line, and restoring a version.

import { featureParameters, requestJson } from "./api.js";
import { announce, confirmDialog, h, printable } from "./dom.js";

/** Maximum number of lines of a file, and of characters of a line, that are shown. */
const MAX_LINES = 2000;
const MAX_LINE_CHARACTERS = 2000;

const SIGNS = { context: " ", removed: "-", added: "+" };
const REASONS = {
  binary: "It is not text, so its lines are not compared.",
  too_large: "It is too large to be compared.",
  not_stored: "A version is not stored.",
  not_kept: "No version of that moment is kept.",
  omitted: "The difference is too large; `dossierd diff` with the artifact's name shows it.",
};

export class Changes {
  constructor(selection) {
    this.selection = selection;
    this.open = new Set();
    this.element = h("section", { class: "changes", "aria-label": "Changes since the baseline" });
  }

  async load(hasBaseline) {
    if (!hasBaseline) return this.element.replaceChildren();
    let diff;
    try {
      diff = await requestJson("/api/dossier/diff", featureParameters(this.selection));
    } catch (error) {
      return this.element.replaceChildren(h("p", { class: "notice" }, printable(error.message)));
    }
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset.path : null;
    this.element.replaceChildren(
      ...(diff.files.length ? [h("h3", {}, "Lines")] : []),
      ...diff.files.map((file, index) => this.file(file, index)));
    if (focused) {
      [...this.element.querySelectorAll("[data-path]")].find((one) => one.dataset.path === focused)?.focus();
    }
    return undefined;
  }

  file(file, index) {
    const path = printable(file.relative_path);
    const previous = file.previous_path ? `${printable(file.previous_path)} → ` : "";
    const counts = file.added_lines === null ? "" : ` +${file.added_lines} −${file.removed_lines}`;
    const canRestore = file.from_hash && file.kind !== "renamed";
    const isOpen = this.open.size ? this.open.has(file.relative_path) : index < 5;
    return h("details", {
      open: isOpen,
      on: { toggle: (event) => (event.target.open ? this.open.add(file.relative_path) : this.open.delete(file.relative_path)) },
    },
      h("summary", { data: { path: file.relative_path } }, `${previous}${path}: ${file.kind ?? "unknown"}${counts}`),
      ...(file.unavailable ? [h("p", { class: "notice" }, REASONS[file.unavailable] ?? printable(file.unavailable))] : []),
      ...(file.hunks.length ? [diffLines(file.hunks, `Changed lines of ${path}`)] : []),
      ...(canRestore ? [h("button", {
        data: { path: `${file.relative_path} restore` },
        on: { click: () => this.restore(file) },
      }, "Restore the accepted version")] : []));
  }

  async restore(file) {
    const error = await restoreVersion(this.selection, file.relative_path, "baseline", file.to_hash !== null);
    if (error) this.element.prepend(h("p", { class: "error", role: "alert" }, printable(error)));
  }
}

/** Creates the changed lines. Their text becomes text nodes only. */
function diffLines(hunks, label) {
  const lines = [];
  let count = 0;
  for (const hunk of hunks) {
    lines.push(h("span", { class: "line hunk" }, `@@ -${hunk.from_start},${hunk.from_lines} +${hunk.to_start},${hunk.to_lines} @@\n`));
    for (const line of hunk.lines) {
      count += 1;
      if (count <= MAX_LINES) lines.push(diffLine(line));
    }
  }
  const more = count > MAX_LINES ? [h("p", { class: "notice" }, `${count - MAX_LINES} more lines are not shown.`)] : [];
  return h("div", {}, h("pre", { class: "diff", tabindex: 0, role: "region", "aria-label": label }, lines), ...more);
}

function diffLine(line) {
  const characters = [...line.text];
  const shown = characters.slice(0, MAX_LINE_CHARACTERS);
  const parts = [];
  let at = 0;
  for (const [from, to] of line.changed ?? []) {
    if (from >= shown.length) break;
    parts.push(printable(shown.slice(at, from).join("")), h("mark", {}, printable(shown.slice(from, to).join(""))));
    at = to;
  }
  parts.push(printable(shown.slice(at).join("")));
  if (characters.length > shown.length) parts.push(` … ${characters.length - shown.length} more characters`);
  const end = line.no_newline ? "\n\\ No newline at end of file\n" : "\n";
  return h("span", { class: `line ${line.kind}` }, SIGNS[line.kind] ?? " ", ...parts, end);
}

/**
 * Asks, and writes a version back. Resolves to an error message, or to an empty text if it was restored
 * or not confirmed.
 */
export async function restoreVersion(selection, path, from, isPresent) {
  const lines = [`${printable(path)} gets this version again.`];
  if (isPresent) lines.push("Its present content is stored first.");
  if (!await confirmDialog("Restore this version?", lines, "Restore")) return "";
  try {
    const response = await requestJson("/api/dossier/restore", featureParameters(selection), {
      method: "POST",
      body: JSON.stringify({ items: [{ relative_path: path, from }], force: isPresent }),
      headers: { "Content-Type": "application/json" },
    });
    const failed = response.files.find((file) => file.outcome === "failed");
    if (failed) return failed.reason ?? "The file was not restored.";
    announce(`restored ${printable(path)}`);
    return "";
  } catch (error) {
    return error.message;
  }
}
