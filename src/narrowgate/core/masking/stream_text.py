"""What a program writes while somebody looks on, masked: output of exec and attach.

Text is masked line by line, as logs are (`text`); but a prompt has no line end, and whoever waits for it must see it.
So the beginning of a line can be let go (`release`), and is remembered: what follows of the line is judged with it, and
what of a find has not left yet is masked. What was let go is gone: of a value that comes a few bytes at a time, with
pauses, less than MIN_LENGTH may be seen before it is known.

Bytes with NULs in them are no text but files (`kubectl cp` is `tar` in an exec): there finds are overwritten, so that
every byte after them stays where it was and archives stay whole.
"""

from __future__ import annotations

import re
from typing import Final

from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import KNOWN_VALUE, PEM_BEGINS, PEM_ENDS, PRIVATE_KEY, Span, TextPatterns
from narrowgate.core.masking.secret_parts import MIN_LENGTH
from narrowgate.core.masking.text import TextMasker

PARTIAL_LIMIT: Final = 64 * 1024
"""Bytes of a line that has been let go in part. A longer one is no prompt: the rest of it is masked as lines are."""

BLOCK: Final = 64 * 1024
"""Bytes of a file that are looked at together, if so many come."""

OVERLAP: Final = 4 * 1024
"""Bytes of a file that are held back, so that what begins in them is found whole: passwords, tokens."""

KEY_BYTES: Final = 32 * 1024
"""Bytes from BEGIN to END of a private key in a file, at most; an RSA key of 16,384 bits has 13,000."""

HIDDEN: Final = b"*"
"""What takes the place of each byte of a find in a file."""

NEAR: Final = 24
"""Bytes on either side of a find in a file that must be text, too."""

CHARACTER: Final = 3
"""Bytes of a character that may stand before, or behind, where it was cut."""

_WITHIN: Final = bytes(range(0x80, 0xC0))
"""Bytes with which no character begins."""

_NO_TEXT: Final = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\xff]")
"""What is in no text file. NUL is where a file ends in an archive."""

_LAST_WORD: Final = re.compile(rb"[^\s\"'`=:,;()<>]*\Z")


