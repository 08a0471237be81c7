"""Entries: what is on disk stays readable, and long data comes in pieces."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.recording import (
    PIECE_LIMIT,
    BodyData,
    Called,
    Ended,
    Entry,
    Exited,
    Header,
    Kind,
    Noted,
    PortCounted,
    Resized,
    What,
    pieces,
)
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

HEADER = Header(session="a-1", began=1_700_000_000_000_000, kind=Kind.EXEC, chain=("agent:ci",), cluster="prod")

ON_DISK: list[tuple[What, list[object]]] = [
    (ChannelOpened(Channel.STDIN), [1, "stdin"]),
    (ChannelData(Channel.STDOUT, b"\xff"), [2, "stdout", b"\xff"]),
    (ChannelClosed(Channel.ERROR, reset=True), [3, "error", True]),
    (PortOpened(1, 80), [4, 1, 80]),
    (PortData(1, b"x", Direction.TO_POD), [5, 1, b"x", "toPod"]),
    (PortError(1, b"refused"), [6, 1, b"refused"]),
    (PortClosed(1, Direction.FROM_POD), [7, 1, "fromPod", False]),
    (
        HEADER,
        [19, "a-1", 1_700_000_000_000_000, "exec", ["agent:ci"], "prod", *[""] * 4, [], False, *[""] * 4],
    ),
    (BodyData(b"x"), [20, b"x", "fromPod"]),
    (Resized(80, 24), [21, 80, 24]),
    (Exited(None, "gone"), [22, None, "gone"]),
    (Called("a-2", "get", "/api", 200), [23, "a-2", "get", "/api", 200, ""]),
    (Noted("input not recorded: echo off"), [24, "input not recorded: echo off"]),
    (PortCounted(1, Direction.TO_POD, 9), [25, 1, "toPod", 9]),
    (Ended("closed by the client"), [26, "closed by the client"]),
]


@pytest.mark.parametrize(("what", "written"), ON_DISK)
def test_what_is_on_disk_keeps_its_numbers_and_its_order(what: What, written: list[object]) -> None:
    encoded = msgspec.msgpack.encode(Entry(5, what))
    assert msgspec.msgpack.decode(encoded) == [5, written]
    assert msgspec.msgpack.decode(encoded, type=Entry) == Entry(5, what)


def test_a_field_that_a_newer_version_added_is_read_over() -> None:
    newer = msgspec.msgpack.encode([5, [26, "over", "a field of tomorrow"]])
    assert msgspec.msgpack.decode(newer, type=Entry) == Entry(5, Ended("over"))


def test_long_data_comes_in_pieces_of_one_time_and_loses_nothing() -> None:
    data = bytes(range(256)) * (PIECE_LIMIT // 256) * 2 + b"rest"
    parts = list(pieces(Entry(7, PortData(3, data, Direction.TO_POD))))
    assert [part.at for part in parts] == [7, 7, 7]
    whats = [part.what for part in parts]
    assert b"".join(what.data for what in whats if isinstance(what, PortData)) == data
    assert {(what.connection, what.direction) for what in whats if isinstance(what, PortData)} == {
        (3, Direction.TO_POD)
    }


@pytest.mark.parametrize("what", [ChannelData(Channel.STDIN, b"x" * PIECE_LIMIT), Noted("x"), HEADER])
def test_what_is_short_enough_stays_as_it_is(what: What) -> None:
    assert list(pieces(Entry(0, what))) == [Entry(0, what)]
