"""Laws of network policies, in other words than their reader's: they add up, and only the first one closes anything."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from narrowgate.core.egress import Target, reached_from

HOSTS = ("10.0.0.1", "10.0.0.200", "10.1.0.1", "169.254.169.254", "fd00::1")
PORTS = (80, 443, 6443)
TARGETS = tuple(Target(f"{host} {port}", host, port) for host in HOSTS for port in PORTS)
LABELS = ({}, {"app": "a"}, {"app": "b"})

networks = st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "169.254.169.254/32", "::/0"])
blocks = st.fixed_dictionaries({"cidr": networks}, optional={"except": st.lists(networks, max_size=2)})
peers = st.one_of(blocks.map(lambda block: {"ipBlock": block}), st.just({"namespaceSelector": {}}))
ports = st.one_of(
    st.sampled_from(PORTS).map(lambda port: {"port": port, "protocol": "TCP"}),
    st.just({"port": 80, "endPort": 443, "protocol": "TCP"}),
    st.just({"port": 443, "protocol": "UDP"}),
)
rules = st.fixed_dictionaries({}, optional={"to": st.lists(peers, max_size=2), "ports": st.lists(ports, max_size=2)})
selectors = st.sampled_from([{}, {"matchLabels": {"app": "a"}}, {"matchLabels": {"app": "c"}}])
policies = st.builds(
    lambda selector, types, egress: {
        "metadata": {"name": "p"}, "spec": {"podSelector": selector, "policyTypes": types, "egress": egress},
    },
    selectors,
    st.sampled_from([["Egress"], ["Ingress"], ["Ingress", "Egress"]]),
    st.lists(rules, max_size=3),
)  # fmt: skip


def open_targets(labels: dict[str, str], listed: list[dict[str, Any]]) -> set[Target]:
    return {one.target for one in reached_from(labels, listed, TARGETS)}


def is_about(policy: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = policy["spec"]["podSelector"].get("matchLabels", {})
    return "Egress" in policy["spec"]["policyTypes"] and wanted.items() <= labels.items()


@given(st.sampled_from(LABELS), st.lists(policies, max_size=4))
def test_policies_open_together_what_each_opens_alone(labels: dict[str, str], listed: list[dict[str, Any]]) -> None:
    about = [one for one in listed if is_about(one, labels)]
    alone = [open_targets(labels, [one]) for one in about]
    assert open_targets(labels, listed) == (set().union(*alone) if about else set(TARGETS))


@given(st.sampled_from(LABELS), st.lists(policies, max_size=4), st.randoms())
def test_their_order_does_not_matter(labels: dict[str, str], listed: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(listed)
    random.shuffle(shuffled)
    assert open_targets(labels, shuffled) == open_targets(labels, listed)


@given(st.sampled_from(LABELS), policies, policies)
def test_one_more_policy_only_opens_once_there_is_one(
    labels: dict[str, str], first: dict[str, Any], more: dict[str, Any]
) -> None:
    if is_about(first, labels):
        assert open_targets(labels, [first]) <= open_targets(labels, [first, more])


@given(blocks)
def test_a_network_leaves_the_addresses_that_are_in_it_and_not_in_its_exceptions(block: dict[str, Any]) -> None:
    policy = {"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": block}]}]}}

    def inside(host: str, cidr: str) -> bool:
        return ipaddress.ip_address(host) in ipaddress.ip_network(cidr)

    expected = {
        target
        for target in TARGETS
        if inside(target.host, block["cidr"]) and not any(inside(target.host, one) for one in block.get("except", []))
    }
    assert open_targets({}, [policy]) == expected
