"""What a task asks for: words as rules, and only what some policy offers for so long."""

from __future__ import annotations

import msgspec
import pytest
from tests.deciding import TWO_OF_SRE, agent, policy, rule

from narrowgate.core.policy import OnEnd, Policy
from narrowgate.core.rulebook import Holding, compile_policies
from narrowgate.core.wanted import (
    NotOffered,
    Offer,
    WantedRefused,
    longest_offered,
    offer_of,
    read_wanted,
    strictest_end,
    wanted_text,
)


def holding(*policies: Policy) -> Holding:
    return compile_policies(policies, 1).holding(agent(), "prod")


def offer(words: str, *policies: Policy, seconds: float = 60.0) -> Offer:
    wanted = [read_wanted(text, number) for number, text in enumerate(words.split("; "), 1)]
    return offer_of(holding(*policies), wanted, seconds)


@pytest.mark.parametrize(
    ("words", "verbs", "group", "resource", "namespaces", "names"),
    [
        ("get,list,watch deployments.apps -n ci", "get list watch", "apps", "deployments", ("ci",), None),
        ("get  deployments   -n ci,prod", "get", "apps", "deployments", ("ci", "prod"), None),
        ("patch deployments.apps/web -n ci", "patch", "apps", "deployments", ("ci",), ("web",)),
        ("get pods/log -n ci", "get", "", "pods/log", ("ci",), None),
        ("create pods/exec/web-1 -n ci", "create", "", "pods/exec", ("ci",), ("web-1",)),
        ("get nodes", "get", "", "nodes", None, None),
        ("get widgets.example.com -n ci", "get", "example.com", "widgets", ("ci",), None),
        ("get pods -n *", "get", "", "pods", ("*",), None),
    ],
)
def test_words_become_a_rule(
    words: str, verbs: str, group: str, resource: str, namespaces: tuple[str, ...] | None, names: tuple[str, ...] | None
) -> None:
    made = read_wanted(words, 3)
    assert (made.id, made.verbs, made.api_groups, made.resources) == (
        "allow-3",
        tuple(verbs.split()),
        (group,),
        (resource,),
    )
    assert (made.namespaces, made.names, made.when) == (namespaces, names, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("get pods", "names no namespace; add -n"),
        ("get po -n ci", 'write "pods"'),
        ("get widgets -n ci", "in no group known here"),
        ("pods -n ci", "is not written like"),
        ("", "is not written like"),
        ("get pods -n ci extra", "is not written like"),
        ("get, pods -n ci", "empty verb"),
        ("get nodes -n ci", "live in no namespace"),
        ("get pods/a/b/c -n ci", "is not written like"),
        ("get pods/UPPER -n ci", "more behind the resource"),
        ("get pods -n ../x", "is no namespace"),
        ("get pods -n ci\nget secrets -n ci", "is not written like"),
    ],
)
def test_what_is_not_plain_is_refused_in_words(words: str, says: str) -> None:
    with pytest.raises(WantedRefused, match=says):
        read_wanted(words, 1)


READS = policy(rule("grantable", "get list watch", "pods", namespaces="ci", id="reads"))


def test_what_a_policy_offers_is_offered_by_its_rule() -> None:
    assert offer("get,list pods -n ci; get pods/web -n ci", READS) == Offer(("test/reads",), ())


@pytest.mark.parametrize(
    "words",
    [
        "delete pods -n ci",
        "get pods -n prod",
        "get pods -n *",
        "get pods -n ci,prod",
        "* pods -n ci",
        "get secrets -n ci",
        "get pods/log -n ci",
        "get pods -n ci; get secrets -n ci",
    ],
)
def test_more_than_that_is_not_offered(words: str) -> None:
    with pytest.raises(NotOffered, match="no policy offers it to you"):
        offer(words, READS)


def test_standing_access_is_no_offer_of_a_task() -> None:
    with pytest.raises(NotOffered, match="no policy offers"):
        offer("get pods -n ci", policy(rule("allow", "get", "pods", namespaces="ci")))


def test_longer_than_the_rule_lasts_is_not_offered() -> None:
    with pytest.raises(NotOffered, match="granted for 1m at most; ask for less time"):
        offer("get pods -n ci", READS, seconds=61.0)


def test_what_a_rule_denies_is_not_offered() -> None:
    with pytest.raises(NotOffered, match="rule test/no denies it, and nothing lifts that"):
        offer("get pods -n ci", policy(*READS.rules, rule("deny", "*", "pods", id="no")))


def test_names_are_offered_by_name() -> None:
    named = policy(rule("grantable", "patch", "deployments", groups="apps", namespaces="ci", names="web"))
    assert offer("patch deployments.apps/web -n ci", named).rules
    for wider in ("patch deployments.apps -n ci", "patch deployments.apps/db -n ci"):
        with pytest.raises(NotOffered):
            offer(wider, named)


