// The stream of events, with resume: over a lost connection, a restart of the daemon, and while the
// page is hidden, when the connection is left to others.

const TYPES = [
  "mission_dossier_artifact_indexed",
  "mission_dossier_artifact_missing",
  "mission_dossier_snapshot_computed",
  "mission_dossier_parity_drift_detected",
];
const RETRY = [250, 500, 1000, 2000, 4000];

/** Follows the journal from a cursor on. */
export function follow(cursor, { event, gap, state }) {
  let source = null;
  let timer = null;
  let failures = 0;

  function open() {
    close();
    if (document.hidden) return;
    source = new EventSource(`/api/events?since=${encodeURIComponent(cursor)}`);
    source.addEventListener("open", () => {
      const again = failures > 0;
      failures = 0;
      state("live", again);
    });
    // Our own retry: the browser's gives up for good when it is refused once.
    source.addEventListener("error", () => {
      close();
      state("reconnecting", false);
      timer = setTimeout(open, RETRY[Math.min(failures, RETRY.length - 1)]);
      failures += 1;
    });
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        cursor = message.lastEventId || cursor;
        event(JSON.parse(message.data));
      });
    }
    source.addEventListener("gap", (message) => {
      cursor = message.lastEventId || cursor;
      gap();
    });
    // The last of them has where to go on from.
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
