"""What `narrowgate doctor --namespace` and `--pod` say: each road around the gate that pods of a namespace have.

Looked at with the gate's registered account, or with an operator's own kubeconfig, by reading alone. What a policy
leaves open is said by what it says: whether the cluster's network keeps to it cannot be seen from outside.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from narrowgate.cli.api_server import ApiServer
from narrowgate.cli.certificate_roads import client_certificates
from narrowgate.cli.doctor_report import Line, Outcome, plain
from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_contexts import CannotUse, Certificate, shown_by, ways_in
from narrowgate.cli.namespace_reader import NamespaceReader, NotRead
from narrowgate.core.account_rights import Account, HeldRight, TooManyRights
from narrowgate.core.agent_bundle import as_network, is_this_machine
from narrowgate.core.cluster import ClusterAccess
from narrowgate.core.credential_roads import Gate, roads_of_config_map, roads_of_secret, roads_of_variables
from narrowgate.core.egress import Reached, Target, leaves_all_pods, reached_from
from narrowgate.core.pod_rules import Action
from narrowgate.core.pod_uses import pod_spec
from narrowgate.core.policy import EVERYTHING, Effect, Policy, SubjectKind
from narrowgate.core.roads import (
    Kind,
    PodsLike,
    Road,
    roads_of_account,
    roads_of_namespace,
    roads_of_pods,
    roads_of_volume,
)

if TYPE_CHECKING:
    from narrowgate.config import ClusterConfig, Config

AUDIENCE = "narrowgate"
"""Of tokens for the gate, where no configuration says otherwise."""

MOST_NAMED = 3
"""Pods, and addresses, in one line; the rest are counted."""

ENFORCED = "network policies enforced"
"""What nobody sees from outside."""

_Read = TypeVar("_Read")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster to look at, and what is known of the gate in front of it."""

    access: ClusterAccess
    cluster: str = ""
    """By its name at the gate; empty where none is configured here."""
    gate: Gate = Gate(AUDIENCE)
    policies: tuple[Policy, ...] | None = None
    """The gate's; None where they are not at hand."""


def place_of(config: Config | None, cluster: str, kubeconfig: Path | None, hosts: tuple[tuple[str, int], ...]) -> Place:
    """Where to look: the registered cluster of that name, or the only one; or where a kubeconfig leads.

    Raises Failed, ConfigError, PolicyErrors.
    """
    if config is None:
        if kubeconfig is None:
            raise Failed(
                "no gate is configured here", "--namespace", "give --config FILE, or --operator-kubeconfig FILE"
            )
        return Place(access=access_of_operator(kubeconfig), gate=Gate(AUDIENCE, hosts))
    from narrowgate.config import cluster_access

    entry = _registered(config, cluster)
    rules = config.authentication.service_accounts
    return Place(
        access=cluster_access(entry) if kubeconfig is None else access_of_operator(kubeconfig),
        cluster=entry.name,
        gate=Gate(AUDIENCE if rules is None else rules.audience, hosts),
        policies=_policies(config),
    )


def around_namespace(place: Place, namespace: str, pod: str = "") -> list[Line]:
    """Every road that is found, and each check that found none; of one pod, where one is named.

    Raises Failed where the API server does not answer, or has no such pod.
    """
    with ApiServer(place.access) as server:
        return list(_Looked(NamespaceReader(server, namespace), place, namespace, pod).lines())


def access_of_operator(path: Path) -> ClusterAccess:
    """The current context of an operator's kubeconfig, its credential plugin run as kubectl would. Raises Failed."""
    try:
        ways = ways_in(path)
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        way = next((one for one in ways if one.context == document.get("current-context")), None)
        if way is None:
            raise CannotUse("has no current-context that can be used")
        shown = shown_by(way, runs_plugins=True)
    except FileNotFoundError:
        raise Failed("no such file", str(path), "name a kubeconfig") from None
    except CannotUse as error:
        raise Failed(str(error), str(path), "name a kubeconfig that kubectl works with") from None
    certificate = shown if isinstance(shown, Certificate) else Certificate(b"", b"")
    return ClusterAccess(
        name=way.context,
        host=way.host,
        port=way.port,
        path_prefix=way.prefix,
        tls_server_name=way.server_name,
        certificate_authority=way.authority,
        client_certificate=certificate.certificate,
        client_key=certificate.key,
        token=shown if isinstance(shown, str) else "",
    )


def stronger_rules(policies: Iterable[Policy], cluster: str, namespace: str) -> tuple[str, ...]:
    """Rules that let others than people make pods, or get into pods, that can do more than they."""
    return tuple(
        f"{policy.name}/{rule.id}"
        for policy in policies
        if not {cluster, EVERYTHING}.isdisjoint(policy.clusters)
        and any(subject.kind is not SubjectKind.PERSON for subject in policy.subjects)
        for rule in policy.rules
        if rule.effect is not Effect.DENY
        and rule.pods is not None
        and rule.pods.stronger_accounts is Action.ALLOW
        and not {namespace, EVERYTHING}.isdisjoint(rule.namespaces or ())
    )


