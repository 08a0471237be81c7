"""What people are asked about a held request, what they are shown, and what its sender is told."""

from __future__ import annotations

import msgspec
import pytest
from tests.deciding import NOW, agent, person

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Said, Voice
from narrowgate.core.decision import Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.request_info import request_info
from narrowgate.core.request_question import (
    DENIED_SECONDS,
    HeldRequest,
    is_refused_still,
    question_for_request,
    told,
)
from narrowgate.core.target import parse_target

NEEDS = NeedsApproval(
    rule=RuleRef("p", "a", 3),
    message="agent may not do this yet",
    hint="it needs approval by 2 of group sre",
    rules=(RuleRef("p", "a", 3), RuleRef("p", "b", 3)),
    asks=(Approval((Approvers("sre", 2),), 600.0), Approval((Approvers("dev", 1),), 60.0)),
)
TARGET = parse_target(b"/apis/apps/v1/namespaces/ci/deployments/web/scale?dryRun=All")
INTENT = Intent(cluster="prod", info=request_info("PATCH", TARGET))


def question(**other: object) -> ApprovalQuestion:
    who = chain_of(person("alice"), agent("bot", owner="person:carol"))
    held = HeldRequest(
        who=who, intent=INTENT, target=TARGET, body=b'{"a":1}', digest="d", audit_id="a1", purpose="roll"
    )
    return msgspec.structs.replace(question_for_request("q1", held, NEEDS, NOW), **other)


def test_it_asks_for_everything_at_once_within_the_shortest_time() -> None:
    asked = question()
    assert (asked.rules, asked.asks, asked.lapses_at) == (NEEDS.rules, NEEDS.asks, NOW + 60.0)
    assert (asked.digest, asked.credential, asked.state) == ("d", "c-bot", ApprovalState.PENDING)


def test_it_shows_who_asks_for_what() -> None:
    about = question().about
    assert (about.asked_by, about.chain, about.purpose) == ("agent:bot", ("person:alice", "agent:bot"), "roll")
    assert (about.verb, about.resource, about.namespace, about.name) == ("patch", "deployments/scale", "ci", "web")
    assert about.path == "/apis/apps/v1/namespaces/ci/deployments/web/scale?dryRun=All"
    assert about.summary == ("{", '  "a": 1', "}")


def test_it_says_what_a_yes_would_show() -> None:
    needs = msgspec.structs.replace(NEEDS, reveals=NEEDS.rules[:1])
    target = parse_target(b"/api/v1/namespaces/ci/secrets/key")
    reading = Intent(cluster="prod", info=request_info("GET", target))
    held = HeldRequest(who=chain_of(agent("bot")), intent=reading, target=target, digest="d", audit_id="a1")
    (line,) = question_for_request("q1", held, needs, NOW).about.summary
    assert line == "shows, this once, the values that are masked in it: reveal a of policy p"
    assert question_for_request("q1", held, NEEDS, NOW).about.summary == ()
    making = msgspec.structs.replace(held, intent=INTENT, target=TARGET)
    (line,) = question_for_request("q1", making, needs, NOW).about.summary
    assert line.startswith("uses something whose values are masked for its sender")


def test_nobody_in_the_chain_and_nobody_who_answers_for_its_agents_may_answer() -> None:
    assert question().excluded == ("alice", "carol")


def test_while_it_waits_its_sender_is_told_its_id_and_what_to_do() -> None:
    said = told(question(), NEEDS, NOW)
    assert isinstance(said, NeedsApproval)
    assert said.approval == "q1"
    assert "narrowgate approvals show q1" in said.hint
    assert "2 of group sre" in said.hint


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (ApprovalState.DENIED, "denied by bob: too risky"),
        (ApprovalState.LAPSED, "nobody answered in time"),
        (ApprovalState.WITHDRAWN, "withdrawn: too risky"),
        (ApprovalState.SPENT, "was used"),
        (ApprovalState.APPROVED, "do not count"),
    ],
)
def test_how_it_ended_is_told(state: ApprovalState, word: str) -> None:
    said = (
        Said(person="bob", voice=Voice.NO, comment="too risky", at=NOW),
        Said(person="eve", voice=Voice.YES, at=NOW),
    )
    answer = told(question(state=state, said=said, ended_because="too risky"), NEEDS, NOW)
    assert isinstance(answer, Deny)
    assert word in answer.message
    assert answer.rule == NEEDS.rule


def test_a_question_whose_time_is_over_is_told_as_lapsed() -> None:
    assert isinstance(told(question(), NEEDS, NOW + 60.0), Deny)


def test_what_was_denied_is_refused_for_a_time() -> None:
    denied = question(state=ApprovalState.DENIED, ended_at=NOW)
    assert is_refused_still(denied, NOW + DENIED_SECONDS - 1)
    assert not is_refused_still(denied, NOW + DENIED_SECONDS)
    assert not is_refused_still(question(state=ApprovalState.LAPSED, ended_at=NOW), NOW)
    assert not is_refused_still(question(), NOW)
