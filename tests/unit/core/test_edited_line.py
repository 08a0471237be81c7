"""Lines from their keys: what they say, whether that is sure, and which keys fetch text from elsewhere."""

from __future__ import annotations

import time

import pytest

from narrowgate.core import edited_line
from narrowgate.core.edited_line import edited, fetches, is_in_paste, is_known, is_plain


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (b"ls", "ls"),
        (b"lx\x7fs", "ls"),
        (b"lx\x08s", "ls"),
        (b"xx\x15ls", "ls"),
        (b"echo a b\x17c", "echo a c"),
        (b"s\x01l", "ls"),
        (b"s\x1b[Hl\x1b[F -l", "ls -l"),
        (b"ls x\x1b[D\x0b", "ls "),
        (b"xls\x01\x1b[3~", "ls"),
        (b"ab\x1b[D\x1b[D\x06c", "acb"),
        (b"xyz\x03ls", "ls"),
        (b"\x7f\x08\x17\x1b[3~\x1b[D\x06ls", "ls"),
        (b"\x1b[200~ls\x1b[201~", "ls"),
        (b"l\x1b[24;80Rs", "ls"),
        (b"a\tb", "a b"),
        (b"\x1bOPls\x1b[99~", "ls"),
        ("é".encode(), "é"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_keys_have_the_effect_that_editors_of_lines_give_them(keys: bytes, text: str) -> None:
    assert edited(keys) == text


def test_without_a_look_at_the_keys_all_that_was_typed_stays() -> None:
    assert edited_line.as_typed(b"rx\x7fm\x1b[D -rf\x1bOA\x03!") == "rxm -rf!"


@pytest.mark.parametrize(
    "line",
    [b"", b"ls -l", "é".encode(), b"lx\x7fs", b"a\x15ls", b"\x1b[200~ls x\x1b[201~", b"\x1b[1;1Rls", b"\x1b[Ils"],
)
def test_plain_lines_are_the_same_to_every_reader(line: bytes) -> None:
    assert is_plain(line)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff", b"a\tb", b"a\x1b[Db", b"\x01a", b"a b\x17", b"a\x08", b"a\x16b", b"\x1b[Aa", "é\x7f".encode(),
        b"\x1b[200~a\x7fb\x1b[201~", b"\x1b[200~ls", b"ls\x1b[201~", b"a\x1b[200~b\x1b[201~", b"\x1b[200~a\x1b[201~b",
        b"\x1b[201~a\x1b[200~", b"\x1b", b"a\x00", b"\xc2\x9b", "\u202e".encode(),
    ],
)  # fmt: skip
def test_others_are_not(line: bytes) -> None:
    assert not is_plain(line)


@pytest.mark.parametrize(
    "line", [b"a\tb", b"rm\x10", b"\x12", b"\x1b[A", b"\x1b[B", b"\x19", b"\x16x", b"\x1b.", b"\x1f"]
)
def test_keys_that_fetch_text_are_found(line: bytes) -> None:
    assert fetches(line)
    assert not is_known(line) or line == b"a\tb"


@pytest.mark.parametrize("line", [b"\ta", b"a \tb", b"\x1b[200~a\tb\x1b[201~", b"a\x01b\x1b[D", b"\x1b[3;4R", b""])
def test_others_fetch_nothing(line: bytes) -> None:
    assert not fetches(line)


def test_a_paste_lasts_until_it_is_ended() -> None:
    assert is_in_paste(b"a\x1b[200~b")
    assert not is_in_paste(b"a\x1b[200~b\x1b[201~")
    assert is_in_paste(b"\x1b[200~a\x1b[201~\x1b[200~")
    assert not is_in_paste(b"a")


def test_a_long_line_that_is_edited_in_the_middle_takes_no_time() -> None:
    begin = time.process_time()
    assert len(edited(b"x" * 8000 + b"\x1b[D\x1b[C" * 1000)) == 8000
    assert time.process_time() - begin < 10
