"""Lines that are typed into a session, read as far as anybody beside it can, for rules that end it at some of them.

Between the keys and the shell lies what nobody sees from here: history, completion, aliases, variables, other shells,
editors. So a line is read in every way at hand: as it was typed with the usual keys of editing applied, as it was typed
without any, and as the terminal showed it. That keeps from accidents; whoever wants to can always hide a line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from narrowgate.core.command_runners import may_run_others, runs_by_options
from narrowgate.core.commands import MOST_WORDS, CommandGuard, Pattern, said, words_of

LONGEST_LINE: Final = 16 * 1024
"""Bytes of a line that is still typed, four times what a terminal takes. Of a longer one nobody can tell what it says,
and the session is ended.
"""

LONGEST_SHOWN: Final = 2048
"""Characters of a line on the terminal that are looked at: no more words than a guard looks through."""

_NO: Final = frozenset({"0", "false"})
"""What the API server takes for a no; an empty value is a yes (k8s.io/apimachinery/pkg/runtime/conversion.go)."""

_ENTERED: Final = re.compile(rb"[\r\n\x04\x0f]")
"""What hands a line over: the line ends, ^D (what is typed is read at once), ^O (readline: run it, fetch the next)."""
_KEYS: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_decoder: Final = codecs.getincrementaldecoder("utf-8")
_TOO_LONG: Final = "a line longer than can be looked at"


class LineGuard(msgspec.Struct, frozen=True):
    """What one rule says of lines. The same for the same words, whatever revision they are from."""

    rule: str
    """`policy/rule`."""
    patterns: tuple[Pattern, ...]


class LineMet(msgspec.Struct, frozen=True):
    """A line that may not be typed. The line itself is not here: it may hold a secret."""

    rule: str
    why: str


def asks_for(query: Iterable[tuple[str, str]], option: str) -> bool:
    """Whether the query of an exec or attach says yes to `stdin` or `tty`."""
    return any(key == option and value.lower() not in _NO for key, value in query)


def reads_lines(query: Sequence[tuple[str, str]]) -> bool:
    """Whether what is sent into this exec or attach may be lines for a shell: on a terminal, or to anything that may be
    one, or is not known. What `kubectl cp` sends to `tar` is a file.
    """
    command = [value for key, value in query if key == "command"]
    is_shell = not command or (may_run_others(command[0]) and not runs_by_options(command[0]))
    return asks_for(query, "stdin") and (asks_for(query, "tty") or is_shell)


class LineWatch(Protocol):
    """Looks at the lines of one session. How the bytes are cut does not matter, but for when a line is found."""

    def typed(self, data: bytes) -> LineMet | None:
        """Somebody typed; a line among it that may not be, before any of it is passed on."""
        ...

    def written(self, data: bytes) -> LineMet | None:
        """The program wrote: a line that was entered before the terminal had shown it may be seen now."""
        ...


def line_watch(guards: Sequence[LineGuard], *, has_terminal: bool) -> LineWatch:
    """What looks at the lines of a session, on a terminal or without one."""
    made = [(one.rule, CommandGuard(one.patterns)) for one in guards]
    return _TerminalWatch(made) if has_terminal else _PipeWatch(made)


_Guards = Sequence[tuple[str, CommandGuard]]


class _PipeWatch:
    """Lines without a terminal: what is sent is what is read, and the end of the input enters a line as well. Nothing
    can keep that end away, so that a line is looked at while it grows.
    """

    def __init__(self, guards: _Guards) -> None:
        self._guards: Final = guards
        self._decoder: Final = _decoder("replace")
        self._words = [""]
        """Of the line that is sent; the last one may go on."""
        self._length = 0

    def typed(self, data: bytes) -> LineMet | None:
        """See `LineWatch`."""
        first, *others = self._decoder.decode(data).split("\n")
        met = self._grown(first)
        for text in others:
            if met is not None:
                break
            if not self._words[-1].endswith("\\"):
                self._words, self._length = [""], 0
            else:
                self._words[-1] = self._words[-1][:-1]
            met = self._grown(text)
        return met

    def written(self, data: bytes) -> LineMet | None:  # noqa: ARG002 (whatever it is)
        """See `LineWatch`. What is not a terminal shows nothing of what is typed."""
        return None

    def _grown(self, text: str) -> LineMet | None:
        self._length += len(text)
        if self._length > LONGEST_LINE and self._guards:
            return LineMet(self._guards[0][0], _TOO_LONG)
        since = len(self._words) - 1
        *whole, last = words_of(self._words[-1] + text)
        self._words[-1:] = [*(word for word in whole if word), last]
        plain = [said(word) for word in self._words[max(0, since - MOST_WORDS) :]]
        return _met(self._guards, lambda guard: guard.stands_in(plain))


class _TerminalWatch:
    """Lines on a terminal: looked at when they are entered."""

    def __init__(self, guards: _Guards) -> None:
        self._guards: Final = guards
        self._typed = b""
        """Of the line that has not been entered."""
        self._before = ""
        """What a backslash at the end of earlier lines makes part of this one."""
        self._awaits_echo = False
        self._shown = _Shown()

    def typed(self, data: bytes) -> LineMet | None:
        """See `LineWatch`."""
        *whole, rest = _ENTERED.split(self._typed + data)
        self._typed = rest
        for line in whole:
            edited = _edited(line)
            if (met := self._look(self._readings(line, edited))) is not None:
                return met
            self._before = (self._before + edited[:-1])[-LONGEST_LINE:] if edited.endswith("\\") else ""
            self._awaits_echo = True
        if len(rest) > LONGEST_LINE and self._guards:
            return LineMet(self._guards[0][0], _TOO_LONG)
        return None

    def written(self, data: bytes) -> LineMet | None:
        """See `LineWatch`."""
        *whole, rest = data.split(b"\n")
        for place, part in enumerate(whole):
            if not self._awaits_echo:
                self._shown = self._shown.next_line(b"".join(whole[place:]))
                break
            self._shown.feed(part)
            line = "" if self._shown.is_screen else self._shown.text
            self._awaits_echo = not self._shown.text.strip()
            self._shown = self._shown.next_line(b"")
            if (met := self._look([line])) is not None:
                return met
        self._shown.feed(rest)
        return None

    def _readings(self, line: bytes, edited: str) -> Iterator[str]:
        """All that the line may say."""
        yield _CONTROLS.sub("", _KEYS.sub("", line.decode("utf-8", "replace")))
        yield self._before + edited
        if not self._shown.is_screen:
            yield self._shown.text
            yield self._before + self._shown.text

    def _look(self, lines: Iterable[str]) -> LineMet | None:
        for line in dict.fromkeys(lines):
            met = self._speaking_of(line) if line else None
            if met is not None:
                return met
        return None

    def _speaking_of(self, line: str) -> LineMet | None:
        return _met(self._guards, lambda guard: guard.speaks_of(line))


def _met(guards: _Guards, speaks: Callable[[CommandGuard], bool]) -> LineMet | None:
    rule = next((rule for rule, guard in guards if speaks(guard)), None)
    return None if rule is None else LineMet(rule, "a line that was typed")


def _edited(line: bytes) -> str:
    """The line once its keys have had their effect, as canonical mode and readline's emacs mode have them."""
    editing = _Editing()
    text = line.decode("utf-8", "replace")
    at = 0
    while at < len(text):
        found = _KEYS.match(text, at)
        key = found[0] if found else text[at]
        at += len(key)
        editing.press(key)
    return editing.text


