"""What must be known about a write before it is judged: its body, the object it changes, the object it would make.

Bodies are read whole, up to the API server's own limit. The result of a patch is the API server's business to compute
(strategic merges, apply, defaults), so the gate asks it by `dryRun=All` in the caller's name, and then pins the real
patch to the very version that was looked at: if the object changes in between, the patch conflicts instead of making
something that nobody judged.
"""

from __future__ import annotations

import time

import msgspec
import orjson

from narrowgate.core.body import JSON, PROTOBUF, may_create, with_body, with_old, with_patched
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow
from narrowgate.core.documents import parse_json
from narrowgate.core.entering import pod_seen
from narrowgate.core.held_secrets import goes_into_pod, is_minded, secrets_of
from narrowgate.core.identity import Chain
from narrowgate.core.intent import HeldSecrets, Intent, PodSeen
from narrowgate.core.malformed import Malformed
from narrowgate.core.matching import question_of
from narrowgate.core.pod_judging import minds_accounts
from narrowgate.core.pod_templates import makes_pods
from narrowgate.core.preview import could_be_allowed, could_be_entered, wants_pod
from narrowgate.core.understand import is_proxied
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.look import Look, pinned, whole_target
from narrowgate.proxy.masking import Masking
from narrowgate.proxy.pods import Pods
from narrowgate.proxy.state import Snapshot
from narrowgate.proxy.write_back import WriteBack
from narrowgate.wire.protobuf import read_names
from narrowgate.wire.protobuf_object import read_object

OK = 200
NOT_FOUND = 404

CHANGING_VERBS = frozenset({"update", "patch", "delete"})
"""Verbs that are about an object which may be there already."""
OPTIONS_VERBS = frozenset({"delete", "deletecollection"})
"""Their bodies are DeleteOptions, in whichever group and version the client likes."""


class Facts:
    """Completes what is understood of a request. Keeps nothing between requests but what accounts may do."""

    def __init__(self, masking: Masking, write_back: WriteBack) -> None:
        self._masking = masking
        self._write_back = write_back
        self._pods = Pods(masking)

    async def read(self, exchange: Exchange, who: Chain, what: Understood) -> tuple[Understood, bytes]:
        """Read the body and everything that conditions will look at; the body comes back as it is to be sent.

        Raises Malformed (400, 413, 415), MaskedWrite, ClientGone, and what asking the API server raises.
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
        given = exchange.body if body is None else body
        complete, body = await self._complete(exchange, who, what, given)
        return await self._pods.of_write(exchange, who, complete, given), body

    async def _complete(
        self, exchange: Exchange, who: Chain, what: Understood, body: bytes
    ) -> tuple[Understood, bytes]:
        content_type = exchange.head.fields.get(b"content-type", b"").decode("latin-1")
        intent = _with_body(what.intent, content_type, body)
        snapshot = what.snapshot
        needs = snapshot.rulebook.object_needs(who, intent)
        wants_result = intent.info.verb == "patch" and bool(needs.object or intent.unseen)
        wants_old = intent.info.verb in CHANGING_VERBS and (
            wants_result
            or needs.old_object
            or _hangs_on_existence(who, intent, snapshot)
            or _hangs_on_pod(who, intent, snapshot)
        )
        covering = None
        if wants_old:
            grants = snapshot.grants_of(who)
            # What a debug container would run, and what pods would be, is known from the result alone, and people are
            # asked about that.
            asks_about = goes_into_pod(intent.info) or makes_pods(intent.info)
            could_be = could_be_entered if asks_about else could_be_allowed
            covering = could_be(who, intent, snapshot.rulebook, grants, time.time())
        if covering is None:
            # Undecidable stays undecided only when it does not matter: `decide` refuses what nothing covers.
            return msgspec.structs.replace(what, intent=_settled(intent)), body
        look = Look(exchange, who, what, covering, self._masking)
        old = await look.current()
        if old is None and goes_into_pod(intent.info):
            raise Malformed("there is no such pod", 404)
        if wants_result:
            # What a dry run answers would tell of what is masked as well as the patch itself would.
            await self._write_back.settled(exchange, who, what, body, covering)
            intent = with_patched(intent, await look.patched(content_type, body), old)
        else:
            intent = with_old(intent, old)
        if old is not None and intent.info.verb in ("patch", "update"):
            body = pinned(content_type, body, old)
        return msgspec.structs.replace(what, intent=intent), body

    async def into_pod(self, exchange: Exchange, who: Chain, what: Understood) -> Understood:
        """Look at the pod that a request would be let into, where its labels, its container or its Secrets have a say.

        Raises what asking the API server raises.
        """
        what = await self._pods.of_entry(exchange, who, what)
        if not goes_into_pod(what.intent.info):
            return what
        seen = await self._seen(exchange, who, what)
        if seen is not None:
            what = msgspec.structs.replace(what, intent=msgspec.structs.replace(what.intent, pod=seen))
        held = HeldSecrets(known_values=what.served.cluster.access.masks_known_values)
        intent = msgspec.structs.replace(what.intent, held=held)
        snapshot = what.snapshot
        grants = snapshot.grants_of(who)
        decision = decide(who, what.intent, snapshot.rulebook, grants, what.approvals, time.time())
        if not isinstance(decision, Allow):
            return what
        if is_minded(snapshot.rulebook, who, intent):
            held = await self._held(Look(exchange, who, what, decision.rule, self._masking), what, held)
        return msgspec.structs.replace(what, intent=msgspec.structs.replace(intent, held=held))

    async def _seen(self, exchange: Exchange, who: Chain, what: Understood) -> PodSeen | None:
        """What rules may ask of the pod; None where none asks, or nothing could let the request in anyhow."""
        snapshot, now = what.snapshot, time.time()
        if not wants_pod(snapshot.rulebook, who, what.intent):
            return None
        covering = could_be_entered(who, what.intent, snapshot.rulebook, snapshot.grants_of(who), now)
        if covering is None:
            return None
        look = Look(exchange, who, what, covering, self._masking)
        status, answer = await look.ask("GET", whole_target(what.target), b"", b"")
        if status != OK:
            return PodSeen(unknown=f"the cluster answers {status} to reading it")
        return pod_seen(parse_json(answer))

    async def _held(self, look: Look, what: Understood, held: HeldSecrets) -> HeldSecrets:
        status, answer = await look.ask("GET", whole_target(what.target), b"", b"")
        if status == NOT_FOUND:
            # Then there is nothing to get into, and the API server says so.
            return msgspec.structs.replace(held, unknown="")
        if status != OK:
            return msgspec.structs.replace(held, unknown=f"the cluster answers {status} to reading it")
        return msgspec.structs.replace(held, names=secrets_of(parse_json(answer)), unknown="")

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


def _hangs_on_pod(who: Chain, intent: Intent, snapshot: Snapshot) -> bool:
    """Whether a debug container is for the very pod that is looked at, and for none that takes its name meanwhile."""
    return goes_into_pod(intent.info) and minds_accounts(snapshot.rulebook, who, intent, question_of(intent))


def _settled(intent: Intent) -> Intent:
    """An intent whose unseen use cannot be looked up: it stays a use that only an unrestricted rule covers."""
    return msgspec.structs.replace(intent, unseen="") if intent.unseen else intent
