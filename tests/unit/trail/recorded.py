"""A small record, made as the gate makes it: five requests of an agent, a person's agent, and nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from narrowgate.core.audit import Asked, Outcome, RequestEvents, Verdict
from narrowgate.core.decision import Allow, Deny, RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.trail_writer import TrailWriter

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
BEGAN = 1_700_000_000.0
BUSY = 10
"""Seconds from the beginning: what ends later than this ends after the last request came."""

ALICE = Identity(kind=Kind.PERSON, name="alice", proven_by="jwt", credential="")
CI = Identity(kind=Kind.AGENT, name="ci", owner="person:alice", proven_by="agent-credential", credential="c1")
READ = Allow(rule=RuleRef("ci", "read", 1), covers=())
EXEC = Allow(rule=RuleRef("ci", "exec", 1), covers=())
NOTICED = "the credential of agent ci is used from 10.0.0.1 and 10.0.0.2 at once"
REFUSED = Deny(message="agent:ci may not delete deployments.apps in namespace prod of cluster dev: no rule allows it")


def intent(verb: str, resource: str, namespace: str, **more: str) -> Intent:
    info = RequestInfo(
        is_resource_request=True, path="/", verb=verb, api_version="v1", resource=resource, namespace=namespace, **more
    )
    return Intent(cluster="dev", info=info, namespaced=True)


def a_record(data: Path, prefix: str = "") -> None:
    """Write the record into `data`, keys included; once more with a prefix adds five other requests."""
    (data / "keys").mkdir(parents=True, exist_ok=True)
    public = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (data / "keys" / "checkpoint.pub").write_bytes(public)
    asyncio.run(_write(data / "trail", prefix))


async def _write(folder: Path, prefix: str) -> None:
    trail = TrailWriter.open(folder, "w0", KEY)
    ends: list[bytes] = []

    async def request(name: str, at: float, verdict: Verdict, end: tuple[float, int] | None, **fields: Any) -> None:
        asked = Asked(audit_id=prefix + name, received_at=BEGAN + at, source_ip="10.0.0.1", user_agent="t", **fields)
        events = RequestEvents(asked)
        await trail.record(events.received(verdict), durable=False)
        if end is not None:
            finished = events.finished(verdict, Outcome(code=end[1], at=BEGAN + end[0]))
            (ends.append if end[0] >= BUSY else trail.note)(finished)

    mine, ours = chain_of(CI), chain_of(ALICE, CI)
    get = intent("get", "pods", "ci", name="db")
    await request("r1", 0, READ, (0.1, 200), method="GET", target=b"/1", chain=mine, intent=get)
    delete = intent("delete", "deployments", "prod", name="web", api_group="apps")
    await request("r2", 1, REFUSED, (1.1, 403), method="DELETE", target=b"/2", chain=mine, intent=delete)
    await request("r3", 2, Malformed("two slashes"), (2.1, 400), method="GET", target=b"//3")
    shell = intent("create", "pods", "ci", name="web", subresource="exec")
    await request("r4", 3, EXEC, (13, 101), method="GET", target=b"/4", chain=ours, intent=shell)
    watch = intent("watch", "events", "ci")
    await request("r5", 4, READ, None, method="GET", target=b"/5", chain=mine, intent=watch)
    begun = RequestEvents(_started(prefix, mine, watch)).started(READ, 200, BEGAN + 4.2, NOTICED)
    await trail.record(begun, durable=True)
    for finished in ends:
        trail.note(finished)
    await trail.close()


def _started(prefix: str, chain: Any, what: Intent) -> Asked:
    return Asked(
        audit_id=prefix + "r5",
        received_at=BEGAN + 4,
        source_ip="10.0.0.1",
        user_agent="t",
        method="GET",
        target=b"/5",
        chain=chain,
        intent=what,
    )
