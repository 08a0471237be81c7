"""Lines typed into a session: found as they were typed, edited or shown."""

from __future__ import annotations

import time

import pytest

from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.typed_lines import (
    LONGEST_LINE,
    MOST_AHEAD,
    LineAsked,
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


APPROVAL = Approval((Approvers("sre", 1),), 300.0)
ASKS = LineGuard("p/asks", (("rm", "-rf"),), APPROVAL)


def asking(*, terminal: bool = True) -> LineWatch:
    return line_watch([ASKS, LineGuard("p/in", (("shutdown",),))], has_terminal=terminal)


def asked(text: str) -> LineAsked:
    return LineAsked((ASKS,), text)


def why(passing: Passing) -> str:
    ended = met(passing)
    return "" if ended is None else ended.why


UNSURE = "because its keys do not tell what it says"
UNFINISHED = "because it may go on in others"
HISTORY = "takes others from the history"


def shown_as_typed(watched: LineWatch, keys: bytes, echo: bytes) -> LineWatch:
    """A line that is typed and shown, and not entered."""
    assert watched.typed(keys) == Passing(keys)
    assert watched.written(echo) is None
    return watched


@pytest.mark.parametrize("end", [b"\r", b"\n"])
def test_a_line_that_people_are_asked_about_is_held_with_all_behind_it(end: bytes) -> None:
    watched = shown_as_typed(asking(), b"rm -rf /x", b"$ rm -rf /x")
    assert watched.typed(end + b"ls\rec") == Passing(b"", asked("rm -rf /x"))
    assert watched.typed(b"ho\r") == Passing()
    assert watched.go_on() == Passing(end + b"ls\recho\r")


def test_nothing_of_a_line_that_comes_whole_goes_on() -> None:
    watched = asking()
    assert watched.typed(b"ls\rrm -rf a\rrm -rf b\rls") == Passing(b"ls\r", asked("rm -rf a"))
    assert watched.go_on() == Passing(b"rm -rf a\r", asked("rm -rf b"))
    assert watched.go_on() == Passing(b"rm -rf b\rls")
    assert watched.typed(b"\r") == Passing(b"\r")


def test_what_was_agreed_to_is_not_met_again_as_it_is_shown() -> None:
    watched = asking()
    watched.typed(b"rm -rf a\rrm -rf b\r")
    watched.go_on()
    assert watched.written(b"$ rm -rf a\r\n") is None
    watched.go_on()
    assert watched.written(b"$ rm -rf b\r\n$ ") is None
    watched.typed(b"\r")
    assert watched.written(b"\r\n$ rm -rf b\r\n") is None, "what a program prints is no line"


def test_the_same_line_typed_again_is_asked_about_again() -> None:
    watched = asking()
    for _ in range(3):
        assert watched.typed(b"rm -rf a\r") == Passing(b"", asked("rm -rf a"))
        assert watched.go_on() == Passing(b"rm -rf a\r")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (b"rm -rfx\x7f /", "rm -rf /"),
        (b"ls\x15rm -rf /", "rm -rf /"),
        (b"sudo rm  -rf /tmp/\xc3\xa9", "sudo rm  -rf /tmp/é"),
        (b"cd / && rm -rf x; ls", "cd / && rm -rf x; ls"),
        (b"\x1b[200~rm -rf /\x1b[201~", "rm -rf /"),
        (b"\x1b[12;40Rrm -rf /", "rm -rf /"),
        (b"\x1b[Irm -rf \x1b[O/", "rm -rf /"),
        (b"rm -rf 'a b' \"c\"", "rm -rf 'a b' \"c\""),
    ],
)
def test_people_are_asked_about_what_the_keys_say_for_sure(keys: bytes, text: str) -> None:
    watched = asking()
    assert watched.typed(keys) == Passing(keys), "nothing is asked before it is entered"
    assert watched.typed(b"\r") == Passing(b"", asked(text))


