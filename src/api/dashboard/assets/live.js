// The event stream. It resumes at the last event after a lost connection or a restart of the daemon.
// A hidden page closes its connection, since the daemon limits their number. It is read by `fetch`: an
// `EventSource` could not send the key of the session.

import { request } from "./api.js";

const TYPES = new Set([
  "mission_dossier_artifact_indexed",
  "mission_dossier_artifact_missing",
  "mission_dossier_snapshot_computed",
  "mission_dossier_parity_drift_detected",
]);
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 4000];

/** Yields the messages of a stream of Server-Sent Events, as `{ id, event, data }`. */
export async function* messagesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  // Parts of a line that is not complete. It may come in many chunks, each of which is searched once.
  let parts = [];
  let message = { data: [] };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = value.split("\n");
    parts.push(lines[0]);
    if (lines.length === 1) continue;
    lines[0] = parts.join("");
    parts = [lines.pop()];
    for (const line of lines) {
      if (line === "") {
        if (message.data.length) yield { ...message, data: message.data.join("\n") };
        message = { data: [] };
        continue;
      }
      const colon = line.indexOf(":");
      // A comment, which keeps the connection open.
      if (colon === 0) continue;
      const [name, text] = colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
      if (name === "data") message.data.push(text);
      else if (name === "id" || name === "event") message[name] = text;
    }
  }
}

/**
 * Reads events after `cursor` until the page is closed or its session has ended. `onGap` is called when
 * events are no longer available, `onConnection` with `"live"` or `"reconnecting"` and whether it was
 * interrupted before, `onCursor` with the cursor after each message that has one.
 */
export function follow(cursor, { onEvent, onGap, onConnection, onCursor }) {
  let connection = null;
  let timer = null;
  let failures = 0;

  async function open() {
    close();
    if (document.hidden) return;
    const own = new AbortController();
    connection = own;
    let status = 0;
    try {
      await read(own.signal);
    } catch (error) {
      status = error.status;
    }
    if (own.signal.aborted) return;
    // The page reports an ended session.
    if (status === 401) return;
    if (status === 400) {
      // Not a cursor: it came with the address of this tab.
      cursor = "now";
      onGap();
    }
    onConnection("reconnecting", false);
    timer = setTimeout(open, RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length - 1)]);
    failures += 1;
  }

  async function read(signal) {
    const options = { signal, headers: { Accept: "text/event-stream" } };
    const response = await request("/api/events", { since: cursor }, options);
    const isReconnect = failures > 0;
    failures = 0;
    onConnection("live", isReconnect);
    for await (const { id, event, data } of messagesOf(response.body)) {
      if (signal.aborted) return;
      if (id) {
        cursor = id;
        onCursor(id);
      }
      if (TYPES.has(event)) onEvent(JSON.parse(data));
      // The snapshots that follow a gap are loaded with the rest of the state; the last one has an id.
      else if (event === "gap") onGap();
    }
  }

  function close() {
    clearTimeout(timer);
    connection?.abort();
    connection = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (shown) => shown.persisted && open());
  open();
}
