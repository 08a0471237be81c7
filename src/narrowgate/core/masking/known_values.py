"""Values of a cluster's own Secrets, wherever they appear in text: patterns cannot recognise a random password.

One automaton (Hyperscan, over literals) reads a text once, whatever the number of values. What it finds are forms of
values (`value_forms`) or pieces of them; each find is extended as far as text and form agree, finds that meet become
one, and that one is named by the longest. A masked value of rule KNOWN_VALUE takes its place, with the same hash that
the value has in its Secret.

Values hold in memory alone. Text comes in complete lines, which no form crosses, so that nothing is held back here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any, Final

import hyperscan
import msgspec

from narrowgate.core.masking.masked_value import MASKED_BYTES, ValueMasker
from narrowgate.core.masking.patterns import KNOWN_VALUE
from narrowgate.core.masking.secret_parts import MIN_LENGTH, Known
from narrowgate.core.masking.value_forms import SHORT, Form, beside, forms_of, pieces_of

PIECES_LIMIT: Final = 200_000
"""Literals of one automaton: about 30,000 passwords, or 1,000 private keys. It takes some 0.4 GB and half a minute of
another thread to build that many."""

FINDS_LIMIT: Final = 8_192
"""Finds in one text before it is read line by line, and in one line before that is hidden whole: 64 KiB of nothing but
values."""

SAME_EDGE: Final = 64
"""Forms that begin alike, or end alike, among which the rest of a cut value is looked for."""

STEP: Final = 256
"""Bytes in which text and form are compared beyond what was found."""

GENUINE: Final = b"[masked:narrowgate/"
"""How masked values begin within which nothing is looked for: there is no room for a secret in one. What names a
policy's rule may have been written by whoever wants to hide a value from us."""


class TooManyValues(Exception):
    """There are more values than can be looked for; the message says how many."""


class _Find(msgspec.Struct, frozen=True, order=True):
    """Where a value is in a text."""

    start: int
    end: int
    stands_for: bytes


