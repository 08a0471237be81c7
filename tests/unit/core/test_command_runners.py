"""Programs that run others, told by their names."""

from __future__ import annotations

import pytest

from narrowgate.core.command_runners import may_run_others, program_of, runs_arguments, runs_by_options


@pytest.mark.parametrize(
    ("word", "name"),
    [("ls", "ls"), ("/bin/ls", "ls"), ("C:\\Windows\\CMD.EXE", "cmd"), ("./x", "x"), ("/bin/", ""), ("", "")],
)
def test_a_program_is_what_stands_behind_its_path(word: str, name: str) -> None:
    assert program_of(word) == name


@pytest.mark.parametrize("word", ["sh", "/bin/bash", "python3", "python3.11", "perl5.36", "env", "busybox", "psql-15"])
def test_shells_interpreters_and_launchers_run_their_arguments(word: str) -> None:
    assert runs_arguments(word)
    assert may_run_others(word)


@pytest.mark.parametrize("word", ["tar", "find", "git", "kubectl"])
def test_options_of_some_do_more(word: str) -> None:
    assert runs_by_options(word)
    assert not runs_arguments(word)
    assert may_run_others(word)


@pytest.mark.parametrize("word", ["bash-static", "busybox.real", "ld-musl-x86_64.so.1", "run.sh", "setup.py"])
def test_in_doubt_a_program_runs_others(word: str) -> None:
    assert may_run_others(word)


@pytest.mark.parametrize("word", ["ls", "cat", "id", "nginx", "redis-server", "pg_dump", "bashful", ""])
def test_an_ordinary_program_does_not(word: str) -> None:
    assert not may_run_others(word)
