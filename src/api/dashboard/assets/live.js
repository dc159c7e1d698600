// The event stream. It resumes at the last event after a lost connection or a restart of the daemon.
// A hidden page closes its connection, since the daemon limits their number.

const TYPES = [
  "mission_dossier_artifact_indexed",
  "mission_dossier_artifact_missing",
  "mission_dossier_snapshot_computed",
  "mission_dossier_parity_drift_detected",
];
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 4000];

/**
 * Reads events after `cursor` until the page is closed. `onGap` is called when events are no longer
 * available, `onConnection` with `"live"` or `"reconnecting"` and whether it was interrupted before.
 */
export function follow(cursor, { onEvent, onGap, onConnection }) {
  let source = null;
  let timer = null;
  let failures = 0;

  function open() {
    close();
    if (document.hidden) return;
    source = new EventSource(`/api/events?since=${encodeURIComponent(cursor)}`);
    source.addEventListener("open", () => {
      const isReconnect = failures > 0;
      failures = 0;
      onConnection("live", isReconnect);
    });
    // A browser retries after a lost connection, but never after an error status.
    source.addEventListener("error", () => {
      close();
      onConnection("reconnecting", false);
      timer = setTimeout(open, RETRY_DELAYS_MS[Math.min(failures, RETRY_DELAYS_MS.length - 1)]);
      failures += 1;
    });
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        cursor = message.lastEventId || cursor;
        onEvent(JSON.parse(message.data));
      });
    }
    source.addEventListener("gap", (message) => {
      cursor = message.lastEventId || cursor;
      onGap();
    });
    // Only the last snapshot after a gap has an id: the cursor to resume at.
    source.addEventListener("snapshot", (message) => {
      cursor = message.lastEventId || cursor;
    });
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (shown) => shown.persisted && open());
  open();
}
