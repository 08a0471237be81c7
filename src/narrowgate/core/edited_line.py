"""A line that is typed on a terminal, from its keys: what it says once they have had their effect, as canonical mode
and readline's emacs mode have them; and whether that is sure.

Keys that fetch text from somewhere else (history, completion, search) and sequences that nobody knows say nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

_KEYS: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)
_REPORT: Final = re.compile(r"\x1b\[(?:[0-9]+;[0-9]+R|[?>]?[0-9;]*c|[0-9]*n|[IO])\Z")
"""What a terminal says by itself: where its cursor is (busybox asks for it with every prompt), what it is, whether it
is looked at.
"""
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_PASTE_BEGINS: Final = "\x1b[200~"
_PASTE_ENDS: Final = "\x1b[201~"
"""What a terminal puts around text that is pasted (xterm's bracketed paste)."""
_RUBS_OUT: Final = "\x7f"
_ALIKE: Final = frozenset({_RUBS_OUT, "\x15"})
"""Backspace and ^U, with the cursor at the end of the line: all that every reader of lines takes for the same."""


def as_typed(line: bytes) -> str:
    """All that was typed, without a look at what its keys do."""
    return _CONTROLS.sub("", _KEYS.sub("", line.decode("utf-8", "replace")))


def edited(line: bytes) -> str:
    """The line once its keys have had their effect."""
    if (text := line.decode("utf-8", "replace")).isprintable():
        # The usual line is a hundred times quicker so.
        return text
    editing = _Editing()
    for key in _keys_of(line):
        editing.press(key)
    return editing.text


def is_plain(line: bytes) -> bool:
    """Whether every reader of lines would take the keys for the same text: a shell, a terminal in canonical mode."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if text.isprintable():
        return True
    keys = list(_keys_of(line))
    if _PASTE_BEGINS in keys or _PASTE_ENDS in keys:
        return keys[0] == _PASTE_BEGINS and keys[-1] == _PASTE_ENDS and all(key.isprintable() for key in keys[1:-1])
    # Backspace takes a byte where a terminal does not know that it is written to in UTF-8.
    return all(key.isprintable() or key in _ALIKE for key in keys) and (line.isascii() or b"\x7f" not in line)


def is_known(line: bytes) -> bool:
    """Whether all of its keys have an effect that is known here, as far as nobody has bound them to something else."""
    return all(key.isprintable() or key in _ACTS for key in _keys_of(line))


def fetches(line: bytes) -> bool:
    """Whether some key may bring text from somewhere else: the history, completion, what was killed before."""
    if line.decode("utf-8", "replace").isprintable():
        return False
    before = ""
    is_pasted = False
    for key in _keys_of(line):
        if key in (_PASTE_BEGINS, _PASTE_ENDS):
            is_pasted = key == _PASTE_BEGINS
        elif key == "\t":
            # Behind a blank, or at the beginning, there is no word to complete: that is how text is indented.
            if before.strip() and not is_pasted:
                return True
        elif not key.isprintable() and key not in _ACTS and not is_pasted:
            return True
        before = key
    return False


def is_in_paste(line: bytes) -> bool:
    """Whether text is being pasted into the line that has not ended yet, so that the end of the line is part of it."""
    text = line.decode("utf-8", "replace")
    return text.rfind(_PASTE_BEGINS) > text.rfind(_PASTE_ENDS)


def _keys_of(line: bytes) -> Iterator[str]:
    text = line.decode("utf-8", "replace")
    at = 0
    while at < len(text):
        found = _KEYS.match(text, at)
        key = found[0] if found else text[at]
        at += len(key)
        if not _REPORT.match(key):
            yield key


class _Editing:
    """A line, cut at its cursor."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before: list[str] = []
        self._after: list[str] = []

    @property
    def text(self) -> str:
        return "".join((*self._before, *reversed(self._after)))

    def press(self, key: str) -> None:
        """A key, or a character; what no editor of lines knows has no effect."""
        act = _ACTS.get(key)
        if act is not None:
            act(self)
        elif key == "\t":
            self._before.append(" ")
        elif key.isprintable():
            self._before.append(key)

    def rub_out(self) -> None:
        del self._before[-1:]

    def delete(self) -> None:
        del self._after[-1:]

    def kill_before(self) -> None:
        self._before.clear()

    def kill_after(self) -> None:
        self._after.clear()

    def give_up(self) -> None:
        self.kill_before()
        self.kill_after()

    def rub_out_word(self) -> None:
        while self._before and self._before[-1].isspace():
            self._before.pop()
        while self._before and not self._before[-1].isspace():
            self._before.pop()

    def to_begin(self) -> None:
        self._after += reversed(self._before)
        self._before = []

    def to_end(self) -> None:
        self._before += reversed(self._after)
        self._after = []

    def back(self) -> None:
        self._after += self._before[-1:]
        del self._before[-1:]

    def forward(self) -> None:
        self._before += self._after[-1:]
        del self._after[-1:]

    def nothing(self) -> None:
        pass


_ACTS: Final[Mapping[str, Callable[[_Editing], None]]] = {
    _RUBS_OUT: _Editing.rub_out,
    "\x08": _Editing.rub_out,
    "\x1b[3~": _Editing.delete,
    "\x15": _Editing.kill_before,
    "\x0b": _Editing.kill_after,
    "\x03": _Editing.give_up,
    "\x17": _Editing.rub_out_word,
    **dict.fromkeys(("\x01", "\x1b[H", "\x1bOH", "\x1b[1~"), _Editing.to_begin),
    **dict.fromkeys(("\x05", "\x1b[F", "\x1bOF", "\x1b[4~"), _Editing.to_end),
    **dict.fromkeys(("\x02", "\x1b[D", "\x1bOD"), _Editing.back),
    **dict.fromkeys(("\x06", "\x1b[C", "\x1bOC"), _Editing.forward),
    **dict.fromkeys((_PASTE_BEGINS, _PASTE_ENDS, "\x0c"), _Editing.nothing),
}
