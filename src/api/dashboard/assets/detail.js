// One artifact: what is known of it, and its content as a document or as it is.

import { ask, meaning } from "./api.js";
import { contentOf, h, printable, printableLines } from "./dom.js";
import * as labels from "./labels.js";

/** Lines of a plain text that are laid out together, when they come into sight. */
const LINES = 500;

export class Detail {
  constructor(of, close) {
    this.of = of;
    this.close = close;
    this.key = null;
    this.source = false;
    this.element = h("aside", {
      class: "detail", "aria-label": "Artifact", hidden: true,
      on: { keydown: (event) => event.key === "Escape" && this.close() },
    });
  }

  leave() {
    this.key = null;
  }

  show(key) {
    if (key === this.key) return;
    this.key = key || null;
    this.source = false;
    this.element.hidden = !key;
    this.element.replaceChildren();
    if (key) this.load(true);
  }

  changed(events) {
    const about = (event) => event.payload.artifact_key === this.key || event.payload.previous_artifact_key === this.key;
    if (this.key && (events.length === 0 || events.some(about))) this.load(false);
  }

  async load(fresh) {
    const key = this.key;
    let artifact;
    try {
      artifact = await ask(`/api/dossier/artifacts/${encodeURIComponent(key)}`, { ...meaning(this.of), render: "true" });
    } catch (error) {
      if (key === this.key) this.fail(error);
      return;
    }
    if (key !== this.key) return;
    const place = this.element.scrollTop;
    const inside = this.element.contains(document.activeElement);
    this.draw(artifact);
    if (fresh || inside) this.title.focus({ preventScroll: !fresh });
    if (!fresh) this.element.scrollTop = place;
  }

  fail(error) {
    this.element.replaceChildren(this.bar(), h("p", { class: "wrong" }, printable(error.message)),
      ...(error.hint ? [h("p", {}, printable(error.hint))] : []));
  }

  bar() {
    this.title = h("h3", { tabindex: -1 }, printable(this.key));
    return h("div", { class: "bar" }, this.title,
      h("button", { class: "close", on: { click: () => this.close() } }, "Close"));
  }

  draw(artifact) {
    const fact = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value));
    const content = h("div", { class: "content" });
    const toggle = artifact.rendered && artifact.media_type_hint === "markdown"
      ? [h("button", {
        "aria-pressed": String(this.source),
        on: {
          click: () => {
            this.source = !this.source;
            this.draw(artifact);
            this.element.querySelector("[aria-pressed]").focus();
          },
        },
      }, "Source")] : [];
    this.element.replaceChildren(
      this.bar(),
      h("dl", { class: "facts small" },
        fact("path", printable(artifact.relative_path)),
        fact("state", labels.badge(labels.presence(artifact), artifact.error_detail)),
        fact("class", artifact.artifact_class),
        fact("status", artifact.required_status),
        fact("step", artifact.step_id ? printable(artifact.step_id) : "–"),
        fact("work package", artifact.wp_id ? printable(artifact.wp_id) : "–"),
        fact("size", labels.size(artifact.size_bytes)),
        fact("hashed", labels.time(artifact.indexed_at)),
        h("div", { class: "whole" }, h("dt", {}, "sha256"), h("dd", {}, h("code", {}, artifact.content_hash_sha256 || "–")))),
      ...(artifact.error_detail ? [h("p", { class: "wrong" }, printable(artifact.error_detail))] : []),
      ...(artifact.truncation_notice ? [h("p", { class: "notice" }, printable(artifact.truncation_notice))] : []),
      ...toggle,
      content);
    if (artifact.content === null) return;
    if (artifact.rendered && !this.source) {
      content.classList.add("rendered");
      content.append(...contentOf(artifact.rendered));
    } else {
      content.append(...plain(artifact.content));
    }
    if (!artifact.content) content.append(h("p", { class: "empty" }, "The file is empty."));
  }
}

/** A text as it is, in blocks that are laid out only when they come into sight. */
function plain(text) {
  const lines = printableLines(text).split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; at += LINES) {
    const end = Math.min(lines.length, at + LINES);
    const tail = end < lines.length ? "\n" : "";
    blocks.push(h("span", { class: "block" }, lines.slice(at, end).join("\n") + tail));
  }
  return [h("pre", { tabindex: 0 }, blocks)];
}

