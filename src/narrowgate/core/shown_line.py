"""The line of a terminal that is written to now: enough of a terminal to read what a shell draws while a line is
edited, over as many rows as it takes.

Sequences are those of ECMA-48, and of xterm for the screen that editors use.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_SHOWN: Final = 2048
"""Characters of a line on the terminal that are looked at: no more words than a guard looks through."""

_SCREEN_BEGINS: Final = ("\x1b[?1049h", "\x1b[?1047h", "\x1b[?47h")
_SCREEN_ENDS: Final = ("\x1b[?1049l", "\x1b[?1047l", "\x1b[?47l")
"""The alternate screen of xterm, in its three spellings."""

_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()*+][\x20-\x7e]|[^\[\]()*+])"
)
_LONGEST_SEQUENCE: Final = 1024
"""Characters of a sequence that has not ended; titles of windows are shorter."""


class ShownLine:
    """What is on the line. How the bytes were cut does not matter."""

    __slots__ = ("_at", "_cells", "_is_full", "_unread", "_width", "is_screen")

    def __init__(self, *, width: int = 0, is_screen: bool = False) -> None:
        """`width`: columns of the terminal; 0 where nobody knows, and then a line is one row, however long."""
        self._width = width
        self._cells: list[str] = []
        self._at = 0
        self._is_full = False
        """Whether the last column of a row was written just now: the cursor still stands there."""
        self._unread = ""
        """The beginning of a sequence that is not complete."""
        self.is_screen = is_screen
        """Whether a program draws on all of it, so that a line on it is no line that was typed."""

    @property
    def text(self) -> str:
        """All rows of it, put together."""
        return "".join(self._cells)

    def next_line(self, passed: bytes) -> ShownLine:
        """The line behind what has passed without being looked at."""
        began = max(passed.rfind(sequence.encode()) for sequence in _SCREEN_BEGINS)
        ended = max(passed.rfind(sequence.encode()) for sequence in _SCREEN_ENDS)
        return ShownLine(width=self._width, is_screen=self.is_screen if began == ended else began > ended)

    def resized(self, width: int) -> None:
        """The terminal has another width now."""
        self._width = width

    def feed(self, data: bytes) -> None:
        """Something was written, without a line end in it."""
        # Of more only the end can be in sight: a line is drawn anew, or goes on for longer than is looked at.
        text = self._unread + data[-2 * LONGEST_SHOWN :].decode("utf-8", "replace")
        self._unread = ""
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                self._put(text[at])
                at += 1
                continue
            sequence = _SEQUENCE.match(text, at)
            if sequence is None:
                rest = text[at:]
                self._unread = rest if len(rest) <= _LONGEST_SEQUENCE else ""
                return
            self._obey(sequence[0])
            at = sequence.end()

    def _put(self, character: str) -> None:
        match character:
            case "\r":
                self._to(self._row)
            case "\b":
                self._to(max(0, self._at - 1))
            case _ if character.isprintable() and self._at < LONGEST_SHOWN:
                self._reach()
                self._cells[self._at : self._at + 1] = [character]
                self._at += 1
                self._is_full = bool(self._width) and self._at % self._width == 0

    @property
    def _row(self) -> int:
        """Where the cursor's row begins."""
        if not self._width:
            return 0
        return (self._at - 1 if self._is_full else self._at) // self._width * self._width

    def _to(self, at: int) -> None:
        self._at, self._is_full = min(at, LONGEST_SHOWN), False

    def _reach(self) -> None:
        """Blanks up to the cursor, where it was moved beyond what is written."""
        self._cells += " " * (self._at - len(self._cells))

    def _obey(self, sequence: str) -> None:
        if sequence in (*_SCREEN_BEGINS, *_SCREEN_ENDS):
            self.is_screen = sequence in _SCREEN_BEGINS
        elif sequence.startswith("\x1b["):
            digits = sequence[2:-1]
            self._move(sequence[-1], min(int(digits), LONGEST_SHOWN) if digits.isdecimal() and digits.isascii() else 0)

    def _move(self, final: str, number: int) -> None:
        count = max(1, number)
        match final:
            case "A":
                self._to(max(0, self._at - count * self._width))
            case "B" if self._width:
                self._to(self._at + count * self._width)
            case "C":
                self._to(min(len(self._cells), self._at + count))
            case "D":
                self._to(max(0, self._at - count))
            case "G":
                self._to(min(len(self._cells), self._row + count - 1))
            case "P":
                del self._cells[self._at : self._at + count]
            case "@":
                self._cells[self._at : self._at] = [" "] * min(count, LONGEST_SHOWN - len(self._cells))
            case "K" | "J" | "H":
                self._erase(final, number)

    def _erase(self, final: str, number: int) -> None:
        if final == "H" or (final == "J" and number):
            self._cells, self._at, self._is_full = [], 0, False
            return
        begin, end = self._at, len(self._cells)
        if final == "K" and number:
            begin = self._row
        if final == "K" and self._width:
            end = min(end, self._row + self._width)
        if end == len(self._cells):
            del self._cells[begin:]
        else:
            self._cells[begin:end] = " " * max(0, end - begin)
        if not self._width:
            self._at = min(self._at, len(self._cells))
