"""Terminals as asciicasts, line by line as the format's pages say."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.recorded_sessions import a_session, header

from narrowgate.core.asciicast import Version, asciicast
from narrowgate.core.recording import BodyData, Entry, Exited, Kind, Noted, Resized
from narrowgate.core.stream_events import Channel, ChannelData, Direction

START = Entry(0, header())


def cast(entries: list[Entry], version: Version, *, shows_input: bool = False) -> list[Any]:
    return [json.loads(line) for line in asciicast(entries, version, shows_input=shows_input)]


def out(at: int, data: bytes, channel: Channel = Channel.STDOUT) -> Entry:
    return Entry(at, ChannelData(channel, data))


def test_version_2_counts_from_the_beginning() -> None:
    assert cast([START, *a_session()], Version.V2, shows_input=True) == [
        {
            "version": 2,
            "width": 80,
            "height": 24,
            "timestamp": 1_795_000_000,
            "title": "exec prod/ci/web-0",
            "command": "sh -c ls",
        },
        [0.00002, "r", "80x24"],
        [0.00003, "o", "$ "],
        [1.5, "i", "ls\r"],
        [1.6, "o", "ls\r\nREADME\r\n"],
        [1.700001, "m", ""],
    ]


def test_version_3_counts_from_the_event_before_and_says_how_it_ended() -> None:
    lines = cast([START, *a_session()], Version.V3)
    assert lines[0]["term"] == {"cols": 80, "rows": 24}
    assert lines[0]["version"] == 3
    assert [line[1:] for line in lines[1:]] == [["r", "80x24"], ["o", "$ "], ["o", "ls\r\nREADME\r\n"], ["x", "0"]]
    assert [line[0] for line in lines[1:]] == [0.00002, 0.00001, 1.59997, 0.1]


def test_what_was_typed_is_left_out_unless_it_is_asked_for() -> None:
    assert "i" not in [line[1] for line in cast([START, *a_session()], Version.V2)[1:]]


def test_a_terminal_without_a_size_has_the_usual_one() -> None:
    assert cast([START, out(1, b"x")], Version.V2)[0]["width"] == 80
    assert cast([START, out(1, b"x"), Entry(2, Resized(132, 50))], Version.V2)[0]["width"] == 132


@pytest.mark.parametrize("cut", range(1, 8))
def test_characters_are_put_together_however_the_network_cut_them(cut: int) -> None:
    data = "a€😀".encode()
    lines = cast([START, out(1, data[:cut]), out(2, data[cut:])], Version.V2)
    assert "".join(line[2] for line in lines[1:]) == "a€😀"


def test_two_streams_cut_at_once_do_not_mix() -> None:
    euro = "€".encode()
    entries = [
        START,
        out(1, euro[:1]),
        out(2, euro[:2], Channel.STDERR),
        out(3, euro[1:]),
        out(4, euro[2:], Channel.STDERR),
    ]
    assert [line[1:] for line in cast(entries, Version.V2)[1:]] == [["o", "€"], ["o", "€"]]


def test_bytes_that_are_no_text_are_shown_as_such_and_none_is_kept_back_for_ever() -> None:
    lines = cast([START, out(1, b"a\xffb"), out(2, b"\xe2")], Version.V2)
    assert [line[2] for line in lines[1:]] == ["a\ufffdb", "\ufffd"]


@pytest.mark.parametrize("cut", range(1, 12))
def test_without_a_terminal_line_feeds_get_their_return_once(cut: int) -> None:
    start = Entry(0, msgspec.structs.replace(header(), tty=False))
    data = b"one\r\ntwo\nthree\n"
    lines = cast([start, out(1, data[:cut]), out(2, data[cut:])], Version.V2)
    assert "".join(line[2] for line in lines[1:]) == "one\r\ntwo\r\nthree\r\n"


def test_a_log_is_shown_as_what_it_prints() -> None:
    start = Entry(0, msgspec.structs.replace(header(), kind=Kind.LOG, tty=False, command=()))
    entries = [start, Entry(1, BodyData(b"line\n")), Entry(2, BodyData(b"asked", Direction.TO_POD))]
    lines = cast(entries, Version.V2)
    assert lines[0]["title"] == "log prod/ci/web-0"
    assert "command" not in lines[0]
    assert lines[1:] == [[0.000001, "o", "line\r\n"]]


def test_notes_are_markers_and_an_unknown_end_is_left_out() -> None:
    lines = cast([START, Entry(1, Noted("input not recorded")), Entry(2, Exited(None, "gone"))], Version.V3)
    assert lines[1:] == [[0.000001, "m", "input not recorded"]]


@pytest.mark.parametrize("entries", [[], [out(1, b"x")]])
def test_what_does_not_begin_with_a_header_is_no_recording(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match="header"):
        cast(entries, Version.V2)
