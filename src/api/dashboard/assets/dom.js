// Creates elements. Text from files becomes a text node or an attribute value, never markup;
// control, invisible and bidirectional characters are shown as escapes.

const UNPRINTABLE = /[\u{0}-\u{1f}\u{7f}-\u{9f}\u{ad}\u{34f}\u{61c}\u{115f}-\u{1160}\u{17b4}-\u{17b5}\u{180b}-\u{180f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2060}-\u{206f}\u{3164}\u{fe00}-\u{fe0d}\u{feff}\u{ffa0}\u{fff9}-\u{fffb}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;

/** Returns text for one line, with control and bidirectional characters escaped. */
export function printable(text) {
  return String(text).replace(UNPRINTABLE, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

/** As `printable`, but line breaks and tabs are preserved. */
export function printableLines(text) {
  return text.replace(/\r\n/g, "\n").replace(UNPRINTABLE, (c) =>
    c === "\n" || c === "\t" ? c : `\\u{${c.codePointAt(0).toString(16)}}`);
}

/**
 * Creates an element. `on` contains event listeners, `data` the dataset; all others are attributes,
 * of which `true` is an empty one, and null, undefined and false are omitted.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/** Replaces the children of an element; unlike the method, for any number of them. */
export function replaceChildren(element, children) {
  element.replaceChildren();
  for (const child of children) element.append(child);
}

const TAGS = new Set([
  "h3", "h4", "h5", "h6", "p", "pre", "code", "span", "em", "strong", "del", "a", "ul", "ol", "li",
  "table", "thead", "tr", "th", "td", "br", "hr", "blockquote",
]);
const CLASSES = new Set(["key", "text", "number", "word", "comment", "metadata", "link", "image"]);

/** Appends the elements of content that the daemon rendered, which it bounds; unknown tags become `span`. */
export function appendContent(parent, nodes) {
  for (const node of nodes) parent.append(typeof node === "string" ? node : contentElement(node));
}

function contentElement(node) {
  const element = document.createElement(TAGS.has(node.tag) ? node.tag : "span");
  if (CLASSES.has(node.class)) element.className = node.class;
  if (node.tag === "a" && /^(https?:\/\/|mailto:)/i.test(node.href ?? "")) {
    element.href = node.href;
    element.rel = "noopener noreferrer";
    element.target = "_blank";
  }
  if (node.tag === "ol" && node.start !== undefined) element.start = node.start;
  if (node.tag === "pre") element.tabIndex = 0;
  appendContent(element, node.children ?? []);
  if (node.tag !== "table") return element;
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "table" }, element);
}

/** Opens a confirmation dialog; resolves to true if it was confirmed. */
export function confirmDialog(title, lines, action) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "confirm-title", class: "confirm" },
      h("form", { method: "dialog" },
        h("h2", { id: "confirm-title" }, title),
        lines.map((line) => h("p", {}, line)),
        h("div", { class: "buttons" },
          h("button", { value: "no" }, "Cancel"),
          h("button", { value: "yes", class: "primary" }, action))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Announces a change to screen readers. */
export function announce(text) {
  document.getElementById("announcements").textContent = text;
}
