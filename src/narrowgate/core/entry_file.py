"""What a rule file says of ways into pods: `containers`, `commands`, `podSelector`, `lines`; and what makes that
impossible, or more than it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import yaml

from narrowgate.core.command_runners import runs_arguments
from narrowgate.core.commands import (
    MOST_PATTERNS,
    CommandInvalid,
    Pattern,
    as_in_line,
    checked_pattern,
    has_wildcard,
    pattern_of_text,
)
from narrowgate.core.policy import Approval, Effect
from narrowgate.core.yaml_reader import Field, Reader

KEYS: Final = ("containers", "commands", "podSelector", "lines")

ReadApproval = Callable[[Reader, Field, Effect], Approval | None]
"""Reads who must say yes (`rule_file.read_approval`)."""

SHELLS: Final = ("pods/exec", "pods/attach", "pods/ephemeralcontainers")
_MOST_LABELS: Final = 16
"""Labels of one selector; nobody tells pods apart by more."""

_CONTAINER: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
"""A label of RFC 1123, as containers are named."""
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_LABEL_KEY: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
)
"""Keys and values of labels (k8s.io/apimachinery/pkg/util/validation, IsQualifiedName and IsValidLabelValue)."""


def read_inside(
    reader: Reader,
    entries: Mapping[str, Field],
    effect: Effect,
    resources: Sequence[str],
    read_approval: ReadApproval,
) -> dict[str, Any]:
    """The fields of a `Rule` that are about ways into pods; those that are not written are left out."""
    written = [key for key in KEYS if key in entries]
    others = [resource for resource in resources if resource not in SHELLS]
    for key in written:
        if not resources or others:
            which = f", and {others[0]} is another thing: write two rules" if others else ""
            reader.refuse(entries[key], f"is about getting into pods{which}", f"name some of {', '.join(SHELLS)}")
    found: dict[str, Any] = {}
    if "containers" in entries:
        found["containers"] = _containers(reader, entries["containers"])
    if "commands" in entries:
        found["commands"] = _commands(reader, entries["commands"], effect, resources)
    if "podSelector" in entries:
        found["pod_labels"] = _labels(reader, entries["podSelector"])
    if "lines" in entries:
        found.update(_lines(reader, entries["lines"], effect, resources, read_approval))
    return found


def _containers(reader: Reader, field: Field) -> tuple[str, ...]:
    found = reader.texts(field, "containers")
    for item, name in found:
        if "*" in name:
            reader.refuse(item, f'"{name}" is a pattern, and names are exact', "leave containers out to mean every one")
        elif not _CONTAINER.match(name):
            reader.refuse(item, f'"{name}" cannot be the name of a container')
    return tuple(name for _, name in found)


def _commands(reader: Reader, field: Field, effect: Effect, resources: Sequence[str]) -> tuple[Pattern, ...]:
    gives = effect in (Effect.ALLOW, Effect.GRANTABLE)
    if gives and "pods/attach" in resources:
        reader.refuse(
            field,
            "pods/attach starts no command, so that none of them would ever be attached to",
            "write a rule of its own for pods/attach",
        )
    found = _patterns(reader, field)
    for item, pattern in found if effect is not Effect.DENY else ():
        if "*" in pattern[0]:
            reader.refuse(item, f'"{pattern[0]}" would be a program of any such name', "name the program")
        elif gives and runs_arguments(pattern[0]) and has_wildcard(pattern):
            reader.refuse(
                item,
                f'"{pattern[0]}" runs what it is told, so with a wildcard this is every command',
                "write each of its commands out, or leave commands out",
            )
    return tuple(pattern for _, pattern in found)


def _lines(
    reader: Reader, field: Field, effect: Effect, resources: Sequence[str], read_approval: ReadApproval
) -> dict[str, Any]:
    entries = reader.mapping(field, ("deny", "approve", "approval"))
    if effect is Effect.DENY:
        reader.refuse(field, "goes with a rule that lets somebody in, and this one denies")
    if "pods/exec" not in resources and "pods/attach" not in resources:
        reader.refuse(field, "nothing is typed into pods/ephemeralcontainers", "name pods/exec and pods/attach")
    named = {"deny": "lines", "approve": "asked_lines"}
    if named.keys().isdisjoint(entries) and isinstance(field.node, yaml.MappingNode):
        reader.refuse(field, "has neither deny nor approve", 'write lines: {deny: ["rm -rf", shutdown]}')
    found: dict[str, Any] = {}
    for key, name in named.items():
        if key in entries:
            patterns = _patterns(reader, entries[key])
            for item, pattern in patterns:
                if not as_in_line(pattern):
                    reader.refuse(item, "is nothing but what lines are cut at", "name a program")
            found[name] = tuple(pattern for _, pattern in patterns)
    if "approval" in entries:
        if "approve" not in entries:
            reader.refuse(entries["approval"], "is about lines that people are asked about, and there are none")
        found["lines_approval"] = read_approval(reader, entries["approval"], Effect.APPROVE)
    return found


def _patterns(reader: Reader, field: Field) -> list[tuple[Field, Pattern]]:
    """Patterns in one line, or word by word, each with where it is written."""
    found: list[tuple[Field, Pattern]] = []
    for item in reader.items(field, "commands"):
        try:
            pattern = _pattern(reader, item)
        except CommandInvalid as error:
            reader.refuse(item, error.message, error.suggestion)
            continue
        if pattern and any(pattern == other for _, other in found):
            reader.refuse(item, "is in the list already")
        elif pattern:
            found.append((item, pattern))
    if len(found) > MOST_PATTERNS:
        reader.refuse(field, f"has more than {MOST_PATTERNS} commands", "write two rules")
    return found


def _pattern(reader: Reader, item: Field) -> Pattern:
    """Empty where the reader has refused it. Raises CommandInvalid."""
    if isinstance(item.node, yaml.SequenceNode):
        words = [reader.text(word, empty=True) for word in reader.items(item, "words")]
        return checked_pattern(words) if words else ()
    text = reader.text(item)
    return pattern_of_text(text) if text else ()


def _labels(reader: Reader, field: Field) -> tuple[tuple[str, str], ...]:
    """`podSelector: {matchLabels: {app: web}}`, as NetworkPolicy writes it; expressions are not read."""
    entries = reader.mapping(field, ("matchLabels",))
    if "matchLabels" not in entries:
        if isinstance(field.node, yaml.MappingNode):
            reader.refuse(field, "has no matchLabels", "write podSelector: {matchLabels: {app: web}}")
        return ()
    labels = entries["matchLabels"]
    if not isinstance(labels.node, yaml.MappingNode):
        reader.refuse(labels, "must be a mapping of labels", "write matchLabels: {app: web}")
        return ()
    names = [key.value if isinstance(key, yaml.ScalarNode) else "" for key, _ in labels.node.value]
    if not names or len(names) > _MOST_LABELS:
        reader.refuse(labels, f"has {len(names)} labels, and must have 1 to {_MOST_LABELS}", "leave podSelector out")
        return ()
    found = {}
    for key, item in reader.mapping(labels, names).items():
        value = reader.text(item, empty=True)
        if not _LABEL_KEY.match(key) or not _LABEL_VALUE.match(value):
            reader.refuse(item, f'"{key}: {value}" cannot be a label of a pod')
        found[key] = value
    return tuple(sorted(found.items()))
