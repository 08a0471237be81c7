"""The simplest thing that masks, for tests of how masks are carried through bytes."""

from __future__ import annotations

from typing import Any

from narrowgate.core.masking.choosing import ANYWHERE, Where
from narrowgate.core.masking.plan import (
    Embedded,
    Entry,
    Every,
    Hide,
    Key,
    Place,
    Plan,
    Root,
    SecretlyNamed,
    compile_plan,
)
from narrowgate.wire.json_mask import JsonMasker

MASKED = "[masked:test/it:00000000]"

HIDE = Hide("test/it")


def entry(*steps: str, root: Root = Root.OBJECT) -> Entry:
    """`*` is every key or element."""
    return Entry(root, tuple(Every() if step == "*" else Key(step) for step in steps), HIDE)


PLAN = compile_plan(
    [
        entry("data", "*"),
        entry("a/b", "c"),
        Entry(Root.OBJECT, (Key("env"), Every(), SecretlyNamed(), Key("value")), HIDE),
        entry("message", root=Root.STATUS),
        entry("Secret", root=Root.CELL),
    ]
)
assert PLAN is not None


def mask(value: Any, place: Place) -> Any:
    """Every string at `place`, or below where it hides all, is replaced."""
    if isinstance(value, str) and not isinstance(place.text, Embedded) and (place.text or place.hides):
        return MASKED
    if place.hides and isinstance(value, dict):
        return {key: mask(inner, place) for key, inner in value.items()}
    if place.hides and isinstance(value, list):
        return [mask(inner, place) for inner in value]
    return value


class Everywhere:
    """The same plan for every object."""

    varies = False
    shows = None

    def __init__(self) -> None:
        self._masker = JsonMasker(mask, {})

    def plan(self, where: Where) -> Plan | None:
        assert where is ANYWHERE
        return PLAN

    def masker(self, plan: Plan) -> JsonMasker:
        assert plan is PLAN
        return self._masker


class InNamespace:
    """Objects of one namespace are masked, and those whose namespace cannot be told."""

    varies = True
    shows = None

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._masker = JsonMasker(mask, {})

    def plan(self, where: Where) -> Plan | None:
        return PLAN if where.namespace in (self._namespace, None) else None

    def masker(self, plan: Plan) -> JsonMasker:
        assert plan is PLAN
        return self._masker
