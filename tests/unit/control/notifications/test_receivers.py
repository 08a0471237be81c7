"""Which events a receiver hears of."""

from __future__ import annotations

import pytest

from narrowgate.control.notifications.events import EVENTS
from narrowgate.control.notifications.receivers import ALWAYS_TOLD, Receiver, SlackReceiver, WebhookReceiver


@pytest.mark.parametrize(
    ("events", "heard", "missed"),
    [
        (("approval.*",), "approval.denied", "task.began"),
        (("task.began",), "task.began", "task.completed"),
        (("*",), "agent.paused", None),
        ((), "emergency.begun", "approval.asked"),
    ],
)
def test_a_pattern_is_a_type_a_kind_or_everything(events: tuple[str, ...], heard: str, missed: str | None) -> None:
    receiver = Receiver(name="r", events=events)
    assert receiver.hears(heard)
    assert missed is None or not receiver.hears(missed)


def test_nobody_can_be_deaf_to_an_emergency() -> None:
    assert set(EVENTS) >= ALWAYS_TOLD
    assert all(Receiver(name="r", events=()).hears(kind) for kind in ALWAYS_TOLD)


def test_who_says_nothing_hears_of_approvals_and_emergencies() -> None:
    heard = {kind for kind in EVENTS if Receiver(name="r").hears(kind)}
    assert heard == {kind for kind in EVENTS if kind.startswith(("approval.", "emergency."))}


def test_programs_get_everything_and_people_are_spared() -> None:
    assert not WebhookReceiver(name="w", url="https://hooks.corp/", secrets=()).is_people
    assert SlackReceiver(name="s", channel="C1", token="t").is_people
