"""What is said of rules about commands that give more than they seem to, or guard less."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deciding import policy, rule

from narrowgate.core.lint import lint


def checks(effect: str, *commands: tuple[str, ...], resources: str = "pods/exec", **more: Any) -> set[str]:
    made = rule(effect, "create", resources, namespaces="ci", names="web", commands=commands or None, **more)
    return {finding.check for finding in lint([policy(made)])} - {"no-expiry"}


@pytest.mark.parametrize("command", [("ls", "**"), ("tar", "tf", "**"), ("git", "log", "--o*"), ("kubectl", "**")])
def test_a_wide_gift_is_told(command: tuple[str, ...]) -> None:
    assert checks("allow", command) == {"wide-command"}


@pytest.mark.parametrize("command", [("ls",), ("ls", "*"), ("ls", "-*"), ("tar", "tf", "*"), ("sh", "-c", "ls")])
def test_a_narrow_one_is_not(command: tuple[str, ...]) -> None:
    assert checks("allow", command) == set()


def test_the_image_of_a_debug_container_is_its_senders() -> None:
    assert checks("allow", ("ls",), resources="pods/ephemeralcontainers") == {"debug-image"}


def test_a_guard_over_arguments_is_told() -> None:
    everywhere = "pods/exec pods/attach pods/ephemeralcontainers"
    assert checks("deny", ("rm", "-rf"), resources=everywhere) == {"guard-gap"}
    assert checks("deny", ("rm",), ("dd", "**"), resources=everywhere) == set()
    assert checks("deny", ("rm",)) == {"guard-gap"}, "attach and debug open a shell too"


def test_a_shell_to_pods_of_some_labels_or_commands_is_no_shell_to_every_pod() -> None:
    made = rule("allow", "create", "pods/exec", namespaces="ci")
    assert "standing-shell" in {finding.check for finding in lint([policy(made)])}
    narrow = rule("allow", "create", "pods/exec", namespaces="ci", commands=(("ls",),))
    assert "standing-shell" not in {finding.check for finding in lint([policy(narrow)])}
