"""The format byte by byte, and what is refused of it."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest
from tests.recorded_sessions import KEY, PACKING, a_session, sealing

from narrowgate.core.recording import ENTRY_LIMIT, Entry, Noted
from narrowgate.recordings.blocks import (
    BLOCK_LIMIT,
    HASH_BYTES,
    HEAD_BYTES,
    PREAMBLE_BYTES,
    Blocks,
    Place,
    Places,
    chain_start,
    decoded,
    encoded,
    preamble,
    read_head,
    read_preamble,
    read_trailer,
    trailer,
)
from narrowgate.recordings.errors import NewerRecording, RecordingDamaged
from narrowgate.recordings.sealing import RecordingKey

BEFORE = bytes(range(32))


def a_block(key: RecordingKey | None = None, number: int = 3) -> bytes:
    entries = a_session()
    raw = b"".join(encoded(entry) for entry in entries)
    return Blocks(sealing(key), PACKING).block(number, raw, (entries[0].at, entries[-1].at), len(entries), BEFORE)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_block_says_what_is_in_it_and_hangs_together_with_what_is_before(key: RecordingKey | None) -> None:
    block = a_block(key)
    head = read_head(block, 3, "here")
    assert (head.entries, head.first, head.last, head.is_index) == (7, 10, 1_700_001, False)
    assert head.length == len(block)
    assert block[-HASH_BYTES:] == sha256(BEFORE + block[:-HASH_BYTES]).digest()
    assert Blocks(sealing(key), PACKING).entries(head, block, BEFORE, "here") == a_session()
    with pytest.raises(RecordingDamaged, match="changed"):
        Blocks(sealing(key), PACKING).entries(head, block, bytes(32), "here")


def test_the_preamble_is_as_the_page_says() -> None:
    start = preamble(sealing(KEY))
    assert start == b"narrowgate recording 1\n" + bytes(16) + KEY.id
    assert len(start) == PREAMBLE_BYTES
    assert read_preamble(start, "here").key_id == KEY.id
    assert chain_start(start) == sha256(start).digest()


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (b"", RecordingDamaged),
        (b"narrowgate recording 1\n" + bytes(23), RecordingDamaged),
        (b"narrowgate recording 0\n" + bytes(24), RecordingDamaged),
        (b"narrowgate recording x\n" + bytes(24), RecordingDamaged),
        (b"narrowgate recording 2\n" + bytes(24), NewerRecording),
        (b'{"version": 2}' + bytes(40), RecordingDamaged),
    ],
)
def test_another_beginning_is_refused_by_name(start: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match="here"):
        read_preamble(start, "here")


@pytest.mark.parametrize("change", [{"number": 4}, {"cut": True}, {"kind": b"X"}, {"raw": BLOCK_LIMIT + 1}])
def test_a_head_that_cannot_be_is_refused_before_anything_is_read(change: dict[str, object]) -> None:
    head = bytearray(a_block()[:HEAD_BYTES])
    if "kind" in change:
        head[:1] = b"X"
    if "raw" in change:
        head[5:9] = (BLOCK_LIMIT + 1).to_bytes(4, "big")
    if "cut" in change:
        del head[-1]
    with pytest.raises(RecordingDamaged, match="here"):
        read_head(bytes(head), 4 if "number" in change else 3, "here")


def test_more_stored_than_its_entries_can_become_is_refused() -> None:
    head = bytearray(a_block()[:HEAD_BYTES])
    head[1:5] = (1 << 31).to_bytes(4, "big")
    with pytest.raises(RecordingDamaged):
        read_head(bytes(head), 3, "here")


@pytest.mark.parametrize("places", [[], [Place(0, 47)], [Place(0, 47), Place(9, 300), Place(9, 1 << 40)]])
def test_an_index_is_read_as_it_was_written(places: list[Place]) -> None:
    blocks = Blocks(sealing(KEY), PACKING)
    written = Places()
    for place in places:
        written.add(place)
    index = blocks.index(written, 10, BEFORE)
    head = read_head(index, len(places), "here")
    assert head.is_index
    found = blocks.places(head, index, BEFORE, "here")
    assert (list(found), found[:2], bytes(found)) == (places, places[:2], bytes(written))


def test_an_entry_that_would_not_be_read_back_is_not_written() -> None:
    with pytest.raises(ValueError, match="too long"):
        encoded(Entry(0, Noted("x" * ENTRY_LIMIT)))


@pytest.mark.parametrize(
    "raw",
    [
        b"\0",
        b"\0\0\0\5abc",
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\xc0",
        (lambda body: len(body).to_bytes(4, "big") + body)(msgspec.msgpack.encode([0, [99, "unknown"]])),
        (lambda body: len(body).to_bytes(4, "big") + body)(msgspec.msgpack.encode([0, [21, "80", 24]])),
    ],
)
def test_entries_that_are_none_are_damage(raw: bytes) -> None:
    with pytest.raises(RecordingDamaged, match="here"):
        list(decoded(raw, "here"))


def test_the_trailer_says_where_the_index_is_and_nothing_else_is_one() -> None:
    assert read_trailer(trailer(4711)) == 4711
    assert read_trailer(trailer(4711)[1:]) is None
    assert read_trailer(bytes(24)) is None
