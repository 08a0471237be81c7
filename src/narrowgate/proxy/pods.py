"""What must be known of the pods that a request makes or gets into, before it is judged: templates, and accounts; and
of the accounts whose tokens it has made.

Where nobody who is asked minds, nothing is looked at. What could not be found out is told, and `core.pod_judging`
refuses it for whoever minds.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from narrowgate.core.account_rights import Account, TooManyRights
from narrowgate.core.body import may_create, read_body
from narrowgate.core.documents import parse_json
from narrowgate.core.entered_node import rights_of_node
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.matching import question_of
from narrowgate.core.minted_tokens import asks_for_certificate, audiences_of, minted_accounts
from narrowgate.core.named_templates import named_pods
from narrowgate.core.patched_accounts import accounts_after, changes_pods
from narrowgate.core.pod_judging import minds_accounts, minds_templates, paths_named
from narrowgate.core.pod_templates import (
    enters_pod,
    has_token,
    is_laid_over,
    makes_pods,
    reaches_kubelet,
    runs_the_same,
    templates_of,
    with_debug_containers,
)
from narrowgate.core.pods_seen import DEFAULT_ACCOUNT, AccountSeen, PodsSeen
from narrowgate.core.policy_rights import policy_rights
from narrowgate.core.preview import could_be_entered
from narrowgate.core.uses import BUILT_IN_GROUPS
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.look import Look, whole_target
from narrowgate.proxy.masking import Masking
from narrowgate.proxy.rbac import TOO_MANY, AccountRights

OK: Final = 200
NOT_FOUND: Final = 404

NOT_LOOKED: Final = "nobody has looked; send it again"
"""What is told where rules have come to mind while the request was on its way."""

LAID_OVER: Final = "a revision is laid over what is there, unless all it has is spec.template with $patch: replace"

ANY_POD: Final = "the kubelet runs commands in any pod of its node"

NOWHERE: Final = "the object is in no namespace, and where its pods run is not known"

CERTIFICATE: Final = "whoever has the certificate is whomever it names"

ACCOUNTS_LIMIT: Final = 20
"""Accounts of one write; more of them are not looked up."""

DEBUG: Final = "ephemeralcontainers"


class Pods:
    """Completes what is understood of requests about pods. Remembers the rights of accounts, for each cluster."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._rights: dict[str, AccountRights] = {}

    async def of_write(self, exchange: Exchange, who: Chain, what: Understood, body: bytes) -> Understood:
        """Look at what a write with this body makes. Raises what asking the API server raises."""
        intent = what.intent
        if minted := minted_accounts(intent):
            return await self._minted(exchange, who, what, minted)
        if asks_for_certificate(intent):
            minded = self._look(exchange, who, what) is not None
            return _with_pods(what, PodsSeen(unknown=CERTIFICATE if minded else NOT_LOOKED, inexact=NOT_LOOKED))
        is_debug = enters_pod(intent.info) and intent.info.subresource == DEBUG
        if not makes_pods(intent.info) and not is_debug:
            return what
        look = self._look(exchange, who, what)
        seen = PodsSeen(unknown=NOT_LOOKED, inexact=NOT_LOOKED)
        if look is not None and is_debug:
            seen = await self._debugged(look, what)
        elif look is not None:
            content_type = exchange.head.fields.get(b"content-type", b"").decode("latin-1")
            seen = await self._written(look, what, content_type, body)
        return _with_pods(what, seen)

    async def of_entry(self, exchange: Exchange, who: Chain, what: Understood) -> Understood:
        """Look at the pod that a request reaches into. Raises what asking the API server raises."""
        if not enters_pod(what.intent.info):
            return what
        if reaches_kubelet(what.intent.info):
            return _with_pods(what, PodsSeen(unknown=ANY_POD))
        before = what.intent.pods or PodsSeen(inexact=NOT_LOOKED)
        look = self._look(exchange, who, what)
        if look is None:
            return _with_pods(what, msgspec.structs.replace(before, unknown=NOT_LOOKED, accounts=()))
        status, pod = await _whole(look, what)
        unknown, accounts = "", tuple[AccountSeen, ...]()
        if status == OK:
            before = msgspec.structs.replace(before, of_node=rights_of_node(what.intent.info, pod))
        if status == OK and has_token(pod):
            name = pod["spec"].get("serviceAccountName") or DEFAULT_ACCOUNT
            accounts = await self._accounts(what, [name])
            if what.intent.info.subresource != DEBUG:
                # Whoever debugs a pod is an author of it from then on, and it speaks for them as well. Whoever gets
                # into it otherwise can take its token away, and come as the account alone.
                accounts = _with_policies(what, accounts)
        elif status != OK:
            # One that is not there may be by the time the request comes to the API server.
            unknown = f"the cluster answers {status} to reading the pod"
        return _with_pods(what, msgspec.structs.replace(before, unknown=unknown, accounts=accounts))

    async def _minted(self, exchange: Exchange, who: Chain, what: Understood, names: tuple[str, ...]) -> Understood:
        """Look at the accounts of which a request has tokens made: what they may do, at the API server and here."""
        if self._look(exchange, who, what) is None:
            return _with_pods(what, PodsSeen(unknown=NOT_LOOKED, inexact=NOT_LOOKED))
        accounts = _with_policies(what, await self._accounts(what, list(names)))
        return _with_pods(what, PodsSeen(accounts=accounts, audiences=audiences_of(what.intent)))

    def _look(self, exchange: Exchange, who: Chain, what: Understood) -> Look | None:
        """How to look, in its sender's name; None where nobody minds, or nothing could let the request through."""
        snapshot, intent = what.snapshot, what.intent
        question = question_of(intent)
        minds = minds_accounts(snapshot.rulebook, who, intent, question)
        if not minds and not minds_templates(snapshot.rulebook, who, intent, question):
            return None
        covering = could_be_entered(who, intent, snapshot.rulebook, snapshot.grants_of(who), time.time())
        return None if covering is None else Look(exchange, who, what, covering, self._masking)

    async def _written(self, look: Look, what: Understood, content_type: str, body: bytes) -> PodsSeen:
        intent = what.intent
        if intent.info.subresource == "scale":
            return await self._scaled(look, what, content_type, body)
        if intent.object is None:
            return await self._patched(look, what, content_type, body)
        templates = templates_of(intent.info, intent.object)
        if may_create(intent) and (intent.info.api_group, intent.info.resource) == ("", "pods"):
            # Admission has completed what a dry run of an apply makes: what is judged is what was written.
            templates = templates_of(intent.info, read_body(content_type, body, intent).patch)
        if is_laid_over(intent.info, intent.object):
            return PodsSeen(templates=templates, unknown=LAID_OVER)
        names = [name for template in templates for name in template.accounts]
        if intent.old_object is not None and runs_the_same(intent.info, intent.old_object, intent.object):
            names = []
        accounts = await self._accounts(what, names)
        if intent.info.verb == "update" and any(account.rights or account.unknown for account in accounts):
            # What runs already goes on as it is.
            status, old = await look.seen()
            if status == OK and runs_the_same(intent.info, old, intent.object):
                accounts = ()
        named = await self._named(look, what, intent.object, names)
        return PodsSeen(templates=templates, accounts=accounts, made_of=intent.object, named=named)

    async def _patched(self, look: Look, what: Understood, content_type: str, body: bytes) -> PodsSeen:
        """A patch of which nobody has to know what it makes."""
        inexact = what.intent.object_missing or "the result of the patch is not known"
        try:
            read = read_body(content_type, body, what.intent)
        except Malformed as error:
            return PodsSeen(inexact=inexact, unknown=error.message)
        if not changes_pods(what.intent.info, read.patch_type, read.patch):
            return PodsSeen(inexact=inexact)
        if is_laid_over(what.intent.info, read.patch):
            return PodsSeen(inexact=inexact, unknown=LAID_OVER)
        status, old = await look.seen()
        if status not in (OK, NOT_FOUND):
            return PodsSeen(inexact=inexact, unknown=f"the cluster answers {status} to reading the object as it is")
        names = accounts_after(what.intent.info, read.patch_type, read.patch, old)
        return PodsSeen(inexact=inexact, accounts=await self._accounts(what, list(names)))

    async def _scaled(self, look: Look, what: Understood, content_type: str, body: bytes) -> PodsSeen:
        """More of the pods that there are; less of them takes nothing that anybody guards."""
        status, old = await _whole(look, what)
        if status == NOT_FOUND:
            return PodsSeen()
        if status != OK:
            unknown = f"the cluster answers {status} to reading what is scaled"
            return PodsSeen(unknown=unknown, inexact=unknown)
        templates = templates_of(what.intent.info, old)
        # Where a custom resource keeps how many there are its Scale alone says.
        had = old if what.intent.info.api_group in BUILT_IN_GROUPS else (await look.seen())[1]
        if _is_less(_scale(what.intent, content_type, body), had):
            return PodsSeen()
        names = [name for template in templates for name in template.accounts]
        accounts, named = await self._accounts(what, names), await self._named(look, what, old, names)
        return PodsSeen(templates=templates, accounts=accounts, made_of=old, named=named)

    async def _debugged(self, look: Look, what: Understood) -> PodsSeen:
        """A pod with the containers that are to be added to it; its account is looked at with the pod (`of_entry`)."""
        if what.intent.object is None:
            return PodsSeen(unknown=NOT_LOOKED, inexact="the result of the patch is not known")
        status, old = await _whole(look, what)
        if status != OK:
            return PodsSeen(unknown=NOT_LOOKED, inexact=f"the cluster answers {status} to reading the pod")
        return PodsSeen(unknown=NOT_LOOKED, templates=(with_debug_containers(old, what.intent.object),))

    async def _named(self, look: Look, what: Understood, made_of: Any, known: list[str]) -> tuple[AccountSeen, ...]:
        """The accounts that stand where rules say, besides those that are known already."""
        paths = paths_named(what.snapshot.rulebook, look.who, what.intent, question_of(what.intent))
        names = [name for name in named_pods(paths, made_of).names if name not in known] if paths else []
        return await self._accounts(what, names)

    async def _accounts(self, what: Understood, names: list[str]) -> tuple[AccountSeen, ...]:
        namespace, cluster = what.intent.info.namespace, what.served.cluster
        if not namespace:
            # Where the pods of such an object run its controller knows; the account may be in any namespace.
            return tuple(AccountSeen(account=Account("*", name), unknown=NOWHERE) for name in dict.fromkeys(names))
        rights = self._rights.setdefault(cluster.name, AccountRights(cluster))
        listed = list(dict.fromkeys(names))
        seen = [await rights.of(Account(namespace, name)) for name in listed[:ACCOUNTS_LIMIT]]
        if len(listed) > ACCOUNTS_LIMIT:
            seen.append(AccountSeen(account=Account(namespace, "..."), unknown=f"more than {ACCOUNTS_LIMIT} are named"))
        return tuple(seen)


