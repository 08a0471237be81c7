"""What somebody types on a terminal, as far as it may be kept: what a program does not show again may be a password.

Nothing tells the gate whether a terminal echoes. It shows: what is typed comes back, character by character. So what is
typed is held until it does; of a line that ended before, a note is kept in its place. Keys that editors take without
showing them are left out as well: better that than a password.
"""

from __future__ import annotations

import re
from typing import Final

from narrowgate.core.recording import Noted, What
from narrowgate.core.stream_events import Channel, ChannelData

NOT_KEPT: Final = Noted("input not recorded: the terminal did not show it")

HELD_LIMIT: Final = 64 * 1024
"""Bytes that are held; of more, nothing but that there was more is kept."""

REPEATED: Final = 4
"""Bytes of a line that has ended, or all where there are fewer, that must come back together: later output may hold any
single character.
"""

NEAR: Final = 64
"""Bytes that a terminal may write around an echo: colours, movements, a prompt drawn anew."""

_END: Final = re.compile(rb"\r\n?|\n")
_KEYS: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?|[\x00-\x1f\x7f]", re.DOTALL)
"""Keys that are no characters."""


class TypedInput:
    """Holds what is typed. What its methods return is to be recorded then, in that order."""

    __slots__ = ("_held", "_shown")

    def __init__(self) -> None:
        self._held = bytearray()
        self._shown = 0
        """How many characters of the first line that is held have come back."""

    def typed(self, data: bytes) -> tuple[What, ...]:
        """Somebody typed."""
        self._held += data
        return self.end() if len(self._held) > HELD_LIMIT else ()

    def written(self, data: bytes) -> tuple[What, ...]:
        """The program wrote."""
        kept: list[What] = []
        while self._held:
            end = _END.search(self._held)
            line = bytes(self._held[: end.end() if end else len(self._held)])
            text = _KEYS.sub(b"", line)
            rest = text[self._shown :]
            count = _echoed(rest, data, whole=end is not None)
            self._shown += count
            if count < len(rest) and (end is None or (count and data.endswith(rest[:count]))):
                # The rest of it is still to come back, or to end.
                break
            kept.append(ChannelData(Channel.STDIN, line) if count == len(rest) else NOT_KEPT)
            del self._held[: len(line)]
            self._shown = 0
        return tuple(kept)

    def end(self) -> tuple[What, ...]:
        """The session is over, or nobody waits any longer: nothing has shown what is held."""
        held, self._held, self._shown = bytes(self._held), bytearray(), 0
        if not held:
            return ()
        return (NOT_KEPT,) if _KEYS.sub(b"", held) else (ChannelData(Channel.STDIN, held),)


def _echoed(typed: bytes, written: bytes, *, whole: bool) -> int:
    """How many of these characters have come back, of a line that has ended as a `whole`: together, all or as far as
    what was written goes.
    """
    if whole:
        if typed[:REPEATED] in written:
            return len(typed)
        return next((length for length in range(REPEATED - 1, 0, -1) if written == typed[:length]), 0)
    near = written[: len(typed) + NEAR]
    shown = at = 0
    while shown < len(typed):
        length = _longest(typed[shown:], near, at)
        if not length:
            break
        at = near.find(typed[shown : shown + length], at) + length
        shown += length
    return shown


def _longest(text: bytes, written: bytes, at: int) -> int:
    """The length of the longest beginning of the text that was written from `at` on."""
    least, most = 0, min(len(text), len(written) - at)
    while least < most:
        middle = (least + most + 1) // 2
        if written.find(text[:middle], at) >= 0:
            least = middle
        else:
            most = middle - 1
    return least
