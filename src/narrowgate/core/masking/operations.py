"""A JSON patch (RFC 6902), masked where it is kept: by its paths, and in doubt whatever stands beside them.

An operation shows one value and not what is around it: the name of the variable, the flag before the argument. What a
mask would have to know of those is taken for what has it masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.plan import Arguments, Place
from narrowgate.core.patches import pointer

LEFT_OUT: Final = "[left out: it depends on what stands beside it]"
"""In the place of a value of which nobody can tell whether it is masked."""

_INDEX: Final = re.compile(r"-|[-+]?[0-9]+")
_VALUE: Final = "value"


def masked_operations(patch: Any, masker: ObjectMasker) -> list[Any]:
    """The operations with what they write masked; `masker` takes parts. Raises Malformed for what is no such patch."""
    if not isinstance(patch, list):
        patch = [patch]
    return [_masked(operation, position, masker) for position, operation in enumerate(patch)]


def _masked(operation: Any, position: int, masker: ObjectMasker) -> Any:
    if not isinstance(operation, dict):
        return LEFT_OUT
    if _VALUE not in operation:
        return operation
    value = operation[_VALUE]
    for place in _places(pointer(operation.get("path"), position), masker.plan.objects):
        if place is None:
            return operation | {_VALUE: LEFT_OUT}
        value = masker.mask(value, place)
    return operation | {_VALUE: value}


def _places(path: tuple[str, ...], root: Place | None) -> Iterator[Place | None]:
    """Where a pointer may lead; None where what is there is masked, or may be."""
    places = [root] if root is not None else []
    for segment in path:
        below: list[Place] = []
        for place in places:
            if place.hides is not None or place.forgets:
                yield None
                return
            if isinstance(place.text, Arguments) and _INDEX.fullmatch(segment):
                # The flag before it is not shown.
                yield None
                return
            within = place.named(None, None) if place.by_name else place
            steps = (within.child(segment) if within is not None else None, place.element)
            below += [step for step in steps[: 2 if _INDEX.fullmatch(segment) else 1] if step is not None]
        places = below
    yield from places