class KnownValues:
    """What is looked for, compiled. Never changes; used by one thread at a time, and made in any.

    Raises TooManyValues where the values have more than PIECES_LIMIT forms and pieces together.
    """

    __slots__ = (
        "__weakref__", "_begins", "_besides", "_database", "_ends", "_form", "_known", "_length", "_offset", "_value",
        "values",
    )  # fmt: skip

    def __init__(self, values: Iterable[Known], besides: KnownValues | None = None) -> None:
        """`besides` is looked for as well: what was compiled before, when only a few values are new."""
        own = frozenset(values)
        self.values: Final[frozenset[Known]] = own | besides.values if besides is not None else own
        """All that is looked for."""
        self._besides: Final = besides
        self._known: Final = sorted(own)
        self._value: Final = array("I")
        self._form: Final = array("B")
        self._offset: Final = array("I")
        self._length: Final = array("I")
        self._begins: Final[dict[bytes, list[tuple[int, int]]]] = {}
        """The first MIN_LENGTH bytes of each form, and whose they are."""
        self._ends: Final[dict[bytes, list[tuple[int, int]]]] = {}
        """The last ones."""
        self._database: Final = self._compiled(self._literals())

    def __len__(self) -> int:
        return len(self.values)

    def is_in(self, text: bytes) -> bool:
        """Whether any of the values may be in the text."""
        if len(text) < MIN_LENGTH:
            return False
        if self._besides is not None and self._besides.is_in(text):
            return True
        if self._database is None:
            return False
        try:
            self._database.scan(text, match_event_handler=_stop)
        except hyperscan.ScanTerminated:
            return True
        return False

    def masked(self, text: bytes, values: ValueMasker, counts: dict[str, int]) -> bytes:
        """Complete lines of text with the values in them masked; the very same where there is none. `counts` grows."""
        finds = self._finds(text)
        if not finds:
            return text
        written = []
        done = 0
        for find in finds:
            written += [text[done : find.start], values.of(KNOWN_VALUE, find.stands_for).encode()]
            done = find.end
        counts[KNOWN_VALUE] = counts.get(KNOWN_VALUE, 0) + len(finds)
        return b"".join([*written, text[done:]])

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """Where values are in complete lines of text, in order, none overlapping another."""
        return [(find.start, find.end) for find in self._finds(text)]

    def begun_in(self, text: bytes) -> int:
        """Where at the end of a text a value begins that may go on behind it, its length where none does. Beginnings of
        fewer than MIN_LENGTH bytes are not told from other text, longer ones than SHORT are found as values are.
        """
        begun = self._besides.begun_in(text) if self._besides is not None else len(text)
        for length in range(SHORT - 1, MIN_LENGTH - 1, -1):
            if self._whose(self._begins, text[-length:], bytes.startswith) is not None:
                return min(begun, max(len(text) - length, 0))
        return begun

    def masked_at_edges(self, text: bytes, values: ValueMasker, counts: dict[str, int]) -> bytes:
        """The text without the rest of a value with which it begins or ends, the very same where it does with none.

        For texts that somebody else has cut. Rests of fewer than MIN_LENGTH bytes are not told from other text.
        """
        if self._besides is not None:
            text = self._besides.masked_at_edges(text, values, counts)
        lengths = range(SHORT - 1, MIN_LENGTH - 1, -1)
        whose = (self._whose(self._begins, text[-length:], bytes.startswith) for length in lengths)
        for length, known in zip(lengths, whose, strict=True):
            if known is not None:
                text = text[:-length] + self._mark(known, values, counts)
                break
        whose = (self._whose(self._ends, text[:length], bytes.endswith) for length in lengths)
        for length, known in zip(lengths, whose, strict=True):
            if known is not None:
                return self._mark(known, values, counts) + text[length:]
        return text

    def _whose(
        self,
        edges: dict[bytes, list[tuple[int, int]]],
        rest: bytes,
        is_of: Callable[[bytes, bytes], bool],
    ) -> Known | None:
        """The value a form of which begins or ends with `rest`."""
        edge = rest[:MIN_LENGTH] if edges is self._begins else rest[-MIN_LENGTH:]
        for value, number in edges.get(edge, ()):
            known = self._known[value]
            if is_of(forms_of(known)[number].text, rest):
                return known
        return None

    def _mark(self, known: Known, values: ValueMasker, counts: dict[str, int]) -> bytes:
        counts[KNOWN_VALUE] = counts.get(KNOWN_VALUE, 0) + 1
        return values.of(KNOWN_VALUE, known.stands_for).encode()

    def crosses(self, text: bytes, edge: int) -> int:
        """Where in the text it can be cut at `edge` or before, so that no value is cut."""
        return min([edge, *(find.start for find in self._finds(text) if find.end > edge)])

    # --- making

    def _literals(self) -> list[bytes]:
        literals: dict[bytes, None] = {}
        for value, known in enumerate(self._known):
            for number, form in enumerate(forms_of(known)):
                for edges, edge in ((self._begins, form.text[:MIN_LENGTH]), (self._ends, form.text[-MIN_LENGTH:])):
                    if len(found := edges.setdefault(edge, [])) < SAME_EDGE:
                        found.append((value, number))
                for offset, piece in pieces_of(form):
                    if piece in literals:
                        # The same piece of two values: that of the first is extended as far as it goes.
                        continue
                    literals[piece] = None
                    self._value.append(value)
                    self._form.append(number)
                    self._offset.append(offset)
                    self._length.append(len(piece))
            if len(literals) > PIECES_LIMIT:
                raise TooManyValues(
                    f"{len(self._known)} values of Secrets have more than {PIECES_LIMIT} forms to look for"
                )
        return list(literals)

    def _compiled(self, literals: list[bytes]) -> Any:
        if not literals:
            return None
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        expressions = [b"".join([b"\\x%02x" % byte for byte in literal]) for literal in literals]
        database.compile(expressions=expressions, ids=list(range(len(literals))), flags=[0] * len(literals))
        return database

    # --- looking

    def _finds(self, text: bytes) -> list[_Find]:
        """Where values are, in order, none overlapping another."""
        before = self._besides._finds(text) if self._besides is not None else []
        own = self._own(text) if self._database is not None and len(text) >= MIN_LENGTH else []
        return _merged(before + own) if before and own else before or own

    def _own(self, text: bytes) -> list[_Find]:
        matches: list[tuple[int, int]] = []

        def found(literal: int, _start: int, end: int, _flags: int, _context: object) -> bool:
            matches.append((end - self._length[literal], literal))
            return len(matches) >= FINDS_LIMIT

        try:
            self._database.scan(text, match_event_handler=found)
        except hyperscan.ScanTerminated:
            return self._line_by_line(text)
        if not matches:
            return []
        return _merged(self._outside_masked(text, self._extended(text, sorted(matches))))

    def _line_by_line(self, text: bytes) -> list[_Find]:
        lines = text.split(b"\n")
        if len(lines) == 1:
            return [_Find(0, len(text), text)]
        finds = []
        at = 0
        for line in lines:
            finds += [_Find(at + find.start, at + find.end, find.stands_for) for find in self._own(line)]
            at += len(line) + 1
        return finds

    def _extended(self, text: bytes, matches: list[tuple[int, int]]) -> list[_Find]:
        finds: list[_Find] = []
        last: dict[tuple[int, int], _Find] = {}
        forms: dict[int, tuple[Form, ...]] = {}
        for at, literal in matches:
            value, number = self._value[literal], self._form[literal]
            before = last.get((value, number))
            if before is not None and at + self._length[literal] <= before.end:
                # One more piece of what was extended already.
                continue
            known = self._known[value]
            if value not in forms:
                forms[value] = forms_of(known)
            start, end = _extended(forms[value][number], text, at, (self._offset[literal], self._length[literal]))
            find = _Find(start, end, known.stands_for)
            last[value, number] = find
            finds.append(find)
        return finds

    def _outside_masked(self, text: bytes, finds: list[_Find]) -> list[_Find]:
        if GENUINE not in text:
            return finds
        masked = [found.span() for found in MASKED_BYTES.finditer(text) if found[0].startswith(GENUINE)]
        return [find for find in finds if not any(start <= find.start and find.end <= end for start, end in masked)]


