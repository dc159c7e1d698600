#!/bin/sh
# curl: the state of all features as one line of JSON, then each event as one, over restarts of the daemon.

socket="${DOSSIERD_SOCKET:-${XDG_RUNTIME_DIR:-}/dossierd/dossierd.sock}"
cursor=$(mktemp) || exit
trap 'rm -f "$cursor"' EXIT

# Every change that was made before is included.
curl -sSf --unix-socket "$socket" 'http://localhost/api/status?sync=true' || exit

# A page of the journal; `next` is the cursor from which the following one begins. --get with --data-urlencode encodes values.
curl -sSf --unix-socket "$socket" -H 'Accept: application/json' --get --data-urlencode 'since=now' http://localhost/api/events |
    sed -n 's/.*"next":"\([^"]*\)".*/\1/p' >"$cursor"

# Prints the data of each message, and then remembers its cursor.
print_messages() {
    id=
    while IFS= read -r line; do
        case $line in
            'id: '*) id=${line#id: } ;;
            'data: '*)
                printf '%s\n' "${line#data: }"
                # After a gap, only the last of the snapshots has a cursor.
                [ -z "$id" ] || printf '%s\n' "$id" >"$cursor"
                id=
                ;;
        esac
    done
}

# -N passes a message on when it arrives. The stream ends with the daemon; the next one resumes after the last message.
while :; do
    curl -sfN --unix-socket "$socket" -H "Last-Event-ID: $(cat "$cursor")" http://localhost/api/events | print_messages
    sleep 0.2
done
