"""Python's standard library: the state of all features, then events, over restarts of the daemon.

Usage: follow.py [COUNT]; with COUNT it ends after so many events.
"""

import http.client
import json
import os
import socket
import sys
import time


class DaemonConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket of the daemon."""

    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def socket_path():
    default = os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), "dossierd/dossierd.sock")
    return os.environ.get("DOSSIERD_SOCKET", default)


def get(path):
    """Returns the parsed response; an error response is an exception with its detail and hint."""
    connection = DaemonConnection(socket_path())
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = json.load(response)
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"{body['detail']}; {body['hint']} ({body['code']})")
    return body


def messages(response):
    """Yields cursor, type and data of each message of an event stream."""
    cursor, kind, data = "", "message", []
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            cursor = value
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif not name and not value and data:
            yield cursor, kind, json.loads("\n".join(data))
            cursor, kind, data = "", "message", []


def follow(cursor):
    """Yields type and data of messages after the cursor. No event is lost or repeated when the connection breaks."""
    pause = 0.05
    while True:
        # The daemon sends a comment every 15 seconds.
        connection = DaemonConnection(socket_path(), timeout=45)
        try:
            connection.request("GET", "/api/events", headers={"Accept": "text/event-stream", "Last-Event-ID": cursor})
            response = connection.getresponse()
            if response.status not in (200, 503):
                raise RuntimeError(response.read().decode())
            for next_cursor, kind, data in messages(response) if response.status == 200 else ():
                pause = 0.05
                # After a gap, only the last of the snapshots has a cursor.
                cursor = next_cursor or cursor
                yield kind, data
        except OSError:
            pass
        except http.client.HTTPException:
            pass
        finally:
            connection.close()
        time.sleep(pause)
        pause = min(2 * pause, 5)


def main():
    status = get("/api/status?sync=true")
    for project in status["projects"]:
        for feature in project["features"]:
            print(f"{feature['feature_slug']}: {feature['completeness_status']}, {feature['drift']['state']}", flush=True)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else None
    # Everything after the status, without a gap in between.
    for number, (kind, data) in enumerate(follow(f"{status['instance']}:{status['seq']}"), start=1):
        print(f"{data.get('seq', '-')} {kind} {data.get('feature_slug', '')}", flush=True)
        if number == count:
            return


if __name__ == "__main__":
    main()
