"""Patterns of commands: exact where a rule gives, generous where it guards."""

from __future__ import annotations

import pytest

from narrowgate.core.commands import (
    MOST_LOOKED_AT,
    MOST_WORDS,
    CommandGift,
    CommandGuard,
    CommandInvalid,
    as_in_line,
    checked_pattern,
    has_wildcard,
    pattern_of_text,
    shown,
)


def gives(pattern: str, *command: str) -> bool:
    return CommandGift([pattern_of_text(pattern)]).covers(command)


def guards(pattern: str, *command: str) -> bool:
    return CommandGuard([pattern_of_text(pattern)]).reaches(command)


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("ls", ["ls"]),
        ("ls *", ["ls", "data"]),
        ("ls *", ["ls", "two words"]),
        ("ls *", ["ls", "naïve"]),
        ("ls -l", ["ls", "-l"]),
        ("ls -*", ["ls", "-lah"]),
        ("cat /etc/*", ["cat", "/etc/hosts"]),
        ("cat /etc/*/*.conf", ["cat", "/etc/a/b.conf"]),
        ("cat /etc/host*s", ["cat", "/etc/hosts"]),
        ("kubectl get **", ["kubectl", "get"]),
        ("kubectl get **", ["kubectl", "get", "--raw", "/../x", ""]),
        (r"expr 2 \* 3", ["expr", "2", "*", "3"]),
        (r"dir C:\\*", ["dir", "C:\\x"]),
    ],
)
def test_a_gift_covers_the_commands_that_are_written(pattern: str, command: list[str]) -> None:
    assert gives(pattern, *command)


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("ls", []),
        ("ls", ["ls", ""]),
        ("ls", ["ls", "-l"]),
        ("ls", ["LS"]),
        ("ls", ["ls "]),
        ("ls", ["/bin/ls"]),
        ("ls", ["./ls"]),
        ("ls", ["ls;id"]),
        ("ls", ["ls\n"]),
        ("ls", ["--", "ls"]),
        ("ls", ["ｌｓ"]),
        ("ls *", ["ls"]),
        ("ls *", ["ls", ""]),
        ("ls *", ["ls", "a", "b"]),
        ("ls *", ["ls", "/etc"]),
        ("ls *", ["ls", "-R"]),
        ("ls *", ["ls", "--"]),
        ("ls *", ["ls", "."]),
        ("ls *", ["ls", ".."]),
        ("ls *", ["ls", "a\nb"]),
        ("ls *", ["ls", "a\x1b[2J"]),
        ("ls *", ["ls", "\u202e"]),
        ("cat /etc/*", ["cat", "/etc/"]),
        ("cat /etc/*", ["cat", "/etc/."]),
        ("cat /etc/*", ["cat", "/etc/.."]),
        ("cat /etc/*", ["cat", "/etc/ssl/key"]),
        ("cat /etc/*", ["cat", "/etc/../root"]),
        ("cat /etc/*", ["cat", "//etc/hosts"]),
        ("cat /etc/*/x", ["cat", "/etc/../x"]),
        ("cat /etc/*", ["cat", "/etc/hosts", "/etc/shadow"]),
        ("tool --root=*", ["tool", "--root=.."]),
        ("tool --root=*", ["tool", "--root=/"]),
        ("cat /etc/a*a", ["cat", "/etc/a"]),
        ("kubectl get **", ["kubectl", "-n", "x", "get"]),
        (r"expr 2 \* 3", ["expr", "2", "x", "3"]),
    ],
)
def test_a_gift_covers_nothing_else(pattern: str, command: list[str]) -> None:
    assert not gives(pattern, *command)


def test_arguments_with_spaces_are_written_one_by_one() -> None:
    gift = CommandGift([checked_pattern(["sh", "-c", "ls /; id"])])
    assert gift.covers(["sh", "-c", "ls /; id"])
    assert not gift.covers(["sh", "-c", "ls /;  id"])
    assert not gift.covers(["sh", "-c", "ls", "/;", "id"])


