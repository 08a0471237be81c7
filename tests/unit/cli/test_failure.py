"""What went wrong, in the words of the border."""

from __future__ import annotations

import importlib

import click
import pytest

from narrowgate.cli.failure import MISUSE, REFUSED, WORDED, Failed, exit_code, is_worded, sentence
from narrowgate.config import ConfigError


def test_a_failure_is_what_where_and_what_to_do() -> None:
    assert sentence(Failed("no cluster", "gate.yaml", "add one")) == "no cluster, gate.yaml: add one"
    assert sentence(Failed("no cluster", "", "add one")) == "no cluster: add one"


@pytest.mark.parametrize("place", WORDED)
def test_every_error_on_the_list_exists(place: str) -> None:
    module, _, name = place.partition(":")
    kind = getattr(importlib.import_module(module), name)
    assert issubclass(kind, Exception)
    assert place == f"{kind.__module__}:{kind.__qualname__}", "name it where it is defined"


def test_errors_of_the_layers_below_are_shown_as_they_are_worded() -> None:
    assert is_worded(ConfigError("gate.yaml:3: x"))
    assert sentence(ConfigError("gate.yaml:3: x")) == "gate.yaml:3: x"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (click.UsageError("No such option '--foo'."), "no such option '--foo': see `narrowgate --help`"),
        (PermissionError(13, "Permission denied", "/etc/x"), "permission denied, /etc/x: run as the user who owns it"),
        (FileNotFoundError(2, "No such file or directory", "x"), "no such file or directory, x: see that it is there"),
        (OSError(28, "No space left on device"), "no space left on device, no file named: "),
        (click.Abort(), "stopped before it was done"),
        (KeyboardInterrupt(), "stopped before it was done"),
    ],
)
def test_other_errors_are_worded_here(error: BaseException, said: str) -> None:
    assert sentence(error).startswith(said)


def test_what_nobody_foresaw_is_called_a_fault_of_ours() -> None:
    assert "this is a fault of ours" in sentence(ZeroDivisionError("division by zero"))
    assert "NARROWGATE_DEBUG=1" in sentence(ZeroDivisionError("division by zero"))


def test_misuse_and_failure_have_codes_of_their_own() -> None:
    assert exit_code(click.UsageError("x")) == MISUSE
    assert exit_code(Failed("a", "b", "c")) == REFUSED
    assert exit_code(ValueError("x")) == REFUSED
