"""What a patch makes of an object with masks: of the object as its sender is shown it, and of the object as it is.

Behind the masks both must come out the same. Where they do not, the patch would change what a value is masked by (the
name beside it, the flag before it, the key it stands under), and with that show it; and where a patch asks what a
masked value is, or copies it, its answer would tell. Both are refused whatever the value is, so that a refusal tells
nothing either.

Merges are made here as little as they may mean: elements of lists are merged with any old one that they could be about,
and directives that take something away are left out. What comes out is for comparing, never for storing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.masking.write_back import (
    LIST_KEYS,
    MaskedValue,
    There,
    Walk,
    below,
    by_key,
    key_of,
    masked_values,
    member,
)
from narrowgate.core.patches import pointer

_INDEX: Final = re.compile(r"[-+]?[0-9]{1,9}")
COSTLY_LIMIT: Final = 32
"""Operations of one patch that ask, copy, or hold masked values: each may look at all of the object."""

COPIED_LIMIT: Final = 3 * 1024 * 1024
"""Bytes that one patch may copy: the API server's own limit (`AccumulatedCopySizeLimit`)."""

_ORDERS: Final = ("$setElementOrder/", "$deleteFromPrimitiveList/")
"""Directives of strategic merges about the elements of the list behind the slash
(k8s.io/apimachinery/pkg/util/strategicpatch), which hold for any list."""


class _NoPlace(Exception):
    """An operation leads to where nothing is."""


class Patched(msgspec.Struct, frozen=True):
    """A patch with its masked values put back, and what it makes of the object."""

    patch: Any
    left: tuple[MaskedValue, ...]
    """The masked values that could not be put back."""
    result: There
    problem: str = ""
    """Why it must not be sent, whatever it makes."""
    field: str = ""
    """What the problem is about."""


# --- JSON patches (RFC 6902)


def apply_operations(operations: list[dict[str, Any]], there: There) -> Patched:
    """Carry out a JSON patch on both. Its operations are known to be well-formed (`patches.written`)."""
    both = _Both(there)
    patch: list[dict[str, Any]] = []
    for position, operation in enumerate(operations):
        try:
            patch.append(both.take(operation, pointer(operation["path"], position), position))
        except _NoPlace as error:
            both.problem, both.field = f"operation {position} leads to where nothing is", str(error)[:100]
        if both.problem:
            break
    return Patched(patch, tuple(both.walk.left), There(both.shown, both.now), both.problem, both.field)


class _Both:
    """The object as shown and as it is, while a JSON patch is carried out."""

    def __init__(self, there: There) -> None:
        self.walk: Final = Walk(there)
        self.shown = _copied(there.shown)
        self.now = _copied(there.now)
        self.problem = ""
        self.field = ""
        self._costly = 0
        self._copied_bytes = 0

    def take(self, operation: dict[str, Any], path: tuple[str, ...], position: int) -> dict[str, Any]:
        """Carry out the next operation, and give it back as it may be sent."""
        field = self.field = _field(path)
        match operation["op"]:
            case "add" | "replace" as verb:
                value = back = operation["value"]
                if any(masked_values(value)):
                    self._count(position)
                    back = self.walk.value(value, self._places(path, value, verb), field)
                self.shown, self.now = _set(self.shown, path, value, verb), _set(self.now, path, back, verb)
                return operation | {"value": back}
            case "remove":
                self.shown, self.now = _removed(self.shown, path), _removed(self.now, path)
            case "test":
                self._count(position)
                self.walk.left.extend(masked_values(operation.get("value"), field))
                self._alike(path, f"operation {position} tests it")
            case verb:
                self._count(position)
                source = pointer(operation["from"], position)
                self.field = _field(source)
                moved = _copied(self._alike(source, f"operation {position} takes it elsewhere"))
                self._copied_bytes += len(orjson.dumps(moved))
                if self._copied_bytes > COPIED_LIMIT:
                    self.problem = f"operation {position} copies more than {COPIED_LIMIT} bytes in all"
                    return operation
                if verb == "move":
                    self.shown, self.now = _removed(self.shown, source), _removed(self.now, source)
                self.shown, self.now = _set(self.shown, path, moved, "add"), _set(self.now, path, moved, "add")
        return operation

    def _count(self, position: int) -> None:
        self._costly += 1
        if self._costly > COSTLY_LIMIT:
            self.problem = f"operation {position} is one of more than {COSTLY_LIMIT} that must be held against it"

    def _alike(self, path: tuple[str, ...], what: str) -> Any:
        """What is shown at a path. It is a problem where something else is there."""
        shown = _at(self.shown, path)
        if shown != _at(self.now, path):
            self.problem = f"it is masked, and {what}"
        return shown

    def _places(self, path: tuple[str, ...], value: Any, verb: str) -> tuple[There, ...]:
        """What a value that is written may be put back by: what it takes the place of."""
        if not path:
            return (There(self.shown, self.now),)
        shown, now = _at(self.shown, path[:-1]), _at(self.now, path[:-1])
        if isinstance(shown, dict):
            return below((There(shown, now),), path[-1])
        if verb == "replace" and isinstance(shown, list):
            at = _index(path[-1], len(shown))
            return (There(shown[at], now[at]),) if key_of(shown[at]) == key_of(value) else ()
        return ()


