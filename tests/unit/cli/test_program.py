"""The program: its table of commands, its border, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from tests.unit.cli.terminal import Terminal

from narrowgate import __version__
from narrowgate.cli.program import COMMANDS, Program, narrowgate

HEAVY = ("sqlalchemy", "cel_expr_python", "cryptography", "uvloop", "starlette", "yaml", "narrowgate.config")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there(name: str) -> None:
    program = narrowgate
    assert isinstance(program, Program)
    command = program.get_command(click.Context(program), name)
    assert isinstance(command, click.Command)
    assert command.name == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_its_own_commands_have_help(shell: Terminal, name: str) -> None:
    program = narrowgate
    assert isinstance(program, Program)
    command = program.get_command(click.Context(program), name)
    below = [[name]] + ([[name, one] for one in command.commands] if isinstance(command, click.Group) else [])
    for path in below:
        done = shell.bare(*path, "--help")
        assert done.code == 0
        assert done.out.startswith(f"Usage: narrowgate {' '.join(path)}")


def test_help_lists_the_commands_without_importing_them() -> None:
    look = f"import sys; from narrowgate.cli import main; main(); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look, "--help"], capture_output=True, text=True, check=True)
    assert all(f"\n  {name}" in done.stdout for name in COMMANDS)
    assert done.stdout.endswith("\n[]\n")


def test_the_entry_of_the_credential_plugin_does_not_import_click() -> None:
    look = "import sys, narrowgate.cli.credential_plugin; print('click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_version_is_told(shell: Terminal) -> None:
    assert shell.bare("--version") == (0, f"narrowgate {__version__}\n", "")


def test_no_command_at_all_shows_the_help_and_is_misuse(shell: Terminal) -> None:
    done = shell.bare()
    assert done.code == 2
    assert done.err.startswith("Usage: narrowgate")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("polcy",), "narrowgate: no such command 'polcy'"),
        (("policy", "chek"), "narrowgate: no such command 'chek'"),
        (("--foo",), "narrowgate: no such option '--foo'"),
        (("policy", "check", "--foo"), "narrowgate: no such option '--foo'"),
        (("policy", "revisions", "x"), "narrowgate: invalid value for '[NUMBER]'"),
        (("policy", "apply"), "narrowgate: missing argument 'FILES...'"),
        (("clusters", "list", "-o", "xml"), "narrowgate: invalid value for '-o' / '--output'"),
    ],
)
def test_misuse_is_one_line_and_code_2(shell: Terminal, words: tuple[str, ...], said: str) -> None:
    done = shell.bare(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(said)
    assert len(done.err.splitlines()) == 1


def test_a_traceback_comes_only_when_asked_for(shell: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("clusters", "list", "--config", shell.folder / "gone.yaml")
    assert "Traceback" not in shell.bare(*command).err
    monkeypatch.setenv("NARROWGATE_DEBUG", "1")
    assert "Traceback" in shell.bare(*command).err


def test_a_reader_that_goes_away_is_no_error_to_tell() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "narrowgate.cli", "--help"]
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"")
