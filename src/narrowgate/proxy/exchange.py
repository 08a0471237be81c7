"""One request on its way through the pipeline, and how it ended."""

from __future__ import annotations

import itertools
import os
import time
from functools import lru_cache

import msgspec

from narrowgate.authenticators.port import Presented
from narrowgate.core.approvals import ApprovalQuestion
from narrowgate.core.audit import Asked, KeptObject, Level
from narrowgate.core.identity import Chain, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.list_query import at_version, part_of_list
from narrowgate.core.target import Target
from narrowgate.core.visible import Part
from narrowgate.proxy.client import Answered, ClientConnection
from narrowgate.proxy.sightings import Place
from narrowgate.proxy.state import ServedCluster, Snapshot
from narrowgate.proxy.task_limits import Taken
from narrowgate.wire.http1 import RequestHead

WEBSOCKET_BEARER = b"base64url.bearer.authorization.k8s.io."
"""How a browser sends a token (k8s.io/apiserver/pkg/authentication/request/websocket): read by nobody here, and never
passed on; such requests authenticate by their header or not at all."""

MAX_REMEMBERED_CREDENTIAL = 2048
"""Bytes of an Authorization header that is remembered: a projected ServiceAccount token has about a thousand."""
MAX_USER_AGENT = 1024
"""Bytes of the User-Agent that are recorded, as many as the API server writes to its audit log
(k8s.io/apiserver/pkg/audit/request.go, `maxUserAgentLength`)."""


class _AuditIds:
    """A random beginning, shaped like a UUID's, and a number behind it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        random = os.urandom(10).hex()
        self.beginning = f"{random[:8]}-{random[8:12]}-{random[12:16]}-{random[16:20]}-"
        self.numbers = itertools.count(1)


_ids = _AuditIds()
# The processes of a gate are forks of one: they would go on from the same beginning with the same numbers.
os.register_at_fork(after_in_child=_ids.begin_anew)


def new_audit_id() -> str:
    """An id no other request has: the same for the gate's entries and the API server's (header `Audit-ID`)."""
    return f"{_ids.beginning}{next(_ids.numbers):012x}"


class Exchange:
    """What is known of a request from its head alone. Made when the head has arrived; nothing is judged yet."""

    __slots__ = (
        "answers_to",
        "audit_id",
        "body",
        "client",
        "head",
        "level",
        "noticed",
        "place",
        "presented",
        "received_at",
        "recording",
        "refused",
        "streaming_code",
        "taken",
        "user_agent",
    )

    def __init__(self, head: RequestHead, client: ClientConnection) -> None:
        self.head = head
        self.client = client
        self.answers_to: Answered = client
        """Where its answer goes: to the client, or first to where it is kept."""
        self.level = Level.METADATA
        """How much of it is kept."""
        self.refused: KeptObject | None = None
        """What is kept of its body where it was refused."""
        self.received_at = time.time()
        self.audit_id = new_audit_id()
        self.presented = _presented(head.fields.get(b"authorization", b""), client.certificate)
        self.user_agent = _text(head.fields.get(b"user-agent", b"")[:MAX_USER_AGENT])
        self.place: Place | None = None
        """Where its credential was seen, until the request is answered."""
        self.body = b""
        """As the client sent it, where it was read whole: what is forwarded may be pinned to a version."""
        self.taken: Taken | None = None
        """What was counted for it against the limits of its tasks; None where they have none."""
        self.noticed = ""
        """See `core.audit.Outcome`."""
        self.recording = ""
        """See `Response`; from when it begins on."""
        self.streaming_code = 0
        """HTTP status of a stream's answer once that has begun."""

    def asked(self, who: Chain | None = None, what: Intent | None = None) -> Asked:
        """What the trail writes of this request, with whatever is known of it by now."""
        return Asked(
            audit_id=self.audit_id,
            method=self.head.method,
            target=self.head.target,
            received_at=self.received_at,
            source_ip=self.client.peer,
            user_agent=self.user_agent,
            chain=who,
            intent=what,
            level=self.level,
        )


def _presented(authorization: bytes, certificate: bytes) -> Presented:
    """The token of `Authorization: Bearer ...` (RFC 6750 2.1), none for every other scheme; and the certificate."""
    # Whoever has no credential must not fill the memory with what is taken for one.
    read = _remembered if len(authorization) <= MAX_REMEMBERED_CREDENTIAL else _read_presented
    presented = read(authorization)
    return Presented(presented.bearer, certificate) if certificate else presented


def _read_presented(authorization: bytes) -> Presented:
    if authorization[:7].lower() != b"bearer ":
        return Presented()
    return Presented(authorization[7:].strip().decode("latin-1"))


_remembered = lru_cache(maxsize=1024)(_read_presented)


@lru_cache(maxsize=1024)
def _text(user_agent: bytes) -> str:
    return user_agent.decode("utf-8", "replace")


class Understood(msgspec.Struct, frozen=True):
    """A request that is understood: what it means, whose snapshot it is judged by, where it would go."""

    intent: Intent
    target: Target
    """The target at the cluster, its prefix taken off; the only source of what is sent upstream."""
    served: ServedCluster
    snapshot: Snapshot
    approvals: tuple[ApprovalQuestion, ...] = ()
    """What people were asked about this very request; what an answer lifts is `decide`'s affair."""

    def of_part(self, part: Part, version: str = "") -> Understood:
        """The same request for a part of its list or watch, as it was at a version. Raises ListExpired."""
        target = part_of_list(self.target, self.intent.info, part.namespace, part.name)
        return msgspec.structs.replace(self, target=at_version(target, version) if version else target)

    def told(self, who: Chain) -> Chain:
        """The chain as the cluster is told of it: its sender with the groups that mean something there."""
        sender = who[-1]
        groups = self.snapshot.rulebook.told_groups(sender, self.served.cluster.name)
        if groups == sender.groups:
            return who
        return chain_of(*who[:-1], msgspec.structs.replace(sender, groups=groups))


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """How a request was answered; the bytes themselves have gone to the client."""

    code: int
    """HTTP status; 0 where the client left, or the answer broke off, before one was sent."""
    bytes_out: int = 0
    failed: str = ""
    """What went wrong on the way, in a sentence; empty when the answer is complete."""
    ended_because: str = ""
    """Why the gate ended a stream that could have gone on."""
    masked: tuple[str, ...] = ()
    """What was masked in it, `policy/mask=count`."""
    recording: str = ""
    """Under which name it is recorded; empty where it is not."""
    filtered: tuple[str, ...] = ()
    """What of a list or watch was shown, where not all of it was: `shown=count`, `hidden=count`."""


def is_bare(head: RequestHead) -> bool:
    """Whether the head is all there is: nothing to read before it is judged."""
    return head.framing.empty and head.method in ("GET", "HEAD")
