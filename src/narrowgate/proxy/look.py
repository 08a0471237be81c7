"""Questions to the API server in a caller's name about the object of one request, and what binds a write to an answer.

What they cost is the caller's: by its own rights, or by those that its write is covered by. What comes back is not the
caller's to read: only what `proxy.masking` leaves of it is told.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.body import PROTOBUF, YAML
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.documents import parse_json, parse_yaml
from narrowgate.core.identity import Chain
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.matching import question_of
from narrowgate.core.target import Target, rebuild
from narrowgate.core.understand import UnknownResource, understand
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.masking import Masking
from narrowgate.wire.protobuf_object import read_object

JSON_PATCH: Final = "application/json-patch+json"
APPLY: Final = "application/apply-patch+yaml"
VERSION_PATH: Final = "/metadata/resourceVersion"

SHOWING_ALL: Final = frozenset({"status", "ephemeralcontainers", "resize", "finalize", "approval"})
"""Subresources whose document is the whole object."""


class Look:
    """Questions to the API server in the caller's name, about the object of one request."""

    def __init__(self, exchange: Exchange, who: Chain, what: Understood, covering: RuleRef, masking: Masking) -> None:
        self._covering = covering
        self._masking = masking
        self._exchange = exchange
        self._who = who
        self._what = what

    @property
    def who(self) -> Chain:
        """In whose name it is asked."""
        return self._who

    async def current(self) -> Any:
        """The object as it is now; None where there is none. Raises Malformed when the API server will not show it."""
        status, answer = await self.ask("GET", object_target(self._what.target), b"", b"")
        if status == 404:
            return None
        if status != 200:
            raise Malformed(f"a rule looks at the object as it is, and the cluster answers {status} to reading it", 403)
        return parse_json(answer)

    async def seen(self) -> tuple[int, Any]:
        """Status of the answer, and the object as it is now; None where it is not shown."""
        status, answer = await self.ask("GET", object_target(self._what.target), b"", b"")
        return status, parse_json(answer) if status == 200 else None

    async def patched(self, content_type: str, body: bytes) -> Any:
        """What the patch would make. Raises Malformed with the API server's own complaint when it would not take it."""
        status, answer = await self.ask("PATCH", dry_target(self._what.target), body, content_type.encode("latin-1"))
        if status not in (200, 201):
            raise Malformed(self.complaint(status, answer), status if 400 <= status < 500 else 502)
        return parse_json(answer)

    async def ask(self, method: str, target: Target, body: bytes, content_type: bytes) -> tuple[int, bytes]:
        """Status and body of one answer. Raises UpstreamUnreachable, UpstreamBroken, ClusterNotReady."""
        served = self._what.served
        headers = await served.account.headers(self._what.told(self._who), self._covering, self._exchange.audit_id)
        path = rebuild(target).decode("ascii")
        status, _, answer = await served.cluster.call(
            method, path, body=body, content_type=content_type, headers=headers
        )
        return status, answer

    def complaint(self, status: int, answer: bytes) -> str:
        """Why the API server does not take a write, in its own words, as its sender may read them."""
        try:
            masks = masks_of(self._who, self._what)
            told = self._masking.told(masks, parse_json(answer), self._what.intent.cluster)
        except Malformed:
            told = None
        message = told.get("message") if isinstance(told, dict) else None
        return str(message or f"the cluster answers {status} to a dry run of this patch")


def masks_of(who: Chain, what: Understood) -> MaskChoice | None:
    """What is masked for its sender in the answer to a request; None where nothing is."""
    return what.snapshot.rulebook.masks_of(who, what.intent.cluster, question_of(what.intent), ())


def right_to_read(who: Chain, what: Understood) -> tuple[Allow, Target] | None:
    """The Allow by which everybody in the chain may get the object now, without asking anybody, and its target; None
    where none does. What shows all of the object under a subresource may be had from the object itself.
    """
    snapshot, cluster = what.snapshot, what.served.cluster
    whole = object_target(what.target)
    targets = [whole]
    if what.intent.info.subresource in SHOWING_ALL:
        # First: not each of them can be read by itself (`namespaces/finalize`).
        targets.insert(0, whole_target(whole))
    for target in targets:
        try:
            reading = understand("GET", target, cluster.known(), cluster.name)
        except (Malformed, UnknownResource, ClusterNotReady):
            continue
        # What it reads is shown as its masks have it, if at all: that takes nobody's yes.
        reading = msgspec.structs.replace(reading, masked_will_do=True)
        decision = decide(who, reading, snapshot.rulebook, snapshot.grants_of(who), (), time.time())
        if isinstance(decision, Allow):
            return decision, target
    return None


def object_target(target: Target) -> Target:
    """The target of the object itself: without query and, for `scale` or `status`, with the subresource."""
    return Target(segments=target.segments, path=target.path, query=())


def whole_target(target: Target) -> Target:
    """The target of the object itself, of which this is a subresource."""
    return Target(segments=target.segments[:-1], path=target.path.rpartition("/")[0], query=())


def dry_target(target: Target) -> Target:
    """The target of a write that changes nothing."""
    query = tuple(pair for pair in target.query if pair[0] != "dryRun")
    return Target(segments=target.segments, path=target.path, query=(*query, ("dryRun", "All")))


def pinned(content_type: str, body: bytes, old: Any) -> bytes:
    """The write, bound to the version of the object that was judged (optimistic concurrency, `resourceVersion`)."""
    version = old["metadata"]["resourceVersion"]
    form = content_type.partition(";")[0].strip().lower()
    if form == JSON_PATCH:
        operations = parse_json(body)
        if any(operation["path"] == VERSION_PATH and operation.get("value") != version for operation in operations):
            raise _modified()
        operations.append({"op": "add", "path": VERSION_PATH, "value": version})
        return orjson.dumps(operations)
    if form == PROTOBUF:
        # It cannot be written into; a client that states the version it means has done so itself.
        if read_object(body).get("metadata", {}).get("resourceVersion") == version:
            return body
        raise Malformed("this write must name the resourceVersion it is meant for, or be sent as application/json", 415)
    document = parse_yaml(body) if form in (APPLY, YAML) else parse_json(body)
    metadata = document.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise Malformed("metadata in the body is not an object")
    # An empty resourceVersion is none at all; any other than the one looked at could only ever match something unseen.
    if metadata.get("resourceVersion") not in (None, "", version):
        raise _modified()
    metadata["resourceVersion"] = version
    return orjson.dumps(document)


def _modified() -> Malformed:
    return Malformed("the object has been modified; apply your changes to the latest version and try again", 409)
