"""Masks and reveals of a policy file, from YAML to `policy.Mask` and `policy.Reveal`.

A mask stands under `masks`; a reveal is a rule with `effect: reveal`, because it gives something back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import yaml

from narrowgate.core.masking.built_in import BUILT_IN_RULES
from narrowgate.core.masking.field_paths import FieldPathInvalid, parse_field_path
from narrowgate.core.policy import BUILT_IN, Approval, Mask, Reveal
from narrowgate.core.rule_file import (
    ID_SHAPE,
    read_approval,
    read_groups,
    read_id,
    read_names,
    read_namespaces,
    read_resources,
)
from narrowgate.core.yaml_reader import Field, Reader, meant

REVEAL: Final = "reveal"
"""The effect of rules that are reveals."""

_MASK_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}/[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
"""A mask of some policy, or of the gate itself: `policy/mask`, `narrowgate/secret-data`."""


def is_reveal(field: Field) -> bool:
    """Whether the rule at `field` is written as a reveal, however wrong the rest of it may be."""
    if not isinstance(field.node, yaml.MappingNode):
        return False
    pairs = ((key.value, value) for key, value in field.node.value if isinstance(key, yaml.ScalarNode))
    return any(key == "effect" and isinstance(value, yaml.ScalarNode) and value.value == REVEAL for key, value in pairs)


def read_mask(reader: Reader, field: Field) -> Mask | None:
    """The mask written at `field`; None where it was refused (the reader then knows why)."""
    mistakes = len(reader.errors)
    entries = reader.mapping(field, ("id", "apiGroups", "resources", "namespaces", "fields"))
    identifier = read_id(reader, field, entries)
    if not isinstance(field.node, yaml.MappingNode):
        return None
    groups = read_groups(reader, field, entries)
    resources = read_resources(reader, field, entries)
    if "fields" not in entries:
        reader.refuse(field, "has no fields, so it masks nothing", 'write fields: ["data.*password*"], for example')
    fields = reader.texts(entries["fields"], "fields") if "fields" in entries else []
    for item, path in fields:
        try:
            parse_field_path(path)
        except FieldPathInvalid as error:
            reader.refuse(item, f'"{path}" {error}', error.suggestion)
    namespaces = read_namespaces(reader, entries)
    if len(reader.errors) > mistakes:
        return None
    return Mask(
        id=identifier,
        api_groups=groups,
        resources=resources,
        fields=tuple(path for _, path in fields),
        namespaces=namespaces,
        line=field.line,
    )


def read_reveal(reader: Reader, field: Field) -> Reveal | None:
    """The reveal written at `field`; None where it was refused (the reader then knows why)."""
    mistakes = len(reader.errors)
    keys = ("id", "effect", "apiGroups", "resources", "namespaces", "names", "masks", "approval")
    entries = reader.mapping(field, keys)
    identifier = read_id(reader, field, entries)
    groups = read_groups(reader, field, entries)
    resources = read_resources(reader, field, entries)
    namespaces = read_namespaces(reader, entries)
    names = read_names(reader, entries)
    masks = _masks(reader, entries)
    approval = _approval(reader, field, entries)
    if len(reader.errors) > mistakes:
        return None
    return Reveal(
        id=identifier,
        api_groups=groups,
        resources=resources,
        namespaces=namespaces,
        names=names,
        masks=masks,
        approval=approval,
        line=field.line,
    )


def _masks(reader: Reader, entries: Mapping[str, Field]) -> tuple[str, ...] | None:
    if "masks" not in entries:
        return None
    found = reader.texts(entries["masks"], "masks")
    for item, name in found:
        if not _MASK_NAME.match(name):
            whose = f'write "{BUILT_IN}/{name}" for a mask of the gate, "POLICY/{name}" for one of a policy'
            reader.refuse(item, f'"{name}" names no mask', whose if ID_SHAPE.match(name) else "")
        elif name.startswith(f"{BUILT_IN}/") and name not in BUILT_IN_RULES:
            reader.refuse(item, f'"{name}" is no mask of the gate that can be revealed', meant(name, BUILT_IN_RULES))
    return tuple(name for _, name in found)


def _approval(reader: Reader, field: Field, entries: Mapping[str, Field]) -> Approval | None:
    if "approval" not in entries:
        reader.refuse(
            field, "has no approval", "write approval: none or approval: {from: [{group: sre, count: 1}], within: 10m}"
        )
        return None
    return read_approval(reader, entries["approval"])
