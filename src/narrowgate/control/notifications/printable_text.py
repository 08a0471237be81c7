"""Texts that agents and people wrote, made fit for messages: cut, on one line, and nothing that acts on a screen."""

from __future__ import annotations

from typing import Any

LONGEST_TEXT = 1000
"""Characters of one value; a purpose has less, and who needs more looks at the approval itself."""

MOST_ITEMS = 100
"""Of one list."""


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text on one line: spaces for line ends, other characters that cannot be seen by their names, cut.

    Marks that turn the direction of writing are among those: with them a line shows other words than it holds.
    """
    shown = "".join(
        letter if letter.isprintable() else " " if letter.isspace() else letter.encode("unicode_escape").decode("ascii")
        for letter in text[:longest]
    )
    return shown if len(text) <= longest else f"{shown}..."


def printable_document(value: Any) -> Any:
    """The same plain JSON value with every text in it, and every list, made fit."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {printable(str(key)): printable_document(item) for key, item in value.items()}
        case list() | tuple():
            return [printable_document(item) for item in value[:MOST_ITEMS]]
        case _:
            return value
