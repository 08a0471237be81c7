"""What is typed is kept once the terminal has shown it; what it never shows is not."""

from __future__ import annotations

import pytest

from narrowgate.core.recording import What
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.core.typed_input import AWAITED, HELD_LIMIT, NOT_KEPT, TypedInput


def run(*said: tuple[str, str]) -> list[What]:
    """`(">", typed)` and `("<", written)`, and the end."""
    typed, kept = TypedInput(), []
    for who, text in said:
        kept += typed.typed(text.encode()) if who == ">" else typed.written(text.encode())
    return [*kept, *typed.end()]


def text_of(kept: list[What]) -> str:
    return b"".join(each.data for each in kept if isinstance(each, ChannelData)).decode()


@pytest.mark.parametrize(
    "said",
    [
        [(">", "ls\r"), ("<", "ls\r\nfile\r\n")],
        [(">", "l"), ("<", "l"), (">", "s"), ("<", "s"), (">", "\r"), ("<", "\r\nfile\r\n")],
        [(">", "ls"), ("<", "l"), ("<", "s"), (">", "\r"), ("<", "\r\n")],
        [(">", "ls\r"), ("<", "l"), ("<", "s\r\nfile\r\n")],
        [(">", "l"), (">", "s\r"), ("<", "\x1b[1mls\x1b[0m\r\n")],
        [(">", "ls\r"), ("<", "/ # "), ("<", "ls\r\n")],
        [(">", "ls\r"), ("<", "file\r\n"), ("<", "\x1b]0;web-0\x07/ # \x1b[Jls"), ("<", "\r\n")],
        [(">", "ls"), ("<", "/ # ls"), (">", "\r"), ("<", "\r\n")],
        [(">", "l"), ("<", "l"), (">", "s"), ("<", "\x08ls"), (">", "\r"), ("<", "\r\r\n")],
        [(">", "ls\r"), ("<", "l \rs\r\n")],
    ],
)
def test_what_is_echoed_is_kept(said: list[tuple[str, str]]) -> None:
    assert text_of(run(*said)) == "ls\r"
    assert NOT_KEPT not in run(*said)


@pytest.mark.parametrize(
    "said",
    [
        [(">", "hunter2\r"), ("<", "\r\nSorry, try again.\r\nPassword: ")],
        [*((">", key) for key in "hunter2\r"), ("<", "\r\nSorry, the run is over\r\n")],
        [*((">", key) for key in "hunter2"), ("<", "reminder: 2 minutes\r\n"), (">", "\r"), ("<", "\r\n")],
        [(">", "h"), ("<", "*"), (">", "unter2"), ("<", "******"), (">", "\r"), ("<", "\r\n")],
        [(">", "hunter2")],
        [(">", "hunter2\r")],
        [(">", "hunter2\r"), ("<", "\r\n"), (">", "hunter2\r"), ("<", "\r\n")],
        [(">", "hunter2\r"), ("<", "\r\nhunters are here: hunter2?\r\n")],
        [*((">", key) for key in "hunter2\r"), ("<", "\r\nthe hunter\r\n")],
        [*((">", key) for key in "hunter2"), ("<", "hundreds\r\n"), (">", "\r"), ("<", "\r\n")],
        [(">", "hunter2"), ("<", "house, unlocked, never, try, every, room: 2 "), (">", "\r"), ("<", "\r\n")],
        [(">", "hunter2\r"), ("<", "x" * (AWAITED + 1)), ("<", "\r\nhunter2\r\n")],
        [(">", "hunter2\r"), ("<", "x" * 5 * AWAITED + "\r\n"), ("<", "hunter2\r\n")],
    ],
)
def test_a_password_is_not_kept(said: list[tuple[str, str]]) -> None:
    kept = run(*said)
    assert NOT_KEPT in kept
    assert "unter" not in text_of(kept)


def test_after_a_password_what_is_shown_is_kept_again() -> None:
    kept = run(
        (">", "su\r"), ("<", "su\r\nPassword: "), (">", "hunter2\r"), ("<", "\r\n# "), (">", "id\r"), ("<", "id\r\n")
    )
    assert text_of(kept) == "su\rid\r"
    assert kept.count(NOT_KEPT) == 1


def test_lines_that_were_typed_ahead_are_each_judged() -> None:
    kept = run((">", "ls\rsecret-word\rid\r"), ("<", "ls\r\nfile\r\nid\r\n"))
    assert text_of(kept) == "ls\rid\r"


@pytest.mark.parametrize("keys", ["\x1b[A", "\x03", "\r", "\x1bOH\x1b[5~"])
def test_keys_that_are_no_characters_are_kept(keys: str) -> None:
    assert text_of(run((">", keys), ("<", "x"))) == keys
    assert text_of(run((">", keys))) == keys


def test_corrections_are_kept_as_they_were_typed() -> None:
    said = [(">", "l"), ("<", "l"), (">", "z"), ("<", "z"), (">", "\x7f"), ("<", "\x08 \x08"), (">", "s"), ("<", "s")]
    assert text_of(run(*said, (">", "\r"), ("<", "\r\n"))) == "lz\x7fs\r"


def test_a_line_that_comes_back_says_that_those_before_will_not() -> None:
    kept = run((">", "hunter2\r"), ("<", "\r\n# "), (">", "i"), ("<", "i"), (">", "d\r"), ("<", "d\r\n"))
    assert kept[0] == NOT_KEPT
    assert text_of(kept) == "id\r"


def test_a_password_that_is_part_of_what_is_asked_is_not_kept() -> None:
    kept = run((">", "password\r"), ("<", "\r\nRetype password: "), (">", "password\r"), ("<", "\r\n# "))
    assert text_of(kept) == ""


def test_many_lines_that_never_come_back_take_no_time_that_grows() -> None:
    typed = TypedInput()
    typed.typed(b"a\r" * (HELD_LIMIT // 2))
    kept = [*typed.written(b"aa\nb\n" * 4000), *typed.written(b"a" * AWAITED * 3), *typed.end()]
    assert NOT_KEPT in kept


def test_no_more_is_held_than_its_limit() -> None:
    typed = TypedInput()
    assert typed.typed(b"x" * (HELD_LIMIT + 1)) == (NOT_KEPT,)
    assert typed.written(b"x") == ()
    assert ChannelData(Channel.STDIN, b"y") in (*typed.typed(b"y"), *typed.written(b"y"))
