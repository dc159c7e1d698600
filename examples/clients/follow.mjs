// Node without packages: the state of all features, then events, over restarts of the daemon.
// Usage: node follow.mjs [COUNT]; with COUNT it ends after so many events.

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const socketPath = process.env.DOSSIERD_SOCKET ?? `${process.env.XDG_RUNTIME_DIR}/dossierd/dossierd.sock`;

/** Sends a request and resolves with the response, whose body is not read. */
function open(path, headers) {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path, headers }, resolve);
    request.on("error", reject);
  });
}

/** Returns the parsed response; an error response is an exception with its detail and hint. */
async function get(path) {
  const response = await open(path, { accept: "application/json" });
  let text = "";
  for await (const part of response.setEncoding("utf8")) text += part;
  const body = JSON.parse(text);
  if (response.statusCode >= 300) throw new Error(`${body.detail}; ${body.hint} (${body.code})`);
  return body;
}

/** Yields cursor, type and data of each message of an event stream. */
async function* messages(response) {
  let pending = "";
  for await (const part of response.setEncoding("utf8")) {
    pending += part;
    for (let end; (end = pending.indexOf("\n\n")) >= 0; pending = pending.slice(end + 2)) {
      const message = { id: "", event: "message", data: "" };
      for (const line of pending.slice(0, end).split("\n")) {
        const [, name, value] = line.match(/^([^:]*):? ?(.*)$/);
        if (name in message) message[name] = value;
      }
      // The daemon writes data as one line.
      if (message.data) yield { ...message, data: JSON.parse(message.data) };
    }
  }
}

/** Yields messages after the cursor. No event is lost or repeated when the connection breaks. */
async function* follow(cursor) {
  for (let pause = 50; ; pause = Math.min(2 * pause, 5000)) {
    try {
      const response = await open("/api/events", { accept: "text/event-stream", "last-event-id": cursor });
      // The daemon sends a comment every 15 seconds.
      response.socket.setTimeout(45_000, () => response.destroy());
      if (response.statusCode === 200) {
        for await (const message of messages(response)) {
          pause = 50;
          // After a gap, only the last of the snapshots has a cursor.
          cursor = message.id || cursor;
          yield message;
        }
      } else if (response.statusCode !== 503) {
        throw new TypeError(`the stream is refused: ${response.statusCode}`);
      }
      response.destroy();
    } catch (error) {
      if (error instanceof TypeError) throw error;
    }
    await sleep(pause);
  }
}

const status = await get("/api/status?sync=true");
for (const project of status.projects) {
  for (const feature of project.features) {
    console.log(`${feature.feature_slug}: ${feature.completeness_status}, ${feature.drift.state}`);
  }
}
let left = Number(process.argv[2] ?? Infinity);
// Everything after the status, without a gap in between.
for await (const { event, data } of follow(`${status.instance}:${status.seq}`)) {
  console.log(`${data.seq ?? "-"} ${event} ${data.feature_slug ?? ""}`);
  if (--left === 0) process.exit();
}
