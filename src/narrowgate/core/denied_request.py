"""A refused request as its agent may ask for it: what it lacked, in the words of a task, and such words put together.

Words are put together only where together they mean no more than each by itself: verbs of one thing in one place,
places of the same verbs of one thing. What differs in anything else stays apart.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from narrowgate.core.policy import Rule
from narrowgate.core.wanted import read_wanted, wanted_text


class DeniedRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request that was refused because nothing covers it."""

    audit_id: str
    """By which the record, the answer's headers and its Status name it."""
    holder: str
    """Who sent it: `agent:bot`."""
    cluster: str
    at: float
    """Unix seconds."""
    wanted: tuple[str, ...]
    """All that it lacked, each in words that `read_wanted` reads."""


def put_together(words: Iterable[str]) -> tuple[str, ...]:
    """The same access in as few words as mean exactly it, those without a namespace first. Raises WantedRefused."""
    rules = list(dict.fromkeys(read_wanted(text, 1) for text in words))
    return tuple(wanted_text(rule) for rule in _same_but_namespaces(_same_but_verbs(rules)))


def _same_but_verbs(rules: Iterable[Rule]) -> list[Rule]:
    kept: dict[Rule, list[str]] = {}
    for rule in rules:
        kept.setdefault(msgspec.structs.replace(rule, verbs=()), []).extend(rule.verbs)
    return [msgspec.structs.replace(rule, verbs=tuple(dict.fromkeys(verbs))) for rule, verbs in kept.items()]


def _same_but_namespaces(rules: Iterable[Rule]) -> list[Rule]:
    placed: dict[Rule, list[str]] = {}
    found: list[Rule] = []
    for rule in rules:
        # The same verbs in another order are the same verbs.
        alike = msgspec.structs.replace(rule, verbs=tuple(sorted(rule.verbs)))
        if rule.namespaces is None:
            found.append(alike)
        else:
            placed.setdefault(msgspec.structs.replace(alike, namespaces=()), []).extend(rule.namespaces)
    return found + [
        msgspec.structs.replace(rule, namespaces=tuple(dict.fromkeys(places))) for rule, places in placed.items()
    ]