class StreamMasker:
    """Masks one channel. `feed` it, `release` what it holds back when nobody may wait longer, `finish` it."""

    __slots__ = ("_counts", "_file", "_is_file", "_partial", "_patterns", "_released", "_text", "_values", "known")

    def __init__(
        self,
        patterns: TextPatterns,
        values: ValueMasker,
        counts: dict[str, int],
        known: KnownValues = NOTHING_KNOWN,
    ) -> None:
        self._patterns: Final = patterns
        self._values: Final = values
        self._counts: Final = counts
        self.known = known
        """The values that are known now."""
        self._text: Final = TextMasker(patterns, values, counts, known)
        self._partial = bytearray()
        """The line that has not ended."""
        self._released = 0
        """How many of its bytes have left."""
        self._is_file = False
        self._file = bytearray()

    @property
    def holds_back(self) -> bool:
        """Whether there is something that `release` might let go."""
        return bool(self._file) or len(self._partial) > self._released

    @property
    def is_short(self) -> bool:
        """Whether what is held back ends in a word too short for a secret: an echo, a prompt."""
        last = _LAST_WORD.search(self._partial)
        return not self._is_file and last is not None and len(last[0]) < MIN_LENGTH

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; gives back what may leave by now."""
        if self._is_file:
            return self._of_file(data)
        if b"\0" in data:
            begun = self._ended()
            self._is_file = True
            return begun + self._of_file(data)
        searched = len(self._partial)
        self._partial += data
        end = self._partial.rfind(b"\n", searched) + 1
        written = b""
        if end:
            lines = bytes(self._partial[:end])
            del self._partial[:end]
            written = self._lines(lines)
        return written + self._slid() if len(self._partial) > PARTIAL_LIMIT else written

    def release(self) -> bytes:
        """The beginning of a line that has not ended, masked; nothing of what is hidden over several lines."""
        if self._is_file:
            return self._looked_at(held=0)
        line = bytes(self._partial)
        end = _key_begins(line)
        if end <= self._released or self._text.may_hide(line):
            return b""
        # It is not of what was hidden, so that has ended.
        self._text.known = self.known
        written = (b"" if self._released else self._text.finish()) + self._between(line, self._released, end)
        self._released = end
        return written

    def finish(self) -> bytes:
        """No more comes: the rest."""
        return self._looked_at(held=0, is_end=True) if self._is_file else self._ended()

    # --- text

    def _lines(self, lines: bytes) -> bytes:
        self._text.known = self.known
        released, self._released = self._released, 0
        if not released:
            return self._text.feed(lines)
        end = lines.find(b"\n") + 1 or len(lines)
        first, rest = lines[:end], lines[end:]
        written = self._between(first, released, _key_begins(first))
        if first.endswith(b"\n"):
            # What it opens (a block, a key) goes on in the next lines; what it says itself has been said.
            self._text.feed(first)
        return written + (self._text.feed(rest) if rest else b"")

    def _ended(self) -> bytes:
        rest = bytes(self._partial)
        self._partial.clear()
        return (self._lines(rest) if rest else b"") + self._text.finish()

    def _slid(self) -> bytes:
        """All but the end of a line that is too long for a prompt."""
        line = bytes(self._partial)
        if self._text.may_hide(line):
            self._partial.clear()
            return self._lines(line)
        ended = b"" if self._released else self._text.finish()
        edge = min(len(line) - OVERLAP, _key_begins(line))
        edge = min([edge, *(start for start, end, _ in self._spans(line) if start < edge < end)])
        if edge <= self._released:
            edge = len(line) - OVERLAP
        written = self._between(line, self._released, edge)
        del self._partial[: max(edge - OVERLAP, 0)]
        self._released = edge - max(edge - OVERLAP, 0)
        return ended + written

    def _between(self, line: bytes, at: int, to: int) -> bytes:
        """What of a line is from `at` to `to`, masked by what all of it says."""
        written = []
        for start, end, rule in self._spans(line):
            if end <= at or start >= to:
                continue
            written += [line[at : max(start, at)], self._values.of(rule, line[start:end]).encode()]
            at = end
            self._counts[rule] = self._counts.get(rule, 0) + 1
        return b"".join([*written, line[at:to]])

    def _spans(self, text: bytes) -> list[Span]:
        """Finds in order, none overlapping another."""
        found: list[Span] = []
        for start, end, rule in sorted([*self._values_in(text), *self._patterns.found_in(text)]):
            if found and start < found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]), found[-1][2])
            else:
                found.append((start, end, rule))
        return found

    def _values_in(self, text: bytes) -> list[Span]:
        """Where known values are, one that may go on behind the end included."""
        known = [(start, end, KNOWN_VALUE) for start, end in self.known.spans(text)]
        if not text.endswith(b"\n") and (begun := self.known.begun_in(text)) < len(text):
            known.append((begun, len(text), KNOWN_VALUE))
        return known

    # --- files

    def _of_file(self, data: bytes) -> bytes:
        self._file += data
        return self._looked_at(held=OVERLAP) if len(self._file) >= BLOCK else b""

    def _looked_at(self, *, held: int, is_end: bool = False) -> bytes:
        """All of the file but the last `held` bytes and what may still be going on, its finds overwritten."""
        block = bytes(self._file)
        keys = _keys_in(block)
        looked_like = [span for span in self._patterns.found_in(block) if _is_text(block, span)]
        # Known values by themselves: what they are within may be no text.
        spans = [*self._values_in(block), *looked_like, *keys]
        edge = len(block) - held
        if not is_end:
            open_keys = [start for start, end, _ in keys if end == len(block)]
            going_on = [start for start, end, _ in spans if held and start < edge < end]
            edge = min([edge, *open_keys, *going_on])
        if edge <= 0 and len(block) > KEY_BYTES + BLOCK + OVERLAP:
            # What never ends was made for that: it is overwritten as far as it has come.
            edge = len(block) - held
        if edge <= 0:
            return b""
        del self._file[:edge]
        written = bytearray(block[:edge])
        for start, end, rule in spans:
            if start < edge:
                written[start : min(end, edge)] = HIDDEN * (min(end, edge) - start)
                self._counts[rule] = self._counts.get(rule, 0) + 1
        return bytes(written)


def _key_begins(line: bytes) -> int:
    """Where a private key begins that does not end in the line; the line's length where none does."""
    for begin in PEM_BEGINS.finditer(line):
        if PEM_ENDS.search(line, begin.end()) is None:
            return begin.start()
    return len(line)


def _is_text(block: bytes, span: Span) -> bool:
    """Whether a find in a file is within text: patterns find something in any noise that is long enough."""
    near = block[max(span[0] - NEAR, 0) : span[1] + NEAR]
    if _NO_TEXT.search(near) is not None:
        return False
    if near.isascii():
        return True
    try:
        # A character may be cut at either end.
        near[CHARACTER:-CHARACTER].lstrip(_WITHIN).decode()
    except UnicodeDecodeError as error:
        return error.end >= len(near) - 2 * CHARACTER
    return True


def _keys_in(block: bytes) -> list[Span]:
    """Private keys in a file, the last as far as it has come. One that does not end within KEY_BYTES is none."""
    found = []
    for begin in PEM_BEGINS.finditer(block):
        end = PEM_ENDS.search(block, begin.end(), begin.end() + KEY_BYTES)
        if end is not None:
            found.append((begin.start(), end.end(), PRIVATE_KEY))
        elif len(block) - begin.start() <= KEY_BYTES:
            found.append((begin.start(), len(block), PRIVATE_KEY))
    return found
