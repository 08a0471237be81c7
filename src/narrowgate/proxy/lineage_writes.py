"""Writes that make pods, on their way: kept before they are sent, and what they made is kept before that is told.

In between the gate may be killed: the write then stays in the store as one of which nobody knows what it made, and
whatever fits it counts as made by it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.accept import JSON, PROTOBUF
from narrowgate.core.identity import Chain
from narrowgate.core.lineage import PendingWrite, Placement, Sighted, author_of, makes_pods, qualified
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.exchange import Understood
from narrowgate.proxy.lineage_reader import Metadata, seen_in
from narrowgate.proxy.transform import content_type
from narrowgate.proxy.upstream import UpstreamConnection
from narrowgate.store.port import Lineage as KeptLineage
from narrowgate.store.port import StoreUnavailable
from narrowgate.wire.http1 import Framing, ResponseHead, reframed
from narrowgate.wire.protobuf_object import read_object

ANSWER_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of an answer to a write: one object, which etcd takes 1.5 MiB of."""

CREATED: Final = 201
"""What a write is answered by that made a new object, be it a POST or an apply (RFC 9110, section 15.3.2)."""

MADE_NOTHING: Final = range(400, 500)
"""Statuses of answers after which nothing was made: with any other that is no yes, nobody knows."""

log = logging.getLogger("narrowgate.lineage")


class LineageWrites:
    """One per process."""

    def __init__(self, kept: KeptLineage, clusters: Collection[str]) -> None:
        """`clusters` are those whose pods are placed."""
        self._kept = kept
        self._clusters = frozenset(clusters)

    async def begun(self, what: Understood, who: Chain, audit_id: str) -> PendingWrite | None:
        """Keep a write that is about to be sent; None where it makes no pods, or a person makes something new by it.

        Raises StoreUnavailable, and Malformed where the answer would not say what was made: then nothing is sent.
        """
        info = what.intent.info
        if what.intent.cluster not in self._clusters or not makes_pods(info) or _is_dry(what):
            return None
        now = time.time()
        author = author_of(who, now)
        if not author and info.verb == "create":
            return None
        if any(key == "includeObject" and value == "None" for key, value in what.target.query):
            raise Malformed("the answer has to say which object was written: leave the parameter includeObject out")
        metadata = _metadata_of(what.intent.object)
        name = info.name or _text(metadata, "name")
        write = PendingWrite(
            audit_id=audit_id,
            cluster=what.intent.cluster,
            resource=qualified(info.resource, info.api_group),
            namespace=info.namespace,
            name=name,
            generate_name="" if name else _text(metadata, "generateName"),
            is_create=info.verb == "create" and not info.subresource,
            is_whole=not info.subresource,
            author=author,
            at=now,
        )
        await asyncio.to_thread(self._kept.begin, write)
        return write

    def reads(self, cluster: str, info: RequestInfo) -> bool:
        """Whether the answer to such a request must be one that can be read here."""
        return cluster in self._clusters and makes_pods(info)

    async def never_sent(self, write: PendingWrite) -> None:
        """It was not sent after all. Raises StoreUnavailable."""
        await asyncio.to_thread(self._kept.drop, write.audit_id)

    async def answered(
        self, write: PendingWrite, connection: UpstreamConnection, head: ResponseHead
    ) -> tuple[ResponseHead, bytes]:
        """The whole answer, once what it says was made is kept. Raises UpstreamBroken."""
        body = await connection.read_whole(ANSWER_LIMIT) if not head.framing.empty else b""
        try:
            await self._keep(write, head, body)
        except StoreUnavailable as error:
            # It has happened; what is kept of it before it was sent stands for what was to be kept of it now.
            log.error("what request %s made is not kept by its UID: %s", write.audit_id, error)
        return (head if head.framing.empty else reframed(head, Framing(len(body)), ())), body

    async def _keep(self, write: PendingWrite, head: ResponseHead, body: bytes) -> None:
        if head.status in MADE_NOTHING:
            await asyncio.to_thread(self._kept.drop, write.audit_id)
            return
        seen = _made(write, head, body) if 200 <= head.status < 300 else None
        if seen is None:
            log.warning("request %s may have made something, and its answer does not say what", write.audit_id)
            return
        created = write.is_whole and head.status == CREATED
        if not write.author:
            await asyncio.to_thread(self._keep_person, write, seen, created=created)
            return
        placement = Placement(
            cluster=write.cluster,
            uid=seen.uid,
            resource=write.resource,
            namespace=seen.namespace,
            name=seen.name,
            authors=(write.author,),
            first_at=write.at,
            audit_id=write.audit_id,
        )

        def add() -> None:
            self._kept.add(placement, answered=write.audit_id, created=created)

        await asyncio.to_thread(add)

    def _keep_person(self, write: PendingWrite, seen: Sighted, *, created: bool) -> None:
        """That people changed what others may have made."""
        if created:
            self._kept.drop(write.audit_id)
        else:
            self._kept.changed_by_a_person(write.cluster, seen.uid, answered=write.audit_id, at=write.at)


def _made(write: PendingWrite, head: ResponseHead, body: bytes) -> Sighted | None:
    """What the answer says was written; None where it does not say."""
    if head.field(b"content-encoding"):
        return None
    try:
        document: Any
        if content_type(head) == PROTOBUF:
            document = read_object(body)
        elif content_type(head) == JSON:
            document = orjson.loads(body)
        else:
            return None
        if isinstance(document, dict) and document.get("kind") == "Table":
            document = document["rows"][0]["object"]
        return seen_in(msgspec.convert(document["metadata"], Metadata), write.resource)
    except (ValueError, KeyError, IndexError, TypeError, Malformed, msgspec.MsgspecError):
        return None


def _is_dry(what: Understood) -> bool:
    return any(key == "dryRun" and value for key, value in what.target.query)


def _metadata_of(document: Any) -> Any:
    return document.get("metadata") if isinstance(document, dict) else None


def _text(metadata: Any, key: str) -> str:
    value = metadata.get(key) if isinstance(metadata, dict) else None
    return value if isinstance(value, str) else ""