def test_whoever_must_be_asked_is_told_and_nobody_is_asked_where_it_can_be_avoided() -> None:
    asked = msgspec.structs.replace(
        rule("grantable", "get delete", "pods", namespaces="ci", id="asked"), approval=TWO_OF_SRE
    )
    both = policy(asked, *READS.rules)
    assert offer("get pods -n ci", both) == Offer(("test/reads",), ())
    assert offer("get,delete pods -n ci", both) == Offer(("test/asked", "test/reads"), (TWO_OF_SRE,))


def test_a_task_asks_for_something_and_not_for_everything() -> None:
    with pytest.raises(NotOffered, match="1 to 32 rules"):
        offer_of(holding(READS), [], 60.0)
    with pytest.raises(NotOffered, match="not one piece of work"):
        offer("get,list,watch pods -n " + ",".join(f"ns-{number}" for number in range(2_000)), READS)


@pytest.mark.parametrize(
    "text",
    [
        "get,list,watch deployments.apps -n ci",
        "patch deployments.apps/web -n ci",
        "create pods/exec/web -n ci,prod",
        "get pods/log -n *",
        "get nodes",
        "* * -n *",
        "get *.apps -n ci",
        "get widgets.example.com",
    ],
)
def test_a_rule_is_written_as_it_was_read(text: str) -> None:
    assert wanted_text(read_wanted(text, 1)) == text


def test_a_group_that_went_without_saying_is_said() -> None:
    assert wanted_text(read_wanted("get  deployments -n  ci", 1)) == "get deployments.apps -n ci"


def test_the_longest_time_is_that_of_the_part_that_is_offered_for_the_shortest() -> None:
    short = rule("grantable", "get", "pods", namespaces="ci", id="short")
    long = msgspec.structs.replace(rule("grantable", "get list", "pods", namespaces="ci", id="long"), max_duration=600)
    held = holding(policy(short, long, rule("grantable", "get", "secrets", namespaces="ci", id="secrets")))
    offered = {
        words: longest_offered(held, [read_wanted(f"{one} -n ci", 1) for one in words.split("; ")])
        for words in ("get pods", "watch pods", "get,list pods", "get,watch pods", "get pods; get secrets")
    }
    assert list(offered.values()) == [600, 0, 600, 0, 60]
    assert longest_offered(held, []) == 0


def limited(requests: int | None = None, streams: int | None = None, **more: object) -> Policy:
    widest = rule("grantable", "get list", "pods", namespaces="ci", max_requests=requests, max_streams=streams)
    return policy(msgspec.structs.replace(widest, **more), name=str(more.get("id", "limited")))


def test_an_offer_is_limited_as_the_tightest_rule_that_it_rests_on() -> None:
    maps = policy(rule("grantable", "get", "configmaps", namespaces="ci", max_requests=50), name="maps")
    assert offer("get pods -n ci", limited()).max_requests is None
    both = offer("get pods -n ci; get configmaps -n ci", limited(200, 3), maps)
    assert (both.max_requests, both.max_streams) == (50, 3)


def test_of_several_rules_that_ask_nobody_it_rests_on_the_widest() -> None:
    found = offer("get pods -n ci", limited(5, id="a"), limited(500, id="b"), limited(500, 2, id="c"))
    assert (found.rules, found.max_requests, found.max_streams) == (("b/b",), 500, None)
    # Whom it asks matters more than how much it gives.
    asking = limited(id="a", approval=TWO_OF_SRE)
    assert offer("get pods -n ci", asking, limited(5, id="b")).rules == ("b/b",)


def test_a_rule_that_asks_for_a_link_offers_nothing_without_it_and_says_which() -> None:
    wanted = [read_wanted("get pods -n ci", 1)]
    linked = limited(id="read", links=("https://tickets.corp/", "https://bugs.corp/"))
    with pytest.raises(NotOffered) as caught:
        offer_of(holding(linked), wanted, 60.0, "https://tickets.corp.evil.example/1")
    assert str(caught.value) == (
        "get pods -n ci: rule read/read asks for a link that begins with https://tickets.corp/ or https://bugs.corp/; "
        "name the ticket with --link"
    )
    assert offer_of(holding(linked), wanted, 60.0, "https://bugs.corp/1").rules == ("read/read",)
    # Another rule that asks for none is enough.
    assert offer_of(holding(linked, limited(7, id="z")), wanted, 60.0).rules == ("z/z",)


def test_an_offer_deletes_in_the_end_where_one_rule_does_and_rests_on_one_that_leaves_where_it_can() -> None:
    deletes = limited(id="a", on_end=OnEnd.DELETE_WORKLOADS)
    maps = policy(rule("grantable", "get", "configmaps", namespaces="ci"), name="maps")
    assert offer("get pods -n ci; get configmaps -n ci", deletes, maps).on_end is OnEnd.DELETE_WORKLOADS
    assert offer("get configmaps -n ci", deletes, maps).on_end is OnEnd.LEAVE
    found = offer("get pods -n ci", deletes, limited(5, id="b"))
    assert (found.rules, found.on_end) == (("b/b",), OnEnd.LEAVE)
    assert strictest_end() is OnEnd.LEAVE
