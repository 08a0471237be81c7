"""JSON patches (RFC 6902), read for what they write: each operation as a partial object, or Malformed.

A merge, strategic or apply patch is a partial object already. A JSON patch becomes one by laying each value on an empty
tree at its path; what stands beside it in the object as stored is not shown by it, and cannot be: the path alone has to
say what the value means. It does for every field that `core/uses.py` reads (`.../secret/secretName`), with two
exceptions, which `written` reports for the caller to refuse where they matter: `move` and `copy` write a value that the
patch does not show.

Paths are read as gopkg.in/evanphx/json-patch.v4 does: segments split at "/", `~1` and `~0` decoded, `-` and integers
(negative and signed ones too) index a list. That library ignores whatever stands before the first "/"; the gate
refuses such a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from narrowgate.core.malformed import Malformed

OPERATIONS_LIMIT = 10_000
"""The API server's own (`maxJSONPatchOperations`)."""

SEGMENTS_LIMIT = 100
"""Levels of one path; the deepest path into a pod template has fifteen."""

_INDEX = re.compile(r"-|[-+]?[0-9]+")


class Written(msgspec.Struct, frozen=True):
    """What one operation writes: at `path`, a `value` that the patch shows, or one that it does not."""

    path: tuple[str, ...]
    value: Any
    shown: bool = True
    """False for `move` and `copy`: the value is somewhere in the object as stored."""


def written(patch: Any) -> Iterator[Written]:
    """Go through a JSON patch and yield what it writes; `test` and `remove` write nothing.

    Raises Malformed: 400 for what is not a JSON patch, 413 for more operations than the API server takes.
    """
    if not isinstance(patch, list):
        raise Malformed("a JSON patch is a list of operations")
    if len(patch) > OPERATIONS_LIMIT:
        raise Malformed(f"a JSON patch has at most {OPERATIONS_LIMIT} operations, this one {len(patch)}", 413)
    for position, operation in enumerate(patch):
        if not isinstance(operation, dict):
            raise Malformed(f"operation {position} of the JSON patch is not an object")
        path = pointer(operation.get("path"), position)
        match operation.get("op"):
            case "add" | "replace":
                if "value" not in operation:
                    raise Malformed(f"operation {position} of the JSON patch has no value")
                yield Written(path, operation["value"])
            case "move" | "copy":
                pointer(operation.get("from"), position)
                yield Written(path, None, shown=False)
            case "remove" | "test":
                pass
            case _:
                raise Malformed(
                    f"operation {position} of the JSON patch is none of add, replace, remove, move, copy and test"
                )


def takes_away(patch: Any) -> bool:
    """Whether a JSON patch that `written` takes removes anything."""
    return any(operation["op"] in ("remove", "move") for operation in patch)


def pointer(text: Any, position: int) -> tuple[str, ...]:
    """Split a JSON pointer (RFC 6901) into its decoded segments; the empty one is the whole document.

    Raises Malformed (400); `position` says there which operation it stands in.
    """
    if not isinstance(text, str) or (text and text[0] != "/"):
        raise Malformed(f'operation {position} of the JSON patch needs paths that begin with "/"')
    segments = text.split("/")[1:]
    if len(segments) > SEGMENTS_LIMIT:
        raise Malformed(f"operation {position} of the JSON patch has a path of more than {SEGMENTS_LIMIT} segments")
    return tuple(segment.replace("~1", "/").replace("~0", "~") for segment in segments)


def laid(write: Written) -> Any:
    """Lay a written value on an empty tree: the partial object that the operation shows."""
    tree = write.value
    for segment in reversed(write.path):
        tree = [tree] if _INDEX.fullmatch(segment) else {segment: tree}
    return tree
