"""What a caller may do, asked the way Kubernetes clients ask it: answered for the gate and the cluster together.

`SelfSubjectAccessReview` (one question) and `SelfSubjectRulesReview` (all rules of a namespace) of
authorization.k8s.io/v1 are what `kubectl auth can-i`, Lens and Headlamp go by. Through the gate the true answer is what
both allow. Here a review becomes an `Intent` for `decide`, and the two answers, or the two lists of rules, become one.
How rules meet follows k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go: `*`, `*/subresource`, `/path/*`.

Other reviews (of other subjects, of other versions) are ordinary requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.discovery import Discovery
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.status import one_line, with_rule
from narrowgate.core.understand import is_streaming

EVERYTHING = "*"

RULES_LIMIT = 2_000
"""Rules of one answer, some 200 kB; beyond them the answer says that it is incomplete."""

PAIRS_LIMIT = 200_000
"""Pairs of rules that are compared, for the same reason: each takes two microseconds."""

_GROUP = "authorization.k8s.io"


class GrantedRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the gate that holds for the caller, in the cluster and namespace that were asked about."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    """Empty for a rule about paths."""
    names: tuple[str, ...] | None = None
    """None is any name; an empty tuple is none at all."""
    non_resource_urls: tuple[str, ...] = ()
    conditional: bool = False
    """Whether it has a `when`: what it gives or takes then depends on the object, which a list cannot say."""


def is_access_review(info: RequestInfo) -> bool:
    """Whether this asks what the caller may do, one thing."""
    return _is_review(info, "selfsubjectaccessreviews")


def is_rules_review(info: RequestInfo) -> bool:
    """Whether this asks for all rules that hold for the caller in a namespace."""
    return _is_review(info, "selfsubjectrulesreviews")


def _is_review(info: RequestInfo, resource: str) -> bool:
    return (info.verb, info.api_group, info.api_version, info.resource, info.subresource) == (
        "create",
        _GROUP,
        "v1",
        resource,
        "",
    )


def review_intent(cluster: str, review: Any, discovery: Discovery | None = None) -> Intent:
    """What a SelfSubjectAccessReview asks about, as an intent for `decide`.

    Discovery says whether the resource lives in namespaces; without it, or for what it does not know, whether a
    namespace was asked about. Raises Malformed: 415 where the review came as protobuf (`review` is None), 400 where it
    does not ask about exactly one thing.
    """
    spec = _spec(review)
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        raise Malformed("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    asked = resource if path is None else path
    if not isinstance(asked, dict):
        raise Malformed("the attributes of the review are not an object")
    if path is not None:
        info = RequestInfo(is_resource_request=False, path=_text(asked, "path"), verb=_text(asked, "verb"))
        return Intent(cluster=cluster, info=info)
    info = RequestInfo(
        is_resource_request=True,
        path="",
        verb=_text(asked, "verb"),
        api_group=_text(asked, "group"),
        api_version=_text(asked, "version"),
        namespace=_text(asked, "namespace"),
        resource=_text(asked, "resource"),
        subresource=_text(asked, "subresource"),
        name=_text(asked, "name"),
    )
    # The gate judges a stream as create whatever the method, and so does the answer about it.
    if is_streaming(info):
        info = msgspec.structs.replace(info, verb="create")
    return Intent(cluster=cluster, info=info, namespaced=_is_namespaced(info, discovery))


def review_namespace(review: Any) -> str:
    """The namespace that a SelfSubjectRulesReview asks about. Raises Malformed as `review_intent` does."""
    namespace = _text(_spec(review), "namespace")
    if not namespace:
        raise Malformed("spec.namespace must be specified: no namespace on request")
    return namespace


def access_review_answer(review: dict[str, Any], decision: Decision, cluster_status: dict[str, Any] | None) -> Any:
    """The answered SelfSubjectAccessReview.

    `cluster_status` is the status of the cluster's own answer for the caller; None where it could not be had, which is
    no. It need not be asked where the gate does not allow.
    """
    match decision:
        case Deny(message=message, rule=rule):
            status: dict[str, Any] = {"allowed": False, "reason": one_line(f"narrowgate: {with_rule(message, rule)}")}
            if rule is not None:
                status["denied"] = True
        case NeedsApproval(message=message, rule=rule):
            status = {"allowed": False, "reason": one_line(f"narrowgate: {with_rule(message, rule)}")}
        case Allow(rule=rule):
            status = _allowed(f"narrowgate: allowed by rule {rule}", cluster_status)
    return {**_answered(review), "status": status}


def rules_review_answer(review: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """The answered SelfSubjectRulesReview; `status` is made by `rules_intersection`."""
    return {**_answered(review), "status": status}


def rules_intersection(
    granted: Sequence[GrantedRule], denied: Sequence[GrantedRule], cluster_status: dict[str, Any] | None
) -> dict[str, Any]:
    """The rules that gate and cluster both give, in the gate's order: a SubjectRulesReviewStatus.

    `cluster_status` is the status of the cluster's own answer; without one nothing is given. A deny rule is taken out
    where that can be written as rules; where it cannot (a wildcard that it bites a piece out of, a condition), the list
    says that it is incomplete, and why.
    """
    doubts: dict[str, None] = {}
    if not cluster_status:
        cluster_status = {"incomplete": True, "evaluationError": "the cluster did not answer"}
    if cluster_status.get("incomplete"):
        doubts[str(cluster_status.get("evaluationError") or "the cluster's own list is incomplete")] = None
    theirs = [*_cluster_rules(cluster_status)]
    if len(granted) * len(theirs) > PAIRS_LIMIT:
        doubts[f"more than {PAIRS_LIMIT} pairs of rules: the rest is left out"] = None
    found: dict[GrantedRule, None] = {}
    for rule in _meetings(granted[: PAIRS_LIMIT // max(len(theirs), 1)], theirs):
        for left in _without(rule, denied, doubts):
            found[left] = None
        if len(found) > RULES_LIMIT:
            doubts[f"more than {RULES_LIMIT} rules: the rest is left out"] = None
            break
    if any(rule.conditional for rule in granted):
        doubts["some rules of the gate hold only for objects that meet a condition"] = None
    status: dict[str, Any] = {
        "resourceRules": [_resource_rule(rule) for rule in found if rule.resources],
        "nonResourceRules": [
            {"verbs": [*rule.verbs], "nonResourceURLs": [*rule.non_resource_urls]}
            for rule in found
            if rule.non_resource_urls
        ],
        "incomplete": bool(doubts),
    }
    if doubts:
        status["evaluationError"] = one_line("; ".join(doubts))
    return status


def _spec(review: Any) -> dict[str, Any]:
    if review is None:
        raise Malformed("reviews are read as JSON: send application/json", 415)
    spec = review.get("spec") if isinstance(review, dict) else None
    if not isinstance(spec, dict):
        raise Malformed("the review has no spec")
    return spec


def _text(attributes: dict[str, Any], key: str) -> str:
    value = attributes.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{key} in the review is not a string")
    return value


def _is_namespaced(info: RequestInfo, discovery: Discovery | None) -> bool:
    if discovery is not None:
        for kind in discovery.types():
            if (kind.group, kind.resource) == (info.api_group, info.resource):
                return kind.namespaced
    return bool(info.namespace)


def _answered(review: dict[str, Any]) -> dict[str, Any]:
    """A review as it comes back: what was asked, ready for a status."""
    return {
        "kind": review.get("kind"),
        "apiVersion": review.get("apiVersion"),
        "metadata": review.get("metadata") or {},
        "spec": review.get("spec") or {},
    }


def _allowed(reason: str, cluster_status: dict[str, Any] | None) -> dict[str, Any]:
    """The cluster's own answer, with both reasons."""
    if cluster_status is None:
        problem = "the cluster did not answer"
        return {"allowed": False, "reason": f"{reason}; {problem}", "evaluationError": problem}
    said = cluster_status.get("reason")
    status = {**cluster_status, "allowed": cluster_status.get("allowed") is True}
    status["reason"] = one_line(f"{reason}; cluster: {said}" if said else reason)
    return status


