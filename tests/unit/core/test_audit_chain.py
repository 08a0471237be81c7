from __future__ import annotations

import hashlib

import msgspec
import pytest

from narrowgate.core.audit_chain import (
    GENESIS,
    BrokenLine,
    Checkpoint,
    Dropped,
    Frame,
    Head,
    NewerFormat,
    Payload,
    SegmentStart,
    checkpoint_line,
    digest,
    event_line,
    frame,
    payload_of,
    read_checkpoint,
    split_signature,
    unsigned_line,
    with_signature,
)

SIGNATURE = "A" * 86 + "=="
START = SegmentStart(format=1, writer="w0", segment=2, at="2023-11-14T22:13:20.000000Z")
CHECKPOINT = Checkpoint(
    format=1,
    number=1,
    prev=GENESIS,
    at="2023-11-14T22:13:20.000000Z",
    by="w0",
    closed=False,
    key="00",
    heads=(Head("w0", 1, 2, GENESIS),),
)


def test_a_line_is_json_and_gives_back_what_it_was_made_from() -> None:
    line = event_line(12, GENESIS, b'{"a":"}}"}')
    assert msgspec.json.decode(line) == {"seq": 12, "prev": GENESIS, "event": {"a": "}}"}}
    assert frame(line) == Frame(12, GENESIS, Payload.EVENT, b'{"a":"}}"}')


def test_the_hash_of_a_line_covers_its_line_break() -> None:
    line = event_line(1, GENESIS, b"{}")
    assert digest(line) == hashlib.sha256(line).hexdigest() != digest(line[:-1])


def test_a_signature_is_the_last_member_and_comes_off_without_a_trace() -> None:
    unsigned = unsigned_line(3, GENESIS, Payload.SEGMENT, START)
    signed = with_signature(unsigned, SIGNATURE)
    assert msgspec.json.decode(signed)["signature"] == SIGNATURE
    assert split_signature(signed) == (unsigned, SIGNATURE)
    assert frame(signed).signature == SIGNATURE
    assert payload_of(frame(signed), SegmentStart, "here") == START


def test_an_event_that_mentions_a_signature_is_not_taken_for_signed() -> None:
    line = event_line(3, GENESIS, b'{"x":"1","signature":"' + SIGNATURE.encode() + b'"}')
    assert split_signature(line) == (line, "")
    assert frame(line).signature == ""


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b'{"seq":1,"prev":"' + b"0" * 64 + b'","event":{}}',
        b'{"seq":-1,"prev":"' + b"0" * 64 + b'","event":{}}\n',
        b'{"seq":1,"prev":"' + b"0" * 63 + b'","event":{}}\n',
        b'{"seq":1,"prev":"' + b"0" * 64 + b'","gossip":{}}\n',
        b'{"seq":' + b"9" * 30 + b',"prev":"' + b"0" * 64 + b'","event":{}}\n',
        b'{"seq":\xc2\xb2,"prev":"' + b"0" * 64 + b'","event":{}}\n',
    ],
)
def test_anything_else_is_no_line(line: bytes) -> None:
    with pytest.raises(BrokenLine):
        frame(line)


def test_a_newer_segment_is_refused_by_its_number() -> None:
    line = b'{"seq":1,"prev":"' + GENESIS.encode() + b'","segment":{"format":2,"colour":"red"}}\n'
    with pytest.raises(NewerFormat, match="has format 2, this version of narrowgate reads up to 1"):
        payload_of(frame(line), SegmentStart, "seg.jsonl")


def test_a_newer_checkpoint_is_refused_by_its_number() -> None:
    with pytest.raises(NewerFormat, match="format 7"):
        read_checkpoint(b'{"format":7,"moon":true}\n', "checkpoints.jsonl")


def test_unknown_members_of_a_known_format_are_refused() -> None:
    line = unsigned_line(1, GENESIS, Payload.SEGMENT, START).replace(b'"writer"', b'"wirter"')
    with pytest.raises(BrokenLine, match="wirter"):
        payload_of(frame(line), SegmentStart, "here")
    with pytest.raises(BrokenLine):
        payload_of(frame(line), Dropped, "here")


def test_a_checkpoint_reads_back_as_it_was_written() -> None:
    unsigned = checkpoint_line(CHECKPOINT)
    assert read_checkpoint(with_signature(unsigned, SIGNATURE), "here") == (CHECKPOINT, unsigned, SIGNATURE)


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"\xff\n", b'{"format":"1"}\n', b'{"format":1}\n'])
def test_what_is_no_checkpoint_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(BrokenLine):
        read_checkpoint(line, "here")