def _with_policies(what: Understood, accounts: tuple[AccountSeen, ...]) -> tuple[AccountSeen, ...]:
    """The accounts with what the gate's policies give to them besides: by a token they come here as well."""
    found = []
    for seen in accounts:
        try:
            more = policy_rights(what.snapshot.rulebook, seen.account, what.intent.cluster)
        except TooManyRights:
            found.append(msgspec.structs.replace(seen, rights=(), unknown=TOO_MANY))
            continue
        found.append(msgspec.structs.replace(seen, rights=(*seen.rights, *more)))
    return tuple(found)


def _with_pods(what: Understood, seen: PodsSeen) -> Understood:
    return msgspec.structs.replace(what, intent=msgspec.structs.replace(what.intent, pods=seen))


async def _whole(look: Look, what: Understood) -> tuple[int, Any]:
    """The object of which the request is about a subresource."""
    status, answer = await look.ask("GET", whole_target(what.target), b"", b"")
    return status, parse_json(answer) if status == OK else None


def _scale(intent: Intent, content_type: str, body: bytes) -> Any:
    """The Scale that is written, or as much of it as a merge patch shows; None where it cannot be told."""
    if intent.object is not None:
        return intent.object
    try:
        return read_body(content_type, body, intent).patch
    except Malformed:
        return None


def _is_less(scale: Any, old: Any) -> bool:
    """Whether no more pods are wanted than there should be now."""
    spec = scale.get("spec") if isinstance(scale, dict) else None
    wanted = spec.get("replicas") if isinstance(spec, dict) else None
    # The API server writes the number wherever it is not none.
    had = old["spec"].get("replicas", 0) if isinstance(old, dict) and isinstance(old.get("spec"), dict) else 0
    return isinstance(wanted, int) and isinstance(had, int) and wanted <= had
