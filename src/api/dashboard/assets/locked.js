// The bar of a page that gets no data any more: why, and how to continue.

import { h } from "./dom.js";
import { resumeAddress } from "./session.js";

const TEXTS = {
  ended: "This page has no session: it was revoked, is a week old, or ended with the daemon, or this tab never had one.",
  unreachable: "The daemon does not answer. What you see is from before.",
};

/** Shows the bar in `element`, or removes it if `state` is null; `cursor` returns where the page is. */
export function showLocked(element, state, cursor) {
  if (element.dataset.state === (state ?? "")) return;
  element.dataset.state = state ?? "";
  if (!state) {
    element.replaceChildren();
    return;
  }
  const input = h("input", { id: "one-time-link", type: "text", autocomplete: "off", spellcheck: "false", required: true });
  const error = h("span", { class: "error", role: "alert" });
  const onSubmit = (event) => {
    event.preventDefault();
    const address = resumeAddress(input.value, cursor());
    if (address) location.assign(address);
    else error.textContent = "This is not a link of `dossierd dashboard --no-open`.";
  };
  element.replaceChildren(h("section", { class: "locked", "aria-label": "Connection" },
    h("p", { role: "alert" }, TEXTS[state], " Run ", h("code", {}, "dossierd dashboard"), " to open the dashboard."),
    h("form", { on: { submit: onSubmit } },
      h("label", { for: "one-time-link" }, "To continue in this tab, paste the link of ", h("code", {}, "dossierd dashboard --no-open")),
      input, h("button", {}, "Continue"), error)));
}
