"""A record with requests of several agents, for calls that search it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from tests.recorded_sessions import PACKING, a_session, header, sealing
from tests.unit.trail.sealed import SIGNER

from narrowgate.main.search_index import SearchIndex
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.port import RecordingStore
from narrowgate.trail.journal import Journal

BEGAN = 1_767_312_000_000_000
"""2026-01-02, when the sessions of `began` began; Unix microseconds."""


def did(folder: Path, *done: tuple[str, str, str]) -> None:
    """Put requests into the record, and the index: audit id, who sent it, who answered for that one."""
    journal = Journal.open(folder, "gate-0", SIGNER)
    for number, (audit_id, who, owner) in enumerate(done):
        at = f"2026-01-01T00:00:00.{number:06d}Z"
        event = {
            "auditID": audit_id,
            "stage": "ResponseComplete",
            "requestURI": "/api/v1/pods",
            "verb": "list",
            "user": {"username": who, "extra": {"narrowgate.dev/owner": [owner]} if owner else {}},
            "objectRef": {"resource": "pods"},
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": at,
            "stageTimestamp": at,
            "annotations": {"narrowgate.dev/chain": json.dumps([who]), "narrowgate.dev/decision": "allow"},
        }
        journal.append(json.dumps(event).encode())
    journal.write()
    journal.close()
    SearchIndex(folder).take_in()


def began(folder: Path, *begun: tuple[str, str, str, str, bool]) -> None:
    """Put sessions into the record: audit id, who, who answered for that one, the subresource, whether it runs."""
    journal = Journal.open(folder, "gate-1", SIGNER)
    for number, (audit_id, who, owner, subresource, runs) in enumerate(begun):
        at = f"2026-01-02T00:00:00.{number:06d}Z"
        event = {
            "auditID": audit_id,
            "stage": "ResponseStarted" if runs else "ResponseComplete",
            "requestURI": f"/api/v1/namespaces/ci/pods/web-0/{subresource}?command=sh&command=-c&command=ls+%2F",
            "verb": "create",
            "user": {"username": who, "extra": {"narrowgate.dev/owner": [owner]}},
            "objectRef": {"resource": "pods", "subresource": subresource, "namespace": "ci", "name": "web-0"},
            "responseStatus": {"code": 101 if subresource != "log" else 200},
            "requestReceivedTimestamp": at,
            "stageTimestamp": at,
            "annotations": {
                "narrowgate.dev/chain": json.dumps([who]),
                "narrowgate.dev/decision": "allow",
                "narrowgate.dev/cluster": "dev",
            },
        }
        journal.append(json.dumps(event).encode())
    journal.write()
    journal.close()
    SearchIndex(folder).take_in()


def keep(folder: Path, store: RecordingStore, session: str, at: int = BEGAN) -> str:
    """Put a recording of that session into its store, by way of `folder`; its name."""
    folder.mkdir(exist_ok=True)
    live = LiveFile.begin(folder, msgspec.structs.replace(header(session), began=at), sealing(), PACKING)
    live.write(a_session())
    name = live.finish().name
    (path,) = folder.glob(f"*.{session}.recording")
    store.put(name, path)
    return name
