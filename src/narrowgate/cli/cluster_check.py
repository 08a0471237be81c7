"""What `clusters check` looks at, one function for each line of its report: what is, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from narrowgate.authenticators.service_account_rules import ServiceAccountRules
from narrowgate.cli.api_server import Answer, ApiServer, clock_ahead
from narrowgate.cli.failure import Failed
from narrowgate.core.cluster import ClusterAccess, UpstreamMode
from narrowgate.core.discovery import DiscoveryUnreadable, parse_aggregated, parse_legacy
from narrowgate.core.identity import Identity
from narrowgate.core.manifests import (
    Manifests,
    impersonation_manifests,
    service_account_manifests,
    with_lineage,
    with_rbac_reading,
    with_secret_reading,
    with_token_renewal,
    with_token_reviews,
    with_workload_deletion,
)
from narrowgate.core.policy import Policy
from narrowgate.core.rights import Right, beyond, is_fenced, is_impersonation, rights_of

MOST_SKEW = 30.0
"""Seconds by which two clocks may differ unnoticed: the record and the cluster's audit log are read side by side, and a
minted token is renewed a quarter of an hour before its end."""

MOST_NAMESPACES = 20
"""Namespaces whose rules are asked for, one request each; policies that name more are compared in the first ones."""

SHOWN = 3
"""Examples in a line of the report; `-o json` has all."""

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""Accept header for the discovery of everything in two answers (Kubernetes 1.27 and newer by default)."""

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
ISSUER_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"
KEYS_ACCEPT = "application/jwk-set+json, application/json"
"""The API server answers 406 to whoever takes only plain JSON."""
WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Outcome(enum.Enum):
    """How one check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """One line of the report."""

    check: str
    outcome: Outcome
    found: str
    to_do: str = ""
    details: tuple[str, ...] = ()


class Surroundings(msgspec.Struct, frozen=True):
    """What an account is measured by: the policies in force, the registered identities, and whose tokens are taken."""

    policies: Sequence[Policy]
    identities: Sequence[Identity]
    service_accounts: ServiceAccountRules | None = None

    def reviews_tokens_of(self, cluster: str) -> bool:
        """Whether the gate's account asks this cluster about its ServiceAccounts' tokens."""
        return self.service_accounts is not None and cluster in self.service_accounts.reviewing

    def places_pods_of(self, cluster: str) -> bool:
        """Whether the gate's account looks there who had pods made."""
        return self.service_accounts is not None and cluster in self.service_accounts.placing

    @property
    def lineage_owners(self) -> Sequence[tuple[str, str]]:
        """The operators' resources that it looks at for that."""
        return self.service_accounts.lineage_owners if self.service_accounts is not None else ()


def check_cluster(access: ClusterAccess, around: Surroundings) -> list[Line]:
    """Connect and look at everything; ends early where there is no connection or no answer."""
    try:
        with ApiServer(access) as server:
            lines = [Line("tls", Outcome.OK, f"verified, {access.tls_server_name or access.host}")]
            version = server.get("/version")
            account = _account(server)
            lines += [_version(version), _clock(version), account, _discovery(server)]
            lines.append(_audit(version, server.audit_id))
            if account.outcome is not Outcome.FAILED:
                lines += _rights(server, access, around)
            if around.service_accounts is not None and access.name in around.service_accounts.clusters:
                lines.append(_tokens(server))
            return lines
    except Failed as error:
        return [Line("connection", Outcome.FAILED, str(error))]


def _version(answer: Answer) -> Line:
    document = answer.document
    if answer.status == 200 and isinstance(document, dict) and "gitVersion" in document:
        return Line("version", Outcome.OK, f"Kubernetes {document['gitVersion']}")
    return Line("version", Outcome.WARNING, answer.message, "see whether this is a Kubernetes API server at all")


def _clock(answer: Answer) -> Line:
    ahead = clock_ahead(answer)
    if ahead is None:
        return Line("clock", Outcome.WARNING, "the server does not tell its time")
    if abs(ahead) <= MOST_SKEW:
        return Line("clock", Outcome.OK, f"{abs(ahead):.0f} s apart")
    which = "ahead of" if ahead > 0 else "behind"
    return Line(
        "clock", Outcome.WARNING, f"the cluster is {abs(ahead):.0f} s {which} this machine", "set the clocks by NTP"
    )


