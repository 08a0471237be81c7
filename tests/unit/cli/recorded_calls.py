"""Calls in a gate's record, and a sign-in in its store, for tests of what looks at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from narrowgate.core.audit import Asked, KeptObject, Level, Outcome, RequestEvents, Verdict
from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.sign_in import Client, SignIn
from narrowgate.store.open import open_store

TASK, OTHER, SIGN_IN = "aaaabbbbccccdddd", "eeeeffffgggghhhh", "iiiijjjjkkkkllll"
BEGAN = 1_795_000_000.0
"""2026-11-18, Unix seconds."""
ALLOW = Allow(rule=RuleRef("ci", "write", 1), covers=())


def call(
    audit_id: str,
    *,
    at: float = 1.0,
    task: str = "",
    credential: str = "c",
    person: str = "",
    verdict: Verdict = ALLOW,
    code: int = 200,
    recording: str = "",
    sent: Any = None,
    answered: Any = None,
    verb: str = "update",
) -> list[bytes]:
    """All events of one request to the ConfigMap `lamp`, `at` seconds after the beginning."""
    kind, name = (Kind.PERSON, person) if person else (Kind.AGENT, "ci")
    sender = Identity(kind=kind, name=name, proven_by="test", credential=credential, task=task)
    info = RequestInfo(
        is_resource_request=True, path="/", verb=verb, api_version="v1", resource="configmaps", namespace="ci",
        name="lamp",
    )  # fmt: skip
    asked = Asked(
        audit_id=audit_id, method="", target=b"/x", received_at=BEGAN + at, source_ip="", chain=chain_of(sender),
        intent=Intent(cluster="prod", info=info), level=Level.REQUEST_RESPONSE,
    )  # fmt: skip
    events = RequestEvents(asked)
    told = [events.received()]
    if sent is not None:
        told.append(events.received(ALLOW, sent=KeptObject(json.dumps(sent).encode())))
    if answered is not None:
        told.append(events.answered(ALLOW, code, BEGAN + at, KeptObject(json.dumps(answered).encode())))
    return [*told, events.finished(verdict, Outcome(code=code, at=BEGAN + at + 0.5, recording=recording))]


def keep_sign_in(data: Path) -> None:
    """Alice's, in the store of the gate with this data folder."""
    made = SignIn(
        id=SIGN_IN,
        person="alice",
        source="oidc:corp",
        client=Client.CLI,
        secret_hash=b"h",
        renewed_at=BEGAN,
        created_at=BEGAN,
        expires_at=BEGAN + 1000,
    )
    store = open_store(f"sqlite:{data}/gate.db", data)
    store.sign_ins.add(made, by="person:alice", at=BEGAN)
    store.close()
