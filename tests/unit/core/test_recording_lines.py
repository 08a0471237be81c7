"""Entries as lines of JSON, and back."""

from __future__ import annotations

import json

import pytest
from tests.unit.core.test_recording import HEADER, ON_DISK

from narrowgate.core.recording import Entry, What
from narrowgate.core.recording_lines import NoEntry, entry_of, line_of
from narrowgate.core.stream_events import Channel, ChannelData


@pytest.mark.parametrize("what", [what for what, _ in ON_DISK])
def test_every_entry_is_a_line_and_the_line_is_the_entry(what: What) -> None:
    line = line_of(Entry(1_600_001, what))
    assert b"\n" not in line
    assert entry_of(line) == Entry(1_600_001, what)


def test_text_is_readable_and_what_is_none_is_base64() -> None:
    assert json.loads(line_of(Entry(1_600_000, ChannelData(Channel.STDOUT, b"README\r\n")))) == {
        "at": 1.6,
        "type": "channelData",
        "channel": "stdout",
        "text": "README\r\n",
    }
    assert json.loads(line_of(Entry(0, ChannelData(Channel.STDIN, b"\xc3"))))["base64"] == "ww=="


def test_the_header_says_who_and_what_in_words() -> None:
    said = json.loads(line_of(Entry(0, HEADER)))
    assert (said["type"], said["kind"], said["chain"]) == ("header", "exec", ["agent:ci"])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"at":0,"type":"resized","width":1}',
        b'{"at":0,"type":"nothing"}',
        b'{"at":-1,"type":"noted","text":"x"}',
        b'{"at":1e300,"type":"noted","text":"x"}',
        b'{"at":"0","type":"noted","text":"x"}',
        b'{"at":0,"type":"noted","text":1}',
        b'{"at":0,"type":"noted","text":"x","more":1}',
        b'{"at":0,"type":"bodyData","direction":"toPod","base64":"*"}',
        b'{"at":0,"type":"channelData","channel":"stdlog","text":"x"}',
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    with pytest.raises(NoEntry):
        entry_of(line)
