"""What people write about an agent on the command line, read into what its record holds. Faults are misuse (exit 2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click

from narrowgate.cli.failure import Failed
from narrowgate.config import Config
from narrowgate.core.agent_credential import LONGEST_LIFETIME, LONGEST_OVERLAP
from narrowgate.core.agent_fields import certificate_names_problem, labels_problem, purpose_problem
from narrowgate.core.duration import duration_text, seconds_of
from narrowgate.core.moment import moment_of, moment_text
from narrowgate.core.names import agent_name_problem, groups_problem, owner_problem
from narrowgate.store.open import open_store
from narrowgate.store.port import Store

LONGEST_STAY = 10 * 365 * 86_400
"""Seconds: ten years. An agent with an end that far away has none, and can say so."""

LONGEST_REASON = 200
"""Characters: a line in a list."""


@contextmanager
def opened_store(config: Config) -> Iterator[Store]:
    """The gate's store, closed again. Raises StoreUnavailable."""
    store = open_store(config.store, config.data_dir)
    try:
        yield store
    finally:
        store.close()


def check_name(name: str) -> None:
    """Refuse what cannot be an agent's name. Raises click.BadParameter."""
    if problem := agent_name_problem(name):
        raise click.BadParameter(f'"{name}" {problem}', param_hint="NAME")


def check_owner(owner: str) -> None:
    """Refuse who cannot answer for an agent. Raises click.BadParameter."""
    if problem := owner_problem(owner):
        raise click.BadParameter(f'"{owner}" {problem}', param_hint="--owner")


def check_purpose(purpose: str) -> None:
    """Refuse what does not say what an agent is for. Raises click.BadParameter."""
    if problem := purpose_problem(purpose):
        raise click.BadParameter(problem.removeprefix("purpose: "), param_hint="--purpose")


def check_reason(reason: str) -> None:
    """Refuse what is no line of text. Raises click.BadParameter."""
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise click.BadParameter(f"write one line of at most {LONGEST_REASON} characters", param_hint="--reason")


def groups_in(words: Iterable[str]) -> tuple[str, ...]:
    """The groups, each once. Raises click.BadParameter."""
    groups = tuple(dict.fromkeys(words))
    if problem := groups_problem(groups):
        raise click.BadParameter(problem, param_hint="--group")
    return groups


def labels_in(words: Iterable[str], old: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """The labels of an agent that had `old`: `KEY=VALUE` sets one, `KEY-` takes it away, as with kubectl.

    Sorted by key. Raises click.BadParameter.
    """
    labels = dict(old or {})
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            labels[key] = value
        elif not word.endswith("-") or labels.pop(word[:-1], None) is None:
            wanted = "KEY=VALUE" if old is None else "KEY=VALUE, or KEY- for one that it has"
            raise click.BadParameter(f'"{word}" is not {wanted}', param_hint="--label")
    found = tuple(sorted(labels.items()))
    if problem := labels_problem(found):
        raise click.BadParameter(problem, param_hint="--label")
    return found


def certificate_names_in(words: Iterable[str]) -> tuple[str, ...]:
    """The certificate names, each once. Raises click.BadParameter."""
    names = tuple(dict.fromkeys(words))
    if problem := certificate_names_problem(names):
        raise click.BadParameter(problem, param_hint="--certificate-name")
    return names


def end_in(until: str | None, after: str | None, now: float) -> float | None:
    """Unix seconds of the end that `--until` or `--end-in` names; None where neither does. Raises click.UsageError."""
    if until is not None and after is not None:
        raise click.UsageError("--until and --end-in both name the end; give one of them")
    if after is not None:
        return now + _bounded(after, LONGEST_STAY, "--end-in", "set it again in time")
    if until is None:
        return None
    ends_at = _moment_in(until)
    if not now < ends_at:
        raise click.BadParameter(f"{moment_text(ends_at)} is over; name a time to come", param_hint="--until")
    return ends_at


def _moment_in(text: str) -> float:
    """A moment, or a day: that lasts until its midnight, UTC."""
    try:
        return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        return moment_of(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}, or like 2026-12-31", param_hint="--until") from error


def lifetime_in(text: str) -> int:
    """Seconds that a credential lives. Raises click.BadParameter."""
    return _bounded(text, LONGEST_LIFETIME, "--for", "rotate it in time")


def overlap_in(text: str) -> int:
    """Seconds that a rotated credential stays good. Raises click.BadParameter."""
    return _bounded(text, LONGEST_OVERLAP, "--keep-old-for", "put the new one in place by then")


def _bounded(text: str, longest: int, option: str, to_do: str) -> int:
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
    if not 0 < seconds <= longest:
        raise click.BadParameter(f"{text} is not between 1s and {duration_text(longest)}; {to_do}", param_hint=option)
    return seconds


def chosen_cluster(config: Config, wanted: str | None) -> str:
    """The cluster an agent is for: the one named, or the only one. Raises click.UsageError, Failed."""
    names = [cluster.name for cluster in config.clusters]
    if not names:
        raise Failed("no cluster is registered", str(config.path), "add one with `narrowgate clusters add`")
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None:
        raise click.UsageError(f"--cluster is needed, because several are registered: {', '.join(names)}")
    if wanted not in names:
        raise Failed(f'there is no cluster "{wanted}"', str(config.path), f"registered are: {', '.join(names)}")
    return wanted
