"""Laws of rules about commands: what is given is exactly what is written, and what is guarded never comes through."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.deciding import answer, asks, policy, rule

from narrowgate.core.commands import (
    CommandGift,
    CommandGuard,
    CommandInvalid,
    as_in_line,
    checked_pattern,
    has_wildcard,
    pattern_of_text,
    shown,
)
from narrowgate.core.decision import Allow
from narrowgate.core.intent import Entry, Intent
from narrowgate.core.policy import Approval, Approvers
from narrowgate.core.typed_lines import LineAsked, LineGuard, LineMet, LineWatch, Unsettled, line_watch

bounded = settings(max_examples=600, deadline=None)
few = settings(max_examples=200, deadline=None)
"""For laws whose examples take several milliseconds each."""

PIECES = (
    "a",
    "b",
    "ab",
    "*",
    "/",
    ".",
    "..",
    "-",
    "--",
    "=",
    " ",
    "\n",
    "é",
    "\u202e",
    "\\*",
    "\\\\",
    "sh",
    "rm",
    ".exe",
    "",
)
words = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
plain = st.lists(st.sampled_from(("a", "b", "ab", "/", ".", "-", "rm", "x")), min_size=1, max_size=3).map("".join)
arguments = st.lists(words | st.text(max_size=6).filter(lambda word: "\0" not in word), max_size=5)


@st.composite
def patterns(draw: st.DrawFn) -> tuple[str, ...]:
    """Patterns that can be written, and now and then one with a rest."""
    made = draw(st.lists(words, min_size=1, max_size=4))
    try:
        return checked_pattern([*made, "**"] if draw(st.booleans()) else made)
    except CommandInvalid:
        assume(False)
        raise


@st.composite
def meant(draw: st.DrawFn) -> tuple[tuple[str, ...], list[str]]:
    """A pattern, and a command that might be one of those it stands for."""
    pattern = draw(patterns())
    words = pattern[:-1] if pattern[-1] == "**" else pattern
    command = []
    for word in words:
        tokens = re.findall(r"\\.|\*|[^\\*]", word, re.DOTALL)
        filled = (draw(FILLING) if token == "*" else as_text(token) for token in tokens)
        command.append("".join(filled))
    return pattern, command


FILLING = st.sampled_from(PIECES).filter(bool) | st.text(min_size=1, max_size=4).filter(lambda text: "\0" not in text)


def literally(word: str) -> str:
    return word.replace("\\", "\\\\").replace("*", "\\*")


def as_text(word: str) -> str:
    """What a word without wildcards stands for."""
    return re.sub(r"\\(.)", r"\1", word)


def model(pattern: Sequence[str], command: Sequence[str]) -> bool:
    """What a pattern covers, said with regular expressions over each argument, and the refusals said one by one."""
    has_rest = pattern[-1] == "**"
    written = pattern[:-1] if has_rest else pattern
    if len(command) < len(written) or (not has_rest and len(command) != len(written)):
        return False
    return all(_is(word, given) for word, given in zip(written, command, strict=False))


def _is(word: str, argument: str) -> bool:
    tokens = re.findall(r"\\.|\*|[^\\*]", word, re.DOTALL)
    if "*" not in tokens:
        return as_text(word) == argument
    if not argument.isprintable() or (tokens[0] == "*" and argument[:1] == "-"):
        return False
    expression = "".join("[^/]*" if token == "*" else re.escape(as_text(token)) for token in tokens)
    if re.fullmatch(expression, argument, re.DOTALL) is None:
        return False
    # Which parts of the argument a wildcard had a hand in: there are as many slashes as in the pattern.
    parts = zip(_split(tokens), argument.split("/"), strict=True)
    return not any("*" in written and (part in ("", ".") or ".." in part) for written, part in parts)


def _split(tokens: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == "/":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


@bounded
@given(patterns(), arguments)
def test_a_gift_covers_what_the_model_says(pattern: tuple[str, ...], command: list[str]) -> None:
    assert CommandGift([pattern]).covers(command) is model(pattern, command)


@bounded
@given(st.lists(words, min_size=1, max_size=4), arguments)
def test_a_gift_without_wildcards_covers_one_command(written: list[str], command: list[str]) -> None:
    assume(written[0])
    gift = CommandGift([checked_pattern([literally(word) for word in written])])
    assert gift.covers(written)
    assert gift.covers(command) is (command == written)


def execs(command: Sequence[str]) -> Intent:
    entry = Entry(container="app", command=tuple(command))
    return asks("create", "pods/exec", "web", namespace="ci", entry=entry)


@bounded
@given(st.lists(patterns(), min_size=1, max_size=3), arguments)
def test_a_rule_allows_no_command_that_its_patterns_do_not_cover(
    written: list[tuple[str, ...]], command: list[str]
) -> None:
    gives = rule("allow", "create", "pods/exec", namespaces="ci", commands=tuple(written))
    allowed = isinstance(answer(execs(command), policy(gives)), Allow)
    assert allowed is (bool(command) and any(model(pattern, command) for pattern in written))


@bounded
@given(meant() | st.tuples(patterns(), arguments))
@example((("*\\\\a",), ["\\\\a"]))
@example((("*.exe",), ["x.exe"]))
@example((("a*/",), ["ab/"]))
def test_what_a_rule_would_give_the_same_words_guard(both: tuple[tuple[str, ...], list[str]]) -> None:
    pattern, command = both
    gives = rule("allow", "create", "pods/exec", namespaces="ci", commands=(pattern,), id="gives")
    guards = rule("deny", "create", "pods/exec", namespaces="ci", commands=(pattern,), id="guards")
    assert not isinstance(answer(execs(command), policy(gives, guards)), Allow)


@bounded
@given(plain, st.lists(plain, max_size=3), st.lists(plain, max_size=3), st.sampled_from(["/bin/", "./", ""]))
def test_nothing_before_or_behind_a_guarded_command_gets_it_through(
    program: str, before: list[str], behind: list[str], path: str
) -> None:
    assume("/" not in program)
    guard = CommandGuard([(literally(program),)])
    assert guard.reaches([*before, path + program, *behind])


@bounded
@given(patterns())
def test_what_is_shown_of_a_pattern_in_one_line_reads_back_as_it(pattern: tuple[str, ...]) -> None:
    text = shown(pattern)
    if not text.startswith("["):
        assert pattern_of_text(text) == pattern
    assert has_wildcard(pattern) or "**" not in pattern


SHELL_CUTS = re.compile(r"[\s;&|()<>{}`$=]")


def cuts_to(word: str) -> int:
    """How many words a shell may make of one."""
    return len([part for part in SHELL_CUTS.split(word) if part])


@st.composite
def meant_in_a_line(draw: st.DrawFn) -> tuple[tuple[str, ...], str]:
    """A pattern, and a line that has a command in it which it may stand for."""
    words = draw(st.lists(LINE_WORDS, min_size=1, max_size=4))
    try:
        pattern = checked_pattern([*words, "**"] if draw(st.booleans()) else words)
    except CommandInvalid:
        assume(False)
        raise
    command = []
    for word in words:
        tokens = re.findall(r"\\.|\*|[^\\*]", word, re.DOTALL)
        # A star does not reach over what a shell cuts words at.
        filled = "".join(draw(LINE_FILLING) if token == "*" else as_text(token) for token in tokens)
        # Where nothing stands in a line there is no word: an empty one is written with quotes.
        assume(cuts_to(filled) >= cuts_to(word.replace("*", "x")))
        # A program is known by its name, which no star reaches beyond.
        assume(command or filled.count("/") == word.count("/"))
        command.append(filled)
    assume(SHELL_CUTS.sub("", command[0]).strip("/"))
    before, behind = (
        draw(st.sampled_from(["", "sudo ", "cd /; ", "x && ", "a=b ", "( "])),
        draw(st.sampled_from(["", " x"])),
    )
    return pattern, before + " ".join(command) + behind


LINE_WORDS = st.lists(
    st.sampled_from(("a", "b", "rm", "*", "/", ".", "-", "--", "=", "é", "\\*", "$", "{", "if=", ":", "@")),
    min_size=1,
    max_size=4,
).map("".join)
LINE_FILLING = st.sampled_from(("", "a", "b", "/", "-", "rm", "..", "*", "é", ":"))


@few
@given(meant_in_a_line())
@example((("dd", "of=/dev/sda"), "dd of=/dev/sda"))
@example((("git", "push", "--force=*"), "sudo git push --force=x"))
def test_a_line_that_says_what_a_pattern_says_is_met(both: tuple[tuple[str, ...], str]) -> None:
    pattern, line = both
    assume(as_in_line(pattern) and not SHELL_CUTS.fullmatch(pattern[0]))
    guard = LineGuard("p/in", (pattern,))
    for terminal in (True, False):
        watch = line_watch([guard], has_terminal=terminal)
        assert met_in(watch, line.encode() + b"\n") == LineMet("p/in", "a line that was typed")


ASKED = LineGuard("p/asks", (("rm", "-rf"),), Approval((Approvers("sre", 1),), 60.0))
KEYS = (
    b"ls",
    b"rm -rf a",
    b"rm",
    b" ",
    b"-rf",
    b"\r",
    b"\n",
    b"\x7f",
    b"\x1b[A",
    b"\x1b[13u",
    b"\t",
    b"\\",
    b";",
    b"'",
    b"!x",
)


def played(data: bytes, cuts: Sequence[int], *, terminal: bool) -> tuple[bytes, list[str], str]:
    """All that goes on where people always say yes, what they are asked about, and what ended it."""
    watch = line_watch([ASKED], has_terminal=terminal)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    passed, asked = b"", []
    for step in (*pairwise(edges), None):
        passing = watch.ended() if step is None else watch.typed(data[step[0] : step[1]])
        while True:
            if isinstance(passing.found, LineMet):
                return passed, asked, passing.found.why
            passed += passing.data
            if passing.found is None:
                break
            if isinstance(passing.found, LineAsked):
                asked.append(passing.found.text)
            passing = watch.go_on()
    return passed, asked, ""


@few
@given(st.lists(st.sampled_from(KEYS), max_size=12), st.lists(st.integers(0, 60)), st.booleans())
def test_with_every_yes_all_that_was_typed_goes_on_as_it_was(
    keys: list[bytes], cuts: list[int], terminal: bool
) -> None:
    data = b"".join(keys)
    passed, asked, why = played(data, cuts, terminal=terminal)
    assert data.startswith(passed)
    assert passed == data or why
    whole_passed, whole_asked, whole_why = played(data, (), terminal=terminal)
    assert (asked, why) == (whole_asked, whole_why), "however it is cut"
    assert whole_passed == data or whole_why


@few
@given(
    st.lists(st.sampled_from([key for key in KEYS if key not in (b"\x7f", b"\\")]), max_size=12),
    st.lists(st.integers(0, 60)),
    st.booleans(),
)
def test_no_line_that_speaks_of_it_is_entered_before_a_yes(keys: list[bytes], cuts: list[int], terminal: bool) -> None:
    data = b"".join(keys) + b"\n"
    watch = line_watch([ASKED], has_terminal=terminal)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    passed = b""
    for begin, end in pairwise(edges):
        passing = watch.typed(data[begin:end])
        while isinstance(passing.found, Unsettled):
            passed += passing.data
            passing = watch.go_on()
        if passing.found is not None:
            passed += passing.data
            break
        passed += passing.data
    # Said with plain words: wherever the text stands in a line of its own, its end has not gone on.
    # What is Enter on a terminal is text in a pipe.
    entered = passed.replace(b"\x1b[13u", b"\n") if terminal else passed
    for line in entered.replace(b"\r", b"\n").split(b"\n")[:-1]:
        assert not re.search(rb"(?:^|[ ;])rm -rf(?: |;|$)", line)


LINE = LineGuard("p/in", (("rm", "-rf"),))


def met_in(watch: LineWatch, data: bytes) -> LineMet | None:
    """What ends the session, once all of it is shown and nobody is waited for."""
    passing = watch.typed(data)
    while isinstance(passing.found, Unsettled):
        passing = watch.go_on()
    return passing.found if isinstance(passing.found, LineMet) else None


@bounded
@given(
    st.lists(
        st.sampled_from([b"ls", b"rm", b" ", b"-rf", b"\r", b"\n", b"\x7f", b"\x1b[D", b"\x01", b"\\", b";", b"\x03"])
    ),
    st.lists(st.integers(0, 60)),
    st.booleans(),
)
def test_how_typed_bytes_are_cut_does_not_change_whether_they_are_let_through(
    typed: list[bytes], cuts: list[int], terminal: bool
) -> None:
    data = b"".join(typed) + b"\r"
    whole = line_watch([LINE], has_terminal=terminal)
    pieces = line_watch([LINE], has_terminal=terminal)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = [met_in(pieces, data[begin:end]) for begin, end in pairwise(edges)]
    met = met_in(whole, data)
    # Without a terminal a line is looked at before it is whole, so more cuts may find more, and never less.
    assert any(found) or met is None
    assert not (terminal and any(found)) or met is not None