def _cluster_rules(status: dict[str, Any]) -> Iterator[GrantedRule]:
    """The cluster's rules in the gate's form; what is not a rule of the known shape gives nothing."""
    for rule in status.get("resourceRules") or ():
        names = _strings(rule, "resourceNames")
        yield GrantedRule(
            verbs=_strings(rule, "verbs"),
            api_groups=_strings(rule, "apiGroups"),
            resources=_strings(rule, "resources"),
            names=names or None,
        )
    for rule in status.get("nonResourceRules") or ():
        yield GrantedRule(verbs=_strings(rule, "verbs"), non_resource_urls=_strings(rule, "nonResourceURLs"))


def _strings(rule: Any, key: str) -> tuple[str, ...]:
    listed = rule.get(key) if isinstance(rule, dict) else None
    return tuple(item for item in listed or () if isinstance(item, str))


def _meetings(ours: Iterable[GrantedRule], theirs: Sequence[GrantedRule]) -> Iterator[GrantedRule]:
    """What each pair of rules has in common, where that is anything."""
    for our in ours:
        for their in theirs:
            met = _meet(our, their)
            if met is not None:
                yield met


def _meet(our: GrantedRule, their: GrantedRule) -> GrantedRule | None:
    """What two rules have in common."""
    verbs = _common(our.verbs, their.verbs, _same)
    if not verbs:
        return None
    if our.non_resource_urls:
        urls = _common(our.non_resource_urls, their.non_resource_urls, _path)
        return GrantedRule(verbs=verbs, non_resource_urls=urls) if urls else None
    groups = _common(our.api_groups, their.api_groups, _same)
    resources = _common(our.resources, their.resources, _resource)
    names = our.names if their.names is None else their.names
    if our.names is not None and their.names is not None:
        names = tuple(name for name in our.names if name in their.names)
    if not groups or not resources or names == ():
        return None
    return GrantedRule(verbs=verbs, api_groups=groups, resources=resources, names=names)


