"""What must be known about a write before it is judged: its body, the object it changes, the object it would make.

Bodies are read whole, up to the API server's own limit. The result of a patch is the API server's business to compute
(strategic merges, apply, defaults), so the gate asks it by `dryRun=All` in the caller's name, and then pins the real
patch to the very version that was looked at: if the object changes in between, the patch conflicts instead of making
something that nobody judged.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import orjson

from narrowgate.core.body import JSON, PROTOBUF, YAML, may_create, with_body, with_old, with_patched
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.documents import parse_json, parse_yaml
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.matching import question_of
from narrowgate.core.preview import could_be_allowed
from narrowgate.core.target import Target, rebuild
from narrowgate.core.understand import UnknownResource, is_proxied, understand
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.masking import Masking
from narrowgate.proxy.state import Snapshot
from narrowgate.wire.protobuf import read_names
from narrowgate.wire.protobuf_object import read_object

JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

VERSION_PATH = "/metadata/resourceVersion"

CHANGING_VERBS = frozenset({"update", "patch", "delete"})
"""Verbs that are about an object which may be there already."""
SHOWING_ALL = frozenset({"status", "ephemeralcontainers", "resize", "finalize", "approval"})
"""Subresources whose document is the whole object."""
OPTIONS_VERBS = frozenset({"delete", "deletecollection"})
"""Their bodies are DeleteOptions, in whichever group and version the client likes."""


class Facts:
    """Completes what is understood of a request. Keeps nothing between requests."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking

    async def read(self, exchange: Exchange, who: Chain, what: Understood) -> tuple[Understood, bytes]:
        """Read the body and everything that conditions will look at; the body comes back as it is to be sent.

        Raises Malformed (400, 413, 415), ClientGone, and what asking the API server raises.
        """
        exchange.body = await exchange.client.read_body()
        if b"content-encoding" in exchange.head.fields:
            raise Malformed("an encoded request body is not read here: send it without content-encoding", 415)
        return await self.complete(exchange, who, what)

    async def complete(
        self, exchange: Exchange, who: Chain, what: Understood, body: bytes | None = None
    ) -> tuple[Understood, bytes]:
        """The same once the body has been read, so that it can be looked at again later, or another in its place.

        Raises as `read`.
        """
        body = exchange.body if body is None else body
        content_type = exchange.head.fields.get(b"content-type", b"").decode("latin-1")
        intent = _with_body(what.intent, content_type, body)
        snapshot = what.snapshot
        needs = snapshot.rulebook.object_needs(who, intent)
        wants_result = intent.info.verb == "patch" and bool(needs.object or intent.unseen)
        wants_old = intent.info.verb in CHANGING_VERBS and (
            wants_result or needs.old_object or _hangs_on_existence(who, intent, snapshot)
        )
        covering = None
        if wants_old:
            grants = snapshot.grants_of(who)
            covering = could_be_allowed(who, intent, snapshot.rulebook, grants, time.time())
        if covering is None:
            # Undecidable stays undecided only when it does not matter: `decide` refuses what nothing covers.
            return msgspec.structs.replace(what, intent=_settled(intent)), body
        look = Look(exchange, who, what, covering, self._masking)
        old = await look.current()
        if wants_result:
            intent = with_patched(intent, await look.patched(content_type, body), old)
        else:
            intent = with_old(intent, old)
        if old is not None and intent.info.verb in ("patch", "update"):
            body = pinned(content_type, body, old)
        return msgspec.structs.replace(what, intent=intent), body

    def unread(self, exchange: Exchange, what: Understood) -> bytes | None:
        """What becomes of a body that nothing has to be read from: streamed behind `proxy`, refused elsewhere."""
        if is_proxied(what.intent.info):
            return None
        raise Malformed(f"a {exchange.head.method} of {what.target.path} has no body")


def _with_body(intent: Intent, content_type: str, body: bytes) -> Intent:
    """Add the body to the intent. Protobuf is judged as the JSON object that it stands for, and sent on as it came."""
    if content_type.partition(";")[0].strip().lower() != PROTOBUF or intent.info.verb in OPTIONS_VERBS:
        return with_body(intent, content_type, body, read_names)
    return with_body(intent, JSON, orjson.dumps(read_object(body)))


def _hangs_on_existence(who: Chain, intent: Intent, snapshot: Snapshot) -> bool:
    """Whether the request would be a create if its object did not exist, and is not allowed as one."""
    if not may_create(intent):
        return False
    return not isinstance(decide(who, intent, snapshot.rulebook, snapshot.grants_of(who), (), time.time()), Allow)


def _settled(intent: Intent) -> Intent:
    """An intent whose unseen use cannot be looked up: it stays a use that only an unrestricted rule covers."""
    return msgspec.structs.replace(intent, unseen="") if intent.unseen else intent


class Look:
    """Questions to the API server in the caller's name, about the object of one request."""

    def __init__(self, exchange: Exchange, who: Chain, what: Understood, covering: RuleRef, masking: Masking) -> None:
        self._covering = covering
        self._masking = masking
        self._exchange = exchange
        self._who = who
        self._what = what

    async def current(self) -> Any:
        """The object as it is now; None where there is none. Raises Malformed when the API server will not show it."""
        status, answer = await self.ask("GET", object_target(self._what.target), b"", b"")
        if status == 404:
            return None
        if status != 200:
            raise Malformed(f"a rule looks at the object as it is, and the cluster answers {status} to reading it", 403)
        return parse_json(answer)

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
        targets.append(Target(segments=whole.segments[:-1], path=whole.path.rpartition("/")[0], query=()))
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
