"""Laws of requests that people approve: which request is which, and what a yes can lift."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deciding import NOW, TWO_OF_SRE, agent, person
from tests.property.decide_model import chains, intents, policy_sets

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.core.decide import decide
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval, RuleRef
from narrowgate.core.digest import request_digest
from narrowgate.core.identity import Chain, Identity
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Approval, Approvers, Policy
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.target import Target

bounded = settings(max_examples=300, deadline=None)

words = st.sampled_from(["", "a", "b", "ab", "a=b", "a&b", "\0", "é"])
senders = st.builds(
    lambda who, credential, task: msgspec.structs.replace(who, credential=credential, task=task),
    st.sampled_from([agent("one"), agent("two"), person("one")]),
    words,
    words,
)


class Sent(msgspec.Struct, frozen=True):
    """A request, as far as its digest goes."""

    sender: Identity
    cluster: str
    verb: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    content_type: str
    body: bytes

    def digest(self) -> str:
        path = "/" + "/".join(self.segments)
        info = RequestInfo(is_resource_request=False, path=path, verb=self.verb)
        target = Target(self.segments, path, self.query)
        intent = Intent(cluster=self.cluster, info=info)
        return request_digest(self.sender, intent, target, self.content_type.encode(), self.body)

    def meaning(self) -> Any:
        """What it means, without any order that means nothing."""
        values = {key: [value for name, value in self.query if name == key] for key, _ in self.query}
        form = self.content_type.strip().lower() if self.body else None
        return self.sender, self.cluster, self.verb, self.segments, values, form, self.body


sent = st.builds(
    Sent,
    senders,
    st.sampled_from(["prod", "dev"]),
    st.sampled_from(["get", "create", "patch"]),
    st.lists(st.sampled_from(["a", "b", "ab"]), max_size=2).map(tuple),
    st.lists(st.tuples(words, words), max_size=4).map(tuple),
    st.sampled_from(["", "application/json", "Application/JSON ", "application/merge-patch+json"]),
    st.sampled_from([b"", b"{}", b"{} ", b"a"]),
)


@st.composite
def pairs(draw: Any) -> tuple[Sent, Sent]:
    """Two requests that mostly differ in a single thing, or in none."""
    one, other = draw(sent), draw(sent)
    kept = draw(st.sets(st.sampled_from(Sent.__struct_fields__), min_size=5))
    other = msgspec.structs.replace(other, **{name: getattr(one, name) for name in kept})
    if draw(st.booleans()):
        other = msgspec.structs.replace(other, query=tuple(draw(st.permutations(other.query))))
    return one, other


@settings(max_examples=1000, deadline=None)
@given(pairs())
def test_two_requests_have_one_digest_where_and_only_where_they_mean_the_same(pair: tuple[Sent, Sent]) -> None:
    one, other = pair
    assert (one.digest() == other.digest()) is (one.meaning() == other.meaning())


asks = st.sampled_from([TWO_OF_SRE, Approval((Approvers("sre", 1),), 600.0)])
states = st.sampled_from(ApprovalState)
times = st.sampled_from([NOW - 1, NOW, NOW + 1, float("nan")])


@st.composite
def questions(draw: Any, policies: list[Policy]) -> ApprovalQuestion:
    """A question about some of the rules there are, and about others; often one that may be used."""
    known = [RuleRef(one.name, rule.id) for one in policies for rule in one.rules]
    rules = draw(st.lists(st.sampled_from([*known, RuleRef("x", "y")]), unique=True))
    if draw(st.booleans()):
        rules = known
    usable = draw(st.booleans())
    return ApprovalQuestion(
        id=draw(st.sampled_from(["a", "b"])),
        asks=tuple(TWO_OF_SRE if usable else draw(asks) for _ in rules),
        rules=tuple(rules),
        digest="d",
        asked_at=NOW - 10,
        lapses_at=NOW + 5 if usable else draw(times),
        state=ApprovalState.APPROVED if usable else draw(states),
    )


def answer(chain: Chain, what: Intent, policies: list[Policy], *approvals: ApprovalQuestion) -> Decision:
    return decide(chain, what, compile_policies(policies, 1), (), approvals, NOW)


@settings(max_examples=600, deadline=None)
@given(st.data(), chains, intents(), policy_sets())
def test_a_yes_lifts_exactly_what_it_was_asked_for(
    data: Any, chain: Chain, what: Intent, policies: list[Policy]
) -> None:
    question = data.draw(questions(policies))
    without, decision = answer(chain, what, policies), answer(chain, what, policies, question)
    if not isinstance(without, NeedsApproval):
        assert decision == without
        return
    in_time = question.state is ApprovalState.APPROVED and question.lapses_at > NOW
    asked = {(ref.policy, ref.rule, ask) for ref, ask in zip(question.rules, question.asks, strict=True)}
    needed = {(ref.policy, ref.rule, ask) for ref, ask in zip(without.rules, without.asks, strict=True)}
    if in_time and needed <= asked:
        assert isinstance(decision, Allow)
        assert decision.approval == question.id
        assert decision.deadline is not None
        assert decision.deadline <= question.lapses_at
    else:
        assert decision == without


@bounded
@given(st.data(), chains, intents(), policy_sets())
def test_no_number_of_approvals_lifts_a_deny(data: Any, chain: Chain, what: Intent, policies: list[Policy]) -> None:
    given_yes = data.draw(st.lists(questions(policies), max_size=3))
    if isinstance(answer(chain, what, policies), Deny):
        assert isinstance(answer(chain, what, policies, *given_yes), Deny)


@bounded
@given(chains, intents(), policy_sets())
def test_a_question_that_asks_for_all_that_holds_a_request_is_enough(
    chain: Chain, what: Intent, policies: list[Policy]
) -> None:
    needs = answer(chain, what, policies)
    if isinstance(needs, NeedsApproval):
        question = ApprovalQuestion(
            id="q",
            asks=needs.asks,
            rules=needs.rules,
            asked_at=NOW,
            lapses_at=NOW + 1,
            state=ApprovalState.APPROVED,
        )
        assert isinstance(answer(chain, what, policies, question), Allow)
