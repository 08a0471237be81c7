"""A write whose pods are to be given no token: the same body with `automountServiceAccountToken: false` put in.

Whatever the form of the body, it is written where the pod's spec stands in the object. Protobuf cannot be written into.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from narrowgate.core.body import APPLY, JSON, PROTOBUF, YAML
from narrowgate.core.documents import parse_json, parse_yaml
from narrowgate.core.malformed import Malformed
from narrowgate.core.uses import JSON_PATCH

FIELD: Final = "automountServiceAccountToken"

_ITEM: Final = re.compile(r"\[([0-9]{1,6})\]")
"""How a place says that it goes on in an item of a list (`named_templates`)."""

WARNING: Final = f"{FIELD}: false was set in the pods, as a rule for them demands"
"""What the sender is told (`Warning: 299`, k8s.io/apiserver/pkg/warning): kubectl prints it."""


def mended_body(content_type: str, body: bytes, mends: Sequence[tuple[str, ...]]) -> bytes:
    """The body with every place in `mends` mended. Raises Malformed (415) where that cannot be done."""
    form = content_type.partition(";")[0].strip().lower()
    if form == PROTOBUF:
        raise Malformed(f"{FIELD}: false must be set in the pods, or the object sent as {JSON}", 415)
    document = parse_yaml(body) if form in (YAML, APPLY) else parse_json(body)
    if form == APPLY and any(_ITEM.fullmatch(step) for steps in mends for step in steps):
        # Lists are merged by keys then: the item in the body need not be the one that was looked at.
        raise Malformed(f"{FIELD}: false must be set in the pods, since they stand in a list", 422)
    for steps in mends:
        if form == JSON_PATCH and isinstance(document, list):
            path = "".join(f"/{_pointed(step)}" for step in (*steps, FIELD))
            document.append({"op": "add", "path": path, "value": False})
        else:
            _within(document, steps)[FIELD] = False
    return orjson.dumps(document)


def _pointed(step: str) -> str:
    """A step as a JSON pointer has it (RFC 6901)."""
    item = _ITEM.fullmatch(step)
    return item[1] if item else step.replace("~", "~0").replace("/", "~1")


def _within(document: Any, steps: Sequence[str]) -> dict[str, Any]:
    """The mapping at that place, made where a patch does not show it."""
    here = document
    for step in steps:
        item = _ITEM.fullmatch(step)
        if item and isinstance(here, list) and int(item[1]) < len(here):
            below = here[int(item[1])]
        else:
            below = here.setdefault(step, {}) if isinstance(here, dict) and not item else None
        if not isinstance(below, dict | list):
            raise Malformed(f"{'.'.join(steps)}.{FIELD}: false cannot be set here; set it in the object", 422)
        here = below
    if not isinstance(here, dict):
        raise Malformed("the body is not an object")
    return here