class _Editing:
    """A line, cut at its cursor."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before: list[str] = []
        self._after: list[str] = []

    @property
    def text(self) -> str:
        return "".join((*self._before, *self._after))

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
        del self._after[:1]

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
        self._before, self._after = [], self._before + self._after

    def to_end(self) -> None:
        self._before, self._after = self._before + self._after, []

    def back(self) -> None:
        self._after[:0] = self._before[-1:]
        del self._before[-1:]

    def forward(self) -> None:
        self._before += self._after[:1]
        del self._after[:1]


_ACTS: Final[Mapping[str, Callable[[_Editing], None]]] = {
    "\x7f": _Editing.rub_out,
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
}


class _Shown:
    """The line of a terminal that is written to now: enough of one to read what a shell draws while a line is edited.

    Sequences are those of ECMA-48, and of xterm for the screen that editors use.
    """

    __slots__ = ("_at", "_cells", "_unread", "is_screen")

    def __init__(self, *, is_screen: bool = False, unread: str = "") -> None:
        self._cells: list[str] = []
        self._at = 0
        self._unread = unread
        """The beginning of a sequence that is not complete."""
        self.is_screen = is_screen
        """Whether a program draws on all of it, so that a line on it is no line that was typed."""

    @property
    def text(self) -> str:
        return "".join(self._cells)

    def next_line(self, passed: bytes) -> _Shown:
        """The line behind what has passed without being looked at."""
        began = max(passed.rfind(sequence.encode()) for sequence in _SCREEN_BEGINS)
        ended = max(passed.rfind(sequence.encode()) for sequence in _SCREEN_ENDS)
        return _Shown(is_screen=self.is_screen if began == ended else began > ended)

    def feed(self, data: bytes) -> None:
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
                self._at = 0
            case "\b":
                self._at = max(0, self._at - 1)
            case _ if character.isprintable() and self._at < LONGEST_SHOWN:
                self._cells[self._at : self._at + 1] = [character]
                self._at += 1

    def _obey(self, sequence: str) -> None:
        if sequence in (*_SCREEN_BEGINS, *_SCREEN_ENDS):
            self.is_screen = sequence in _SCREEN_BEGINS
        elif sequence.startswith("\x1b["):
            digits = sequence[2:-1]
            self._move(sequence[-1], min(int(digits), LONGEST_SHOWN) if digits.isdecimal() and digits.isascii() else 0)

    def _move(self, final: str, number: int) -> None:
        count = max(1, number)
        match final:
            case "C":
                self._at = min(len(self._cells), self._at + count)
            case "D":
                self._at = max(0, self._at - count)
            case "G":
                self._at = min(len(self._cells), count - 1)
            case "K":
                self._cells = self._cells[: self._at] if number == 0 else []
                self._at = min(self._at, len(self._cells))
            case "J" | "H":
                self._cells, self._at = [], 0
            case "P":
                del self._cells[self._at : self._at + count]
            case "@":
                self._cells[self._at : self._at] = [" "] * min(count, LONGEST_SHOWN - len(self._cells))


_SCREEN_BEGINS: Final = ("\x1b[?1049h", "\x1b[?1047h", "\x1b[?47h")
_SCREEN_ENDS: Final = ("\x1b[?1049l", "\x1b[?1047l", "\x1b[?47l")
"""The alternate screen of xterm, in its three spellings."""

_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()*+][\x20-\x7e]|[^\[\]()*+])"
)
_LONGEST_SEQUENCE: Final = 1024
"""Characters of a sequence that has not ended; titles of windows are shorter."""
