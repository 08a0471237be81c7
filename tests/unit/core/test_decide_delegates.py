"""What delegates may do: what the root of their chain may, within every task on the way, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import NOW, agent, asks, person, policy, rule, workload

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.grants import Grant, granted_rule
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Policy, Rule
from narrowgate.core.preview import could_be_allowed, could_be_entered, cover_if_approved
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.task_limits import Limits
from narrowgate.core.upstream_names import impersonation_headers

READS = rule("grantable", "get list", "pods configmaps", namespaces="ci")
ROOT = agent("bot", groups=("bots",), task="t1")
CHILD = agent("bot/helper", groups=("bots",), task="t2", delegated_by="t1")
GRANDCHILD = agent("bot/helper/second", groups=("bots",), task="t3", delegated_by="t2")
OFFERS = policy(READS, subjects="Agent/bot")


def grant(holder: Identity, *rules: Rule, **more: Any) -> Grant:
    made = Grant(
        task=holder.task,
        kind=holder.kind,
        name=holder.name,
        cluster="prod",
        rules=tuple(granted_rule(one, holder.task) for one in rules),
        begins_at=NOW - 10,
        ends_at=NOW + 10,
        parent=holder.delegated_by,
    )
    return msgspec.structs.replace(made, **more)


def pods(verbs: str = "get list") -> Rule:
    return rule("allow", verbs, "pods", namespaces="ci")


def maps() -> Rule:
    return rule("allow", "get list", "configmaps", namespaces="ci")


FIRST = grant(ROOT, pods(), maps())
SECOND = grant(CHILD, pods())
THIRD = grant(GRANDCHILD, pods("get"))
ALL = (FIRST, SECOND, THIRD)


def judged(
    *chain: Identity, what: Intent, grants: tuple[Grant, ...] = ALL, policies: tuple[Policy, ...] = (OFFERS,)
) -> Decision:
    return decide(chain_of(*chain), what, compile_policies(policies, 1), grants, (), NOW)


GET_POD = asks("get", "pods", "web", namespace="ci")
LIST_PODS = asks("list", "pods", namespace="ci")
GET_MAP = asks("get", "configmaps", "web", namespace="ci")


def test_a_delegate_does_what_was_delegated_to_it_by_its_roots_rule() -> None:
    allowed = judged(ROOT, CHILD, what=GET_POD)
    assert isinstance(allowed, Allow)
    assert allowed.tasks == ("t1", "t2")
    assert str(allowed.rule) == str(allowed.covers[0]) == "test/grantable-it"


def test_it_does_nothing_else_that_its_root_may_do() -> None:
    refused = judged(ROOT, CHILD, what=GET_MAP)
    assert isinstance(refused, Deny)
    assert 'task t2, which "bot" delegated to it, does not cover it' in refused.message
    assert refused.missing == ()
    assert isinstance(judged(ROOT, what=GET_MAP), Allow)


def test_a_second_delegate_is_bounded_by_every_task_above() -> None:
    assert isinstance(judged(ROOT, CHILD, GRANDCHILD, what=GET_POD), Allow)
    assert isinstance(judged(ROOT, CHILD, GRANDCHILD, what=LIST_PODS), Deny)
    wide = grant(GRANDCHILD, pods(), maps())
    assert isinstance(judged(ROOT, CHILD, GRANDCHILD, what=GET_MAP, grants=(FIRST, SECOND, wide)), Deny)


@pytest.mark.parametrize("missing", [FIRST, SECOND, THIRD])
def test_every_task_on_the_way_must_be_under_way(missing: Grant) -> None:
    left = tuple(one for one in ALL if one is not missing)
    assert isinstance(judged(ROOT, CHILD, GRANDCHILD, what=GET_POD, grants=left), Deny)
    over = msgspec.structs.replace(missing, ends_at=NOW)
    assert isinstance(judged(ROOT, CHILD, GRANDCHILD, what=GET_POD, grants=(*left, over)), Deny)


def test_what_stands_for_its_root_is_no_delegates_without_being_delegated() -> None:
    standing = policy(rule("allow", "get list", "pods configmaps nodes"), subjects="Agent/* Group/bots Group/*")
    for grants in (ALL, (), (FIRST,)):
        assert isinstance(judged(ROOT, CHILD, what=GET_MAP, grants=grants, policies=(standing,)), Deny)
    assert isinstance(judged(ROOT, CHILD, what=GET_POD, grants=(SECOND,), policies=(standing,)), Deny)
    everywhere = policy(rule("allow", "get list", "pods configmaps", namespaces="ci"), subjects="Agent/*")
    assert isinstance(judged(ROOT, CHILD, what=GET_POD, policies=(everywhere,)), Allow)
    assert isinstance(judged(ROOT, CHILD, what=GET_MAP, policies=(everywhere,)), Deny)


def test_the_name_of_a_delegate_means_nothing_to_policies() -> None:
    named = policy(rule("allow", "get", "secrets", namespaces="ci"), name="named", subjects="Agent/bot/helper")
    secret = asks("get", "secrets", "k", namespace="ci")
    assert isinstance(judged(ROOT, CHILD, what=secret, policies=(OFFERS, named)), Deny)


def test_a_deny_rule_for_its_root_holds_for_a_delegate() -> None:
    denied = policy(rule("deny", "get", "pods", namespaces="ci"), name="no", subjects="Agent/bot")
    refused = judged(ROOT, CHILD, what=GET_POD, policies=(OFFERS, denied))
    assert isinstance(refused, Deny)
    assert str(refused.rule) == "no/deny-it"


def test_what_people_are_asked_about_for_its_root_they_are_asked_about_for_a_delegate() -> None:
    held = policy(rule("approve", "get", "pods", namespaces="ci"), name="held", subjects="Agent/bot")
    assert isinstance(judged(ROOT, CHILD, what=GET_POD, policies=(OFFERS, held)), NeedsApproval)
    everything = policy(rule("approve", "*", "*", groups="core *"), name="held", subjects="Agent/bot")
    assert isinstance(judged(ROOT, CHILD, what=GET_MAP, policies=(OFFERS, everything)), Deny)


@pytest.mark.parametrize(
    "chain",
    [
        (CHILD,),
        (CHILD, ROOT),
        (ROOT, GRANDCHILD),
        (CHILD, GRANDCHILD),
        (agent("other", groups=("bots",), task="t1"), CHILD),
        (agent("bot", groups=("bots",), task="t9"), CHILD),
        (agent("bot", groups=("bots",)), CHILD),
        (agent("bot", groups=("admins",), task="t1"), CHILD),
        (person("bot", "bots"), CHILD),
        (workload("bot"), CHILD),
        (ROOT, agent("bot/a/b", groups=("bots",), task="t2", delegated_by="t1")),
        (ROOT, agent("bots/helper", groups=("bots",), task="t2", delegated_by="t1")),
    ],
)
def test_a_delegate_counts_only_behind_the_one_who_delegated_to_it(chain: tuple[Identity, ...]) -> None:
    open_to_all = policy(
        rule("allow", "*", "*", groups="core *"), subjects="Agent/* Person/* ServiceAccount/* Group/*", name="open"
    )
    assert isinstance(judged(*chain, what=GET_POD, policies=(OFFERS, open_to_all)), Deny)


def test_a_pod_of_several_authors_speaks_for_the_chains_of_all_of_them() -> None:
    other = agent("other", groups=("others",), task="t8")
    second = agent("bot/second", groups=("bots",), task="t9", delegated_by="t1")
    pod = workload("ci/pod")
    reads = policy(rule("allow", "get", "pods", namespaces="ci"), name="pods", subjects="ServiceAccount/ci/pod")
    others = policy(READS, name="others", subjects="Agent/other")
    grants = (*ALL, grant(second, pods()), grant(other, pods(), maps()))
    written = (OFFERS, others, reads)
    chain = (ROOT, CHILD, second, other, pod)
    assert isinstance(judged(*chain, what=GET_POD, grants=grants, policies=written), Allow)
    # Each delegate is bounded by the root of its own chain, whoever stands between them.
    mixed = (ROOT, other, CHILD, pod)
    assert isinstance(judged(*mixed, what=GET_POD, grants=grants, policies=written), Allow)
    lost = tuple(one for one in grants if one.task != "t1")
    assert isinstance(judged(*mixed, what=GET_POD, grants=lost, policies=written), Deny)
    less = tuple(one for one in grants if one.task != "t9")
    assert isinstance(judged(*chain, what=GET_POD, grants=less, policies=written), Deny)


def test_the_grant_of_another_task_bounds_nobody() -> None:
    for other in ({"parent": "t9"}, {"parent": ""}, {"name": "bot/other"}, {"task": "t9"}, {"cluster": "dev"}):
        stray = msgspec.structs.replace(SECOND, **other)
        assert isinstance(judged(ROOT, CHILD, what=GET_POD, grants=(FIRST, stray)), Deny)


def test_the_delegated_grant_gives_its_root_nothing() -> None:
    stolen = msgspec.structs.replace(SECOND, name="bot", task="t1")
    assert isinstance(judged(ROOT, what=GET_POD, grants=(stolen,)), Deny)
    assert not stolen.is_grantable_by(OFFERED, NOW)


OFFERED = next(one for one in compile_policies([OFFERS], 1).holding(ROOT, "prod").rules if one.rule.id == READS.id)


def test_discovery_is_open_to_a_delegate_with_something_to_do() -> None:
    version = msgspec.structs.replace(GET_POD, info=msgspec.structs.replace(GET_POD.info, is_resource_request=False))
    version = msgspec.structs.replace(
        version, info=msgspec.structs.replace(version.info, path="/version", resource="", namespace="", name="")
    )
    assert isinstance(judged(ROOT, CHILD, what=version), Allow)
    assert isinstance(judged(ROOT, CHILD, what=version, grants=(FIRST,)), Deny)


def test_the_requests_of_a_delegate_count_for_its_root_as_well() -> None:
    limited = tuple(msgspec.structs.replace(one, limits=Limits(one.task, 5, None)) for one in ALL)
    allowed = judged(ROOT, CHILD, GRANDCHILD, what=GET_POD, grants=limited)
    assert isinstance(allowed, Allow)
    assert [one.task for one in allowed.limits] == ["t1", "t2", "t3"]


def test_it_lasts_as_long_as_the_first_of_them_to_end() -> None:
    sooner = msgspec.structs.replace(SECOND, ends_at=NOW + 3)
    allowed = judged(ROOT, CHILD, GRANDCHILD, what=GET_POD, grants=(FIRST, sooner, THIRD))
    assert isinstance(allowed, Allow)
    assert allowed.deadline == NOW + 3


def test_a_list_shows_a_delegate_the_objects_that_were_delegated() -> None:
    one = grant(CHILD, rule("allow", "get list", "pods", namespaces="ci", names="web"))
    allowed = judged(ROOT, CHILD, what=LIST_PODS, grants=(FIRST, one))
    assert isinstance(allowed, Allow)
    assert allowed.visible is not None
    assert [place.name for place in allowed.visible.places] == ["web"]
    assert allowed.tasks == ("t1", "t2")


def test_nothing_is_fetched_for_a_delegate_that_it_could_not_be_allowed() -> None:
    book = compile_policies([OFFERS], 1)
    assert could_be_allowed(chain_of(ROOT, CHILD), GET_POD, book, ALL, NOW) is not None
    assert could_be_allowed(chain_of(ROOT, CHILD), GET_MAP, book, ALL, NOW) is None
    assert could_be_entered(chain_of(ROOT, CHILD), GET_MAP, book, ALL, NOW) is None
    assert could_be_entered(chain_of(ROOT, CHILD), GET_POD, book, ALL, NOW) is not None
    assert cover_if_approved(chain_of(ROOT, CHILD), GET_POD, book, ALL, NOW) is not None
    assert cover_if_approved(chain_of(ROOT, CHILD), GET_MAP, book, ALL, NOW) is None


def test_the_cluster_knows_a_delegate_by_the_name_that_the_gate_may_impersonate() -> None:
    sent = dict(impersonation_headers(chain_of(ROOT, CHILD), "r1"))
    assert sent[b"impersonate-user"] == b"narrowgate:agent:bot"
    told = [value for name, value in impersonation_headers(chain_of(ROOT, CHILD), "r1") if b"chain" in name]
    assert told == [b"agent:bot", b"agent:bot/helper"]


def test_a_condition_sees_the_delegate_as_its_root() -> None:
    own = rule("allow", "get", "pods", namespaces="ci", when='request.userInfo.username == "bot"')
    assert isinstance(judged(ROOT, CHILD, what=GET_POD, policies=(policy(own, subjects="Agent/bot"),)), Allow)


def test_its_rules_are_listed_without_what_stands_for_its_root() -> None:
    standing = policy(rule("allow", "get", "secrets"), rule("deny", "get", "nodes", id="no"), subjects="Agent/bot")
    listed = compile_policies([standing], 1).rules_for(CHILD, "prod", "ci")
    assert [str(one.ref) for one in listed if one.ref.policy != "narrowgate"] == ["test/no"]


def test_its_kind_is_an_agent_and_its_groups_are_its_roots() -> None:
    assert CHILD.kind is Kind.AGENT
    assert (ROOT.known_as, GRANDCHILD.known_as, person("a/b").known_as) == ("bot", "bot", "a/b")
