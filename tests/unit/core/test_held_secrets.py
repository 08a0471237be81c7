"""What a pod holds has a say in who gets into it: by the rule that lets them in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import TWO_OF_SRE, agent, answer, asks, person, policy, rule

from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.held_secrets import goes_into_pod, is_minded, secrets_of
from narrowgate.core.identity import Identity, chain_of
from narrowgate.core.intent import HeldSecrets, Intent
from narrowgate.core.policy import MountedSecrets, Policy, Reveal, Rule
from narrowgate.core.rulebook import compile_policies

POD = {
    "metadata": {"name": "web"},
    "spec": {
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [
            {"name": "main", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "a"}}}]},
            {"name": "side", "envFrom": [{"secretRef": {"name": "all"}}]},
        ],
        "initContainers": [{"name": "init"}],
        "volumes": [
            {"name": "s", "secret": {"secretName": "mounted"}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "c"}}]}},
        ],
    },
}
READS = rule("allow", "get", "secrets", namespaces="ci", id="reads")


def lets_in(action: MountedSecrets | None = None, **terms: Any) -> Rule:
    made = rule("allow", "create", "pods/exec pods/attach", namespaces="ci", id="in")
    return msgspec.structs.replace(made, mounted_secrets=action, **terms)


def wants_in(*names: str, known: bool = False, unknown: str = "", subresource: str = "exec") -> Intent:
    what = asks("create", f"pods/{subresource}", "web", namespace="ci")
    return msgspec.structs.replace(what, held=HeldSecrets(names=names, unknown=unknown, known_values=known))


def found(what: Intent, *rules: Rule, by: Identity | None = None, more: tuple[Policy, ...] = ()) -> Decision:
    return answer(what, policy(*rules, subjects="Agent/ci Person/ada"), *more, by=by)


REVEALS = Policy(
    name="shows",
    subjects=policy().subjects,
    clusters=("prod",),
    reveals=(Reveal(id="secrets", api_groups=("",), resources=("secrets",)),),
)


def test_the_secrets_of_a_pod_are_those_that_its_containers_can_read() -> None:
    assert secrets_of(POD) == ("all", "env", "mounted", "projected")
    assert secrets_of({"spec": "odd"}) == secrets_of(None) == ()


@pytest.mark.parametrize(
    ("what", "into"),
    [
        (asks("create", "pods/exec", "web", namespace="ci"), True),
        (asks("create", "pods/attach", "web", namespace="ci"), True),
        (asks("patch", "pods/ephemeralcontainers", "web", namespace="ci"), True),
        (asks("get", "pods/ephemeralcontainers", "web", namespace="ci"), False),
        (asks("create", "pods/portforward", "web", namespace="ci"), False),
        (asks("get", "pods/log", "web", namespace="ci"), False),
        (asks("create", "pods", namespace="ci"), False),
    ],
)
def test_what_goes_into_a_pod(what: Intent, into: bool) -> None:
    assert goes_into_pod(what.info) is into


def test_a_pod_without_secrets_is_entered() -> None:
    assert isinstance(found(wants_in(), lets_in()), Allow)


def test_without_a_word_about_it_nobody_gets_in_to_what_cannot_be_masked() -> None:
    refused = found(wants_in("env", "mounted"), lets_in())
    assert isinstance(refused, Deny)
    assert "the pod holds Secrets env, mounted, not readable for" in refused.message
    assert "mountedSecrets: mask" in refused.hint
    assert "maskKnownValues" in refused.hint


def test_where_values_are_known_they_are_masked_and_it_is_entered() -> None:
    assert isinstance(found(wants_in("env", known=True), lets_in()), Allow)


def test_people_whose_output_nobody_masks_are_not_let_in_by_that() -> None:
    assert isinstance(found(wants_in("env", known=True), lets_in(), by=person("ada")), Deny)
    assert isinstance(found(wants_in("env", known=True), lets_in(), READS, by=person("ada")), Allow)


def test_who_may_read_the_secrets_as_they_are_gets_in() -> None:
    assert isinstance(found(wants_in("env"), lets_in(), READS), Deny), "what an agent reads is masked"
    assert isinstance(found(wants_in("env"), lets_in(), READS, more=(REVEALS,)), Allow)


@pytest.mark.parametrize("guard", [rule("deny", "get", "secrets", names="env"), rule("approve", "get", "secrets")])
def test_what_may_not_be_got_without_more_is_not_readable(guard: Rule) -> None:
    assert isinstance(found(wants_in("env"), lets_in(), READS, guard, more=(REVEALS,)), Deny)


def test_a_rule_that_says_mask_lets_in() -> None:
    assert isinstance(found(wants_in("env"), lets_in(MountedSecrets.MASK)), Allow)


def test_a_rule_that_says_deny_refuses_though_values_are_known() -> None:
    refused = found(wants_in("env", known=True), lets_in(MountedSecrets.DENY))
    assert isinstance(refused, Deny)
    assert "the pod holds Secret env" in refused.message
    assert "mountedSecrets: deny" in refused.hint


def test_a_rule_that_says_approve_asks_its_people_about_this_pod() -> None:
    asking = lets_in(MountedSecrets.APPROVE, approval=TWO_OF_SRE)
    held = found(wants_in("env"), asking)
    assert isinstance(held, NeedsApproval)
    assert held.asks == (TWO_OF_SRE,)
    assert "because the pod holds Secret env" in held.message
    assert isinstance(found(wants_in(), asking), Allow)


def test_what_nobody_could_look_at_is_held_to_hold_secrets() -> None:
    refused = found(wants_in(unknown="the cluster answers 403 to reading it"), lets_in(MountedSecrets.DENY))
    assert isinstance(refused, Deny)
    assert "the cluster answers 403" in refused.message
    assert isinstance(found(wants_in(unknown="nobody has looked", known=True), lets_in()), Allow)


def test_every_member_of_the_chain_must_be_able_to_read_them() -> None:
    rules = (
        policy(lets_in(), READS, name="theirs", subjects="Person/ada"),
        policy(lets_in(), READS),
    )
    who = chain_of(person("ada"), agent())
    assert isinstance(answer(wants_in("env"), *rules, by=who), Deny)
    assert isinstance(answer(wants_in("env"), *rules, REVEALS, by=who), Allow)


def test_a_debug_container_is_a_way_in() -> None:
    what = asks("patch", "pods/ephemeralcontainers", "web", namespace="ci", object={"spec": {}})
    what = msgspec.structs.replace(what, held=HeldSecrets(names=("env",), unknown=""))
    debugs = rule("allow", "patch", "pods/ephemeralcontainers", namespaces="ci")
    assert isinstance(found(what, debugs), Deny)


@pytest.mark.parametrize(
    ("made", "known", "minded"),
    [
        (lets_in(), False, True),
        (lets_in(), True, False),
        (lets_in(MountedSecrets.MASK), False, False),
        (lets_in(MountedSecrets.DENY), True, True),
    ],
)
def test_it_is_looked_only_where_that_has_a_say(made: Rule, known: bool, minded: bool) -> None:
    what = wants_in(known=known)
    assert is_minded(compile_policies([policy(made)], 1), chain_of(agent()), what) is minded