@pytest.mark.parametrize(
    ("keys", "shown", "text"),
    [
        (b"-rf x\x01rm ", b"$ rm -rf x", "rm -rf x"),
        (b"rm -x\x1b[D\x06\x02rf", b"$ rm -rfx", "rm -rfx"),
        (b"rm -rf a b\x17c", b"$ rm -rf a c", "rm -rf a c"),
        (b"xx\x03rm -rf a", b"$ xx^C\r\n$ rm -rf a", "rm -rf a"),
    ],
)
def test_keys_that_move_or_erase_words_are_believed_where_the_terminal_shows_the_same(
    keys: bytes, shown: bytes, text: str
) -> None:
    guards = [LineGuard("p/asks", (("rm", "-rf*"),), APPROVAL)]
    watched = line_watch(guards, has_terminal=True)
    watched.typed(keys)
    watched.written(shown)
    assert watched.typed(b"\r") == Passing(b"", LineAsked(tuple(guards), text))
    unseen = line_watch(guards, has_terminal=True)
    unseen.typed(keys)
    assert UNSURE in why(unseen.typed(b"\r"))
    other = line_watch(guards, has_terminal=True)
    other.typed(keys)
    other.written(shown + b" /")
    assert UNSURE in why(other.typed(b"\r"))


@pytest.mark.parametrize(
    ("typed", "because"),
    [
        (b"rm -rf \xff\r", UNSURE),
        (b"rm -rf \x1b[200~x\r", UNSURE),
        (b"\x1b[200~rm -rf a\rls\x1b[201~\r", UNSURE),
        (b"rm -rf a\x16\r", ""),
        (b"rm -rf \xc3\xa9\x7f\r", UNSURE),
        (b"rm -rf a\x04", UNFINISHED),
        (b"rm -rf a\x0f", UNFINISHED),
        (b"rm -rf a \\\r", UNFINISHED),
        (b"cd /; \\\rrm -rf a\r", UNFINISHED),
        (b"rm -rf 'a\r", UNFINISHED),
        (b'rm -rf "a\r', UNFINISHED),
        (b"rm -rf `a\r", UNFINISHED),
        (b"rm -rf $(a\r", UNFINISHED),
        (b"rm -rf a |\r", UNFINISHED),
        (b"rm -rf a &&\r", UNFINISHED),
        (b"rm -rf a ||\r", UNFINISHED),
        (b"rm -rf a; {\r", UNFINISHED),
        (b"xargs rm -rf << E\r", UNFINISHED),
        (b"for a in /; do rm -rf $a\r", UNFINISHED),
        (b"if true; then rm -rf a\r", UNFINISHED),
    ],
)
def test_in_doubt_the_session_ends_and_nobody_is_asked(typed: bytes, because: str) -> None:
    watched = asking()
    passing = watched.typed(typed)
    if isinstance(passing.found, Unsettled):
        passing = watched.go_on()
    assert met(passing) is not None
    assert because in why(passing)


@pytest.mark.parametrize("fetched", [b"\x1b[A", b"\x10", b"\x12rm", b"rm -rf /tm\t", b"\x19", b"\x1b.", b"\x16x"])
def test_what_keys_fetch_is_waited_for_and_nobody_is_asked_about_it(fetched: bytes) -> None:
    watched = asking()
    watched.typed(fetched)
    assert watched.typed(b"\rls\r") == Passing(b"", Unsettled())
    watched.written(b"$ rm -rf /tmp/")
    assert UNSURE in why(watched.go_on())
    harmless = asking()
    harmless.typed(fetched if b"rm" not in fetched else b"ls\t")
    assert harmless.typed(b"\rls\r") == Passing(b"", Unsettled())
    harmless.written(b"$ ls /tmp/")
    assert harmless.go_on() == Passing(b"\rls\r")


def test_what_comes_with_the_keys_that_fetch_goes_on_so_that_it_can_be_shown() -> None:
    watched = asking()
    assert watched.typed(b"ls\r\x1b[A\x1b[A\r") == Passing(b"ls\r\x1b[A\x1b[A", Unsettled())
    watched.written(b"ls\r\na\r\n$ shutdown")
    assert met(watched.go_on()) == LineMet("p/in", "a line that was typed")


