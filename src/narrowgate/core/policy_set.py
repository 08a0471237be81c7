"""Policy files as one set: parsed together, with every mistake in any of them, and what is worth a second look."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from narrowgate.core.lint import Finding, lint
from narrowgate.core.policy import Policy
from narrowgate.core.policy_file import PolicyErrors, check_set, parse_policies
from narrowgate.core.yaml_reader import PolicyError


class CheckedSet(msgspec.Struct, frozen=True):
    """What came of checking a set."""

    policies: tuple[Policy, ...]
    """Those that could be read; all of them where there are no errors."""
    errors: tuple[PolicyError, ...]
    """With any of them the gate takes nothing of the set."""
    warnings: tuple[Finding, ...]
    """Only for a good set: with a part missing they would mislead."""


def check_files(files: Iterable[tuple[str, str]]) -> CheckedSet:
    """Check files given by name and text."""
    policies: list[Policy] = []
    errors: list[PolicyError] = []
    for name, text in files:
        try:
            policies += parse_policies(text, name)
        except PolicyErrors as refused:
            errors += refused.errors
    try:
        check_set(policies)
    except PolicyErrors as refused:
        errors += refused.errors
    return CheckedSet(tuple(policies), tuple(errors), () if errors else tuple(lint(policies)))
