"""What `policy explain` finds out about the pods of a question, as the gate does of a request: the pods in the object,
and what their accounts may do, by a file of roles and bindings or by the cluster itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec

from narrowgate.cli.failure import Failed
from narrowgate.core.account_rights import Account, Binding, ClusterRights, Role, TooManyRights
from narrowgate.core.documents import parse_yaml
from narrowgate.core.entered_node import rights_of_node
from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.matching import question_of
from narrowgate.core.minted_tokens import asks_for_certificate, audiences_of, minted_accounts
from narrowgate.core.named_templates import named_pods
from narrowgate.core.pod_judging import paths_named
from narrowgate.core.pod_templates import enters_pod, has_token, makes_pods, reaches_kubelet, templates_of
from narrowgate.core.pods_seen import DEFAULT_ACCOUNT, AccountSeen, PodsSeen, mappings
from narrowgate.core.policy_rights import policy_rights
from narrowgate.core.rulebook import Rulebook

if TYPE_CHECKING:
    from narrowgate.cli.api_server import ApiServer

_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")

TOO_MANY = "it has more rights than can be looked at"
NO_RIGHTS = "what the accounts of the pods may do: add --look to ask the cluster, or --rights FILE"
NO_POD = "the pod, and what its account may do: add --look to ask the cluster"
NO_CERTIFICATE = "what the certificate is for: add -f FILE with the object"
NO_OBJECT = "the pods, and what their accounts may do: add -f FILE with the object"


class Known(NamedTuple):
    """What can be asked: rights, where there are some, and the cluster, where that is to be asked."""

    rights: ClusterRights | None = None
    server: ApiServer | None = None


def with_asked_pods(what: Intent, chain: Chain, rulebook: Rulebook, known: Known) -> tuple[Intent, str]:
    """The question with what is known of its pods, and what is not: empty where nothing is missing. Raises Failed."""
    if reaches_kubelet(what.info):
        return msgspec.structs.replace(
            what, pods=PodsSeen(unknown="the kubelet runs commands in any pod of its node")
        ), ""
    if enters_pod(what.info):
        return _entered(what, rulebook, known)
    if minted := minted_accounts(what):
        accounts = _with_policies(what, rulebook, _accounts(what, list(minted), known.rights))
        seen = PodsSeen(accounts=accounts if known.rights else (), audiences=audiences_of(what))
        return msgspec.structs.replace(what, pods=seen), "" if known.rights else NO_RIGHTS
    if asks_for_certificate(what):
        unknown = "" if what.object is None else "whoever has the certificate is whomever it names"
        missing = "" if unknown else NO_CERTIFICATE
        return msgspec.structs.replace(what, pods=PodsSeen(unknown=unknown)), missing
    if not makes_pods(what.info):
        return what, ""
    if what.object is None or what.info.subresource:
        return what, NO_OBJECT
    templates = templates_of(what.info, what.object)
    names = [name for template in templates for name in template.accounts]
    paths = paths_named(rulebook, chain, what, question_of(what))
    named = [name for name in named_pods(paths, what.object).names if name not in names]
    seen = PodsSeen(
        templates=templates,
        made_of=what.object,
        accounts=_accounts(what, names, known.rights) if known.rights else (),
        named=_accounts(what, named, known.rights),
    )
    return msgspec.structs.replace(what, pods=seen), "" if known.rights else NO_RIGHTS


def rights_in(path: Path) -> ClusterRights:
    """The roles and bindings of `kubectl get clusterroles,roles,clusterrolebindings,rolebindings -A -o json`.

    Raises Failed.
    """
    from narrowgate.config.document import read_bytes

    to_do = "write it with: kubectl get clusterroles,roles,clusterrolebindings,rolebindings -A -o json"
    try:
        document = parse_yaml(read_bytes(path, "roles and bindings"))
    except Malformed as error:
        raise Failed(error.message, str(path), to_do) from None
    items = mappings(document.get("items")) if isinstance(document, dict) else []
    unknown = sorted({str(item.get("kind")) for item in items} - {*_ROLES, *_BINDINGS})
    if not items or unknown:
        told = f"it has {', '.join(unknown)}" if unknown else "no list"
        raise Failed(f"not roles and bindings: {told}", str(path), to_do)
    try:
        return ClusterRights(
            msgspec.convert([item for item in items if item["kind"] in _ROLES], list[Role]),
            msgspec.convert([item for item in items if item["kind"] in _BINDINGS], list[Binding]),
        )
    except msgspec.ValidationError as error:
        raise Failed(f"not roles and bindings: {error}", str(path), to_do) from None


def _entered(what: Intent, rulebook: Rulebook, known: Known) -> tuple[Intent, str]:
    """The account of the pod that is entered, where the cluster can be asked for the pod."""
    if known.server is None or not what.info.name:
        return what, NO_POD
    info = what.info
    answer = known.server.get(f"/api/v1/namespaces/{quote(info.namespace)}/pods/{quote(info.name)}")
    pod: Any = answer.document
    if answer.status != 200 or not isinstance(pod, dict):
        return what, f"the pod, and what its account may do: {answer.message}"
    names = [pod["spec"].get("serviceAccountName") or DEFAULT_ACCOUNT] if has_token(pod) else []
    accounts = _accounts(what, names, known.rights)
    if info.subresource != "ephemeralcontainers":
        accounts = _with_policies(what, rulebook, accounts)
    inexact = "what the debug container makes of the pod is not known"
    seen = PodsSeen(accounts=accounts, of_node=rights_of_node(info, pod), inexact=inexact)
    return msgspec.structs.replace(what, pods=seen), ""


def _accounts(what: Intent, names: list[str], rights: ClusterRights | None) -> tuple[AccountSeen, ...]:
    """The accounts, each once; without rights where these are not known."""
    namespace = what.info.namespace
    if not namespace:
        unknown = "the object is in no namespace, and where its pods run is not known"
        return tuple(AccountSeen(account=Account("*", name), unknown=unknown) for name in dict.fromkeys(names))
    return tuple(_account(Account(namespace, name), rights) for name in dict.fromkeys(names))


def _with_policies(what: Intent, rulebook: Rulebook, accounts: tuple[AccountSeen, ...]) -> tuple[AccountSeen, ...]:
    """The accounts with what policies give to them besides: by a token they come to the gate as well."""
    found = []
    for seen in accounts:
        try:
            more = policy_rights(rulebook, seen.account, what.cluster)
        except TooManyRights:
            found.append(AccountSeen(account=seen.account, unknown=TOO_MANY))
            continue
        found.append(msgspec.structs.replace(seen, rights=(*seen.rights, *more)))
    return tuple(found)


def _account(account: Account, rights: ClusterRights | None) -> AccountSeen:
    try:
        return AccountSeen(account=account, rights=rights.rights_of(account) if rights else ())
    except TooManyRights:
        return AccountSeen(account=account, unknown=TOO_MANY)
