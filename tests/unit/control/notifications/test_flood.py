"""Nobody is worn down by one agent, and nothing that matters to others is lost by it."""

from __future__ import annotations

import msgspec
from tests.unit.control.notifications.samples import NOW

from narrowgate.control.notifications.flood import MOST_ASKED, WINDOW_SECONDS, Flood, Measure
from narrowgate.control.notifications.messages import Message

ASKED = Message(id="m", kind="approval.asked", at=NOW, title="t", holder="agent:bot")


def flooded() -> Flood:
    flood = Flood()
    for number in range(MOST_ASKED):
        flood.told(ASKED, NOW + number)
    return flood


def test_the_last_message_says_that_it_is_and_then_there_are_none_for_a_while() -> None:
    flood = Flood()
    measures = []
    for number in range(MOST_ASKED + 2):
        measures.append(flood.measure(ASKED, NOW + number))
        if measures[-1] is not Measure.LEAVE_OUT:
            flood.told(ASKED, NOW + number)
    assert measures[: MOST_ASKED - 1] == [Measure.TELL] * (MOST_ASKED - 1)
    assert measures[MOST_ASKED - 1 :] == [Measure.TELL_LAST, Measure.LEAVE_OUT, Measure.LEAVE_OUT]
    assert flood.measure(ASKED, NOW + WINDOW_SECONDS + 1) is not Measure.LEAVE_OUT


def test_other_agents_and_emergencies_are_told_all_the_same() -> None:
    flood = flooded()
    assert flood.measure(ASKED, NOW + 60) is Measure.LEAVE_OUT
    assert flood.measure(msgspec.structs.replace(ASKED, holder="agent:other"), NOW + 60) is Measure.TELL
    assert flood.measure(msgspec.structs.replace(ASKED, kind="emergency.begun"), NOW + 60) is Measure.TELL
    assert flood.measure(msgspec.structs.replace(ASKED, kind="agent.paused", holder=""), NOW + 60) is Measure.TELL


def test_answers_do_not_count() -> None:
    flood = Flood()
    for number in range(5 * MOST_ASKED):
        flood.told(msgspec.structs.replace(ASKED, kind="approval.approved"), NOW + number)
    assert flood.measure(ASKED, NOW + 60) is Measure.TELL
