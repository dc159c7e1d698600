// The session of this tab. Its key is in memory and in the tab's storage, which pages at other
// ports cannot read; the cookie alone, which they are sent, opens nothing.

const KEY = "dossierd-session";
const CURSOR = "dossierd-cursor";
const ONE_TIME_PATH = /^\/open\/[0-9a-f]{64}$/;

let key = sessionStorage.getItem(KEY);

export function storeKey(text) {
  key = text;
  sessionStorage.setItem(KEY, text);
}

// The start of a session in another tab clears the storage of all tabs.
addEventListener("pagehide", () => key && sessionStorage.setItem(KEY, key));

/** Returns the header that every request for data needs. */
export function sessionHeaders() {
  return key ? { "X-Dossierd-Session": key } : {};
}

/**
 * Returns the address at which this tab gets a new session and continues with the same view, after the
 * event at `cursor`; null if `text` is not a one-time link.
 */
export function resumeAddress(text, cursor) {
  let url;
  try {
    url = new URL(text.trim());
  } catch {
    return null;
  }
  const isLoopback = ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  if (url.protocol !== "http:" || !isLoopback || !ONE_TIME_PATH.test(url.pathname)) return null;
  url.hash = new URLSearchParams({ view: location.search, cursor: cursor ?? "" }).toString();
  return url.href;
}

/** Stores the cursor of `resumeAddress`; returns the query of its view. */
export function takeResumePoint(hash) {
  const point = new URLSearchParams(hash.slice(1));
  const cursor = point.get("cursor");
  if (cursor) sessionStorage.setItem(CURSOR, cursor);
  const view = point.get("view") ?? "";
  return view.startsWith("?") ? view : "";
}

/** Returns the cursor at which this tab continues, once; null if it has none. */
export function takeCursor() {
  const cursor = sessionStorage.getItem(CURSOR);
  sessionStorage.removeItem(CURSOR);
  return cursor;
}
