"""A recording as lines in time, and where a text is in it."""

from __future__ import annotations

import pytest
from tests.recorded_sessions import a_session

from narrowgate.core.recording import BodyData, Called, Ended, Entry, Exited, Noted, PortCounted, Resized, What
from narrowgate.core.session_timeline import LONGEST_LINE, Line, TextSearch, Timeline
from narrowgate.core.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    PortClosed,
    PortData,
    PortError,
    PortOpened,
)


def lines(*what: What) -> list[Line]:
    timeline = Timeline()
    found = [line for at, one in enumerate(what) for line in timeline.feed(Entry(at, one))]
    return found + timeline.rest()


def out(data: bytes) -> ChannelData:
    return ChannelData(Channel.STDOUT, data)


def test_output_and_input_are_told_apart_line_by_line() -> None:
    assert lines(
        ChannelData(Channel.STDIN, b"a\nb\n"), out(b"one\r\ntwo\n"), ChannelData(Channel.STDERR, b"oops\n")
    ) == [Line(0, "in", "a"), Line(0, "in", "b"), Line(1, "out", "one"), Line(1, "out", "two"), Line(2, "err", "oops")]


def test_a_line_that_came_in_pieces_has_the_time_of_its_beginning() -> None:
    assert lines(out(b"on"), out(b"e\ntw"), out(b"o\n")) == [Line(0, "out", "one"), Line(1, "out", "two")]


def test_a_line_without_end_stands_before_what_happened_after_it() -> None:
    assert lines(out(b"password: "), Exited(1), Ended("over")) == [
        Line(0, "out", "password: "),
        Line(1, "-", "exit code 1"),
        Line(2, "-", "end: over"),
    ]


def test_empty_lines_stay_and_long_ones_are_continued() -> None:
    assert [line.text for line in lines(out(b"\n\nx\n"))] == ["", "", "x"]
    assert [len(line.text) for line in lines(out(b"x" * (LONGEST_LINE + 5) + b"\n"))] == [LONGEST_LINE, 5]
    timeline = Timeline()
    held = [timeline.feed(Entry(0, out(b"x" * 1000))) for _ in range(100)]
    assert sum(len(line.text) for some in held for line in some) >= 100_000 - LONGEST_LINE


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (Resized(80, 24), "the terminal has 80 columns and 24 rows"),
        (Exited(None, "killed"), "the process did not end by itself: killed"),
        (Called("id", "get", "/api", 403, "deny"), "get /api: 403 (deny)"),
        (Noted("input not recorded"), "input not recorded"),
        (PortOpened(1, 80), "connection 1 to port 80"),
        (PortData(1, b"x" * 2048, Direction.FROM_POD), "connection 1: 2.0 KiB from the pod"),
        (PortCounted(1, Direction.TO_POD, 1), "connection 1: 1 byte to the pod"),
        (PortError(1, b"refused"), "connection 1 failed: refused"),
        (PortClosed(1, Direction.TO_POD), "connection 1: no more data to the pod"),
        (PortClosed(1, Direction.TO_POD, True), "connection 1: reset"),
        (ChannelClosed(Channel.STDIN), "no more input"),
    ],
)
def test_what_happened_has_a_line_of_its_own(what: What, text: str) -> None:
    assert lines(what) == [Line(0, "-", text)]


@pytest.mark.parametrize("what", [ChannelOpened(Channel.STDIN), ChannelData(Channel.RESIZE, b"{}")])
def test_what_says_nothing_has_none(what: What) -> None:
    assert lines(what) == []


def test_bodies_go_both_ways() -> None:
    assert [line.mark for line in lines(BodyData(b"x\n"), BodyData(b"y\n", Direction.TO_POD))] == ["out", "in"]


def test_of_a_terminal_only_the_text_is_told_and_elsewhere_what_the_program_wrote() -> None:
    coloured = (out(b"\x1b[1;32mgre"), out(b"en\x1b]0;t\x07\x1b[0m\b\r"), out(b"\n"), out(b"/ # \rls"), Ended("x"))
    timeline = Timeline(has_terminal=True)
    shown = [line.text for at, one in enumerate(coloured) for line in timeline.feed(Entry(at, one))]
    assert shown == ["green", "/ # ls", "end: x"]
    assert lines(*coloured)[0].text == "\x1b[1;32mgreen\x1b]0;t\x07\x1b[0m\b"


def found(text: str, *pieces: bytes) -> list[int]:
    search = TextSearch(text)
    return [at for at, piece in enumerate(pieces) if search.feed(Entry(at, out(piece)))]


def test_a_text_is_found_across_pieces_colours_and_cases() -> None:
    assert found("kernel panic", b"a Kernel pa", b"\x1b[31mNIC", b"!") == [1]
    assert found("x", b"x", b"y", b"xx") == [0, 2]
    assert found("aa", b"a", b"a", b"a", b"a") == [1, 3]
    assert found("nothing", b"none") == []


def test_a_text_is_not_put_together_from_two_channels_or_from_input() -> None:
    search = TextSearch("secret")
    pieces = ((Channel.STDOUT, b"sec"), (Channel.STDERR, b"ret"), (Channel.STDIN, b"secret"))
    assert not any(search.feed(Entry(0, ChannelData(channel, data))) for channel, data in pieces)
    assert search.feed(Entry(0, BodyData(b"secret")))


def test_the_lines_of_a_session_are_what_it_was() -> None:
    timeline = Timeline()
    shown = [line.text for entry in a_session() for line in timeline.feed(entry)]
    assert shown == [
        "the terminal has 80 columns and 24 rows",
        "$ ",
        "ls",
        "ls",
        "README",
        "exit code 0",
        "end: the process ended",
    ]