def _account(server: ApiServer) -> Line:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = server.create(WHO_AM_I, review)
    if answer.status == 401:
        to_do = "the credential is expired or not this cluster's: register a new one (`narrowgate clusters add`)"
        return Line("account", Outcome.FAILED, f"not accepted: {answer.message}", to_do)
    if answer.status != 201:
        # Kubernetes before 1.28 has no such review: no reason to go on without the account's name.
        return Line("account", Outcome.WARNING, f"accepted, its name is not told: {answer.message}")
    user = answer.document["status"]["userInfo"]
    groups = ", ".join(user.get("groups") or ()) or "none"
    return Line("account", Outcome.OK, f"{user['username']} (groups: {groups})")


def _audit(answer: Answer, asked: str) -> Line:
    """Whether the cluster's audit log can be read beside the gate's record: both then name a request by one id.

    That a log is written at all cannot be told from outside (k8s.io/apiserver/pkg/endpoints/filters/audit_init.go).
    """
    if answer.audit_id == asked:
        return Line("audit", Outcome.OK, "the gate's request ids are kept, its record and the audit log can be joined")
    found = "another request id than the gate's comes back" if answer.audit_id else "no request id comes back"
    to_do = "something in between drops or replaces Audit-ID: let it pass, to read both records side by side"
    return Line("audit", Outcome.WARNING, found, to_do)


def _discovery(server: ApiServer) -> Line:
    api, apis = server.get("/api", AGGREGATED), server.get("/apis", AGGREGATED)
    for path, answer in (("/api", api), ("/apis", apis)):
        if answer.status != 200:
            to_do = "bind ClusterRole system:discovery to the account"
            return Line("discovery", Outcome.FAILED, f"GET {path}: {answer.message}", to_do)
    try:
        found = parse_aggregated(api.content, apis.content)
    except DiscoveryUnreadable:
        try:
            found = parse_legacy(_legacy_documents(server, api, apis))
        except DiscoveryUnreadable as error:
            to_do = "the gate would refuse every request: see what answers on /apis"
            return Line("discovery", Outcome.FAILED, str(error), to_do)
    return Line("discovery", Outcome.OK, f"{len(found)} resource types")


def _tokens(server: ApiServer) -> Line:
    """Whether the gate can find out who signs this cluster's ServiceAccount tokens (KEP-1393)."""
    for path in (ISSUER_PATH, KEYS_PATH):
        answer = server.get(path, KEYS_ACCEPT)
        if answer.status != 200:
            to_do = "bind ClusterRole system:service-account-issuer-discovery to the account"
            return Line("tokens", Outcome.FAILED, f"GET {path}: {answer.message}", to_do)
    issuer = server.get(ISSUER_PATH, KEYS_ACCEPT).document
    named = issuer.get("issuer", "") if isinstance(issuer, dict) else ""
    if not named:
        to_do = "see what answers there: an API server names its --service-account-issuer"
        return Line("tokens", Outcome.FAILED, f"GET {ISSUER_PATH} names no issuer", to_do)
    return Line("tokens", Outcome.OK, f"ServiceAccounts' tokens are those of {named}")


def _legacy_documents(server: ApiServer, api: Answer, apis: Answer) -> list[bytes]:
    versions = [f"/api/{version}" for version in (api.document or {}).get("versions") or ()]
    for group in (apis.document or {}).get("groups") or ():
        versions += [f"/apis/{version['groupVersion']}" for version in group.get("versions") or ()]
    return [server.get(path).content for path in versions]


def _rights(server: ApiServer, access: ClusterAccess, around: Surroundings) -> list[Line]:
    """Compare what the account may do with what its mode needs, in every namespace that matters."""
    wanted = _wanted(access, around)
    namespaces = _namespaces(access, wanted)
    wide: dict[Right, list[str]] = {}
    missing: dict[Right, list[str]] = {}
    unfenced: dict[str, None] = {}
    for namespace in namespaces:
        status = _rules(server, namespace)
        if status is None:
            return [Line("rights", Outcome.WARNING, "the API server does not tell what the account may do")]
        have = rights_of([*(status.get("resourceRules") or ()), *(status.get("nonResourceRules") or ())])
        needed = rights_of(_rules_in(wanted, namespace))
        unfenced |= dict.fromkeys(str(one) for one in have if is_impersonation(one) and not is_fenced(one))
        for right in beyond(have, needed):
            if not _expected(access, right):
                wide.setdefault(right, []).append(namespace)
        for right in beyond(needed, have):
            missing.setdefault(right, []).append(namespace)
    return [
        _width(access, _placed(wide, namespaces)),
        *_fence(access, tuple(unfenced)),
        _lacking(access, _placed(missing, namespaces)),
    ]


