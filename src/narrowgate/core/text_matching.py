"""When a text holds another one: letters are compared whatever their case, one by one, everything else as it is.

Here belongs what a search for text means, for the index that answers it and for whoever checks that it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

LONGEST_SHOWN: Final = 160
"""Characters around what was found that are shown: a line of a wide terminal, or two."""

LAST_CASED: Final = 0x1E943
"""The last character of Unicode 16 that has another case (Adlam)."""


def folded(text: str) -> str:
    """The text as it is compared: as long as it was, so that places in it are places in the text.

    Letters whose other case is several letters stay as they are.
    """
    return text.lower() if text.isascii() else text.translate(_folds())


def line_around(text: str, start: int, length: int) -> str:
    """The line of what was found at `start`, cut to `LONGEST_SHOWN` characters around it. Ends of lines within what was
    found, and tabs, become spaces.
    """
    begin = text.rfind("\n", 0, start) + 1
    end = text.find("\n", start + length)
    end = len(text) if end < 0 else end
    room = max(0, LONGEST_SHOWN - length)
    first = max(begin, min(start - room // 2, end - LONGEST_SHOWN))
    last = min(end, max(first + LONGEST_SHOWN, start + length))
    shown = text[first:last].replace("\n", " ").replace("\t", " ")
    return ("..." if first > begin else "") + shown.strip() + ("..." if last < end else "")


@cache
def _folds() -> Mapping[int, str]:
    """What each character becomes that is not compared as it is."""
    found = {}
    for code in range(LAST_CASED + 1):
        letter = chr(code)
        for other in (letter.casefold(), letter.lower()):
            if len(other) == 1:
                if other != letter:
                    found[code] = other
                break
    return found
