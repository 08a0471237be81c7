"""Text of any length, masked as it comes: logs, messages, strings in objects. Where it was cut never matters.

Text is masked line by line. A few things go on over lines: a private key to its END, a block of YAML under a secret's
name as far as it is indented, the value on the line after `name: DB_PASSWORD`. Such a thing leaves as one masked value,
once it has ended.

Held back are the line that is not finished, up to LINE_LIMIT, and of what goes on over lines nothing but a copy for its
hash. A line that is longer than that is one that nobody reads: its beginning is masked as any other, the rest hidden.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import (
    NAMED_SECRET,
    PEM_BEGINS,
    PEM_ENDS,
    PRIVATE_KEY,
    Span,
    TextPatterns,
    is_no_value,
)

LINE_LIMIT: Final = 1024 * 1024
"""Bytes of a line that are read: as many as an object of the cluster may have in all (etcd takes 1.5 MiB)."""

EDGE: Final = 4 * 1024
"""Bytes before LINE_LIMIT that are hidden with what follows, lest half a secret stay: longer ones are found by their
beginning."""

KEY_LINES: Final = 256
"""Lines of a private key whose END does not come; an RSA key of 16,384 bits has 198."""

HASHED_LIMIT: Final = 64 * 1024
"""Bytes of what is hidden over several lines that count for its hash."""

ROUNDS: Final = 8
"""Times that a line is looked at again after something of it was masked. One whose end is never reached, which is a
line made for that, is hidden whole.
"""

CUT_LENGTH: Final = 1_000
"""Bytes of a text in an object that may have been cut: the kubelet keeps 2 or 4 KiB of a container's last words, events
have 1 KiB.
"""

LONG_LINE: Final = "narrowgate/long-line"
"""The rule that hides the rest of a line beyond LINE_LIMIT."""

CUT_LINE: Final = "narrowgate/cut-line"
"""The rule that hides a last line in whose middle the reader had the text cut (`limitBytes` of a log)."""

_VALUE_LINE: Final = re.compile(rb"([ \t]*[\"']?value[\"']?[ \t]*[:=][ \t]*)(.*)", re.IGNORECASE | re.DOTALL)
_BLOCK: Final = re.compile(rb"[|>][0-9+-]{0,2}[ \t\r]*(?:#[^\n]*)?\n?\Z")

_STRING_DATA: Final = re.compile(rb"stringData[\"']?:[ \t\r]*\n?\Z")
"""All of a Secret's manifest that is below it."""


class _Going(enum.Enum):
    """What goes on over lines."""

    KEY = "key"
    BLOCK = "block"
    LINE = "line"


class _Open:
    """Something that is being hidden and has not ended yet."""

    __slots__ = ("content", "ended", "going", "indent", "key_lines", "lead", "lines", "rule")

    def __init__(self, going: _Going, rule: str, indent: int = 0) -> None:
        self.going: Final = going
        self.rule: Final = rule
        self.indent: Final = indent
        self.lead = b""
        self.lines = 0
        self.key_lines = 0
        """Lines that may still belong to a private key that began in a block; they need not be indented."""
        self.content = bytearray()
        self.ended = False
        """Whether the last line was a whole one."""

    def add(self, line: bytes) -> None:
        """Take one more line, of whatever indentation: a key is the same wherever it is written."""
        self.ended = line.endswith(b"\n")
        if self.going is _Going.BLOCK and not self.lines:
            self.lead = line[: _indent(line)]
        if len(self.content) < HASHED_LIMIT:
            self.content += b"\n" + line.strip() if self.lines else line.strip()
            del self.content[HASHED_LIMIT:]
        self.lines += 1

    def add_piece(self, piece: bytes) -> None:
        """Take one more piece of a line that is too long."""
        self.content += piece[: HASHED_LIMIT - len(self.content)]
        self.lines = 1


