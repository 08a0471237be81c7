"""A question as programs read it."""

from __future__ import annotations

import msgspec

from narrowgate.core.approval_document import BRIEF_LINES, BRIEF_TEXT, approval_document, brief_document
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState, Matter, Said, Voice
from narrowgate.core.decision import RuleRef
from narrowgate.core.policy import Approval, Approvers

NOW = 1_700_000_000.0
QUESTION = ApprovalQuestion(
    id="q1",
    asks=(Approval((Approvers("sre", 2), Approvers("security", 1)), 600.0),),
    rules=(RuleRef("ci", "secrets", 3),),
    digest="d",
    credential="c1",
    about=Matter(
        asked_by="agent:bot",
        chain=("person:zoe", "agent:bot"),
        verb="patch",
        api_group="apps",
        resource="deployments/scale",
        path="/apis/apps/v1/namespaces/ci/deployments/web/scale",
        summary=("spec:",),
    ),
    excluded=("zoe",),
    asked_at=NOW,
    lapses_at=NOW + 600,
    said=(Said(person="ada", voice=Voice.YES, comment="fine", at=NOW + 5, stands_for=("alice",)),),
)


def test_moments_and_lengths_are_written_as_everywhere_and_rules_as_policies_have_them() -> None:
    found = msgspec.json.decode(msgspec.json.encode(approval_document(QUESTION, NOW + 6, may_answer=True)))
    assert (found["askedAt"], found["lapsesAt"], found["endedAt"]) == (
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:23:20Z",
        None,
    )
    assert found["rules"] == ["ci/secrets"]
    assert found["asks"] == [
        {
            "from": [{"group": "sre", "count": 2}, {"group": "security", "count": 1}],
            "within": "10m",
            "notByOwner": False,
        }
    ]
    answer = {"person": "ada", "answer": "yes", "comment": "fine", "at": "2023-11-14T22:13:25Z"}
    assert found["answers"] == [answer | {"standsFor": ["alice"]}]
    assert (found["resource"], found["duration"], found["mayAnswer"]) == ("deployments/scale", "", True)


def test_what_time_has_ended_is_told_as_ended_and_is_nobodys_to_answer() -> None:
    late = approval_document(QUESTION, NOW + 600, may_answer=True)
    assert (late.state, late.may_answer) == (ApprovalState.LAPSED, False)
    approved = msgspec.structs.replace(QUESTION, state=ApprovalState.APPROVED)
    assert not approval_document(approved, NOW, may_answer=True).may_answer


def test_no_document_names_the_credential() -> None:
    secret = msgspec.structs.replace(QUESTION, credential="only-for-the-gate")
    assert b"only-for-the-gate" not in msgspec.json.encode(approval_document(secret, NOW, may_answer=True))


def test_a_task_is_told_by_what_it_wants_and_for_how_long() -> None:
    task = msgspec.structs.replace(QUESTION, task="t1", about=Matter(wanted=("get pods -n ci",), seconds=1200.0))
    found = approval_document(task, NOW, may_answer=False)
    assert (found.task, found.wanted, found.duration, found.verb) == ("t1", ("get pods -n ci",), "20m", "")
    assert (found.max_requests, found.max_streams) == (None, None)


def test_whoever_answers_about_a_task_sees_its_limits() -> None:
    limited = Matter(wanted=("get pods -n ci",), seconds=1200.0, max_requests=50, max_streams=3)
    found = approval_document(msgspec.structs.replace(QUESTION, task="t1", about=limited), NOW, may_answer=True)
    assert (found.max_requests, found.max_streams) == (50, 3)


def test_a_list_leaves_out_the_object_and_cuts_what_is_long() -> None:
    long = Matter(path="/" + "x" * 5000, wanted=tuple("y" * 2000 for _ in range(32)), summary=("z" * 200,) * 200)
    brief = brief_document(msgspec.structs.replace(QUESTION, about=long), NOW, may_answer=False)
    assert brief.summary == ()
    assert len(brief.wanted) == BRIEF_LINES + 1
    assert brief.wanted[-1] == "... and 24 more"
    assert max(len(brief.path), *map(len, brief.wanted)) == BRIEF_TEXT + 3
    assert brief_document(QUESTION, NOW, may_answer=True).path == QUESTION.about.path


def test_whom_a_rule_keeps_out_is_told() -> None:
    asks = tuple(msgspec.structs.replace(ask, not_by_owner=True) for ask in QUESTION.asks)
    kept_out = msgspec.structs.replace(QUESTION, asks=asks, excluded_groups=("team",))
    found = msgspec.json.decode(msgspec.json.encode(approval_document(kept_out, NOW, may_answer=False)))
    assert (found["asks"][0]["notByOwner"], found["excludedGroups"]) == (True, ["team"])
