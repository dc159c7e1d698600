"""A client that openapi-python-client generated from `/api/openapi.json`, as the package `dossierd_client`.

Usage: generated.py FEATURE; prints status, artifacts and drift.
"""

import os
import sys

import httpx

from dossierd_client import Client
from dossierd_client.api.daemon import status
from dossierd_client.api.dossier import artifact, artifacts, drift, overview
from dossierd_client.models import ArtifactDetail, ArtifactList, Drift, Overview, Problem, Status


def main():
    feature = sys.argv[1]
    default = os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), "dossierd/dossierd.sock")
    transport = httpx.HTTPTransport(uds=os.environ.get("DOSSIERD_SOCKET", default))
    with Client("http://localhost", httpx_args={"transport": transport}) as client:
        state = status.sync(client=client, sync=True)
        assert isinstance(state, Status), state
        for project in state.projects:
            for one in project.features:
                print(f"{one.feature_slug}: {one.completeness_status}, {one.drift.state}")
        listed = artifacts.sync(client=client, feature=feature, required_only=True)
        assert isinstance(listed, ArtifactList), listed
        for one in listed.artifacts:
            print(f"{one.artifact_key} {one.relative_path} {'present' if one.is_present else one.error_reason}")
        compared = drift.sync(client=client, feature=feature)
        assert isinstance(compared, Drift), compared
        print(f"drift: {compared.state}")
        for one in compared.differences:
            print(f"{one.kind} {one.artifact_key}")
        # The models of one feature and of one artifact.
        assert isinstance(overview.sync(client=client, feature=feature), Overview)
        key = listed.artifacts[0].artifact_key
        detail = artifact.sync(key, client=client, feature=feature, render=True)
        assert isinstance(detail, ArtifactDetail), detail
        # An error is a model too.
        problem = drift.sync(client=client, feature="none")
        assert isinstance(problem, Problem), problem
        print(f"{problem.status} {problem.code} {problem.hint_code}")


if __name__ == "__main__":
    main()
