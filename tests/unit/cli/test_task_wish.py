"""What is wanted on the command line: the same words for a task and for a part of one."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner

from narrowgate.cli.task_wish import (
    allow_option,
    kubeconfig_option,
    lasts_option,
    limit_options,
    reason_option,
    wish_of,
)


@click.command()
@reason_option
@lasts_option("; never longer")
@allow_option("like pods")
@limit_options("; counted")
@kubeconfig_option
def wanted(**options: Any) -> None:
    """Say what was understood."""
    click.echo(json.dumps({name: value for name, value in wish_of(options).items() if value}))


def test_what_is_said_is_what_the_api_reads() -> None:
    said = ("--reason", "x", "--for", "5m", "--allow", "get pods -n ci", "--allow", "get nodes", "--max-requests", "3")
    done = CliRunner().invoke(wanted, said)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {
        "purpose": "x",
        "for": "5m",
        "allow": ["get pods -n ci", "get nodes"],
        "maxRequests": 3,
    }


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ((), "--reason"),
        (("--reason", "a\nb"), "--reason"),
        (("--reason", "x", "--for", "soon"), "--for"),
        (("--reason", "x", "--allow", "pods"), "--allow"),
        (("--reason", "x", "--max-requests", "0"), "--max-requests"),
        (("--reason", "x", "--max-streams", "-1"), "--max-streams"),
    ],
)
def test_what_no_gate_would_take_is_misuse(said: tuple[str, ...], about: str) -> None:
    done = CliRunner().invoke(wanted, said)
    assert (done.exit_code, about in done.output) == (2, True), done.output
