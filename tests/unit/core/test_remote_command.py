"""Sizes of terminals and ends of processes, as the side channels of exec tell them."""

from __future__ import annotations

import pytest

from narrowgate.core.recording import Exited, Resized
from narrowgate.core.remote_command import UNREAD_LIMIT, TerminalSizes, exit_of

TWO_SIZES = b'{"Width":80,"Height":24}\n{"Width":132,"Height":50}\n'
NON_ZERO = (
    b'{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code",'
    b'"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}}'
)


@pytest.mark.parametrize("cut", range(1, len(TWO_SIZES)))
def test_sizes_are_read_however_they_are_cut(cut: int) -> None:
    sizes = TerminalSizes()
    assert sizes.feed(TWO_SIZES[:cut]) + sizes.feed(TWO_SIZES[cut:]) == [Resized(80, 24), Resized(132, 50)]


@pytest.mark.parametrize(
    "odd",
    [b"[]", b"null", b'{"Width":"80","Height":24}', b'{"Width":-1,"Height":24}', b'{"Width":true,"Height":1}', b"x"],
)
def test_what_is_no_size_ends_the_reading_and_breaks_nothing(odd: bytes) -> None:
    sizes = TerminalSizes()
    assert sizes.feed(odd) == []
    assert sizes.feed(TWO_SIZES) == []


def test_a_size_that_never_ends_is_not_kept() -> None:
    sizes = TerminalSizes()
    for _ in range(UNREAD_LIMIT):
        assert sizes.feed(b'{"Width":') == []
    assert sizes.feed(TWO_SIZES) == []


def test_nesting_without_end_is_no_size() -> None:
    assert TerminalSizes().feed(b'{"a":' + b"[" * 100_000) == []


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (b"", Exited(0)),
        (b'{"metadata":{},"status":"Success"}', Exited(0)),
        (NON_ZERO, Exited(42, "command terminated with non-zero exit code")),
        (b'{"status":"Failure","message":"no such container"}', Exited(None, "no such container")),
        (b"exec failed: \xff", Exited(None, "exec failed: \ufffd")),
        (b'{"status":1}', Exited(None, '{"status":1}')),
    ],
)
def test_the_end_of_a_process_is_read_from_a_status_or_a_line(error: bytes, meaning: Exited) -> None:
    assert exit_of(error) == meaning