def _registered(config: Config, cluster: str) -> ClusterConfig:
    known = {one.name: one for one in config.clusters}
    names = ", ".join(known) or "none"
    if not cluster and len(known) != 1:
        raise Failed("which cluster is meant is not clear", str(config.path), f"add --cluster, one of: {names}")
    chosen = cluster or next(iter(known))
    if chosen not in known:
        raise Failed(f'no cluster "{chosen}"', str(config.path), f"registered are: {names}")
    return known[chosen]


def _policies(config: Config) -> tuple[Policy, ...]:
    from narrowgate.cli.policy_check import SourceFile, parse_all
    from narrowgate.config import load_policy_files

    return tuple(parse_all([SourceFile(name, text) for name, text in load_policy_files(config.policies)]))


class _Looked:
    """One look at a namespace, or at one of its pods."""

    def __init__(self, reader: NamespaceReader, place: Place, namespace: str, pod: str) -> None:
        self._reader = reader
        self._place = place
        self._namespace = namespace
        self._pod = pod
        self._now = datetime.now(UTC)
        self._where = f"pod {namespace}/{pod}" if pod else f"namespace {namespace}"
        self._roads: list[Road] = []
        self._unknown: list[tuple[Kind, str]] = []

    def lines(self) -> Iterator[Line]:
        """Look at everything; findings, then what could not be looked at, then what is well, check by check."""
        pods = self._pods()
        holders = self._accounts(pods)
        self._stronger(holders)
        self._credentials(pods)
        self._network(pods)
        if not self._pod:
            self._of_namespace()
        looked_at = f"{sum(one.runs for one in pods)} pods and {sum(not one.runs for one in pods)} templates looked at"
        for kind in Kind:
            yield from self._of_kind(kind, looked_at)
        if not any(kind is Kind.NETWORK for kind, _ in self._unknown):
            yield Line(
                check=ENFORCED,
                where=self._where,
                outcome=Outcome.NOT_TRIED,
                found="whether the cluster's network keeps to policies is not seen from outside",
                counts=False,
            )

    def _of_kind(self, kind: Kind, looked_at: str) -> Iterator[Line]:
        roads = [road for road in self._roads if road.kind is kind]
        unknown = [why for of, why in self._unknown if of is kind]
        for road in roads:
            yield Line(
                check=kind.value,
                where=plain(f"{self._namespace}: {road.where}"),
                outcome=Outcome.NOT_TRIED if road.is_doubt else Outcome.FINDING,
                found=plain(road.found),
                to_do=road.to_do,
                counts=not road.is_doubt,
            )
        for why in unknown:
            yield Line(check=kind.value, where=self._where, outcome=Outcome.NOT_TRIED, found=plain(f"not read: {why}"))
        if kind is Kind.STRONGER_PODS and self._place.policies is None:
            found = "no gate is configured here, whose rules could be looked at"
            yield Line(check=kind.value, where=self._where, outcome=Outcome.NOT_TRIED, found=found, counts=False)
        elif not unknown and all(road.is_doubt for road in roads) and self._is_looked_at(kind):
            yield Line(check=kind.value, where=self._where, outcome=Outcome.OK, found=f"none; {looked_at}")

    def _is_looked_at(self, kind: Kind) -> bool:
        """What a pod cannot change is not asked about one pod."""
        return kind is not Kind.ADMISSION or not self._pod

    def _read(self, kind: Kind, what: Callable[[], _Read], otherwise: _Read) -> _Read:
        """What was read; `otherwise` where it could not be, which is then told."""
        try:
            return what()
        except NotRead as error:
            self._unknown.append((kind, str(error)))
            return otherwise

    def _pods(self) -> list[PodsLike]:
        if self._pod:
            try:
                return [self._reader.pod(self._pod)]
            except NotRead as error:
                raise Failed(str(error), self._where, "name a pod that is there") from None
        none: list[PodsLike] = []
        return [*self._read(Kind.TOKENS, self._reader.pods, none), *self._read(Kind.TOKENS, self._templates, none)]

    def _templates(self) -> list[PodsLike]:
        return self._reader.templates()

    def _accounts(self, pods: list[PodsLike]) -> list[str] | None:
        """The accounts, and by them the pods. Those that hold rights are returned, or None where nobody knows."""
        names = {one.account for one in pods}
        listed: list[dict[str, Any]] = self._read(Kind.RIGHTS, lambda: self._reader.all("serviceaccounts"), [])
        accounts = {str(one["metadata"]["name"]): one for one in listed}
        if self._pod:
            accounts = {name: one for name, one in accounts.items() if name in names}
        rights = self._read(Kind.RIGHTS, self._reader.rights, None)
        holders = []
        for name, account in accounts.items():
            held: tuple[HeldRight, ...] | None = ()
            if rights is not None:
                try:
                    held = rights.rights_of(Account(self._namespace, name))
                except TooManyRights:
                    held = None
            if held is None or held:
                holders.append(name)
            # What an account hands to pods that ask for it, one that is there has, or has not.
            found = roads_of_account(account, held)
            self._roads += [road for road in found if not (self._pod and road.kind is Kind.TOKENS)]
        for one in pods:
            automounts = accounts.get(one.account, {}).get("automountServiceAccountToken") is not False
            self._roads += roads_of_pods(one, self._place.gate.audience, automounts)
            self._roads += roads_of_variables(one, self._place.gate)
        return None if rights is None else holders

    def _stronger(self, holders: list[str] | None) -> None:
        rules = stronger_rules(self._place.policies or (), self._place.cluster, self._namespace)
        if rules and holders is None:
            self._unknown.append((Kind.STRONGER_PODS, "what the accounts may do"))
        for rule in rules if holders else ():
            self._roads.append(
                Road(
                    kind=Kind.STRONGER_PODS,
                    where=f"rule {rule}",
                    found=f"lets agents make or get into pods of {_some(holders or [])}, which can do more than they",
                    to_do="leave pods.strongerAccounts out of the rule, or let it say approve",
                )
            )

    def _credentials(self, pods: list[PodsLike]) -> None:
        used = _used_by(pods, self._namespace) if self._pod else None
        nothing: list[dict[str, Any]] = []
        for resource, roads_of in (("secrets", roads_of_secret), ("configmaps", roads_of_config_map)):
            for one in self._read(Kind.CREDENTIALS, functools.partial(self._reader.all, resource), nothing):
                if used is None or (resource, str(one["metadata"]["name"])) in used:
                    self._roads += roads_of(one, self._place.gate)
                    self._roads += client_certificates(one, self._place.access.certificate_authority, self._now)

    def _network(self, pods: list[PodsLike]) -> None:
        policies = self._read(Kind.NETWORK, lambda: self._reader.all("networkpolicies", "networking.k8s.io"), None)
        targets = self._read(Kind.NETWORK, self._reader.targets, None)
        if policies is None or targets is None:
            return
        access = self._place.access
        if as_network(access.host) and not is_this_machine(access.host):
            targets = [Target("the API server", access.host, access.port), *targets]
        labels = [(one.labels, one.where) for one in pods]
        if not self._pod:
            # Whoever may make pods gives them the labels that they like.
            labels.append(({}, "a new pod without labels"))
        open_to: dict[tuple[tuple[Reached, ...], str], list[str]] = defaultdict(list)
        for carried, where in labels:
            left = reached_from(carried, policies, targets), leaves_all_pods(carried, policies)
            open_to[left].append(where)
        for (reached, wide), wheres in open_to.items():
            self._roads += _network_roads(reached, _some(wheres))
            if wide:
                self._roads.append(_to_all_pods(wide, _some(wheres)))

    def _of_namespace(self) -> None:
        namespace = self._read(Kind.ADMISSION, self._reader.namespace, None)
        if namespace is not None:
            self._roads += roads_of_namespace(namespace)
        nothing: list[dict[str, Any]] = []
        for volume in self._read(Kind.NODES, self._reader.volumes, nothing):
            self._roads += roads_of_volume(volume)


