"""What the control port writes into the trail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request

from narrowgate.control.recorder import Recorder
from narrowgate.core.audit import ActsOn, Permitted
from narrowgate.core.decision import Deny
from narrowgate.core.identity import Identity, Kind

ALICE = Identity(
    kind=Kind.PERSON, name="alice", proven_by="oidc:corp", credential="s1", claims=(("issuer", "https://idp"),)
)


class Memory:
    """A journal that keeps what it is given, as `Recorder` wants one."""

    def __init__(self) -> None:
        self.entries: list[tuple[dict[str, Any], bool]] = []

    async def record(self, entry: bytes, durable: bool) -> None:
        self.entries.append((json.loads(entry), durable))


def request(path: str = "/api/v1/agents/bot", query: bytes = b"") -> Request:
    headers = [(b"user-agent", b"curl"), (b"x-forwarded-for", b"10.9.9.9"), (b"host", b"evil")]
    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": query,
            "headers": headers,
            "client": ("192.0.2.1", 5),
        }
    )


def test_a_change_is_durable_before_and_told_after() -> None:
    memory = Memory()
    recorder = Recorder(memory)

    async def scenario() -> None:
        asked = recorder.asked(request(), ALICE, ActsOn(verb="update", resource="agents", name="bot"))
        await recorder.received(asked)
        await recorder.finished(asked, Permitted(because="role admin"), 200)

    asyncio.run(scenario())
    (received, first), (finished, second) = memory.entries
    assert (first, second) == (True, False)
    assert received["auditID"] == finished["auditID"]
    assert (received["stage"], finished["stage"]) == ("RequestReceived", "ResponseComplete")
    assert finished["verb"] == "update"
    assert finished["objectRef"] == {
        "resource": "agents",
        "name": "bot",
        "apiGroup": "narrowgate.dev",
        "apiVersion": "v1alpha1",
    }
    assert finished["user"]["username"] == "person:alice"
    assert finished["user"]["extra"]["narrowgate.dev/issuer"] == ["https://idp"]
    assert finished["annotations"]["narrowgate.dev/decision"] == "allow"
    assert finished["annotations"]["narrowgate.dev/because"] == "role admin"
    assert finished["responseStatus"]["code"] == 200
    assert finished["sourceIPs"] == ["192.0.2.1"]


def test_query_strings_are_never_written() -> None:
    memory = Memory()
    recorder = Recorder(memory)
    asked = recorder.asked(request("/sign-in/oidc/corp/callback", b"code=s3cret&state=x"), None, None)
    asyncio.run(recorder.received(asked))
    assert "s3cret" not in json.dumps(memory.entries[0][0])
    assert memory.entries[0][0]["user"]["username"] == "system:anonymous"


def test_who_it_was_may_become_known_on_the_way() -> None:
    memory = Memory()
    recorder = Recorder(memory)
    asked = recorder.asked(request(), None, ActsOn(verb="create", resource="signins"))
    asyncio.run(recorder.finished(asked, Permitted(because="signed in"), 303, ALICE))
    assert memory.entries[0][0]["user"]["username"] == "person:alice"


def test_a_refusal_says_why() -> None:
    memory = Memory()
    recorder = Recorder(memory)
    asked = recorder.asked(request(), ALICE, ActsOn(verb="delete", resource="agents", name="bot"))
    asyncio.run(recorder.finished(asked, Deny(message="needs the role admin"), 403))
    event = memory.entries[0][0]
    assert event["annotations"]["narrowgate.dev/reason"] == "needs the role admin"
    assert event["responseStatus"]["code"] == 403


def test_ids_of_entries_differ() -> None:
    recorder = Recorder(Memory())
    assert len({recorder.asked(request(), None, None).audit_id for _ in range(100)}) == 100