def _placed(rights: Mapping[Right, Sequence[str]], asked: Sequence[str]) -> tuple[str, ...]:
    """Rights in words, with the namespaces where that is not all of them."""
    return tuple(
        str(right) if len(places) == len(asked) or right.path else f"{right} in {', '.join(places)}"
        for right, places in rights.items()
    )


def _expected(access: ClusterAccess, right: Right) -> bool:
    """Rights that belong to the mode: what is impersonated beyond the fence is a line of its own."""
    return access.mode is UpstreamMode.IMPERSONATE and is_impersonation(right)


def _wanted(access: ClusterAccess, around: Surroundings) -> Manifests:
    """The manifests for the account that the gate itself uses in this mode."""
    if access.mode is UpstreamMode.IMPERSONATE:
        made = impersonation_manifests(access.name, around.policies, around.identities, access.account_namespace)
        made = _only(made, "narrowgate:impersonator")
    else:
        made = service_account_manifests(access.name, around.policies, access.account_namespace)
        if access.mode is UpstreamMode.SERVICE_ACCOUNT:
            made = _only(made, "narrowgate:tokens")
        else:
            policies = tuple(one for one in made.objects if one["metadata"]["name"] != "narrowgate:tokens")
            made = Manifests(policies, made.remarks)
    made = with_rbac_reading(made, access.account_namespace)
    if around.reviews_tokens_of(access.name):
        made = with_token_reviews(made, access.account_namespace)
    if around.places_pods_of(access.name):
        made = with_lineage(made, access.account_namespace, around.lineage_owners)
        made = with_workload_deletion(made, access.name, around.policies, access.account_namespace)
    if access.masks_known_values:
        made = with_secret_reading(made, access.account_namespace)
    return with_token_renewal(made, access.account_namespace) if access.renews else made


def _only(made: Manifests, role: str) -> Manifests:
    return Manifests(tuple(one for one in made.objects if one["metadata"]["name"] == role), made.remarks)


def _namespaces(access: ClusterAccess, wanted: Manifests) -> list[str]:
    named = [one["metadata"]["namespace"] for one in wanted.objects if one["kind"] == "Role"]
    return list(dict.fromkeys(["default", "kube-system", access.account_namespace, *named]))[:MOST_NAMESPACES]


def _rules_in(wanted: Manifests, namespace: str) -> Iterable[Any]:
    for one in wanted.objects:
        if one["kind"] == "ClusterRole" or (one["kind"] == "Role" and one["metadata"]["namespace"] == namespace):
            yield from one["rules"]


def _rules(server: ApiServer, namespace: str) -> Any:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = server.create(REVIEWS, review)
    return answer.document.get("status") if answer.status == 201 and isinstance(answer.document, dict) else None


def _width(access: ClusterAccess, wide: tuple[str, ...]) -> Line:
    if not wide:
        return Line("rights", Outcome.OK, "no wider than its mode needs")
    found = f"may do {len(wide)} things that its mode ({access.mode.value}) does not need: {_some(wide)}"
    to_do = f"make a narrow account: narrowgate clusters manifests {access.name} | kubectl apply -f -"
    # In mode credential the wide account is the quick start, and known to be wide; elsewhere the gate will not start.
    outcome = Outcome.WARNING if access.mode is UpstreamMode.CREDENTIAL else Outcome.FAILED
    return Line("rights", outcome, found, to_do, wide)


def _fence(access: ClusterAccess, unfenced: tuple[str, ...]) -> list[Line]:
    if access.mode is not UpstreamMode.IMPERSONATE:
        return []
    if not unfenced:
        return [Line("fence", Outcome.OK, "impersonates known names only")]
    to_do = f"fence it by resourceNames: narrowgate clusters manifests {access.name} | kubectl apply -f -"
    return [Line("fence", Outcome.FAILED, f"may impersonate anybody: {_some(unfenced)}", to_do, unfenced)]


def _lacking(access: ClusterAccess, missing: tuple[str, ...]) -> Line:
    if not missing:
        return Line("needs", Outcome.OK, "the account may do all that is needed of it")
    to_do = f"narrowgate clusters manifests {access.name} | kubectl apply -f -"
    return Line("needs", Outcome.WARNING, f"the account may not {_some(missing)}", to_do, missing)


def _some(many: tuple[str, ...]) -> str:
    more = f", and {len(many) - SHOWN} more" if len(many) > SHOWN else ""
    return ", ".join(many[:SHOWN]) + more
