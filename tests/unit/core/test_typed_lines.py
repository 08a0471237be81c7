"""Lines typed into a session: found as they were typed, edited or shown."""

from __future__ import annotations

import time

import pytest

from narrowgate.core.typed_lines import (
    LONGEST_LINE,
    LineGuard,
    LineMet,
    LineWatch,
    Passing,
    Unsettled,
    asks_for,
    line_watch,
    reads_lines,
)

GUARD = LineGuard("p/in", (("rm", "-rf"), ("shutdown",)))
MET = LineMet("p/in", "a line that was typed")


def met(passing: Passing) -> LineMet | None:
    """What ended it: then nothing goes on."""
    assert not isinstance(passing.found, LineMet) or (passing.data, passing.ends) == (b"", False)
    return passing.found if isinstance(passing.found, LineMet) else None


def watch(*, terminal: bool = True) -> LineWatch:
    return line_watch([GUARD], has_terminal=terminal)


@pytest.mark.parametrize(
    "typed",
    [
        b"rm -rf /\r",
        b"rm -rf /\n",
        b"rm -rf /\x04",
        b"rm -rf /\x0f",
        b"ls\rrm -rf /\r",
        b"sudo /bin/rm -rf /\r",
        b"ls; rm -rf /\r",
        b"rm -r\x7frf /\r",
        b"rx\x7fm -rf /\r",
        b"xx\x15rm -rf /\r",
        b"echo rm -rf\x17-rf x\r",
        b"-rf /\x01rm \r",
        b"r -rf\x1b[D\x1b[D\x1b[D\x1b[Dm\r",
        b"\x1b[200~rm -rf /\x1b[201~\r",
        b"rm \\\r-rf /\r",
        b"rm\t-rf /\r",
        b"xyz\x03rm -rf /\r",
        b"rm -rf \xff\xfe\r",
    ],
)
def test_a_line_that_may_not_be_typed_is_met_before_it_is_passed_on(typed: bytes) -> None:
    assert met(watch().typed(typed)) == MET


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_how_it_is_cut_does_not_matter(size: int) -> None:
    typed, watched = b"ls -l\rrm \\\r-r\x7frf /\r", watch()
    found = [met(watched.typed(typed[at : at + size])) for at in range(0, len(typed), size)]
    assert any(found)
    assert found.index(MET) == (len(typed) - 1) // size


@pytest.mark.parametrize("typed", [b"rm -rf /", b"ls -rf\r", b"rm x\r", b"\r\r\r", b"", b"echo -rf rm\r"])
def test_other_lines_and_those_that_are_not_entered_are_not(typed: bytes) -> None:
    assert watch().typed(typed) == Passing(typed)


def test_a_line_from_the_history_is_met_as_the_terminal_shows_it() -> None:
    watched = watch()
    watched.written(b"$ ")
    watched.typed(b"\x1b[A")
    watched.written(b"rm -rf /tmp/x")
    assert met(watched.typed(b"\r")) == MET


def test_a_line_that_is_shown_after_it_was_entered_is_met_then() -> None:
    watched = watch()
    assert watched.typed(b"\x1b[A\r") == Passing(b"\x1b[A", Unsettled())
    assert watched.go_on() == Passing(b"\r")
    assert watched.written(b"$ rm -r") is None
    assert watched.written(b"f /\r\n") == MET


def test_what_a_program_prints_is_no_line_that_was_typed() -> None:
    watched = watch()
    assert watched.written(b"$ cat notes\r\nrm -rf /\r\n$ ") is None
    watched.typed(b"cat notes\r")
    assert watched.written(b"cat notes\r\nrm -rf /\r\n$ ") is None
    assert watched.typed(b"ls\r") == Passing(b"ls\r")


@pytest.mark.parametrize(
    "drawn",
    [
        b"$ ls x\r\x1b[2C\x1b[Krm -rf /",
        b"$ rX -rf\b\b\b\b\bm -rf /",
        b"\x1b]0;title\x07$ rm -rf /",
        b"$ \x1b[1;31mrm\x1b[0m -rf /",
        b"$ ls\x1b[2K\r$ rm -rf /",
        b"$ m -rf\x1b[3G\x1b[1@r",
    ],
)
def test_the_line_is_read_as_it_is_drawn(drawn: bytes) -> None:
    for size in (1, len(drawn)):
        watched = watch()
        for at in range(0, len(drawn), size):
            watched.written(drawn[at : at + size])
        assert met(watched.typed(b"\r")) == MET


