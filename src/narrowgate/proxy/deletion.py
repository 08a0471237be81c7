"""One object deleted by the gate itself: by its UID, with the account of the gate's own, and not without its entry.

Two objects never answer to one UID, so that nothing is deleted that came to stand under an old name since
(`preconditions.uid`, k8s.io/apimachinery/pkg/apis/meta/v1 DeleteOptions).
"""

from __future__ import annotations

import os
import time
from itertools import count
from typing import Final, Protocol

import msgspec
import orjson

from narrowgate.core.audit import Asked, Failed, Outcome, Permitted, RequestEvents, Verdict
from narrowgate.core.discovery import ResourceType
from narrowgate.core.intent import Intent
from narrowgate.core.leftovers import Fate
from narrowgate.core.lineage import Placement, qualified
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.lineage_reader import is_missing, path_of
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

OK: Final = (200, 202)
NOT_FOUND: Final = 404
CONFLICT: Final = 409
REFUSED: Final = (401, 403)

OTHER_UID: Final = b"the UID in the precondition"
"""What the API server says where another object has the name by now; its other conflicts pass
(k8s.io/apiserver/pkg/registry/rest/delete.go, BeforeDelete)."""


class _Metadata(msgspec.Struct):
    finalizers: list[str] | None = None


class _Deleted(msgspec.Struct):
    """What is read of an object that answers to its deletion (k8s.io/apimachinery/pkg/apis/meta/v1 ObjectMeta)."""

    metadata: _Metadata


_deleted = msgspec.json.Decoder(_Deleted).decode


class Journal(Protocol):
    """A journal as it is needed here (`trail_writer.TrailWriter`)."""

    async def record(self, entry: bytes, durable: bool) -> None:
        """Return once the entry is in the journal (`durable`: on the disk). Raises TrailUnwritable."""
        ...


class NotDeleted(Exception):
    """It may be tried again; the text says why it did not work."""


class ClusterAway(NotDeleted):
    """Its cluster cannot be asked at all now."""


class Deletion:
    """Deletes objects of registered clusters, each with two entries in the record."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._prefix = f"gate-{os.urandom(6).hex()}-"
        self._counter = count(1)

    async def delete(self, cluster: Cluster, placement: Placement, *, task: str, because: str, again: bool) -> Fate:
        """Delete that very object, and what it owns after it, or before it where it is tried `again`.

        `because` is told in the record, and `task` is the one that ended. Raises NotDeleted, ClusterAway, and
        TrailUnwritable: then nothing was sent.
        """
        kind = _served(cluster, placement)
        info = _request_info(kind, placement)
        asked = Asked(
            audit_id=f"{self._prefix}{next(self._counter):08x}",
            method="DELETE",
            target=info.path.encode(),
            received_at=time.time(),
            source_ip="",
            cluster=cluster.name,
            intent=Intent(cluster=cluster.name, info=info, namespaced=kind.namespaced),
            ended_task=task,
        )
        events, verdict = RequestEvents(asked), Permitted(because=because)
        await self._journal.record(events.received(verdict), durable=True)
        try:
            code, _, answer = await cluster.call("DELETE", info.path, body=_options(placement.uid, again=again))
        except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady) as error:
            problem = str(error) or "the API server does not answer"
            await self._finished(events, Failed(message=problem), 0)
            raise ClusterAway(problem) from None
        await self._finished(events, verdict, code)
        return _fate(code, answer, placement, info.path)

    async def _finished(self, events: RequestEvents, verdict: Verdict, code: int) -> None:
        await self._journal.record(events.finished(verdict, Outcome(code=code, at=time.time())), durable=False)


def _fate(code: int, answer: bytes, placement: Placement, path: str) -> Fate:
    """What the answer says has become of it. Raises NotDeleted, also where it says nothing of this very object."""
    if code in OK:
        if kept_by := _finalizers(answer):
            raise NotDeleted(f"it is on its way out, and its finalizers keep it: {', '.join(kept_by)[:200]}")
        return Fate.DELETED
    if code == NOT_FOUND and is_missing(answer, path):
        return Fate.GONE
    if code == CONFLICT and OTHER_UID in answer and placement.uid.encode() in answer:
        return Fate.GONE
    if code in REFUSED:
        raise NotDeleted(
            f"the gate's account may not delete {placement.resource} ({code}); its operator gives it that right "
            "(narrowgate clusters manifests)"
        )
    raise NotDeleted(f"the API server answers {code}")


def _served(cluster: Cluster, placement: Placement) -> ResourceType:
    try:
        types = cluster.known().types()
    except ClusterNotReady as error:
        raise ClusterAway(str(error)) from None
    for kind in types:
        if qualified(kind.resource, kind.group) == placement.resource:
            return kind
    raise NotDeleted(f"the cluster does not serve {placement.resource} now")


def _request_info(kind: ResourceType, placement: Placement) -> RequestInfo:
    return RequestInfo(
        is_resource_request=True,
        path=path_of(kind, placement.namespace, placement.name),
        verb="delete",
        api_prefix="apis" if kind.group else "api",
        api_group=kind.group,
        api_version=kind.version,
        namespace=placement.namespace,
        resource=kind.resource,
        name=placement.name,
    )


def _options(uid: str, *, again: bool) -> bytes:
    document = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid},
        # The garbage collector takes what an object owns only after the object itself, which a finalizer that anybody
        # may write into it keeps for ever; asked for in this order, it takes what it owns before.
        "propagationPolicy": "Foreground" if again else "Background",
    }
    return orjson.dumps(document)


def _finalizers(answer: bytes) -> list[str]:
    """What keeps an object that is deleted; none where it is gone, and where the answer is a Status that says so."""
    try:
        return _deleted(answer).metadata.finalizers or []
    except msgspec.MsgspecError:
        return []