class TextMasker:
    """Masks one text. `feed` it in pieces, then `finish` it; what they return, put together, is the masked text."""

    __slots__ = ("_expects_value", "_open", "_patterns", "_pending", "_values", "counts", "known")

    def __init__(
        self,
        patterns: TextPatterns,
        values: ValueMasker,
        counts: dict[str, int],
        known: KnownValues = NOTHING_KNOWN,
    ) -> None:
        self._patterns: Final = patterns
        self._values: Final = values
        self.counts: Final = counts
        """How many values each rule has masked, added to what was in it."""
        self.known = known
        """The values that are known now: others from the next line on."""
        self._pending = bytearray()
        self._open: _Open | None = None
        self._expects_value = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; gives back what can be said by now."""
        searched = len(self._pending)
        self._pending += data
        end = self._pending.rfind(b"\n", searched) + 1
        written = b""
        if end:
            lines = bytes(self._pending[:end])
            del self._pending[:end]
            written = self._lines(lines)
        if len(self._pending) >= LINE_LIMIT or self._is_long():
            piece = bytes(self._pending)
            self._pending.clear()
            written += self._unfinished(piece)
        return written

    def may_hide(self, beginning: bytes) -> bool:
        """Whether a line that begins like this may belong to what is being hidden; False where nothing is."""
        if self._expects_value:
            word = beginning.lstrip(b" \t\"'").lower()
            return word[:5] == b"value"[: len(word)]
        opened = self._open
        if opened is None:
            return False
        if opened.going is not _Going.BLOCK or opened.key_lines:
            return True
        return not beginning.strip() or _indent(beginning) > opened.indent

    def finish(self, *, cut: bool = False) -> bytes:
        """No more comes: the last line, and what was still being hidden.

        `cut` says that whoever reads it chose where it ends. Then a last line that is not ended goes as a whole: half a
        secret may look like none, and hashes of its beginnings would tell it letter by letter.
        """
        rest = bytes(self._pending)
        self._pending.clear()
        if cut and (rest or self._is_long()):
            if self._open is not None and self._is_long():
                self._open.content.clear()
            return self._closed() + (self._value(CUT_LINE, b"") if rest else b"")
        return (self._lines(rest) if rest else b"") + self._closed()

    def _is_long(self) -> bool:
        return self._open is not None and self._open.going is _Going.LINE

    def _lines(self, lines: bytes) -> bytes:
        """Complete lines, and the end of one that was too long."""
        if self._open is None and not self._expects_value and len(lines) < LINE_LIMIT:
            first = next(self._patterns.opens_in(lines), -1) if b"\n" in lines else -1
            if first < 0:
                return self._masked(lines)
        written = [self._line(line) for line in _split(lines)]
        return b"".join(written)

    def _line(self, line: bytes) -> bytes:
        opened = self._open
        if opened is not None and opened.going is _Going.LINE:
            opened.add_piece(line.removesuffix(b"\n"))
            opened.ended = line.endswith(b"\n")
            return self._closed() if opened.ended else b""
        if len(line.removesuffix(b"\n")) >= LINE_LIMIT:
            written = self._unfinished(line.removesuffix(b"\n"))
            return written + self._line(b"\n") if line.endswith(b"\n") else written
        if opened is not None:
            return self._hidden(opened, line)
        if self._expects_value:
            self._expects_value = False
            if (value := _VALUE_LINE.fullmatch(line)) is not None:
                return self._value_line(line, value[1], value[2])
        return self._plain(line)

    def _hidden(self, opened: _Open, line: bytes) -> bytes:
        """One more line while something is hidden: of it, or after it."""
        if opened.going is _Going.KEY:
            end = PEM_ENDS.search(line)
            if end is not None:
                opened.add(line[: end.end()])
                return self._closed() + self._line(line[end.end() :])
            if opened.lines < KEY_LINES:
                opened.add(line)
                return b""
        elif opened.key_lines or not line.strip() or _indent(line) > opened.indent:
            opened.add(line)
            opened.key_lines = _key_lines(line, opened.key_lines)
            return b""
        return self._closed() + self._line(line)

    def _plain(self, line: bytes) -> bytes:
        """A line of which nothing is known yet."""
        for start in self._patterns.opens_in(line):
            key = PEM_BEGINS.match(line, start)
            if key is None:
                if _BLOCK.search(line) is not None or _STRING_DATA.search(line) is not None:
                    self._open = _Open(_Going.BLOCK, NAMED_SECRET, _indent(line))
                else:
                    self._expects_value = True
            elif PEM_ENDS.search(line, key.end()) is None:
                before = self._masked(line[:start])
                self._open = _Open(_Going.KEY, PRIVATE_KEY)
                self._open.add(line[start:])
                return before
        return self._masked(line)

    def _value_line(self, line: bytes, before: bytes, value: bytes) -> bytes:
        """The line after a secret's name."""
        if _BLOCK.match(value) is not None:
            self._open = _Open(_Going.BLOCK, NAMED_SECRET, _indent(line))
            return line
        inner = value.rstrip(b" \t\r\n,")
        after = value[len(inner) :]
        if inner[:1] in (b'"', b"'") and len(inner) > 1 and inner.endswith(inner[:1]):
            before, inner, after = before + inner[:1], inner[1:-1], inner[:1] + after
        if not inner or is_no_value(inner):
            return self._masked(line)
        return before + self._value(NAMED_SECRET, inner) + after

    def _unfinished(self, piece: bytes) -> bytes:
        """The beginning of a line that is too long, or one more piece of it."""
        if self._open is not None and self._open.going is _Going.LINE:
            self._open.add_piece(piece)
            return b""
        edge = LINE_LIMIT - EDGE
        if self._open is not None or self._expects_value:
            edge = 0
        written = self._closed()
        self._expects_value = False
        spans = self._patterns.found_in(piece[:LINE_LIMIT]) if edge else []
        edge = min([edge, *(start for start, end, _ in spans if end > edge)])
        edge = self.known.crosses(piece, edge) if edge else 0
        written += self._masked(piece[:edge])
        self._open = _Open(_Going.LINE, LONG_LINE)
        self._open.add_piece(piece[edge:])
        return written

    def _closed(self) -> bytes:
        """What was hidden has ended: the one value that stands for it, and the end of its last line."""
        opened, self._open = self._open, None
        if opened is None or not opened.lines:
            return b""
        return opened.lead + self._value(opened.rule, bytes(opened.content)) + (b"\n" if opened.ended else b"")

    def _masked(self, lines: bytes) -> bytes:
        """Lines with nothing to be found in them any more: what is masked in one may end a word, and so begin another
        find beside it. Known values first: a pattern may take a part of one, and leave the rest.
        """
        lines = self.known.masked(lines, self._values, self.counts)
        for _ in range(ROUNDS):
            spans = self._patterns.found_in(lines)
            if not spans:
                return lines
            lines = self._replaced(lines, spans)
        if lines.count(b"\n") > lines.endswith(b"\n"):
            return b"".join(self._masked(line) for line in _split(lines))
        return self._value(NAMED_SECRET, lines.removesuffix(b"\n")) + b"\n" * lines.endswith(b"\n")

    def _replaced(self, lines: bytes, spans: list[Span]) -> bytes:
        written = []
        done = 0
        for start, end, rule in spans:
            written += [lines[done:start], self._value(rule, lines[start:end])]
            done = end
        return b"".join([*written, lines[done:]])

    def _value(self, rule: str, plain: bytes) -> bytes:
        masked = self._values.of(rule, plain).encode()
        if masked != plain:
            self.counts[rule] = self.counts.get(rule, 0) + 1
        return masked