def _at(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path. Raises _NoPlace where nothing does."""
    for key in path:
        if isinstance(document, dict):
            document = _member(document, key)
        elif isinstance(document, list):
            document = document[_index(key, len(document))]
        else:
            raise _NoPlace(key)
    return document


def _set(document: Any, path: tuple[str, ...], value: Any, verb: str) -> Any:
    value = _copied(value)
    if not path:
        return value
    parent, key = _at(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        if verb == "replace" and key not in parent:
            raise _NoPlace(key)
        parent[key] = value
    elif isinstance(parent, list):
        if verb == "replace":
            parent[_index(key, len(parent))] = value
        else:
            parent.insert(len(parent) if key == "-" else _index(key, len(parent) + 1), value)
    else:
        raise _NoPlace(key)
    return document


def _removed(document: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return None
    parent, key = _at(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        _member(parent, key)
        del parent[key]
    elif isinstance(parent, list):
        del parent[_index(key, len(parent))]
    else:
        raise _NoPlace(key)
    return document


def _member(parent: dict[str, Any], key: str) -> Any:
    if key not in parent:
        raise _NoPlace(key)
    return parent[key]


def _index(key: str, length: int) -> int:
    """A place in a list, from its end where it is negative, as evanphx/json-patch reads it."""
    if not _INDEX.fullmatch(key):
        raise _NoPlace(key)
    at = int(key)
    at += length if at < 0 else 0
    if not 0 <= at < length:
        raise _NoPlace(key)
    return at


def _field(path: tuple[str, ...]) -> str:
    field = ""
    for key in path:
        field = f"{field}[{key}]" if _INDEX.fullmatch(key) or key == "-" else member(field, key)
    return field or "the whole object"


def _copied(value: Any) -> Any:
    """The value with containers of its own."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


# --- merges: RFC 7386, strategic, server-side apply


def apply_merge(patch: dict[str, Any], there: There, *, whole_lists: bool) -> Patched:
    """Merge a partial object into both. `whole_lists`: a list replaces the one that is there (RFC 7386)."""
    walk = Walk(there)
    back = walk.value(patch, (walk.root,), "")
    left = tuple(walk.left)
    if field := next(_reordered(patch, there, ""), ""):
        return Patched(back, left, there, "it is masked, and its elements cannot be moved", field)
    result = There(
        _merged(there.shown, patch, whole_lists=whole_lists), _merged(there.now, back, whole_lists=whole_lists)
    )
    return Patched(back, left, result)


def _merged(old: Any, patch: Any, *, whole_lists: bool) -> Any:
    if isinstance(patch, list) and isinstance(old, list) and not whole_lists:
        return _merged_list(old, patch)
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif not key.startswith("$"):
            result[key] = _merged(result.get(key), value, whole_lists=whole_lists)
    return result


def _merged_list(old: list[Any], patch: list[Any]) -> list[Any]:
    """Elements that are told apart are merged with the old one that they are about; others take the list's place."""
    if not all(isinstance(element, dict) for element in (*old, *patch)):
        return patch
    result = list(old)
    told: dict[tuple[str, str | int], int] = {}
    for at, element in enumerate(old):
        for name in _names_of(element):
            told.setdefault(name, at)
    for element in patch:
        # Which key tells them apart is not known here: it is the first that any old one may be told by.
        meant = next((told[name] for name in _names_of(element) if name in told), None)
        if meant is None:
            meant = len(result)
            result.append(None)
            for name in _names_of(element):
                told.setdefault(name, meant)
        result[meant] = _merged(result[meant], element, whole_lists=False)
    return result


def _names_of(element: dict[str, Any]) -> list[tuple[str, str | int]]:
    """All that an element of a list may be told by."""
    values = [(key, element.get(key)) for key in LIST_KEYS]
    return [(key, value) for key, value in values if isinstance(value, str) or type(value) is int]


def _reordered(patch: Any, there: There, field: str) -> Iterator[str]:
    """The masked lists whose elements a strategic merge would move or take out one by one."""
    if isinstance(patch, list) and isinstance(there.shown, list):
        keys = by_key(there.shown)
        for at, element in enumerate(patch):
            key = key_of(element)
            # Of several the first is meant, as strategic merges have it.
            for place in keys.get(key, [])[:1] if key is not None else []:
                yield from _reordered(element, There(there.shown[place], there.now[place]), f"{field}[{at}]")
    if not isinstance(patch, dict):
        return
    for key, value in patch.items():
        order = next((each for each in _ORDERS if key.startswith(each)), "")
        for one in below((there,), key.removeprefix(order)):
            if not order:
                yield from _reordered(value, one, member(field, key))
            elif one.shown != one.now and not _are_objects(one.shown):
                yield member(field, key.removeprefix(order))


def _are_objects(elements: Any) -> bool:
    return isinstance(elements, list) and all(isinstance(element, dict) for element in elements)


# --- what nobody need look at


class Lists(enum.Enum):
    """What a merge does with lists."""

    WHOLE = "whole"
    """They are replaced (RFC 7386)."""
    NAMED = "named"
    """Elements that have a name are merged by it: Kubernetes' own."""
    ANY = "any"
    """By whatever somebody's schema says."""


def operations_may_show(operations: list[dict[str, Any]]) -> bool:
    """Whether a JSON patch without masked values could tell one, or change what one is masked by: if it asks, copies,
    reaches into a list, or writes by itself what a value may be masked by.
    """
    for position, operation in enumerate(operations):
        path = pointer(operation["path"], position)
        if operation["op"] not in ("add", "replace", "remove") or path[-1:] in (("name",), ("kind",)):
            return True
        if any(key == "-" or _INDEX.fullmatch(key) for key in path):
            return True
    return False


def merge_may_show(patch: Any, lists: Lists) -> bool:
    """The same for a partial object: if it names parts of the object without showing all of them."""
    if not isinstance(patch, dict):
        return False
    return any(_may_show(value, lists) for key, value in patch.items() if key != "metadata") or _orders(patch)


def _may_show(patch: Any, lists: Lists) -> bool:
    if isinstance(patch, dict):
        names = "name" in patch or "kind" in patch
        return names or _orders(patch) or any(_may_show(value, lists) for value in patch.values())
    if not isinstance(patch, list) or lists is Lists.WHOLE:
        return False
    return any(_may_show(_less_name(element) if lists is Lists.NAMED else element, lists) for element in patch)


def _less_name(element: Any) -> Any:
    return {key: value for key, value in element.items() if key != "name"} if isinstance(element, dict) else element


def _orders(patch: dict[str, Any]) -> bool:
    return any(key.startswith(_ORDERS) and not _are_objects(value) for key, value in patch.items())
