"""What becomes of a request because of the pods that it makes or enters."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import TWO_OF_SRE, agent, answer, asks, person, policy, rule, workload
from tests.unit.core.test_decide_approvals import approved, with_approvals

from narrowgate.core.account_rights import Account, HeldRight
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.identity import Chain, Identity, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.matching import question_of
from narrowgate.core.named_templates import path_of
from narrowgate.core.pod_judging import MIRROR, is_about_pods, minds_accounts, minds_templates, paths_named
from narrowgate.core.pod_rules import Action, Level, PodRules
from narrowgate.core.pods_seen import AccountSeen, PodsSeen, Template
from narrowgate.core.policy import Reveal, Rule
from narrowgate.core.rights import Right
from narrowgate.core.rulebook import compile_policies

SECRETS = HeldRight(Right("get", "", "secrets"), "ci", "RoleBinding ci/x")
STRONG = AccountSeen(account=Account("ci", "strong"), rights=(SECRETS,))
WEAK = AccountSeen(account=Account("ci", "weak"))
NEW = asks("create", "deployments", "w", namespace="ci", group="apps")
EXEC = asks("create", "pods/exec", "w", namespace="ci")
SUBJECTS = "Agent/ci Person/ada ServiceAccount/ci/op"


def template(*, notes: dict[str, Any] | None = None, **spec: Any) -> Template:
    whole = {"containers": [{"name": "c", "image": "registry.corp/a:1"}], "serviceAccountName": "runner", **spec}
    return Template("spec.template.spec", whole, notes or {}, ("spec", "template", "spec"))


def makes(*accounts: AccountSeen, templates: tuple[Template, ...] = (), what: Intent = NEW, **seen: Any) -> Intent:
    return msgspec.structs.replace(what, pods=PodsSeen(accounts=accounts, templates=templates, **seen))


def writes(pods: PodRules | None = None, effect: str = "allow", id: str = "writes", **more: Any) -> Rule:
    made = rule(effect, "create patch", "deployments pods/exec", groups="apps core", namespaces="ci", id=id, **more)
    return msgspec.structs.replace(made, pods=pods)


def found(what: Intent, *rules: Rule, by: Identity | Chain | None = None) -> Decision:
    return answer(what, policy(*rules, subjects=SUBJECTS), by=by)


@pytest.mark.parametrize("what", [NEW, EXEC])
def test_an_agent_makes_and_enters_no_pod_that_can_do_more(what: Intent) -> None:
    refused = found(makes(STRONG, what=what), writes())
    assert isinstance(refused, Deny)
    assert "service account ci/strong may also get secrets in ci (RoleBinding ci/x)" in refused.message
    assert "agent:ci may not" in refused.message
    assert "strongerAccounts" in refused.hint
    assert isinstance(found(makes(WEAK, what=what), writes()), Allow)


def test_who_may_do_the_same_is_not_exceeded() -> None:
    reads = rule("allow", "get", "secrets", namespaces="ci", id="reads")
    assert isinstance(found(makes(STRONG), writes(), reads), Deny)  # masked for agents
    pods = HeldRight(Right("get", "", "configmaps"), "ci", "b")
    same = rule("allow", "get", "configmaps", namespaces="ci", id="same")
    assert isinstance(found(makes(AccountSeen(account=STRONG.account, rights=(pods,))), writes(), same), Allow)


def test_people_are_asked_nothing_unless_a_rule_says_so() -> None:
    assert isinstance(found(makes(STRONG), writes(), by=person("ada")), Allow)
    assert isinstance(found(makes(STRONG), writes(PodRules(stronger_accounts=Action.DENY)), by=person("ada")), Deny)


@pytest.mark.parametrize(
    "by", [chain_of(person("ada"), agent()), chain_of(agent(), workload("ci/op")), chain_of(workload("ci/op"))]
)
def test_whatever_an_agent_has_started_is_held_to_it_as_well(by: Chain) -> None:
    assert isinstance(found(makes(STRONG), writes(), by=by), Deny)


def test_every_member_of_the_chain_must_have_what_the_account_has() -> None:
    configmaps = HeldRight(Right("get", "", "configmaps"), "ci", "b")
    what = makes(AccountSeen(account=STRONG.account, rights=(configmaps,)))
    gets = rule("allow", "get", "configmaps", namespaces="ci", id="gets")
    both = policy(writes(), subjects=SUBJECTS)
    one = policy(gets, name="one", subjects="Agent/ci")
    chain = chain_of(person("ada"), agent())
    assert isinstance(answer(what, both, one, by=agent()), Allow)
    assert isinstance(answer(what, both, one, by=chain), Deny)


def test_what_is_not_known_is_refused_for_whoever_minds() -> None:
    unknown = AccountSeen(account=STRONG.account, unknown="the gate's account may not list roles")
    for what in (makes(unknown), makes(unknown="nobody has looked")):
        refused = found(what, writes())
        assert isinstance(refused, Deny)
        assert "not known: " in refused.message
        assert isinstance(found(what, writes(PodRules(stronger_accounts=Action.ALLOW))), Allow)


def test_who_may_do_everything_is_exceeded_by_no_account_that_nobody_has_looked_at() -> None:
    everything = rule("allow", "*", "*", namespaces="*", groups="*", id="all")
    paths = rule("allow", "*", urls="*", id="paths")
    all_shown = Reveal(id="shown", api_groups=("*",), resources=("*",))
    made = msgspec.structs.replace(policy(everything, paths), reveals=(all_shown,))
    assert isinstance(answer(makes(unknown="nobody has looked"), made), Allow)


def test_where_nobody_has_looked_nothing_is_said() -> None:
    assert isinstance(found(NEW, writes()), Allow)


def test_of_two_rules_the_more_generous_counts_in_either_order() -> None:
    strict, generous = PodRules(stronger_accounts=Action.DENY), PodRules(stronger_accounts=Action.ALLOW)
    for first, second in ((strict, generous), (generous, strict)):
        assert isinstance(found(makes(STRONG), writes(first, id="a"), writes(second, id="b")), Allow)


def test_a_deny_rule_wins_over_what_pods_may_be() -> None:
    never = rule("deny", "create", "deployments", groups="apps", id="never")
    assert isinstance(found(makes(WEAK), writes(PodRules(stronger_accounts=Action.ALLOW)), never), Deny)


def test_people_are_asked_where_a_rule_says_so() -> None:
    asking = msgspec.structs.replace(writes(PodRules(stronger_accounts=Action.APPROVE)), approval=TWO_OF_SRE)
    asked = found(makes(STRONG), asking)
    assert isinstance(asked, NeedsApproval)
    assert "service account ci/strong may also get secrets" in asked.message
    assert isinstance(found(makes(STRONG), writes(PodRules(stronger_accounts=Action.APPROVE))), Deny)


def test_people_who_are_asked_anyhow_do_not_lift_what_they_cannot_see() -> None:
    held = rule("approve", "create", "deployments", groups="apps", namespaces="ci", id="held")
    assert isinstance(found(makes(WEAK), writes(), held), NeedsApproval)
    assert isinstance(found(makes(STRONG), writes(), held), Deny)
    offered = msgspec.structs.replace(held, pods=PodRules(stronger_accounts=Action.ALLOW))
    assert isinstance(found(makes(STRONG), offered), NeedsApproval)


GOOD: dict[str, Any] = {}
CASES: list[tuple[PodRules, dict[str, Any], str]] = [
    (PodRules(service_accounts=("other",)), {}, "runs as service account runner"),
    (PodRules(service_accounts=("runner",)), {"serviceAccount": "other"}, "runs as service account other"),
    (PodRules(service_accounts=("runner",)), {"serviceAccountName": ""}, "runs as service account default"),
    (PodRules(automount_token=Action.DENY), {}, "automountServiceAccountToken: false"),
    (
        PodRules(token_audiences=("gate",)),
        {"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]},
        "projects a token for the API server",
    ),
    (PodRules(level=Level.BASELINE), {"hostPID": True}, "is not baseline: hostPID"),
    (PodRules(level=Level.RESTRICTED), {}, "is not restricted"),
    (PodRules(images=("other.corp/*", "a:1")), {}, "has the image 'registry.corp/a:1'"),
    (PodRules(node_choice=False), {"nodeSelector": {"a": "b"}}, "nodeSelector chooses a node"),
]


@pytest.mark.parametrize(("pods", "spec", "says"), CASES)
def test_what_a_template_may_not_be_is_refused_or_asked_about(pods: PodRules, spec: dict[str, Any], says: str) -> None:
    what = makes(templates=(template(**spec),))
    refused = found(what, writes(pods))
    assert isinstance(refused, Deny)
    assert says in refused.message
    if pods.automount_token is Action.ALLOW:
        asking = writes(msgspec.structs.replace(pods, otherwise=Action.APPROVE))
        assert isinstance(found(what, msgspec.structs.replace(asking, approval=TWO_OF_SRE)), NeedsApproval)


@pytest.mark.parametrize(
    ("pods", "spec"),
    [
        (PodRules(service_accounts=("runner",)), {}),
        (PodRules(automount_token=Action.DENY), {"automountServiceAccountToken": False}),
        (PodRules(images=("registry.corp/*",)), {}),
        (PodRules(images=("registry.corp/a:1",)), {}),
        (PodRules(level=Level.BASELINE), {}),
        (PodRules(node_choice=False), {"affinity": {"podAffinity": {"a": "b"}}}),
    ],
)
def test_what_is_as_the_rule_says_passes(pods: PodRules, spec: dict[str, Any]) -> None:
    assert isinstance(found(makes(templates=(template(**spec),)), writes(pods)), Allow)


def test_every_template_counts() -> None:
    pods = PodRules(images=("registry.corp/*",))
    bad = template(containers=[{"name": "c", "image": "evil:1"}])
    assert isinstance(found(makes(templates=(template(), bad)), writes(pods)), Deny)


def test_a_template_that_is_not_known_is_none_that_may_be() -> None:
    pods = PodRules(level=Level.BASELINE, stronger_accounts=Action.ALLOW)
    refused = found(makes(inexact="the result of the patch is not known"), writes(pods))
    assert isinstance(refused, Deny)
    assert "the result of the patch is not known" in refused.message


def test_what_can_be_mended_is_mended_and_nothing_else() -> None:
    mend = writes(PodRules(automount_token=Action.MEND))
    allowed = found(makes(templates=(template(),)), mend)
    assert isinstance(allowed, Allow)
    assert allowed.mends == (("spec", "template", "spec"),)
    quiet = found(makes(templates=(template(automountServiceAccountToken=False),)), mend)
    assert isinstance(quiet, Allow)
    assert quiet.mends == ()
    in_list = msgspec.structs.replace(template(), steps=())
    assert isinstance(found(makes(templates=(in_list,)), mend), Deny)


def test_mirror_pods_are_made_by_nodes() -> None:
    what = makes(WEAK, templates=(template(notes={MIRROR: "static"}),))
    assert isinstance(found(what, writes()), Deny)
    assert isinstance(found(what, writes(), by=person("ada")), Allow)


def test_who_is_looked_at_and_for_what() -> None:
    everything = rule("allow", "*", "*", namespaces="*", groups="*", id="all")
    for rules, what, accounts, templates in (
        ((writes(),), NEW, True, False),
        ((writes(PodRules(stronger_accounts=Action.ALLOW)),), NEW, False, False),
        ((writes(PodRules(level=Level.BASELINE)),), NEW, True, True),
        ((), NEW, False, False),
        ((everything,), NEW, True, False),
    ):
        made = compile_policies([policy(*rules)], 1)
        question = question_of(what)
        assert minds_accounts(made, chain_of(agent()), what, question) is accounts
        assert minds_templates(made, chain_of(agent()), what, question) is templates
    assert is_about_pods(NEW)
    assert is_about_pods(EXEC)
    assert not is_about_pods(asks("get", "pods", "w", namespace="ci"))


WIDGET = asks("create", "widgets", "w", namespace="ci", group="example.com", namespaced=True)


def widget(spec: Any, *accounts: AccountSeen, templates: tuple[Template, ...] = (), **seen: Any) -> Intent:
    known = PodsSeen(made_of={"spec": spec}, named=accounts, templates=templates, **seen)
    return msgspec.structs.replace(WIDGET, pods=known)


def named(*paths: str, id: str = "widgets", **pods: Any) -> Rule:
    made = rule("allow", "create patch", "widgets widgets/scale", groups="example.com", namespaces="ci", id=id)
    found = tuple(path for path in map(path_of, paths) if path is not None)
    return msgspec.structs.replace(made, pods=PodRules(templates=found, **pods))


DEFAULT = AccountSeen(account=Account("ci", "default"), rights=(SECRETS,))


@pytest.mark.parametrize(
    ("spec", "pods", "says"),
    [
        ({"size": 1}, {}, "spec.pod is not there, and pods are made of it"),
        ({"pod": 7}, {}, "spec.pod is neither a pod nor the name of a service account"),
        ({"pod": {"image": "i"}}, {"level": Level.RESTRICTED}, ""),
        ({"pod": {"hostPID": True}}, {"level": Level.BASELINE}, "spec.pod is not baseline: hostPID"),
        ({"pod": {"image": "i"}}, {"service_accounts": ("weak",)}, "spec.pod runs as service account default"),
        ({"pod": "strong"}, {"service_accounts": ("weak",)}, "spec.pod runs as service account strong"),
        ({"pod": "weak"}, {"service_accounts": ("weak",)}, ""),
        ({"pod": {"a": 1}}, {"automount_token": Action.DENY}, "spec.pod does not say automountServiceAccountToken"),
        ({"pod": {"nodeName": "n"}}, {"node_choice": False}, "spec.pod.nodeName chooses a node"),
    ],
)
def test_what_stands_where_a_rule_says_is_judged_as_a_pod(spec: Any, pods: dict[str, Any], says: str) -> None:
    accounts = [AccountSeen(account=Account("ci", name)) for name in ("default", "strong", "weak")]
    answered = found(widget(spec, *accounts), named("spec.pod", **pods))
    assert isinstance(answered, Deny) if says else isinstance(answered, Allow)
    assert not isinstance(answered, Deny) or says in answered.message


def test_what_names_no_account_where_a_rule_says_runs_as_the_default_one() -> None:
    refused = found(widget({"pod": {"image": "i"}}, DEFAULT), named("spec.pod"))
    assert isinstance(refused, Deny)
    assert "service account ci/default may also get secrets" in refused.message


def test_an_account_that_another_rule_names_a_place_for_counts_for_that_rule_alone() -> None:
    what = widget({"pod": {"image": "i"}, "runAs": "weak"}, DEFAULT, WEAK)
    other = named("spec.runAs", id="other")
    assert isinstance(found(what, named("spec.pod", id="pod")), Deny)
    assert isinstance(found(what, other), Allow)
    assert isinstance(found(what, named("spec.pod", id="pod"), other), Allow)


def test_an_account_that_nobody_has_looked_at_is_not_known() -> None:
    refused = found(widget({"pod": {"image": "i"}}), named("spec.pod"))
    assert isinstance(refused, Deny)
    assert "nobody has looked what service account default may do" in refused.message


def test_a_place_that_is_named_and_seen_counts_as_it_is_named() -> None:
    seen = Template("spec.pods[0]", {"containers": [{"name": "c"}]})
    what = widget({"pods": [seen.spec]}, AccountSeen(account=Account("ci", "default")), templates=(seen,))
    mend = named("spec.pods[*]", automount_token=Action.MEND)
    allowed = found(what, mend)
    assert isinstance(allowed, Allow)
    assert allowed.mends == (("spec", "pods", "[0]"),)
    assert isinstance(found(what, named("spec.other?", automount_token=Action.MEND)), Deny)


def test_what_reads_like_a_place_that_is_named_is_judged_besides() -> None:
    spec = {"containers": [{"name": "c", "image": "good"}]}
    bad = Template("spec.pod", {"containers": [{"name": "c", "image": "evil"}]})
    what = widget({"pod": spec}, AccountSeen(account=Account("ci", "default")), templates=(bad,))
    refused = found(what, named("spec.pod", images=("good",)))
    assert isinstance(refused, Deny)
    assert "evil" in refused.message


def test_what_makes_no_pods_has_none_where_a_rule_says() -> None:
    scaled = asks("patch", "widgets/scale", "w", namespace="ci", group="example.com", namespaced=True)
    assert isinstance(found(msgspec.structs.replace(scaled, pods=PodsSeen()), named("spec.pod")), Allow)
    more = PodsSeen(made_of={"spec": {"pod": {}}}, named=(DEFAULT,))
    assert isinstance(found(msgspec.structs.replace(scaled, pods=more), named("spec.pod")), Deny)


def test_all_the_places_that_any_rule_names_are_looked_at() -> None:
    made = compile_policies([policy(named("spec.a", "spec.b", id="a"), named("spec.b", "spec.c?", id="b"))], 1)
    paths = paths_named(made, chain_of(agent()), WIDGET, question_of(WIDGET))
    assert [path.text for path in paths] == ["spec.a", "spec.b", "spec.c"]


def test_what_people_let_through_is_mended_as_the_rule_says_that_offers_it() -> None:
    held = rule("approve", "create", "deployments", groups="apps", namespaces="ci", id="held")
    offered = msgspec.structs.replace(held, pods=PodRules(automount_token=Action.MEND))
    what = makes(WEAK, templates=(template(),))
    assert isinstance(found(what, offered), NeedsApproval)
    let_through = with_approvals(policy(offered, subjects=SUBJECTS), approvals=(approved("held"),), what=what)
    assert isinstance(let_through, Allow)
    assert let_through.mends == (("spec", "template", "spec"),)


TOKEN = asks("create", "serviceaccounts/token", "strong", namespace="ci")


def mints(pods: PodRules | None = None) -> Rule:
    made = rule("allow", "create", "serviceaccounts/token", namespaces="ci", id="mints")
    return msgspec.structs.replace(made, pods=pods)


@pytest.mark.parametrize("by", [agent(), workload("ci/op"), chain_of(person("ada"), agent())])
def test_a_token_of_an_account_that_can_do_more_is_made_for_nobody_who_minds(by: Identity | Chain) -> None:
    refused = found(makes(STRONG, what=TOKEN), mints(), by=by)
    assert isinstance(refused, Deny)
    assert "service account ci/strong may also get secrets in ci (RoleBinding ci/x)" in refused.message
    assert isinstance(found(makes(WEAK, what=TOKEN), mints(), by=by), Allow)
    assert isinstance(found(makes(STRONG, what=TOKEN), mints(PodRules(stronger_accounts=Action.ALLOW)), by=by), Allow)


def test_people_make_tokens_as_they_may() -> None:
    assert isinstance(found(makes(STRONG, what=TOKEN), mints(), by=person("ada")), Allow)
    strict = PodRules(stronger_accounts=Action.DENY)
    assert isinstance(found(makes(STRONG, what=TOKEN), mints(strict), by=person("ada")), Deny)


@pytest.mark.parametrize(
    ("audiences", "said"),
    [
        (("gate",), ""),
        (("gate", "vault"), ""),
        (("",), "the token is for the API server, and allowed are gate; vault"),
        (("gate", "other"), "the token is for other, and allowed are gate; vault"),
    ],
)
def test_a_token_is_for_the_audiences_of_the_rule_alone(audiences: tuple[str, ...], said: str) -> None:
    rules = PodRules(token_audiences=("gate", "vault"))
    for by in (agent(), person("ada")):
        decision = found(makes(WEAK, what=TOKEN, audiences=audiences), mints(rules), by=by)
        assert isinstance(decision, Allow) is (not said)
        if isinstance(decision, Deny):
            assert said in decision.message


def test_people_may_be_asked_about_another_audience() -> None:
    asking = msgspec.structs.replace(
        mints(PodRules(token_audiences=("gate",), otherwise=Action.APPROVE)), approval=TWO_OF_SRE
    )
    assert isinstance(found(makes(WEAK, what=TOKEN, audiences=("",)), asking), NeedsApproval)