NOTHING_KNOWN: Final = KnownValues(())
"""What is looked for where no values are known."""


def _stop(*_match: object) -> bool:
    """One is enough."""
    return True


def _extended(form: Form, text: bytes, at: int, piece: tuple[int, int]) -> tuple[int, int]:
    """The span around a piece, found at `at`, in which the text agrees with the form."""
    offset, length = piece
    start, end = at, at + length
    begun, done = offset, offset + length
    while begun and start:
        step = min(STEP, begun, start)
        alike = _common(form.text[begun - step : begun][::-1], text[start - step : start][::-1])
        begun, start = begun - alike, start - alike
        if alike < step:
            break
    while done < len(form.text) and end < len(text):
        step = min(STEP, len(form.text) - done, len(text) - end)
        alike = _common(form.text[done : done + step], text[end : end + step])
        done, end = done + alike, end + alike
        if alike < step:
            break
    return beside(form, text, start, end)


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two texts of the same length begin with alike."""
    if one == other:
        return len(one)
    return next(at for at in range(len(one)) if one[at] != other[at])


def _merged(finds: list[_Find]) -> list[_Find]:
    """Finds that meet as one, which stands for the longest of them."""
    merged: list[_Find] = []
    longest = 0
    for find in sorted(finds):
        length = find.end - find.start
        if merged and find.start < merged[-1].end:
            before = merged[-1]
            stands_for = find.stands_for if length > longest else before.stands_for
            merged[-1] = _Find(before.start, max(before.end, find.end), stands_for)
            longest = max(longest, length)
        else:
            merged.append(find)
            longest = length
    return merged
