"""Whether an account can do more than somebody holds."""

from __future__ import annotations

import pytest
from tests.deciding import agent, asks, policy, rule

from narrowgate.core.account_rights import HeldRight
from narrowgate.core.pod_rules import Level, PodRules
from narrowgate.core.policy import Mask, Policy, Reveal, Rule
from narrowgate.core.rights import Right
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.stronger import Holder

CREATE = asks("create", "pods", "p", namespace="ci")
DENIED_ONE = rule("deny", "get", "pods", when='request.name == "a"')
ONE_COMMAND = rule("allow", "create", "pods/exec", namespaces="ci", commands=(("id",),))
SHOWN = Reveal(id="shown", api_groups=("*",), resources=("*",))


def holder(*rules: Rule, reveals: tuple[Reveal, ...] = (SHOWN,), masks: tuple[Mask, ...] = ()) -> Holder:
    made = Policy(
        name="test", subjects=policy().subjects, clusters=("prod",), rules=rules, reveals=reveals, masks=masks
    )
    return Holder(agent(), compile_policies([made], 1).holding(agent(), "prod"), None)


def exceeds(right: Right, one: Holder, namespace: str = "ci") -> bool:
    return bool(list(one.exceeded_by([HeldRight(right, namespace, "b")], CREATE)))


PODS = Right("get", "", "pods")


@pytest.mark.parametrize(
    ("right", "namespace", "rules"),
    [
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="ci")]),
        (PODS, "", [rule("allow", "get", "pods", namespaces="*")]),
        (Right("get", "", "pods", ("a", "b")), "ci", [rule("allow", "get", "pods", namespaces="ci", names="a b c")]),
        (Right("list", "", "nodes"), "", [rule("allow", "list", "nodes")]),
        (Right("list", "", "nodes"), "ci", []),
        (Right("get", path="/metrics"), "", [rule("allow", "get", urls="/metrics")]),
        (Right("*", "*", "*"), "ci", [rule("allow", "*", "*", namespaces="ci", groups="*")]),
    ],
)
def test_what_is_given_is_no_more(right: Right, namespace: str, rules: list[Rule]) -> None:
    assert not exceeds(right, holder(*rules), namespace)


@pytest.mark.parametrize(
    ("right", "namespace", "rules"),
    [
        (PODS, "ci", []),
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="other")]),
        (PODS, "ci", [rule("allow", "list", "pods", namespaces="ci")]),
        (PODS, "", [rule("allow", "get", "pods", namespaces="ci")]),
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="ci", names="a")]),
        (Right("get", "", "pods", ("a", "b")), "ci", [rule("allow", "get", "pods", namespaces="ci", names="a")]),
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="ci", when="true")]),
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="ci"), rule("deny", "get", "pods", names="a")]),
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="ci"), rule("approve", "get", "pods")]),
        (PODS, "ci", [rule("grantable", "get", "pods", namespaces="ci")]),
        (Right("*", "", "pods"), "ci", [rule("allow", "*", "pods", namespaces="ci"), rule("deny", "delete", "pods")]),
        (Right("*", "*", "*"), "ci", [rule("allow", "*", "*", namespaces="ci", groups="*"), DENIED_ONE]),
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="ci", when='request.name != "a"')]),
        (PODS, "ci", [rule("allow", "get", "pods", namespaces="ci"), DENIED_ONE]),
        (Right("create", "", "pods/exec"), "ci", [ONE_COMMAND]),
        (Right("get", path="/*"), "", [rule("allow", "get", urls="/metrics")]),
    ],
)  # fmt: skip
def test_what_is_not_given_or_not_for_certain_is_more(right: Right, namespace: str, rules: list[Rule]) -> None:
    assert exceeds(right, holder(*rules), namespace)


def test_who_makes_pods_past_the_gate_has_all_that_pods_can_use() -> None:
    right = Right("create", "", "pods")
    makes = rule("allow", "create", "pods", namespaces="ci", id="makes")
    uses = rule("allow", "get use", "secrets configmaps persistentvolumeclaims", namespaces="ci", id="uses")
    node = rule("allow", "use", "hostaccess", namespaces="ci", groups="narrowgate.dev", id="node")
    assert exceeds(right, holder(makes))
    assert exceeds(right, holder(makes, uses))
    assert not exceeds(right, holder(makes, uses, node))
    narrowed = rule("allow", "create", "pods", namespaces="ci", id="makes", pods=PodRules(level=Level.BASELINE))
    assert exceeds(right, holder(narrowed, uses, node))


def test_who_reads_secrets_masked_reads_less() -> None:
    right = Right("get", "", "secrets")
    reads = rule("allow", "get", "secrets", namespaces="ci")
    assert not exceeds(right, holder(reads))
    assert exceeds(right, holder(reads, reveals=()))
    masked = Mask(id="m", api_groups=("",), resources=("pods",), fields=("spec",))
    gets = rule("allow", "get", "pods", namespaces="ci")
    assert exceeds(PODS, holder(gets, masks=(masked,), reveals=()))


def test_who_may_do_everything_is_exceeded_by_nobody() -> None:
    everything = rule("allow", "*", "*", namespaces="*", groups="*", id="all")
    paths = rule("allow", "*", urls="*", id="paths")
    assert holder(everything, paths).holds_everything(CREATE)
    assert not holder(everything).holds_everything(CREATE)
    assert not holder(everything, paths, rule("deny", "delete", "namespaces")).holds_everything(CREATE)
    assert not holder(everything, paths, reveals=()).holds_everything(CREATE)
