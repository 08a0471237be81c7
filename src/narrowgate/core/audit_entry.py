"""One request as the trail tells of it: audit events read back, as a value.

Here belongs how an event of `core/audit.py` is read again, and the facts by which a request can be found. Which facts
somebody asks for is `core/audit_query.py`; where the events lie is the business of `trail/`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec

_OURS = "narrowgate.dev/"

_ENDED = frozenset({"ResponseComplete", "Panic"})
"""The stages after which nothing more comes of a request (k8s.io/apiserver/pkg/apis/audit/v1/types.go)."""

APPROVED = "approved"
"""The fact, besides the decision, of a request that was allowed because people said yes to it."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request as the trail knows it by now: what its latest event says."""

    audit_id: str
    received_at: str
    """RFC 3339, UTC, with six decimals, as the trail writes all times: they sort as text."""
    finished_at: str
    """Empty while it runs, and for good where the gate was killed."""
    stage: str
    user: str
    """The sender: the last of the chain."""
    chain: tuple[str, ...]
    """Everybody it speaks for, root first; empty where nobody proved who they are."""
    kind: str
    """What sort of thing the sender is: `agent`, `person`, `serviceaccount`, `system`."""
    owner: str
    """Who answered for the sender at that time: `person:alice`, `group:sre`; empty where nobody has to."""
    verb: str
    api_group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    cluster: str
    decision: str
    rule: str
    reason: str
    approval: str
    """The approval that let it pass, or that it waits for."""
    code: int
    """HTTP status; 0 while there is none."""
    request_uri: str
    source_ip: str
    user_agent: str
    task: str
    writer: str
    segment: int
    seq: int
    """Place of the latest event about it."""
    noticed: str
    """What it revealed about its credential, in a sentence; mostly empty."""
    pod_uid: str = ""
    """Of the pod that sent it, as its cluster vouched for it; empty for every other sender."""
    node: str = ""
    """Where that pod ran."""
    recording: str = ""
    """The name of its recording; empty where there is none, and mostly while it runs."""


class _User(msgspec.Struct):
    username: str = ""
    extra: dict[str, list[str]] = {}


class _Object(msgspec.Struct, rename="camel"):
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = msgspec.field(default="", name="apiGroup")


class _Status(msgspec.Struct):
    code: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0


class AuditEvent(msgspec.Struct, rename="camel"):
    """What of an `audit.k8s.io/v1` Event a search looks at."""

    audit_id: str = msgspec.field(name="auditID")
    stage: str
    verb: str
    request_received_timestamp: str
    stage_timestamp: str
    request_uri: str = msgspec.field(default="", name="requestURI")
    user: _User = msgspec.field(default_factory=_User)
    source_ips: list[str] = msgspec.field(default_factory=list, name="sourceIPs")
    user_agent: str = ""
    object_ref: _Object = msgspec.field(default_factory=_Object)
    response_status: _Status = msgspec.field(default_factory=_Status)
    annotations: dict[str, str] = {}


_decode = msgspec.json.Decoder(AuditEvent).decode
_decode_chain = msgspec.json.Decoder(tuple[str, ...]).decode


def read_event(event: bytes) -> AuditEvent:
    """Read one Event. Raises msgspec.DecodeError or UnicodeDecodeError where it is none."""
    return _decode(event)


def entry_of(event: AuditEvent, writer: str, segment: int, seq: int) -> AuditEntry:
    """The request as this event tells of it, which stands at that place of that journal. Raises as `read_event`."""
    notes, what = event.annotations, event.object_ref
    user = event.user.username
    extra = event.user.extra
    owners = extra.get(f"{_OURS}owner", ())
    # An issuer's mapping may call a claim of its own `pod-uid`; a workload's were vouched for by its cluster.
    vouched = extra if user.startswith("serviceaccount:") else {}
    return AuditEntry(
        audit_id=event.audit_id,
        received_at=event.request_received_timestamp,
        finished_at=event.stage_timestamp if event.stage in _ENDED else "",
        stage=event.stage,
        user=user,
        chain=_chain(notes.get(f"{_OURS}chain", "[]")),
        kind=user.partition(":")[0],
        owner=owners[0] if owners else "",
        verb=event.verb,
        api_group=what.api_group,
        resource=what.resource,
        subresource=what.subresource,
        namespace=what.namespace,
        name=what.name,
        cluster=notes.get(f"{_OURS}cluster", ""),
        decision=notes.get(f"{_OURS}decision", ""),
        rule=notes.get(f"{_OURS}rule", ""),
        reason=notes.get(f"{_OURS}reason", notes.get(f"{_OURS}ended", "")),
        approval=notes.get(f"{_OURS}approval", ""),
        code=event.response_status.code,
        request_uri=event.request_uri,
        source_ip=event.source_ips[-1] if event.source_ips else "",
        user_agent=event.user_agent,
        task=notes.get(f"{_OURS}task", ""),
        writer=writer,
        segment=segment,
        seq=seq,
        noticed=notes.get(f"{_OURS}noticed", ""),
        pod_uid="".join(vouched.get(f"{_OURS}pod-uid", ())[:1]),
        node="".join(vouched.get(f"{_OURS}node", ())[:1]),
        recording=notes.get(f"{_OURS}recording", ""),
    )


@lru_cache(maxsize=4096)
def _chain(text: str) -> tuple[str, ...]:
    return _decode_chain(text)


def facts_of(entry: AuditEntry) -> set[str]:
    """Everything that a request can be found by, each a letter for what it is about and the value.

    An empty value is no fact: nothing is found by what an entry does not say.
    """
    found = {f"w{member}" for member in (*entry.chain, entry.user) if member}
    found |= {f"{letter}{value}" for letter, value in _plain(entry) if value}
    if entry.rule:
        found.add(f"p{entry.rule}")
        found.add(f"p{entry.rule.partition('/')[0]}")
    if entry.code:
        found.add(f"x{entry.code}")
        found.add(f"x{entry.code // 100}xx")
    if entry.approval and entry.decision == "allow":
        found.add(f"d{APPROVED}")
    if entry.noticed:
        found.add("z")
    return found


def _plain(entry: AuditEntry) -> tuple[tuple[str, str], ...]:
    return (
        ("k", entry.kind),
        ("o", entry.owner),
        ("c", entry.cluster),
        ("n", entry.namespace),
        ("g", entry.api_group),
        ("r", entry.resource),
        ("s", entry.subresource),
        ("m", entry.name),
        ("v", entry.verb),
        ("d", entry.decision),
        ("t", entry.task),
        ("q", entry.approval),
        ("i", entry.source_ip),
    )
