"""Hooks of schemathesis: requests over the Unix socket, about what the project of the test has."""

import os
import socket

import schemathesis
import urllib3.util.connection
from schemathesis.generation import GenerationMode

SOCKET = os.environ["DOSSIERD_SOCKET"]
FEATURE = os.environ["FUZZ_FEATURE"]
KEY = os.environ["FUZZ_KEY"]
SANDBOX = os.environ["FUZZ_SANDBOX"]


def connect(address, timeout=None, source_address=None, socket_options=None):
    """Connects to the daemon, whatever the address is."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(SOCKET)
    return connection


urllib3.util.connection.create_connection = connect


@schemathesis.hook
def before_call(ctx, case, kwargs):
    if case.operation.path == "/api/events":
        # Otherwise the response is a stream, which does not end.
        case.headers = {**(case.headers or {}), "Accept": "application/json"}
    if case.operation.path == "/api/projects" and isinstance(case.body, dict):
        path = case.body.get("path")
        if isinstance(path, str) and path.startswith("/"):
            # No other directory of this machine is watched.
            case.body = {**case.body, "path": SANDBOX + path.replace("..", "")}
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    # What is generated never exists.
    query = dict(case.query or {})
    if "feature" in query and case.operation.path != "/api/events":
        query["feature"] = FEATURE
    if "artifact_key" in query and case.operation.path == "/api/dossier/content":
        query["artifact_key"] = KEY
    if query.get("project") is not None and case.operation.method.lower() != "delete":
        query.pop("project")
    case.query = query
    if case.path_parameters and "artifact_key" in case.path_parameters:
        case.path_parameters = {**case.path_parameters, "artifact_key": KEY}


SWITCHES = ("sync", "render", "stat", "required_only", "missing_only")


@schemathesis.hook
def filter_query(ctx, query):
    # A switch may have an empty value (`allowEmptyValue`), which schemathesis takes for a violation of its schema.
    return query is None or not any(query.get(name) == "" for name in SWITCHES)