def _common(ours: tuple[str, ...], theirs: tuple[str, ...], meet: Callable[[str, str], str | None]) -> tuple[str, ...]:
    """What two lists have in common, each thing once, in the order of ours."""
    met: dict[str, None] = {}
    for our in ours:
        for their in theirs:
            both = meet(our, their)
            if both is not None:
                met[both] = None
    return (EVERYTHING,) if EVERYTHING in met else tuple(met)


def _same(our: str, their: str) -> str | None:
    """What two verbs or API groups have in common: the narrower, where one is `*`; None for nothing."""
    if our in (EVERYTHING, their):
        return their
    return our if their == EVERYTHING else None


def _resource(our: str, their: str) -> str | None:
    """What two resources have in common; `*/log` is that subresource of all."""
    if (both := _same(our, their)) is not None:
        return both
    for pattern, name in ((our, their), (their, our)):
        if pattern.startswith("*/") and name.partition("/")[2] == pattern[2:]:
            return name
    return None


def _path(our: str, their: str) -> str | None:
    """What two paths have in common; one that ends in `*` is all that begin so."""
    for pattern, path in ((our, their), (their, our)):
        if pattern == path or (pattern.endswith("*") and path.startswith(pattern.rstrip("*"))):
            return path
    return None


def _without(rule: GrantedRule, denied: Sequence[GrantedRule], doubts: dict[str, None]) -> list[GrantedRule]:
    """What deny rules leave of a rule; what cannot be written as rules becomes a doubt."""
    left = [rule]
    for deny in denied:
        left = [piece for part in left for piece in _take_out(part, deny, doubts)]
    return left


def _take_out(rule: GrantedRule, deny: GrantedRule, doubts: dict[str, None]) -> list[GrantedRule]:
    """What one deny rule leaves of a rule: the rule itself where the two do not meet, else one piece a subject."""
    if bool(rule.resources) != bool(deny.resources) or _meet(rule, deny) is None:
        return [rule]
    if deny.conditional:
        doubts["a deny rule of the gate takes from these rules what meets its condition"] = None
        return [rule]
    left = []
    for piece in _pieces(rule):
        if _meet(piece, deny) is None:
            left.append(piece)
        elif not _covers_subject(deny, piece) or (EVERYTHING in piece.verbs and EVERYTHING not in deny.verbs):
            doubts["a deny rule of the gate takes a part from these rules that cannot be written as rules"] = None
            left.append(piece)
        elif verbs := tuple(verb for verb in piece.verbs if not {verb, EVERYTHING} & {*deny.verbs}):
            left.append(msgspec.structs.replace(piece, verbs=verbs))
    return left


def _pieces(rule: GrantedRule) -> Iterator[GrantedRule]:
    """The same rule, one resource or path at a time."""
    for url in rule.non_resource_urls:
        yield msgspec.structs.replace(rule, non_resource_urls=(url,))
    for group in rule.api_groups:
        for resource in rule.resources:
            yield msgspec.structs.replace(rule, api_groups=(group,), resources=(resource,))


def _covers_subject(deny: GrantedRule, piece: GrantedRule) -> bool:
    """Whether a deny rule speaks of everything that a piece does, verbs aside."""
    if piece.non_resource_urls:
        return piece.non_resource_urls[0] in _common(piece.non_resource_urls, deny.non_resource_urls, _path)
    return (
        piece.api_groups[0] in _common(piece.api_groups, deny.api_groups, _same)
        and piece.resources[0] in _common(piece.resources, deny.resources, _resource)
        and (deny.names is None or (piece.names is not None and {*piece.names} <= {*deny.names}))
    )


def _resource_rule(rule: GrantedRule) -> dict[str, Any]:
    written: dict[str, Any] = {
        "verbs": [*rule.verbs],
        "apiGroups": [*rule.api_groups],
        "resources": [*rule.resources],
    }
    if rule.names is not None:
        written["resourceNames"] = [*rule.names]
    return written
