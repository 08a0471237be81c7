"""What somebody types on a terminal, as far as it may be kept: what a program does not show again may be a password.

Nothing tells the gate whether a terminal echoes. It shows: what is typed comes back. So what is typed is held until it
does. Single keys are kept when what the program writes next begins with them; a line that was sent at once, when it
comes back whole and ends there as a line that was entered does, be it behind a prompt. Of a line that does not come
back a note is kept in its place. Keys that editors take without showing them are left out as well: better that than a
password.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import islice
from typing import Final

from narrowgate.core.recording import Noted, What
from narrowgate.core.stream_events import Channel, ChannelData

NOT_KEPT: Final = Noted("input not recorded: the terminal did not show it")

HELD_LIMIT: Final = 64 * 1024
"""Bytes that are held; of more, nothing but that there was more is kept."""

AWAITED: Final = 4096
"""Characters that a program may write before a line comes back: two screens full. What comes later may be anything."""

AHEAD: Final = 16
"""Lines behind one that has not come back that are looked for all the same: one that has says that it will not."""

LOOKS: Final = 64
"""Places where a line may be, that are looked at: of a single letter there are many."""

_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_KEYS: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?|[\x00-\x1f\x7f]", re.DOTALL)
"""Keys that are no characters."""
_SEQUENCES: Final = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-~])| \r(?!\n)", re.DOTALL
)
"""What a program writes around an echo: colours, movements, titles (ECMA-48, 5.3 to 5.6); and what readline writes at
the right edge of the terminal.
"""
_CONTROLS: Final = re.compile(rb"[\x00-\x1f\x7f]")
_ENDS: Final = re.compile(rb"[\r\n]+")


class TypedInput:
    """Holds what is typed. What its methods return is to be recorded then, in that order."""

    __slots__ = ("_lines", "_shown", "_size", "_written")

    def __init__(self) -> None:
        self._lines: deque[_Typed] = deque()
        """What is held; the last may not have ended."""
        self._size = 0
        """Bytes of them."""
        self._shown = 0
        """How many characters of the first line that is held have come back."""
        self._written = _Written()

    def typed(self, data: bytes) -> tuple[What, ...]:
        """Somebody typed."""
        self._size += len(data)
        if self._lines and not self._lines[-1].is_whole:
            data = self._lines.pop().data + data
        self._lines += [_Typed(line) for line in _LINE.findall(data)]
        return self.end() if self._size > HELD_LIMIT else ()

    def written(self, data: bytes) -> tuple[What, ...]:
        """The program wrote."""
        if not self._lines:
            return ()
        fresh = self._written.add(data)
        kept: list[What] = []
        while self._lines:
            found = self._first_shown(fresh)
            if found is None:
                break
            kept += [_unshown(self._next().data) for _ in range(found)]
            kept.append(ChannelData(Channel.STDIN, self._next().data))
            fresh = b""
        while self._lines and self._written.count > AWAITED:
            kept.append(_unshown(self._next().data))
            self._written.forget(AWAITED)
        self._written.let_go(everything=not self._lines)
        return tuple(kept)

    def end(self) -> tuple[What, ...]:
        """The session is over, or nobody waits any longer: nothing has shown what is held."""
        held = b"".join(line.data for line in self._lines)
        self._lines.clear()
        self._size = self._shown = 0
        self._written.let_go(everything=True)
        return (_unshown(held),) if held else ()

    def _first_shown(self, fresh: bytes) -> int | None:
        """Which line is known to have been shown; those before it were not: lines come back in their order."""
        for number, line in enumerate(islice(self._lines, AHEAD)):
            text = line.text if number else line.text[self._shown :]
            if not text:
                # Keys that are no characters may be kept, and show nothing of the lines before.
                if number == 0:
                    return 0
            elif line.is_whole:
                if self._written.take_line(text):
                    return number
            elif text == fresh[: len(text)]:
                self._written.forget(self._written.count)
                return number
            elif number == 0 and text.startswith(fresh):
                self._shown += len(fresh)
        return None

    def _next(self) -> _Typed:
        line = self._lines.popleft()
        self._size -= len(line.data)
        self._shown = 0
        return line


class _Typed:
    """A line that was typed, or its beginning."""

    __slots__ = ("_text", "data", "is_whole")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.is_whole = data[-1:] in b"\r\n"
        self._text: bytes | None = None

    @property
    def text(self) -> bytes:
        """Its characters."""
        if self._text is None:
            self._text = _KEYS.sub(b"", self.data)
        return self._text


class _Written:
    """The characters that were written lately, and where lines ended."""

    __slots__ = ("_begin", "_ends", "_text")

    def __init__(self) -> None:
        self._text = bytearray()
        self._begin = 0
        """Where in the text that begins which is not forgotten."""
        self._ends: set[int] = set()

    @property
    def count(self) -> int:
        """How many characters there are."""
        return len(self._text) - self._begin

    def add(self, data: bytes) -> bytes:
        """Take in what was written; returns what it says at the place where the program stood."""
        plain = _SEQUENCES.sub(b"", data[: 4 * AWAITED])
        over = len(plain) - len(plain.lstrip(b"\x08"))
        for number, piece in enumerate(_ENDS.split(plain)):
            if number:
                self._ends.add(len(self._text))
            self._text += _CONTROLS.sub(b"", piece)
        if len(data) > 4 * AWAITED:
            # Nobody looks for an echo behind that much.
            self._text += bytes(AWAITED)
        # Some shells step back, and write the character before once more.
        return _CONTROLS.sub(b"", plain)[over:]

    def take_line(self, text: bytes) -> bool:
        """Whether a line was written that ends with this; then that line, and all before it, is forgotten."""
        at = self._begin
        for _ in range(LOOKS):
            at = self._text.find(text, at)
            if at < 0:
                break
            if at + len(text) in self._ends:
                self._begin = at + len(text)
                return True
            at += 1
        return False

    def forget(self, count: int) -> None:
        """Forget so many characters, the oldest first."""
        self._begin += count

    def let_go(self, *, everything: bool) -> None:
        """Give back the memory of what is forgotten."""
        begin = len(self._text) if everything else self._begin
        if begin:
            del self._text[:begin]
            self._ends = {end - begin for end in self._ends if end > begin}
            self._begin = 0


def _unshown(line: bytes) -> What:
    """What is kept of a line that was not shown: keys that are no characters tell nothing."""
    return NOT_KEPT if _KEYS.sub(b"", line) else ChannelData(Channel.STDIN, line)
