"""Policy files as the command line meets them: found, parsed together, and every complaint about them collected.

Shared by `policy check`, `policy apply` and `policy explain`, which must agree on what a good set of files is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from narrowgate.cli.failure import Failed

if TYPE_CHECKING:
    from narrowgate.core.lint import Finding
    from narrowgate.core.policy import Policy
    from narrowgate.core.policy_file import PolicyError


class SourceFile(msgspec.Struct, frozen=True):
    """One policy file: the name complaints use for it, and its text."""

    name: str
    text: str


class Verdict(msgspec.Struct, frozen=True):
    """What came of checking some files together."""

    policies: tuple[Policy, ...]
    errors: tuple[PolicyError, ...]
    warnings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether the gate would load them."""
        return not self.errors


def read_sources(paths: Sequence[Path]) -> list[SourceFile]:
    """Read files, and of folders the policy files in them, sorted by name. Raises Failed or ConfigError."""
    from narrowgate.config import load_policy_files
    from narrowgate.config.document import read_text

    found: list[SourceFile] = []
    for path in paths:
        if path.is_dir():
            inside = load_policy_files(path)
            if not inside:
                raise Failed("no policy files", f"in {path}", "put *.yaml files there, or name the files")
            found.extend(SourceFile(str(path / name), text) for name, text in inside)
        else:
            found.append(SourceFile(str(path), read_text(path, "the policy file")))
    return found


def check(sources: Iterable[SourceFile]) -> Verdict:
    """Parse every file and then the set they make, collecting all errors; warnings come only with good files."""
    from narrowgate.core.lint import lint

    policies, errors = _parsed(sources)
    return Verdict(tuple(policies), tuple(errors), () if errors else tuple(lint(policies)))


def parse_all(sources: Iterable[SourceFile]) -> list[Policy]:
    """The policies of a good set of files. Raises PolicyErrors with everything that is wrong in any of them."""
    from narrowgate.core.policy_file import PolicyErrors

    policies, errors = _parsed(sources)
    if errors:
        raise PolicyErrors(errors)
    return policies


def _parsed(sources: Iterable[SourceFile]) -> tuple[list[Policy], list[PolicyError]]:
    from narrowgate.core.policy_file import PolicyErrors, check_set, parse_policies

    policies: list[Policy] = []
    errors: list[PolicyError] = []
    for source in sources:
        try:
            policies.extend(parse_policies(source.text, source.name))
        except PolicyErrors as refused:
            errors.extend(refused.errors)
    try:
        check_set(policies)
    except PolicyErrors as refused:
        errors.extend(refused.errors)
    return policies, errors
