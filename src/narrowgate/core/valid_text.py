"""Text that callers bring along, made fit for JSON: what no encoding can hold is replaced, never refused."""

from __future__ import annotations

from typing import Any


def with_valid_text(value: Any) -> Any:
    """The same plain JSON value with `?` in the place of lone surrogates, in names and values alike."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {with_valid_text(key): with_valid_text(item) for key, item in value.items()}
        case list() | tuple():
            return [with_valid_text(item) for item in value]
        case _:
            return value
