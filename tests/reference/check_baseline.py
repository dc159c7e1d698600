#!/usr/bin/env python3
"""Checks a parity-baseline.json with the reference program, or writes one with it.

The data model of dossierd was written for the Python program spec-kitty. This script calls that program's code, so
that a test can show that each of the two reads the baseline files of the other. Install it (Python 3.11 or newer):

    python3 -m venv VENV && VENV/bin/pip install 'spec-kitty-cli==2.1.0' click

`click` must be named: the package imports it without declaring it, and newer releases of `typer` do not depend on it.

    VENV/bin/python check_baseline.py load FILE
    VENV/bin/python check_baseline.py write FILE [TARGET_BRANCH]

`load` reads FILE with the program's loader and calls its acceptance check, with a current key equal to the file's own.
It prints one line, {"accepted": bool, "parity_hash_sha256": string or null, "reason": string or null}, and exits with 0
whatever the result. The program never compares `baseline_key_hash` with the key, and neither does `load`.
`write` captures a baseline with the program for the data model's example key (TARGET_BRANCH: "2.x") and the parity hash
of `spec.md`="hello\\n", `tasks/WP01.md`="world\\n", and prints {"baseline_key_hash": string}. `captured_at` is now.
"""

import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from uuid import UUID

from specify_cli.dossier import drift_detector
from specify_cli.dossier.models import MissionDossierSnapshot
from specify_cli.sync.project_identity import ProjectIdentity

SLUG = "042-local-mission-dossier"
PARITY_HASH = "9e7cc9e1540e8b9cc91eb6a7da9ec924144b2eaaae26097c6427dcf547711add"


class LastError(logging.Handler):
    """Stores the last log message: when the loader refuses a file it only returns None."""

    message = None

    def emit(self, record):
        self.message = record.getMessage()


def path_in(root):
    """Returns the path where the program expects the baseline of SLUG below a project root."""
    return root / ".kittify" / "dossiers" / SLUG / "parity-baseline.json"


def load(file, root):
    log = LastError(logging.ERROR)
    drift_detector.logger.addHandler(log)
    drift_detector.logger.propagate = False
    copy = path_in(root)
    copy.parent.mkdir(parents=True)
    shutil.copyfile(file, copy)

    try:
        baseline = drift_detector.load_baseline(SLUG, root)
    except Exception as error:  # the loader does not catch all, e.g. TypeError for an unknown field of the key
        return result(False, None, f"{type(error).__name__}: {error}")
    if baseline is None:
        return result(False, None, (log.message or "not loaded").replace(str(copy), str(file)))

    key = baseline.baseline_key.to_dict()
    identity = ProjectIdentity(project_uuid=key.pop("project_uuid"), node_id=key.pop("node_id"))
    current = drift_detector.compute_baseline_key(**key, project_identity=identity)
    accepted, reason = drift_detector.accept_baseline(baseline, current)
    return result(accepted, baseline.parity_hash_sha256, reason)


def result(accepted, parity_hash, reason):
    return {"accepted": accepted, "parity_hash_sha256": parity_hash, "reason": reason}


def write(file, target_branch, root):
    baseline = drift_detector.capture_baseline(
        feature_slug=SLUG,
        current_snapshot=MissionDossierSnapshot(feature_slug=SLUG, parity_hash_sha256=PARITY_HASH),
        repo_root=root,
        project_identity=ProjectIdentity(
            project_uuid=UUID("550e8400-e29b-41d4-a716-446655440000"), node_id="abcdef123456"
        ),
        target_branch=target_branch,
        mission_key="software-dev",
        manifest_version="1",
    )
    shutil.copyfile(path_in(root), file)
    return {"baseline_key_hash": baseline.baseline_key_hash}


def main(arguments):
    with tempfile.TemporaryDirectory() as folder:
        match arguments:
            case ["load", file]:
                answer = load(Path(file), Path(folder))
            case ["write", file]:
                answer = write(Path(file), "2.x", Path(folder))
            case ["write", file, target_branch]:
                answer = write(Path(file), target_branch, Path(folder))
            case _:
                sys.exit("usage: check_baseline.py load FILE | write FILE [TARGET_BRANCH]")
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
