"""What network policies leave: rules add up, what is empty means everything, and what cannot be read is open."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.agent_bundle import PodPlace, Way, network_policy
from narrowgate.core.egress import Target, leaves_all_pods, reached_from, selects

API = Target("the API server", "10.0.0.1", 6443)
KUBELET = Target("the kubelets", "10.0.0.9", 10250)
METADATA = Target("the cloud's metadata", "169.254.169.254", 80)
SIX = Target("the cloud's metadata", "fd00:ec2::254", 80)
ALL = (API, KUBELET, METADATA, SIX)


def policy(*egress: dict[str, Any], name: str = "p", **spec: Any) -> dict[str, Any]:
    fields = {"podSelector": {}, "policyTypes": ["Egress"], "egress": list(egress), **spec}
    return {"metadata": {"name": name}, "spec": fields}


def to(cidr: Any, *ports: Any, **more: Any) -> dict[str, Any]:
    return {"to": [{"ipBlock": {"cidr": cidr, **more}}], **({"ports": list(ports)} if ports else {})}


def reached(*policies: dict[str, Any], labels: dict[str, str] | None = None) -> list[Target]:
    return [one.target for one in reached_from(labels or {}, policies, ALL)]


def test_without_a_policy_everything_is_open_and_a_policy_without_rules_closes_it() -> None:
    assert [one.by for one in reached_from({}, [], ALL)] == ["", "", "", ""]
    assert reached(policy()) == []


def test_a_policy_about_what_comes_in_is_no_word_about_what_goes_out() -> None:
    assert reached(policy(policyTypes=["Ingress"])) == list(ALL)
    # Left out, the types follow from the rules that are there.
    bare: dict[str, Any] = policy()
    del bare["spec"]["policyTypes"]
    assert reached(bare) == list(ALL)
    bare["spec"]["egress"] = [to("10.0.0.1/32")]
    assert reached(bare) == [API]


def test_policies_add_up_and_the_one_that_leaves_a_target_is_named() -> None:
    found = reached_from({}, [policy(name="closed"), policy({}, name="open")], ALL)
    assert {one.by for one in found} == {"open"}
    assert len(found) == len(ALL)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (to("10.0.0.0/8"), [API, KUBELET]),
        (to("10.0.0.0/8", {"port": 6443}), [API]),
        (to("10.0.0.0/8", {"port": 6000, "endPort": 7000}), [API]),
        (to("10.0.0.0/8", {"port": 10250, "protocol": "UDP"}), []),
        (to("10.0.0.0/8", {"protocol": "TCP"}), [API, KUBELET]),
        (to("10.0.0.0/8", {"port": "https"}), []),
        (to("0.0.0.0/0", **{"except": ["169.254.0.0/16", "10.0.0.0/24"]}), []),
        (to("0.0.0.0/0", **{"except": ["169.254.0.0/16"]}), [API, KUBELET]),
        (to("::/0"), [SIX]),
        ({"to": [{"namespaceSelector": {}}]}, []),
        ({"ports": [{"port": 80}]}, [METADATA, SIX]),
        ({"to": []}, list(ALL)),
        (to("not a network"), list(ALL)),
        (to(None), list(ALL)),
    ],
)
def test_a_rule_leaves_what_its_networks_and_ports_mean(rule: dict[str, Any], expected: list[Target]) -> None:
    assert reached(policy(rule)) == expected


def test_a_policy_is_about_the_pods_that_it_chooses() -> None:
    web = policy(podSelector={"matchLabels": {"app": "web"}})
    assert reached(web, labels={"app": "web"}) == []
    assert reached(web, labels={"app": "other"}) == list(ALL)


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["1"]}]}, False),
        ({"matchExpressions": "a"}, False),
        ({"matchLabels": "a"}, False),
        ("a", False),
        (None, False),
    ],
)
def test_selectors_mean_labels_and_what_is_not_understood_means_none(selector: Any, chosen: bool) -> None:
    assert selects(selector, {"a": "1"}) is chosen


@pytest.mark.parametrize(
    ("rule", "is_open"),
    [
        ({"to": [{"namespaceSelector": {}}]}, True),
        ({"to": [{"namespaceSelector": {}, "podSelector": {}}], "ports": [{"port": 80}]}, True),
        ({"ports": [{"port": 53, "protocol": "UDP"}]}, True),
        ({"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]}, False),
        ({"to": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}, False),
        ({"to": [{"podSelector": {}}]}, False),
        (to("10.0.0.0/8"), False),
    ],
)
def test_pods_of_every_namespace_may_lead_on(rule: dict[str, Any], is_open: bool) -> None:
    assert leaves_all_pods({}, [policy(), policy(rule, name="wide")]) == ("wide" if is_open else "")
    assert leaves_all_pods({"app": "x"}, [policy(rule, podSelector={"matchLabels": {"app": "y"}})]) == ""


def test_the_bundles_own_policy_leaves_none_of_them() -> None:
    dns = PodPlace("kube-system", (("k8s-app", "kube-dns"),))
    made = network_policy("agents", Way(host="10.0.0.1", port=443, to=("10.0.0.1/32",), to_port=8443, dns=(dns,)))
    assert reached(made) == []
    assert leaves_all_pods({}, [made]) == ""
    # The gate on the very address of the API server is let to by its port alone.
    assert reached_from({}, [made], [Target("the gate", "10.0.0.1", 8443)])
