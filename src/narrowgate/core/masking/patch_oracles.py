"""JSON patches (RFC 6902) that would tell what is masked: by asking whether it equals a guess, by copying it to where
it is not masked, by renaming what its mask goes by.

Other patches and updates carry their values with them and cannot move what they do not know.
"""

from __future__ import annotations

from typing import Any, Final

from narrowgate.core.masking.patterns import TextPatterns, text_patterns
from narrowgate.core.masking.plan import Place, Plan, Scan

POINTER_LIMIT: Final = 200
"""Steps of a pointer; a longer one is taken to lead to what is masked."""


PLACES_LIMIT: Final = 64
"""Places that a pointer may lead to; one that leads to more is taken to lead to what is masked."""


def refused_operation(operations: Any, plan: Plan | None) -> str:
    """Why this patch must not reach the cluster for whoever the plan masks, worded to follow `the patch`; empty where
    it may. What is no list of operations is nobody's oracle: the API server refuses it.
    """
    if plan is None or not isinstance(operations, list):
        return ""
    patterns = text_patterns(plan.text_rules)
    for number, operation in enumerate(operations):
        if isinstance(operation, dict) and (problem := _problem(operation, plan, patterns)):
            return f"has {problem} in operation {number}"
    return ""


def _problem(operation: dict[str, Any], plan: Plan, patterns: TextPatterns) -> str:
    match operation.get("op"):
        case "test":
            path = _text(operation, "path")
            if _tells(_places(plan, path), operation.get("value"), patterns):
                return f'a test of "{path[:200]}", which is masked for you: leave the test out'
        case "copy" | "move":
            source = _text(operation, "from")
            if _places(plan, source):
                return f'a {operation["op"]} of "{source[:200]}", which is masked for you: write the value out'
        case "add" | "replace":
            path = _text(operation, "path")
            above, _, key = path.rpartition("/")
            if key in ("name", "kind") and any(place.by_name for place in _places(plan, above)):
                return f'a change of "{path[:200]}", by which the value beside it is masked: write both'
        case _:
            pass
    return ""


def _tells(places: list[Place], value: Any, patterns: TextPatterns) -> bool:
    """Whether it would tell something that a place has this value. What is only scanned tells nothing where nothing is
    found in the guess itself.
    """
    if isinstance(value, dict | list):
        return bool(places)
    for place in places:
        if place.hides is not None or not (place.text is None or isinstance(place.text, Scan)):
            return True
        if isinstance(value, str) and (
            place.encoded or not patterns.is_clean(value, value.encode("utf-8", "surrogatepass"))
        ):
            return True
    return False


def _places(plan: Plan, pointer: str) -> list[Place]:
    """Where a JSON pointer (RFC 6901) may lead: a number may be an element of a list, or a key."""
    here = [plan.objects] if plan.objects is not None else []
    for step, written in enumerate(pointer.split("/")[1:]):
        key = written.replace("~1", "/").replace("~0", "~")
        below: dict[Place, None] = {}
        for place in here:
            if place.hides is not None or step >= POINTER_LIMIT or len(here) == PLACES_LIMIT:
                return [place]
            named = place.named(None, None) if place.by_name else place
            if named is None:
                continue
            found = [named.child(key)]
            if key == "-" or key.lstrip("-").isdigit():
                found.append(named.element)
            below.update(dict.fromkeys(one for one in found if one is not None))
        here = [*below][:PLACES_LIMIT]
    return here


def _text(operation: dict[str, Any], key: str) -> str:
    value = operation.get(key)
    return value if isinstance(value, str) else ""