def _network_roads(reached: Iterable[Reached], where: str) -> Iterator[Road]:
    by_policy: dict[str, dict[str, list[str]]] = {}
    for one in reached:
        target = one.target
        address = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        by_policy.setdefault(one.by, {}).setdefault(target.what, []).append(address)
    for policy, open_to in by_policy.items():
        told = ", ".join(f"{what} ({_some(list(dict.fromkeys(addresses)))})" for what, addresses in open_to.items())
        why = f"network policy {policy} leaves it" if policy else "no network policy is about where it goes"
        yield Road(
            kind=Kind.NETWORK,
            where=where,
            found=f"may reach {told}: {why}",
            to_do="apply `narrowgate clusters bundle`, and take away what other policies leave besides",
        )


def _to_all_pods(policy: str, where: str) -> Road:
    return Road(
        kind=Kind.NETWORK,
        where=where,
        found=f"may reach pods of every namespace: network policy {policy} leaves them; a proxy among them may lead on",
        to_do="",
        is_doubt=True,
    )


def _used_by(pods: list[PodsLike], namespace: str) -> set[tuple[str, str]]:
    """The Secrets and ConfigMaps that pods name."""
    return {(use.resource, use.name) for one in pods for use in pod_spec(dict(one.spec), "spec", namespace)}


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return ", ".join(texts[:MOST_NAMED]) + more
