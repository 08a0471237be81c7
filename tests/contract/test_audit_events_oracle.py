"""The API server's own audit log grades our audit events: the same request, the same words.

Every read that the cluster's components made until now is in that log. Our event for the same target must say the same
verb, object and target in the same members of the same types, so that tools made for Kubernetes' log read ours.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from narrowgate.core.audit import Asked, Outcome, RequestEvents
from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import request_info
from narrowgate.core.target import parse_target

REPOSITORY = Path(__file__).parents[2]
CLUSTER = REPOSITORY / ".cluster" / "cluster.json"
CLUSTER_SECONDS = 1200.0
READS = ("get", "list", "watch")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete")
LEAST = 500
"""Events to compare; a cluster that idles for a minute writes more."""

LOG_TAIL = 64 * 1024 * 1024
"""Bytes from the end of the log that are looked at."""

WHO = chain_of(
    Identity(kind=Kind.AGENT, name="ci", groups=("agents",), owner="person:a", proven_by="x", credential="c")
)
ALLOW = Allow(rule=RuleRef("p", "r", 1), covers=())
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def theirs() -> list[dict[str, Any]]:
    if not CLUSTER.exists():
        command = [sys.executable, "dev/cluster/cluster.py", "up"]
        subprocess.run(command, check=True, cwd=REPOSITORY, timeout=CLUSTER_SECONDS)
    named = json.loads(CLUSTER.read_text())["auditLog"]
    assert named, "this cluster's audit log cannot be read: unset KUBECONFIG to test against a cluster of our own"
    log = Path(named)
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        lines = file.readlines()[1:-1]
    events = [json.loads(line) for line in lines if b'"verb":"' in line]
    return [event for event in events if event["verb"] in READS and event["stage"] in STAGES]


def ours(event: dict[str, Any]) -> dict[str, Any] | None:
    """Our event for the same request; None where the gate would not have understood it."""
    target = event["requestURI"].encode()
    try:
        info = request_info("GET", parse_target(target))
    except Malformed:
        return None
    asked = Asked(
        audit_id=event["auditID"],
        method="GET",
        target=target,
        received_at=1_700_000_000.0,
        source_ip="10.0.0.1",
        user_agent=event.get("userAgent", ""),
        chain=WHO,
        intent=Intent(cluster="c", info=info),
    )
    made = RequestEvents(asked)
    code = event.get("responseStatus", {}).get("code", 0)
    stages = {
        "RequestReceived": lambda: made.received(ALLOW),
        "ResponseStarted": lambda: made.started(ALLOW, code, 1_700_000_001.0),
        "ResponseComplete": lambda: made.finished(ALLOW, Outcome(code=code, at=1_700_000_001.0)),
    }
    event = json.loads(stages[event["stage"]]())
    assert isinstance(event, dict)
    return event


def shape(value: Any) -> Any:
    """Types in place of values; what is inside maps with free keys does not count."""
    return {key: type(item).__name__ for key, item in value.items()}


def test_our_events_say_what_the_api_servers_say(theirs: list[dict[str, Any]]) -> None:
    compared = 0
    for event in theirs:
        mine = ours(event)
        if mine is None or "[redacted]" in mine["requestURI"]:
            continue
        compared += 1
        for member in ("kind", "apiVersion", "auditID", "stage", "verb", "requestURI", "userAgent"):
            assert mine.get(member) == event.get(member), (member, event)
        reference = {
            key: value for key, value in event.get("objectRef", {}).items() if key not in ("uid", "resourceVersion")
        }
        assert mine.get("objectRef", {}) == reference, event
        assert mine.get("responseStatus", {}).get("code") == event.get("responseStatus", {}).get("code")
    assert compared >= LEAST


def test_our_events_have_the_members_of_theirs_and_in_their_order(theirs: list[dict[str, Any]]) -> None:
    known: dict[str, str] = {}
    order: list[str] = []
    for event in theirs:
        known |= shape(event)
        order = max(order, list(event), key=len)
    for event in theirs[:LEAST]:
        mine = ours(event)
        if mine is None:
            continue
        assert shape(mine).items() <= known.items()
        assert [key for key in order if key in mine] == [key for key in mine if key in order]
        assert shape(mine["user"]) == {"username": "str", "groups": "list", "extra": "dict"}
        assert all(isinstance(value, str) for value in mine["annotations"].values())
        for member in ("requestReceivedTimestamp", "stageTimestamp"):
            assert MICRO_TIME.fullmatch(mine[member])
            assert MICRO_TIME.fullmatch(event[member])
