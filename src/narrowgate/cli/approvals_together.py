"""Questions that one command of a client has asked: which belong together, and answering them by their ids.

They belong together where the same credential asked them, by the same rules, within a minute. That says which ones are
shown together, and no more: what is answered is what was shown, each named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from narrowgate.core.moment import moment_of

WITHIN_SECONDS = 60.0
"""Between the first and the last of them: a command that waits for people sends the next when one has passed."""

MOST_TOGETHER = 25
"""As many as the gate answers in one call."""

Question = dict[str, Any]


def in_groups(questions: Iterable[Question]) -> list[list[Question]]:
    """Those that belong together, each in the order in which it came, groups by their first."""
    groups: list[list[Question]] = []
    for one in questions:
        group = next((group for group in groups if _belongs(group, one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def together_with(question: Question, others: Iterable[Question]) -> list[Question]:
    """The question and all of the others that belong to it and may be answered now, by when they were asked."""
    found = [one for one in others if _may(one) and one.get("id") != question.get("id") and _belongs([question], one)]
    nearest = sorted(found, key=lambda one: abs(_asked_at(one) - _asked_at(question)))
    return sorted([question, *nearest[: MOST_TOGETHER - 1]], key=_asked_at)


def answerable(group: Sequence[Question]) -> list[Question]:
    """Those of a group that may be answered now."""
    return [one for one in group if _may(one)]


def _belongs(group: Sequence[Question], one: Question) -> bool:
    moments = [_asked_at(each) for each in (*group, one)]
    return (
        bool(one.get("askedWith")) and _kind(group[0]) == _kind(one) and max(moments) - min(moments) <= WITHIN_SECONDS
    )


def _kind(question: Question) -> tuple[str, ...]:
    rules = question.get("rules")
    listed = sorted(str(rule) for rule in rules) if isinstance(rules, list) else []
    return (str(question.get("askedWith")), str(question.get("cluster")), *listed)


def _may(question: Question) -> bool:
    return question.get("state") == "pending" and question.get("mayAnswer") is True


def _asked_at(question: Question) -> float:
    try:
        return moment_of(str(question.get("askedAt")))
    except ValueError:
        # Of what nobody can date nothing is near.
        return float("-inf")