@pytest.mark.parametrize("indented", [b"\tx = 1\r", b" \ty\r", b"a \tb\r", b"\x1b[200~a\tb\x1b[201~\r"])
def test_text_that_is_indented_is_not_waited_for(indented: bytes) -> None:
    assert asking().typed(indented) == Passing(indented)


@pytest.mark.parametrize("line", ["!!", "sudo !!", "!rm", "!-2", "echo a!b", "^x^y", "!$", "!?rm"])
def test_a_line_that_takes_from_the_history_ends_the_session_where_it_is_shown(line: str) -> None:
    watched = shown_as_typed(asking(), line.encode(), b"$ " + line.encode())
    assert watched.typed(b"\r") == Passing(b"", Unsettled())
    assert HISTORY in why(watched.go_on())
    password = asking()
    assert password.written(b"Password: ") is None
    assert password.typed(line.encode() + b"\r").found == Unsettled()
    assert password.go_on() == Passing(b"\r"), "what is not shown is typed for no shell"


@pytest.mark.parametrize(
    "line", ["echo hi!", "if ! true", "[ a != b ]", "echo $!", "echo 'a!b'", "echo a\\!b", "${!x}"]
)
def test_other_exclamations_are_no_history(line: str) -> None:
    watched = shown_as_typed(asking(), line.encode(), b"$ " + line.encode())
    assert watched.typed(b"\r") == Passing(b"\r")


def test_a_prompt_that_speaks_of_it_is_not_asked_about() -> None:
    watched = asking()
    watched.written(b"rm -rf: really? ")
    assert watched.typed(b"y\r") == Passing(b"y\r")


def test_what_may_not_be_typed_at_all_wins() -> None:
    assert met(asking().typed(b"rm -rf a; shutdown\r")) == LineMet("p/in", "a line that was typed")
    assert met(asking(terminal=False).typed(b"rm -rf a; shutdown")) == LineMet("p/in", "a line that was typed")
    watched = asking()
    watched.typed(b"rm -rf a\r")
    watched.typed(b"shutdown\r")
    assert met(watched.go_on()) == LineMet("p/in", "a line that was typed"), "and nothing of what waited goes on"


def test_every_rule_that_asks_is_named() -> None:
    other = LineGuard("q/asks", (("rm",),), APPROVAL)
    for terminal in (True, False):
        found = line_watch([ASKS, other], has_terminal=terminal).typed(b"rm -rf a\n").found
        assert found == LineAsked((ASKS, other), "rm -rf a")


