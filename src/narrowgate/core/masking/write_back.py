"""Masked values in what a caller writes: found wherever they stand, and put back where that is possible.

Nothing masked is ever stored: it would take the place of what it stands for. What a caller read is put back only in the
very place of the object where it was masked for that caller, so that no secret can be moved to where it could be read.
Three documents are walked side by side for that: what was sent, the object as the caller is shown it, and the object as
it is. Where a part of the first is what the second has there, it becomes what the third has.

Nothing here knows a mask. Whether all of it stays masked is seen by whoever masks the result again: it must be what
was sent, masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from narrowgate.core.masking.masked_value import masked_in


class MaskedValue(msgspec.Struct, frozen=True):
    """A masked value in a document."""

    field: str
    """Where it stands, as the API server writes fields: `data[tls.key]`, `spec.containers[0].env[1].value`."""
    masked: str
    """`[masked:<rule>:<hash>]`."""


def masked_values(document: Any, field: str = "") -> Iterator[MaskedValue]:
    """All strings of a document that hold a masked value, each with the first one in it, and keys that do."""
    match document:
        case str():
            if masked := masked_in(document):
                yield MaskedValue(field, masked)
        case dict():
            for key, value in document.items():
                if masked := masked_in(key):
                    yield MaskedValue(field, masked)
                yield from masked_values(value, member(field, key))
        case list():
            for at, value in enumerate(document):
                yield from masked_values(value, f"{field}[{at}]")
        case _:
            pass


def member(field: str, key: str) -> str:
    """The field of an object's key."""
    if not key.replace("-", "").replace("_", "").isalnum():
        return f"{field}[{key}]"
    return f"{field}.{key}" if field else key
