"""Output of a recorded program, made safe for the terminal of whoever plays it again.

What draws on the screen passes: text, colours, movements, erasing, scrolling, the alternate screen. What reaches beyond
it is left out: the clipboard (OSC 52), titles and links (every OSC), device control strings (DCS, APC, PM, SOS),
questions that a terminal answers as if somebody had typed (DA, DSR, ENQ, DECRQM), reports of the mouse and of pastes,
other codes for keys, window operations, printing, bells, erasing what has scrolled away. Sequences are those of ECMA-48
and of xterm (invisible-island.net/xterm/ctlseqs). The list says what passes: what nobody has thought of does not.
"""

from __future__ import annotations

import codecs
import enum
import re
from typing import Final, assert_never

LONGEST_SEQUENCE: Final = 128
"""Characters of a control sequence: colours of a line of text, some of them at once. Longer ones are left out."""

_CONTROLS: Final = frozenset("\b\t\n\r\x0e\x0f")

_TEXT_CONTROLS: Final = frozenset("\t\n\r")

_CSI: Final = re.compile(
    # Cursor, inserting, colours; with numbers so small that none of them takes long.
    r"\x1b\[(?:(?:\d{0,5}[;:]){0,31}\d{0,5}[@A-IK-MPXZ`adefmr]"
    # Repeating, tabs, scrolling (with more numbers it would be the mouse), erasing, places, the cursor's form.
    r"|\d{0,3}[bgST]|[0-2]?J|\?[0-2]?[JK]|[su]|[0-6]? q"
    # Modes: insert, new line; wrapping, origin, reverse video, the cursor, the alternate screen.
    r"|(?:4|20)[hl]|\?(?:5|6|7|12|25|47|1047|1048|1049)[hl])",
    re.ASCII,
)
_ESCAPE: Final = re.compile(r"\x1b(?:[78DEHM]|[()][0AB]|#8)", re.ASCII)

_PLAIN: Final = re.compile(r"[ -~\xa0-\U0010ffff\t\n\r]+")
_WITHIN: Final = re.compile(r"[^\x07\x18\x1a\x1b\x9c]+")

RESTORE: Final = "\x1b[0m\x1b[r\x1b[?1049l\x1b[?25h\x1b[?7h\x1b[4l\x1b[?5l\x1b[?6l\x0f\x1b(B\r\n"
"""Afterwards: colours, scrolling, screen, cursor, wrapping and character set as they usually are."""


class _State(enum.Enum):
    TEXT = 0
    ESCAPE = 1
    CSI = 2
    STRING = 3
    """Within OSC, DCS, SOS, PM or APC: nothing passes until it ends."""
    STRING_ESCAPE = 4


class SafeTerminal:
    """Takes output in any pieces. Where they were cut never matters."""

    def __init__(self, *, text_only: bool = False) -> None:
        """`text_only`: nothing but text passes, for whoever looks for words in it."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._state = _State.TEXT
        self._sequence = ""
        self._text_only = text_only

    def feed(self, data: bytes) -> str:
        """What of these bytes may be shown."""
        return self._filtered(self._decoder.decode(data))

    def finish(self) -> str:
        """What is shown of a character that was never completed."""
        return self._filtered(self._decoder.decode(b"", final=True))

    def _filtered(self, text: str) -> str:
        shown: list[str] = []
        at = 0
        while at < len(text):
            # Most of it is text, or lies within a string: that goes by in one piece.
            plain = _PLAIN.match(text, at) if self._state is _State.TEXT else None
            within = _WITHIN.match(text, at) if self._state is _State.STRING else None
            if plain is not None:
                shown.append(plain[0])
                at = plain.end()
            elif within is not None:
                at = within.end()
            else:
                shown.append(self._shown(text[at]))
                at += 1
        return "".join(shown)

    def _shown(self, letter: str) -> str:
        match self._state:
            case _State.TEXT:
                return self._of_text(letter)
            case _State.ESCAPE:
                return self._of_escape(letter)
            case _State.CSI:
                return self._of_csi(letter)
            case _State.STRING:
                self._of_string(letter)
            case _State.STRING_ESCAPE:
                # Backslash ends it (ST); whatever else follows begins a sequence of its own.
                self._state, self._sequence = _State.TEXT, ""
                return "" if letter == "\\" else self._begin(letter)
            case _:
                assert_never(self._state)
        return ""

    def _of_text(self, letter: str) -> str:
        if letter == "\x1b":
            self._state, self._sequence = _State.ESCAPE, letter
            return ""
        if letter >= " ":
            # DEL, and the controls of eight bits, which some terminals take for sequences also in UTF-8.
            return "" if "\x7f" <= letter <= "\x9f" else letter
        return letter if letter in (_TEXT_CONTROLS if self._text_only else _CONTROLS) else ""

    def _begin(self, letter: str) -> str:
        self._state, self._sequence = _State.ESCAPE, "\x1b"
        return self._of_escape(letter)

    def _of_escape(self, letter: str) -> str:
        if self._is_broken_off(letter):
            return ""
        if len(self._sequence) == 1:
            if letter == "[":
                self._state, self._sequence = _State.CSI, "\x1b["
                return ""
            if letter in "]PX^_":
                self._state = _State.STRING
                return ""
        self._sequence += letter
        if " " <= letter <= "/" and len(self._sequence) < LONGEST_SEQUENCE:
            return ""
        return self._end(_ESCAPE)

    def _of_csi(self, letter: str) -> str:
        if self._is_broken_off(letter):
            return ""
        # One character more than may be is enough to know that it is too long.
        self._sequence = (self._sequence + letter)[: LONGEST_SEQUENCE + 1]
        return self._end(_CSI) if "@" <= letter <= "~" else ""

    def _of_string(self, letter: str) -> None:
        if letter == "\x1b":
            self._state = _State.STRING_ESCAPE
        elif letter in "\x07\x18\x1a\x9c":
            self._state = _State.TEXT

    def _is_broken_off(self, letter: str) -> bool:
        """Whether a control cuts the sequence short (ECMA-48, CAN and SUB): a new one, or none."""
        if letter == "\x1b":
            self._state, self._sequence = _State.ESCAPE, letter
        elif letter in "\x18\x1a":
            self._state, self._sequence = _State.TEXT, ""
        # Other controls within a sequence are done by terminals at once; nothing needs them.
        return letter < " " or "\x7f" <= letter <= "\x9f"

    def _end(self, allowed: re.Pattern[str]) -> str:
        sequence, self._sequence, self._state = self._sequence, "", _State.TEXT
        if self._text_only or len(sequence) > LONGEST_SEQUENCE or not allowed.fullmatch(sequence):
            return ""
        return sequence
