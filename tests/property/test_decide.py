"""Laws of deciding, in a small world where everything collides."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deciding import NOW, is_part, is_whole, policy, rule
from tests.property.decide_model import chains, intents, lists, named, objects_of, policy_sets, rules, verdict

from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.explain import explain
from narrowgate.core.identity import Chain, Identity, Kind, chain_of
from narrowgate.core.intent import Intent, Use
from narrowgate.core.policy import Effect, Policy
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies

GIVING = (Effect.ALLOW, Effect.GRANTABLE)

bounded = settings(max_examples=200, deadline=None)


def answer(chain: Chain, what: Intent, policies: list[Policy]) -> Decision:
    return decide(chain, what, compile_policies(policies, 1), (), (), NOW)


def everybodys(*more: Any) -> Policy:
    return policy(*more, name="added", subjects="Agent/* Person/*", clusters="*")


@settings(max_examples=800, deadline=None)
@given(chains, intents(), policy_sets())
def test_it_decides_as_the_sets_of_objects_do(chain: Chain, what: Intent, policies: list[Policy]) -> None:
    decision = answer(chain, what, policies)
    found = "a part" if is_part(decision) else type(decision).__name__
    # What of a list may be seen is the next law's affair.
    assert found == verdict(chain, what, policies) or (found == "a part" and verdict(chain, what, policies) != "Allow")


@settings(max_examples=800, deadline=None)
@given(chains, lists(), policy_sets())
def test_a_list_shows_what_could_be_asked_for_object_by_object(
    chain: Chain, what: Intent, policies: list[Policy]
) -> None:
    decision = answer(chain, what, policies)
    alone = {where: isinstance(answer(chain, named(what, where), policies), Allow) for where in objects_of(what)}
    if is_whole(decision):
        assert all(alone.values())
    elif isinstance(decision, Allow) and decision.visible is not None:
        shown = {where: decision.visible.shows(where) for where in alone}
        assert shown == alone
        parts = decision.visible.parts()
        for where in alone:
            holding = [part for part in parts if decision.visible.shown_in(part)(where)]
            assert len(holding) == shown[where], "what is seen is in one part, and nothing else is in any"
            assert all(part.has(where) for part in holding)
    else:
        assert not any(alone.values())


@bounded
@given(chains, intents(), policy_sets(), st.randoms())
def test_order_changes_nothing_not_even_the_reason(
    chain: Chain, what: Intent, policies: list[Policy], chance: random.Random
) -> None:
    shuffled = [policy(*chance.sample(one.rules, len(one.rules)), name=one.name) for one in policies]
    shuffled = [
        Policy(name=new.name, subjects=old.subjects, clusters=old.clusters, rules=new.rules, file=old.file, line=1)
        for new, old in zip(shuffled, policies, strict=True)
    ]
    chance.shuffle(shuffled)
    assert answer(chain, what, shuffled) == answer(chain, what, policies)


@bounded
@given(chains, intents(), policy_sets())
def test_a_deny_of_everything_always_wins(chain: Chain, what: Intent, policies: list[Policy]) -> None:
    decision = answer(chain, what, [*policies, everybodys(rule("deny", "*", "*", groups="*"))])
    assert isinstance(decision, Deny)
    assert decision.rule is not None


@bounded
@given(chains, intents(), policy_sets(), rules((Effect.ALLOW,)))
def test_adding_an_allow_takes_nothing_away(chain: Chain, what: Intent, policies: list[Policy], more: Any) -> None:
    before, after = answer(chain, what, policies), answer(chain, what, [*policies, everybodys(more)])
    assert not isinstance(before, Allow) or isinstance(after, Allow)
    assert not isinstance(before, NeedsApproval) or isinstance(after, NeedsApproval) or is_part(after)


@bounded
@given(chains, intents(), policy_sets(), rules((Effect.DENY, Effect.APPROVE)))
def test_adding_a_guard_opens_nothing(chain: Chain, what: Intent, policies: list[Policy], more: Any) -> None:
    before, after = answer(chain, what, policies), answer(chain, what, [*policies, everybodys(more)])
    assert isinstance(before, Allow) or not isinstance(after, Allow)


@bounded
@given(chains, intents(), policy_sets((Effect.DENY, Effect.GRANTABLE, Effect.APPROVE)))
def test_without_an_allow_nothing_is_allowed(chain: Chain, what: Intent, policies: list[Policy]) -> None:
    assert not isinstance(answer(chain, what, policies), Allow)


@bounded
@given(chains, intents(), rules(GIVING), st.sampled_from(["verbs", "api_groups", "resources", "namespaces", "names"]))
def test_an_empty_list_matches_nothing(chain: Chain, what: Intent, more: Any, emptied: str) -> None:
    hollow = msgspec.structs.replace(more, **{emptied: ()})
    assert isinstance(answer(chain, what, [everybodys(hollow)]), Deny)


@bounded
@given(chains, intents(), policy_sets())
def test_a_chain_may_do_what_each_member_may(chain: Chain, what: Intent, policies: list[Policy]) -> None:
    alone = [answer(chain_of(member), what, policies) for member in chain]
    together = answer(chain, what, policies)
    assert is_whole(together) == all(is_whole(one) for one in alone)
    if is_whole(together):
        assert isinstance(together, Allow)
        assert together.covers == tuple(one.rule for one in alone if isinstance(one, Allow))


@bounded
@given(chains, intents(), policy_sets())
def test_using_more_opens_nothing(chain: Chain, what: Intent, policies: list[Policy]) -> None:
    less = msgspec.structs.replace(what, uses=what.uses[1:])
    if isinstance(answer(chain, what, policies), Allow):
        assert isinstance(answer(chain, less, policies), Allow)


@bounded
@given(chains, intents(), policy_sets())
def test_an_explanation_gives_the_decision_and_the_rule_that_made_it(
    chain: Chain, what: Intent, policies: list[Policy]
) -> None:
    decision = answer(chain, what, policies)
    found = explain(chain, what, compile_policies(policies, 1), NOW)
    assert found.answer == {"Allow": "allow", "Deny": "deny", "NeedsApproval": "needsApproval"}[type(decision).__name__]
    assert found.rule == (str(decision.rule) if decision.rule else "")
    matching = {f"{rule.policy}/{rule.rule}" for part in found.parts for rule in part.rules if rule.matches}
    assert not found.rule or found.rule in matching or is_part(decision)
    assert str(found)


@bounded
@given(chains, intents(), policy_sets())
def test_objects_are_fetched_whenever_a_condition_that_matters_looks_at_them(
    chain: Chain, what: Intent, policies: list[Policy]
) -> None:
    book = compile_policies(policies, 1)
    needs = book.object_needs(chain, what)
    # What is not needed may be anything at all without making a difference.
    other = {
        key: {"metadata": what.object["metadata"]}
        if key == "object" and what.object
        else {"none": {"at": {"all": True}}}
        for key, needed in (("object", needs.object), ("old_object", needs.old_object))
        if not needed and not (key == "object" and what.info.verb == "create")
    }
    changed = msgspec.structs.replace(what, **other)
    assert type(decide(chain, changed, book, (), (), NOW)) is type(decide(chain, what, book, (), (), NOW))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)
words = st.text(max_size=6) | st.sampled_from(["create", "pods", "namespaces", "exec", "proxy", "*", "ci"])


@bounded
@given(
    st.builds(
        Intent,
        cluster=words,
        info=st.builds(
            RequestInfo,
            is_resource_request=st.booleans(),
            path=words,
            verb=words,
            api_group=words,
            namespace=words,
            resource=words,
            subresource=words,
            name=words,
        ),
        namespaced=st.booleans(),
        object=anything,
        old_object=anything,
        object_missing=words,
        unseen=st.just("") | words,
        uses=st.lists(
            st.builds(
                Use,
                verbs=st.lists(words, max_size=2).map(tuple),
                api_group=words,
                resource=words,
                namespace=words,
                name=words,
                because=words,
            ),
            max_size=2,
        ).map(tuple),
    ),
    st.builds(
        Identity,
        kind=st.sampled_from(Kind),
        name=words,
        groups=st.lists(words, max_size=2).map(tuple),
        proven_by=words,
        credential=words,
        cluster=words,
        expires_at=st.none() | st.floats(),
    ),
)
def test_it_answers_whatever_is_asked_in_one_printable_line(what: Intent, member: Identity) -> None:
    policies = [
        everybodys(
            rule("allow", "*", "*", groups="*", namespaces="*", when="object == null || has(object.spec)", id="a"),
            rule("allow", "*", urls="*", id="u"),
            rule("deny", "*", "pods", groups="*", when="oldObject.spec == object.spec", names="x y", id="d"),
            rule("approve", "*", "namespaces", id="p"),
        ),
        policy(
            rule("allow", "*", "*", groups="*", namespaces="ci"), name="b", subjects="ServiceAccount/*", clusters="*"
        ),
    ]
    decision = answer(chain_of(member), what, policies)
    if not isinstance(decision, Allow):
        assert decision.message.isprintable()
        assert decision.hint.isprintable()
        assert explain(chain_of(member), what, compile_policies(policies, 1), NOW).message == decision.message
