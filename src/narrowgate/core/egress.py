"""What network policies leave pods: whether one of these addresses can be reached from pods with these labels.

As k8s.io/api/networking/v1 says it: policies that choose a pod add up, nothing chosen means everything is open, and an
empty list of peers or ports means all of them. What a policy says is judged, not what a network makes of it: whether
one enforces policies at all, and whether it looks before or behind a Service's address, is the network's own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

_OPERATORS: Final = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})


class Target(msgspec.Struct, frozen=True):
    """Something that pods of agents should not reach, by address and port."""

    what: str
    """`the API server`, for sentences."""
    host: str
    port: int


class Reached(msgspec.Struct, frozen=True):
    """A target that is open, and by which policy; an empty one means that no policy is about egress of the pod."""

    target: Target
    by: str


def reached_from(
    labels: Mapping[str, Any], policies: Sequence[Mapping[str, Any]], targets: Iterable[Target]
) -> tuple[Reached, ...]:
    """Which targets are left to a pod with these labels by the NetworkPolicies of its namespace."""
    chosen = [policy for policy in policies if _chooses(policy, labels)]
    if not chosen:
        return tuple(Reached(target, "") for target in targets)
    found = []
    for target in targets:
        by = next((_name(policy) for policy in chosen if _lets_to(policy, target)), None)
        if by is not None:
            found.append(Reached(target, by))
    return tuple(found)


def leaves_all_pods(labels: Mapping[str, Any], policies: Iterable[Mapping[str, Any]]) -> str:
    """The first policy that leaves pods of every namespace to a pod with these labels, any of which may lead on.

    Empty where none does, and where no policy is about where the pod goes, which `reached_from` says.
    """
    for policy in policies:
        if _chooses(policy, labels):
            rules = policy["spec"].get("egress") or []
            if any(isinstance(rule, dict) and _is_to_all_pods(rule) for rule in rules):
                return _name(policy)
    return ""


def _is_to_all_pods(rule: Mapping[str, Any]) -> bool:
    peers = rule.get("to") or []
    return not peers or any(
        isinstance(peer, dict) and peer.get("namespaceSelector") == {} and not peer.get("podSelector") for peer in peers
    )


def selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    """Whether a LabelSelector means these labels; one that is not understood means none (apimachinery/labels)."""
    if not isinstance(selector, dict):
        return False
    wanted = selector.get("matchLabels") or {}
    if not isinstance(wanted, dict) or any(labels.get(key) != value for key, value in wanted.items()):
        return False
    expressions = selector.get("matchExpressions") or []
    return isinstance(expressions, list) and all(_holds(one, labels) for one in expressions)


def _holds(expression: Any, labels: Mapping[str, Any]) -> bool:
    if not isinstance(expression, dict) or expression.get("operator") not in _OPERATORS:
        return False
    key, values = str(expression.get("key")), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _chooses(policy: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    spec = policy.get("spec")
    if not isinstance(spec, dict):
        return False
    types = spec.get("policyTypes")
    # Left out, it is about egress only where it has rules for that; the API server writes it out.
    is_about_egress = "Egress" in types if isinstance(types, list) else bool(spec.get("egress"))
    return is_about_egress and selects(spec.get("podSelector", {}), labels)


def _lets_to(policy: Mapping[str, Any], target: Target) -> bool:
    rules = policy["spec"].get("egress") or []
    return any(isinstance(rule, dict) and _rule_lets_to(rule, target) for rule in rules)


def _rule_lets_to(rule: Mapping[str, Any], target: Target) -> bool:
    peers, ports = rule.get("to") or [], rule.get("ports") or []
    to_it = not peers or any(_is_in(peer, target.host) for peer in peers)
    return to_it and (not ports or any(_is_port(port, target.port) for port in ports))


def _is_in(peer: Any, host: str) -> bool:
    """Whether a peer is a network with the address in it. Pods are none of the targets."""
    block = peer.get("ipBlock") if isinstance(peer, dict) else None
    if not isinstance(block, dict):
        return False
    try:
        address = ipaddress.ip_address(host)
        if not _contains(block.get("cidr"), address):
            return False
        return not any(_contains(one, address) for one in block.get("except") or [])
    except ValueError:
        # What cannot be read is taken for open.
        return True


def _contains(cidr: Any, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    network = ipaddress.ip_network(str(cidr), strict=False)
    return address.version == network.version and address in network


def _is_port(port: Any, wanted: int) -> bool:
    if not isinstance(port, dict) or port.get("protocol", "TCP") != "TCP":
        return False
    first = port.get("port")
    if first is None:
        return True
    if not isinstance(first, int):
        # A port's name means what the pod behind it calls so; an address has no names.
        return False
    last = port.get("endPort")
    return first <= wanted <= (last if isinstance(last, int) else first)


def _name(policy: Mapping[str, Any]) -> str:
    metadata = policy.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