def test_on_the_screen_of_an_editor_nothing_is_a_line_because_it_is_shown() -> None:
    watched = watch()
    watched.written(b"\x1b[?1049hrm -rf /")
    assert watched.typed(b"\r").found is None
    watched.written(b"\x1b[?1049l\r\x1b[Krm -rf /")
    assert met(watched.typed(b"\r")) == MET


def test_without_a_terminal_a_line_is_met_before_its_end() -> None:
    # The end of the input enters it as well, and that comes whatever the gate does.
    assert watch(terminal=False).typed(b"rm -r") == Passing(b"rm -r")
    assert met(watch(terminal=False).typed(b"rm -rf /")) == MET
    watched = watch(terminal=False)
    assert watched.typed(b"rm -r").found is None
    assert met(watched.typed(b"f /")) == MET


def test_a_line_that_nobody_can_look_at_ends_the_session() -> None:
    for terminal in (True, False):
        watched = watch(terminal=terminal)
        found = [met(watched.typed(b"x" * 4096)) for _ in range(LONGEST_LINE // 4096 + 1)]
        assert found[:-1] == [None] * (len(found) - 1)
        assert found[-1] == LineMet("p/in", "a line longer than can be looked at")


def test_without_guards_nothing_is_met() -> None:
    assert line_watch([], has_terminal=True).typed(b"rm -rf /\r").found is None
    assert line_watch([], has_terminal=True).typed(b"x" * LONGEST_LINE * 2).found is None


def test_no_output_takes_long_or_grows() -> None:
    watched = watch()
    begin = time.process_time()
    for _ in range(8):
        watched.written(b"\x1b[" + b"1;" * 20_000)
        watched.written(b"\x1b]" + b"x" * 50_000)
        watched.written(b"x\x1b[9999@\x1b[99999999999D" * 2_000)
    assert watched.typed(b"\r").found is None
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("query", "reads"),
    [
        ("command=sh stdin=true", True),
        ("command=/bin/bash stdin=1", True),
        ("command=bash-static stdin=1", True),
        ("command=/run.sh stdin=1", True),
        ("command=busybox command=sh stdin=1", True),
        ("command=cat stdin=1", False),
        ("command=ls stdin=true tty=true", True),
        ("command=ls stdin= tty=", True),
        ("stdin=true", True),
        ("command=sh", False),
        ("command=sh stdin=false", False),
        ("command=tar stdin=true", False),
        ("command=tar command=sh stdin=true tty=0", False),
    ],
)
def test_lines_are_read_where_a_shell_may_read_them(query: str, reads: bool) -> None:
    pairs = [(one.split("=")[0], one.split("=")[1]) for one in query.split()]
    assert reads_lines(pairs) is reads


def test_an_empty_option_is_a_yes_as_the_api_server_has_it() -> None:
    assert asks_for([("tty", "")], "tty")
    assert asks_for([("tty", "yes")], "tty")
    assert not asks_for([("tty", "False")], "tty")
    assert not asks_for([("stdin", "true")], "tty")


@pytest.mark.parametrize(
    ("sent", "is_met"),
    [
        (b"true\nrm -rf /", True),
        (b"rm \\\n-rf x", True),
        (b"r\\\nm -rf x", True),
        (b"echo rm\n-rf x\n", False),
        (b"echo rm\\n -rf", False),
        (b"r\xc3\xa9m -rf x", False),
        (b"\xc3\xa9; rm -rf x", True),
        (b"rm" + b" " * 900 + b"-rf", True),
    ],
)
def test_what_is_piped_is_read_as_it_is_however_it_is_cut(sent: bytes, is_met: bool) -> None:
    for size in (1, 2, 3, len(sent)):
        watched = watch(terminal=False)
        found = [met(watched.typed(sent[at : at + size])) for at in range(0, len(sent), size)]
        assert any(found) is is_met


def test_neither_small_pieces_nor_much_output_take_long() -> None:
    begin = time.process_time()
    watched = watch(terminal=False)
    assert not any(met(watched.typed(b"a ")) for _ in range(1000))
    watched = watch()
    watched.written(b"x" * 100 + b"\x1b[?1049h" + b"line of text\r\n" * 50_000)
    watched.written(b"y" * 400_000)
    assert time.process_time() - begin < 10


def test_the_screen_is_known_though_nobody_looked_at_where_it_began() -> None:
    watched = watch()
    watched.written(b"a\n\x1b[?1049hb\nrm -rf /")
    assert watched.typed(b"\r").found is None
    watched.written(b"\n\x1b[?1049lb\nc\nrm -rf /")
    assert met(watched.typed(b"\r")) == MET