def test_no_more_is_kept_than_is_said() -> None:
    for terminal in (True, False):
        watched = asking(terminal=terminal)
        watched.typed(b"rm -rf a\n")
        found = [watched.typed(b"#" * 4096) for _ in range(MOST_AHEAD // 4096)]
        assert [one for one in found[:-1] if one != Passing()] == []
        assert "more than is kept" in why(found[-1])
        assert "more than is kept" in why(asking(terminal=terminal).typed(b"rm -rf a\n" + b"x" * (MOST_AHEAD + 1)))


def test_whoever_takes_it_back_ends_the_session() -> None:
    watched = asking()
    watched.typed(b"rm -rf a\r")
    assert "taken back" in why(watched.typed(b"\x03"))
    piped = asking(terminal=False)
    piped.typed(b"rm -rf a\n")
    assert piped.typed(b"\x03") == Passing(), "without a terminal it is a byte like any other"


def test_the_end_of_the_input_waits_as_well() -> None:
    for terminal in (True, False):
        watched = asking(terminal=terminal)
        assert watched.typed(b"rm -rf a\nls").found == asked("rm -rf a")
        assert watched.ended() == Passing()
        assert watched.go_on() == Passing(b"rm -rf a\nls", None, ends=True)
        assert asking(terminal=terminal).ended() == Passing(ends=True)


def test_without_a_terminal_a_line_is_held_as_soon_as_it_speaks_of_it_and_asked_about_when_it_is_whole() -> None:
    watched = asking(terminal=False)
    assert watched.typed(b"ls\ncd /; rm -r") == Passing(b"ls\ncd /; rm -r")
    assert watched.typed(b"f /") == Passing()
    assert watched.typed(b"tmp\necho") == Passing(b"", asked("cd /; rm -rf /tmp"))
    assert watched.go_on() == Passing(b"f /tmp\necho")
    assert watched.typed(b"\n") == Passing(b"\n")


def test_the_end_of_the_input_enters_what_is_piped() -> None:
    watched = asking(terminal=False)
    assert watched.typed(b"rm -rf /") == Passing()
    assert watched.ended() == Passing(b"", asked("rm -rf /"))
    assert watched.go_on() == Passing(b"rm -rf /", None, ends=True)


def test_lines_that_are_continued_are_one() -> None:
    watched = asking(terminal=False)
    assert watched.typed(b"rm \\\n") == Passing(b"rm \\\n")
    assert watched.typed(b"-rf \\\n") == Passing()
    assert watched.typed(b"/a\n") == Passing(b"", asked("rm \\\n-rf \\\n/a"))
    assert watched.go_on() == Passing(b"-rf \\\n/a\n")


@pytest.mark.parametrize(
    "sent", [b"rm -rf 'a\n", b"rm -rf a |\n", b"rm -rf \xff\n", b"xargs rm -rf <<E\n", b"(rm -rf a\n"]
)
def test_of_what_is_piped_people_are_asked_about_whole_commands_alone(sent: bytes) -> None:
    assert "nobody can be asked about" in why(asking(terminal=False).typed(sent))
    rest = asking(terminal=False)
    assert rest.typed(sent[:-1]) == Passing()
    assert "nobody can be asked about" in why(rest.ended())


def test_job_control_and_signals_pass_by() -> None:
    watched = asking()
    for keys in (b"\x1a", b"fg\r", b"\x1c", b"\x03", b"\x04", b"\x0c"):
        passing = watched.typed(keys)
        if isinstance(passing.found, Unsettled):
            passing = watched.go_on()
        assert passing.found is None


@pytest.mark.parametrize("enter", [b"\x1bOM", b"\x1b[13u", b"\x1b[13;1u", b"\x1b[27;1;13~"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_enter_is_known_in_other_spellings(enter: bytes, size: int) -> None:
    typed, watched = b"rm -rf /" + enter, watch()
    found = [met(watched.typed(typed[at : at + size])) for at in range(0, len(typed), size)]
    assert found[-1] == MET
    assert not any(found[:-1])
    assert UNFINISHED in why(asking().typed(typed)), "nobody knows who reads it, so nobody is asked"
    harmless = watch()
    passed = [harmless.typed((b"ls" + enter)[at : at + size]).data for at in range(0, 2 + len(enter), size)]
    assert b"".join(passed) == b"ls" + enter


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (("dd", "of=/dev/sda"), "dd of=/dev/sda if=/dev/zero"),
        (("of=/dev/*",), "dd of=/dev/sda"),
        (("kubectl", "delete", "--all=true"), "kubectl delete --all=true pods"),
        (("sh", "-c", "ls /; id"), "sh -c 'ls /; id'"),
        (("echo", "$HOME"), "echo ${HOME}"),
        (("rm",), "r\0m x"),
    ],
)
def test_what_a_shell_cuts_words_at_is_cut_in_patterns_as_well(pattern: tuple[str, ...], line: str) -> None:
    guards = [LineGuard("p/in", (pattern,))]
    for terminal in (True, False):
        for size in (1, 100):
            watched, data = line_watch(guards, has_terminal=terminal), line.encode() + b"\n"
            found = [met(watched.typed(data[at : at + size])) for at in range(0, len(data), size)]
            assert any(found)
