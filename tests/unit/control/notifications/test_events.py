"""What a change is called: by its own words and by the change before."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.control.notifications.samples import change

from narrowgate.control.notifications.events import EVENTS, TEST, TOLD_ACTIONS, event_of, message_id


@pytest.mark.parametrize(
    ("action", "state", "was", "kind"),
    [
        ("approval.asked", "pending", None, "approval.asked"),
        ("approval.changed", "pending", None, "approval.answered"),
        ("approval.changed", "approved", None, "approval.approved"),
        ("approval.changed", "denied", None, "approval.denied"),
        ("approval.changed", "lapsed", None, "approval.lapsed"),
        ("approval.changed", "withdrawn", None, "approval.withdrawn"),
        ("approval.changed", "spent", None, "approval.spent"),
        ("task.requested", "requested", None, "task.requested"),
        ("task.requested", "active", None, "task.began"),
        ("task.changed", "active", "requested", "task.began"),
        ("task.changed", "active", "active", "task.changed"),
        ("task.changed", "completed", "active", "task.completed"),
        ("task.changed", "revoked", "active", "task.revoked"),
        ("task.changed", "expired", "active", "task.expired"),
        ("task.changed", "denied", "requested", "task.denied"),
        ("task.changed", "lapsed", "requested", "task.lapsed"),
    ],
)
def test_a_question_and_a_task_are_called_by_what_became_of_them(
    action: str, state: str, was: str | None, kind: str
) -> None:
    before = None if was is None else change("task.requested", state=was)
    assert event_of(change(action, state=state), before) == kind


@pytest.mark.parametrize(
    ("state", "was", "kind"),
    [
        ("active", None, "emergency.begun"),
        ("active", "requested", "emergency.begun"),
        ("active", "active", "task.changed"),
        ("expired", "active", "emergency.ended"),
        ("revoked", "active", "emergency.ended"),
    ],
)
def test_an_emergency_is_called_one_when_it_begins_and_ends(state: str, was: str | None, kind: str) -> None:
    before = None if was is None else change("task.requested", state=was)
    action = "task.requested" if was is None else "task.changed"
    assert event_of(change(action, state=state), before, emergency=True) == kind


def test_a_review_that_nobody_made_is_loud_and_its_answers_are_answers() -> None:
    assert event_of(change("approval.changed", state="lapsed"), None, emergency=True) == "emergency.unreviewed"
    assert event_of(change("approval.changed", state="approved"), None, emergency=True) == "approval.approved"
    assert event_of(change("approval.asked", state="pending"), None, emergency=True) == "approval.asked"


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [(False, True, "agent.paused"), (True, False, "agent.resumed"), (True, True, "agent.changed")],
)
def test_a_pause_is_told_beside_the_change_before(was: bool, now: bool, kind: str) -> None:
    before = change("agent.added", "bot", paused=was)
    assert event_of(change("agent.changed", "bot", paused=now), before) == kind


def test_sign_ins_and_what_nobody_knows_are_told_to_nobody() -> None:
    assert event_of(change("signin.added"), None) == ""
    assert event_of(change("something.new"), None) == ""
    assert event_of(change("approval.changed", state="unheard-of"), None) == ""
    broken = msgspec.structs.replace(change("task.changed"), detail="no JSON")
    assert event_of(broken, None) == ""


def test_every_type_of_the_table_comes_of_some_change() -> None:
    assert event_of(change(TEST, "pager"), None) == TEST
    assert TEST not in EVENTS
    for kind in ("agent.added", "agent.removed", "policies.revised", "role.given", "role.taken", "delegation.added"):
        assert event_of(change(kind), None) == kind


def test_what_nobody_is_told_of_need_not_be_looked_up() -> None:
    states = ("pending", "requested", "active", "")
    for action in ("signin.added", "signin.ended", "something.new", *TOLD_ACTIONS):
        told = any(event_of(change(action, state=state), None) for state in states)
        assert told == (action in TOLD_ACTIONS)


def test_a_message_has_one_id_and_no_other_change_has_it() -> None:
    one = change("approval.asked")
    assert message_id(one) == message_id(change("approval.asked"))
    others = [
        change("approval.asked", number=8),
        change("approval.asked", "q2"),
        change("approval.changed"),
        msgspec.structs.replace(one, at=one.at + 0.001),
    ]
    assert len({message_id(one), *map(message_id, others)}) == 5
    # Standard Webhooks signs id.timestamp.body: an id with a dot could move the border.
    assert "." not in message_id(one)
