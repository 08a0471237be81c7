"""Playing a recording: how long is waited, and what keys do. The clock here only counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from narrowgate.cli.session_player import Lines, Pace, Player, Screen
from narrowgate.core.recording import BodyData, Ended, Entry, Noted
from narrowgate.core.stream_events import Channel, ChannelData

SECOND = 1_000_000


def out(at: float, data: bytes) -> Entry:
    return Entry(round(at * SECOND), ChannelData(Channel.STDOUT, data))


class Pressed:
    """Somebody who presses these keys, one at each wait; then nothing."""

    are_read = True

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys = list(keys)
        self.waited: list[float | None] = []

    def wait(self, seconds: float | None) -> str:
        self.waited.append(seconds)
        return self._keys.pop(0) if self._keys else ""


ENTRIES = [out(0, b"a"), out(1, b"b"), out(31, b"c"), out(32, b"d")]


def played(
    keys: Sequence[str] = (), speed: float = 1.0, idle: float | None = None, start: float = 0.0
) -> tuple[str, list[float | None], bool]:
    written: list[str] = []
    pressed = Pressed(keys)
    went_through = Player(Screen(), written.append, Pace(speed, idle), pressed).play(ENTRIES, round(start * SECOND))
    return "".join(written), pressed.waited, went_through


@pytest.mark.parametrize(
    ("speed", "idle", "start", "waits"),
    [
        (1.0, None, 0.0, [1.0, 30.0, 1.0]),
        (2.0, None, 0.0, [0.5, 15.0, 0.5]),
        (1.0, 2.0, 0.0, [1.0, 2.0, 1.0]),
        (4.0, 2.0, 0.0, [0.25, 0.5, 0.25]),
        (0.0, None, 0.0, []),
        (1.0, None, 30.0, [1.0, 1.0]),
        (1.0, None, 1000.0, []),
    ],
)
def test_pauses_are_as_long_as_they_were_unless_less_is_wanted(
    speed: float, idle: float | None, start: float, waits: list[float]
) -> None:
    assert played((), speed, idle, start) == ("abcd", waits, True)


def test_keys_end_pause_step_and_go_forward() -> None:
    assert played(["", "q"]) == ("ab", [1.0, 30.0], False)
    assert played(["", " ", " "]) == ("abcd", [1.0, 30.0, None, 1.0], True)
    assert played([".", ".", "."]) == ("abcd", [1.0, None, None], True)
    assert played(["", "f"]) == ("abcd", [1.0, 30.0, 20.0, 1.0], True)
    assert played(["", "\x1b[C", "\x1b[C", "\x1bOC"]) == ("abcd", [1.0, 30.0, 20.0, 10.0, 1.0], True)
    assert played([" ", "f"]) == ("abcd", [1.0, None, 21.0, 1.0], True)
    assert played(["x", "", "q"]) == ("ab", [1.0, 1.0, 30.0], False)


def test_a_screen_shows_what_came_out_made_safe() -> None:
    screen = Screen()
    assert screen.shown(out(0, b"\x1b[1mx\x1b]52;c;eA==\x07")) == "\x1b[1mx"
    assert screen.shown(Entry(0, ChannelData(Channel.STDIN, b"typed"))) == ""
    assert screen.shown(Entry(0, BodyData(b"log"))) == "log"
    assert screen.shown(out(0, b"\xe4")) + screen.rest() == "\ufffd"


def test_lines_show_when_what_and_which_way() -> None:
    lines = Lines()
    assert lines.shown(out(1.5, b"hi\x1b[2J\nrest")) == "     1.500  out  hi?[2J\n"
    assert lines.shown(Entry(2 * SECOND, Noted("x"))) == "     1.500  out  rest\n     2.000  -    x\n"
    assert (lines.shown(Entry(3 * SECOND, Ended("y"))), lines.rest()) == ("     3.000  -    end: y\n", "")