def mask_text(
    text: str,
    patterns: TextPatterns,
    values: ValueMasker,
    counts: dict[str, int],
    known: KnownValues = NOTHING_KNOWN,
) -> str:
    """All of a text, masked. `counts` grows by what each rule has masked in it. Lone surrogates stay what they are."""
    is_clean = patterns.is_known_clean(text)
    if is_clean and not known:
        return text
    plain = text.encode("utf-8", "surrogatepass")
    left = known.masked_at_edges(plain, values, counts) if known and len(plain) >= CUT_LENGTH else plain
    is_same = left is plain and len(plain) < LINE_LIMIT and not known.is_in(plain)
    if is_same and (is_clean or patterns.is_clean(text, plain)):
        return text
    masker = TextMasker(patterns, values, counts, known)
    masked = masker.feed(left) + masker.finish()
    return text if masked == plain else masked.decode("utf-8", "surrogatepass")


def _key_lines(line: bytes, before: int) -> int:
    """How many lines of a private key may follow this one in a block, where `before` could with it."""
    begun = [key.end() for key in PEM_BEGINS.finditer(line)]
    if begun:
        return 0 if PEM_ENDS.search(line, begun[-1]) is not None else KEY_LINES
    return 0 if not before or PEM_ENDS.search(line) is not None else before - 1


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip(b" \t"))


def _split(lines: bytes) -> list[bytes]:
    """Lines end with a line feed and with nothing else."""
    parts = lines.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
