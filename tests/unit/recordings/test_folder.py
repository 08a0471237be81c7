"""Holds as they are written; what a folder store does is in tests/contract/test_recording_stores.py."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.recordings.folder import read_hold
from narrowgate.recordings.port import Hold

HOLD = Hold(by="person:alice", reason="case 12", at="2026-11-21T12:00:00Z")


def test_a_hold_is_read_as_it_was_written() -> None:
    assert read_hold(msgspec.json.encode(HOLD), "here") == HOLD


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"by":"x","reason":"y","at":"z","until":"never"}'])
def test_a_hold_that_says_nothing_known_holds_and_says_where_it_is(content: bytes) -> None:
    assert "here" in read_hold(content, "here").reason
