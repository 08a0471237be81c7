"""What is said of the pods of a question."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import TWO_OF_SRE, agent, asks, person, policy, rule

from narrowgate.core.account_rights import Account, HeldRight
from narrowgate.core.explain_pods import SHOWN, explain_pods, explained_account
from narrowgate.core.identity import chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.named_templates import path_of
from narrowgate.core.pod_rules import Action, Level, PodRules
from narrowgate.core.pods_seen import AccountSeen, PodsSeen, Template
from narrowgate.core.policy import Rule
from narrowgate.core.rights import Right
from narrowgate.core.rulebook import Rulebook, compile_policies

NEW = asks("create", "deployments", "w", namespace="ci", group="apps")
SECRETS = HeldRight(Right("get", "", "secrets"), "ci", "RoleBinding ci/x")
STRONG = AccountSeen(account=Account("ci", "strong"), rights=(SECRETS,))
AT = "spec.template.spec"
GATE = {"projected": {"sources": [{"serviceAccountToken": {"audience": "gate"}}]}}


def template(**spec: Any) -> Template:
    whole = {"containers": [{"name": "c", "image": "a:1"}, {"name": "d", "image": "a:1"}], **spec}
    return Template(AT, {"serviceAccountName": "strong", **whole}, {}, ("spec", "template", "spec"))


def makes(*accounts: AccountSeen, templates: tuple[Template, ...] = (), **seen: Any) -> Intent:
    return msgspec.structs.replace(NEW, pods=PodsSeen(accounts=accounts, templates=templates, **seen))


def writes(pods: PodRules | None = None, effect: str = "allow", **more: Any) -> Rule:
    made = rule(effect, "create", "deployments", groups="apps", namespaces="ci", id="writes", **more)
    return msgspec.structs.replace(made, pods=pods)


def rules(*found: Rule) -> Rulebook:
    return compile_policies([policy(*found, subjects="Agent/ci Person/ada")], 1)


def lines(what: Intent, *found: Rule, not_looked: str = "") -> list[str]:
    return list(explain_pods(chain_of(agent()), what, rules(*found), not_looked).lines())


def test_a_pod_is_told_by_all_that_decides() -> None:
    (pod, *_) = lines(makes(templates=(template(nodeName="n", hostPID=True),)), writes())
    assert pod == (
        f"pods by {AT}: runs as strong; privileged; its account's token; images a:1; chooses its node by nodeName"
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"automountServiceAccountToken": False}, "no token"),
        ({"hostPID": True}, "privileged"),
        ({}, "baseline"),
        ({"volumes": [GATE]}, "its account's token and a token for gate"),
        ({"serviceAccount": "other"}, "runs as strong or other"),
    ],
)
def test_what_a_pod_has_is_told(spec: dict[str, Any], says: str) -> None:
    assert says in lines(makes(templates=(template(**spec),)), writes())[0]


def test_an_account_is_told_by_its_rights() -> None:
    told = lines(makes(STRONG, templates=(template(),)), writes())
    assert "service account ci/strong: may" in told
    assert "    get secrets in ci (RoleBinding ci/x)" in told
    nothing = explained_account(AccountSeen(account=Account("ci", "weak")))
    assert list(nothing.lines()) == ["service account ci/weak: may do what everybody may"]
    unknown = explained_account(AccountSeen(account=Account("ci", "weak"), unknown="no answer"))
    assert list(unknown.lines()) == ["service account ci/weak: what it may do is not known: no answer"]


def test_of_many_rights_the_first_are_told_and_how_many_there_are() -> None:
    many = tuple(HeldRight(Right("get", "", f"r{number}"), "ci", "b") for number in range(SHOWN + 3))
    told = list(explained_account(AccountSeen(account=Account("ci", "a"), rights=many)).lines())
    assert len(told) == SHOWN + 2
    assert told[-1] == "    ... and 3 more"


def test_each_rule_says_what_it_makes_of_them_in_the_words_of_its_refusal() -> None:
    pods = PodRules(level=Level.BASELINE, automount_token=Action.MEND, stronger_accounts=Action.APPROVE)
    asking = msgspec.structs.replace(writes(pods), approval=TWO_OF_SRE)
    said = lines(makes(STRONG, templates=(template(hostPID=True),)), asking)[-1]
    assert said.startswith('agent "ci": test/writes: asks people: service account ci/strong may also get secrets')
    assert f"refuses: {AT} is not baseline: hostPID" in said
    assert f"mends: {AT} does not say automountServiceAccountToken: false" in said
    assert lines(makes(templates=(template(),)), writes())[-1].endswith("has nothing against these pods")


def test_a_grantable_rule_and_one_that_offers_have_their_say() -> None:
    for effect in ("grantable", "approve"):
        assert "refuses: service account ci/strong" in lines(makes(STRONG), writes(effect=effect))[-1]


def test_what_stands_where_a_rule_says_is_told() -> None:
    path = path_of("spec.pod")
    assert path is not None
    made = rule("allow", "create", "widgets", groups="example.com", namespaces="ci", id="w")
    widgets = msgspec.structs.replace(made, pods=PodRules(templates=(path,)))
    what = asks("create", "widgets", "w", namespace="ci", group="example.com", namespaced=True)
    seen = PodsSeen(made_of={"spec": {"pod": {"a": 1}}}, named=(AccountSeen(account=Account("ci", "default")),))
    told = lines(msgspec.structs.replace(what, pods=seen), widgets)
    assert told[0].startswith("pods by spec.pod: runs as default")
    assert "service account ci/default: may do what everybody may" in told


def test_what_was_not_looked_at_is_told_to_who_minds() -> None:
    what = makes(templates=(template(),))
    assert lines(what, writes(), not_looked="rights")[-1] == "not looked at: rights"
    free = writes(PodRules(stronger_accounts=Action.ALLOW))
    assert not any("not looked at" in line for line in lines(what, free, not_looked="rights"))
    people = explain_pods(chain_of(person("ada")), what, rules(writes()), "rights")
    assert not people.not_looked


def test_of_what_makes_no_pods_nothing_is_said() -> None:
    assert lines(asks("get", "pods", "w", namespace="ci"), writes(), not_looked="rights") == []


def test_of_many_pods_the_first_are_told() -> None:
    many = tuple(msgspec.structs.replace(template(), at=f"spec.p{number}") for number in range(SHOWN + 2))
    told = lines(makes(templates=many), writes())
    assert sum(line.startswith("pods by") for line in told) == SHOWN
    assert "pods at 2 more places" in told