@pytest.mark.parametrize(
    "command",
    [
        ["rm"],
        ["rm", "-rf", "/"],
        ["/bin/rm", "x"],
        ["../../bin/rm", "x"],
        ["RM.EXE", "x"],
        ["C:\\tools\\rm.exe"],
        ["wrap", "rm", "x"],
        ["wrap", "--", "/bin/rm", "x"],
        ["wrap", "-c", "ls; rm -rf /"],
        ["wrap", "x=$(rm -rf /)"],
        ["wrap", "'rm'", "x"],
        ["sh"],
        ["/bin/bash", "-c", "echo"],
        ["bash-static"],
        ["env", "ls"],
        ["busybox", "ls"],
        ["python3.11", "-V"],
        ["awk", "1"],
        ["find", "/"],
        ["tar", "cf", "-", "/x"],
        ["/entrypoint.sh"],
        ["ld-linux-x86-64.so.2", "/bin/x"],
        [],
        ["ls", *["x"] * MOST_LOOKED_AT],
    ],
)
def test_a_guard_reaches_whatever_could_run_it(command: list[str]) -> None:
    assert guards("rm **", *command)


@pytest.mark.parametrize("command", [["ls"], ["cat", "/etc/hosts"], ["rmdir", "x"], ["ps", "aux"], ["farm"]])
def test_a_guard_leaves_other_programs_alone(command: list[str]) -> None:
    assert not guards("rm **", *command)


def test_a_guard_reaches_a_command_that_is_not_known() -> None:
    assert CommandGuard([("rm",)]).reaches(None)


def test_a_guard_holds_for_more_arguments_than_it_names() -> None:
    assert guards("systool stop", "systool", "stop", "--force")
    assert guards("systool s*p", "systool", "stop/now/stop")
    assert not guards("systool stop", "systool", "start")


def test_a_guard_may_have_a_wildcard_in_its_program() -> None:
    assert guards("mk*fs", "/sbin/mk.ext4fs")
    assert not guards("mk*fs", "mkdir")


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf /",
        "  sudo rm -rf /",
        "cd /; rm -rf x",
        "true && /bin/rm -rf x",
        "x=`rm -rf y`",
        "r\\m -rf /",
        "$(rm -rf /)",
    ],
)
def test_a_line_speaks_of_a_command_wherever_it_stands_in_it(line: str) -> None:
    assert CommandGuard([("rm", "-rf")]).speaks_of(line)


@pytest.mark.parametrize("line", ["", "ls", "rm x", "rmdir -rf"])
def test_a_line_that_holds_no_such_command_does_not(line: str) -> None:
    assert not CommandGuard([("rm", "-rf")]).speaks_of(line)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sh -c "ls"', "quotes"),
        ("** ls", "at the end"),
        ("**", "at the end"),
        ("ls ** x", "at the end"),
        ("ls a**", "word by itself"),
        (r"ls \x", "means nothing"),
        ("ls x\\", "backslash"),
        (" ", "names no program"),
        ("ls " + "x " * MOST_WORDS, "more than 64 words"),
        ("ls " + "x" * 1025, "1024 characters"),
        ("ls a\0b", "NUL"),
    ],
)
def test_what_is_no_pattern_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(CommandInvalid, match=message):
        pattern_of_text(text)


def test_wildcards_are_told_from_stars_that_are_meant() -> None:
    assert has_wildcard(pattern_of_text("ls *"))
    assert has_wildcard(pattern_of_text("ls **"))
    assert not has_wildcard(pattern_of_text(r"expr 2 \* 3"))


def test_a_pattern_is_shown_as_it_can_be_written() -> None:
    assert shown(("cat", "/etc/*")) == "cat /etc/*"
    assert shown(("sh", "-c", "ls /")) == '[sh, -c, "ls /"]'


@pytest.mark.parametrize(
    ("pattern", "cut"),
    [
        (("dd", "of=/dev/sd*"), ("dd", "of", "/dev/sd*")),
        (("sh", "-c", "ls /; id"), ("sh", "-c", "ls", "/", "id")),
        (("a\\*", "b\\\\c", "**"), ("a\\*", "bc", "**")),
        (('"x', "'y'"), ("x", "y")),
        (("=", "**"), ()),
        ((";",), ()),
        (("a=*", '*"*'), ("a", "*", "*")),
    ],
)
def test_patterns_are_cut_as_lines_are(pattern: tuple[str, ...], cut: tuple[str, ...]) -> None:
    assert as_in_line(pattern) == cut
    guard = CommandGuard([pattern])
    assert guard.most_words >= len(cut)
