// One artifact: its metadata, and its content, rendered or as source text.

import { featureParameters, requestJson } from "./api.js";
import { appendContent, h, printable, printableLines } from "./dom.js";
import * as labels from "./labels.js";
import { Versions } from "./versions.js";

/** Lines in a block of source text; the browser lays out only the visible blocks. */
const BLOCK_LINES = 500;

export class Detail {
  constructor(selection, onClose) {
    this.selection = selection;
    this.onClose = onClose;
    this.key = null;
    this.isSource = false;
    this.element = h("aside", {
      class: "detail", "aria-label": "Artifact", hidden: true,
      on: { keydown: (event) => event.key === "Escape" && this.onClose() },
    });
  }

  close() {
    this.key = null;
  }

  show(key) {
    if (key === this.key) return;
    this.key = key || null;
    this.isSource = false;
    this.versions = new Versions(this.selection);
    this.element.hidden = !key;
    this.element.replaceChildren();
    if (key) this.load(true);
  }

  update(events) {
    const isOwn = (event) => event.payload.artifact_key === this.key || event.payload.previous_artifact_key === this.key;
    if (this.key && (events.length === 0 || events.some(isOwn))) this.load(false);
  }

  async load(isNew) {
    const key = this.key;
    let artifact;
    try {
      artifact = await requestJson(`/api/dossier/artifacts/${encodeURIComponent(key)}`, { ...featureParameters(this.selection), render: "true" });
    } catch (error) {
      if (key === this.key) this.drawError(error);
      return;
    }
    if (key !== this.key) return;
    const scrollTop = this.element.scrollTop;
    const hasFocus = this.element.contains(document.activeElement);
    try {
      this.draw(artifact);
      this.versions.load(artifact);
    } catch (error) {
      this.drawError(error);
    }
    if (isNew || hasFocus) this.title.focus({ preventScroll: !isNew });
    if (!isNew) this.element.scrollTop = scrollTop;
  }

  drawError(error) {
    this.element.replaceChildren(this.titleBar(), h("p", { class: "error" }, printable(error.message)),
      ...(error.hint ? [h("p", {}, printable(error.hint))] : []));
  }

  titleBar() {
    this.title = h("h3", { tabindex: -1 }, printable(this.key));
    return h("div", { class: "bar" }, this.title,
      h("button", { class: "close", on: { click: () => this.onClose() } }, "Close"));
  }

  draw(artifact) {
    const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
    const content = h("div", { class: "content" });
    const toggle = artifact.rendered
      ? [h("button", {
        "aria-pressed": String(this.isSource),
        on: {
          click: () => {
            this.isSource = !this.isSource;
            this.draw(artifact);
            this.element.querySelector("[aria-pressed]").focus();
          },
        },
      }, "Source")] : [];
    this.element.replaceChildren(
      this.titleBar(),
      h("dl", { class: "facts small" },
        fact("path", printable(artifact.relative_path)),
        fact("state", labels.badge(labels.presence(artifact), artifact.error_detail)),
        fact("class", artifact.artifact_class),
        fact("status", artifact.required_status),
        fact("step", artifact.step_id ? printable(artifact.step_id) : "–"),
        fact("work package", artifact.wp_id ? printable(artifact.wp_id) : "–"),
        fact("size", labels.size(artifact.size_bytes)),
        fact("hashed", labels.time(artifact.indexed_at)),
        h("div", { class: "full-width" }, h("dt", {}, "sha256"), h("dd", {}, h("code", {}, artifact.content_hash_sha256 || "–")))),
      ...(artifact.error_detail ? [h("p", { class: "error" }, printable(artifact.error_detail))] : []),
      ...(artifact.truncation_notice ? [h("p", { class: "notice" }, printable(artifact.truncation_notice))] : []),
      ...(artifact.render_notice ? [h("p", { class: "notice" }, printable(artifact.render_notice))] : []),
      ...toggle,
      content,
      this.versions.element);
    if (artifact.content === null) return;
    if (artifact.rendered && !this.isSource) {
      content.classList.add("rendered");
      appendContent(content, artifact.rendered);
    } else {
      content.append(sourceText(artifact.content));
    }
    if (!artifact.content) content.append(h("p", { class: "empty" }, "The file is empty."));
  }
}

/** Creates the source text, in blocks that are laid out only while they are visible. */
function sourceText(text) {
  const lines = printableLines(text).split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; at += BLOCK_LINES) {
    const end = Math.min(lines.length, at + BLOCK_LINES);
    const newline = end < lines.length ? "\n" : "";
    blocks.push(h("span", { class: "block" }, lines.slice(at, end).join("\n") + newline));
  }
  return h("pre", { tabindex: 0 }, blocks);
}

