"""Lines that are typed into a session, read as far as anybody beside it can, for rules that end it at some of them, or
have people asked first.

Between the keys and the shell lies what nobody sees from here: history, completion, aliases, variables, other shells,
editors. So a line is read in every way at hand: as it was typed with the usual keys of editing applied, as it was typed
without any, and as the terminal showed it. That keeps from accidents; whoever wants to can always hide a line.

People are asked about nothing but a line of which it is sure what it says (`edited_line`), and which is a command as a
whole (`line_doubts`). Any other that speaks of what they are to be asked about ends the session.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from narrowgate.core import edited_line
from narrowgate.core.command_runners import may_run_others, runs_by_options
from narrowgate.core.commands import CommandGuard, Pattern, said, words_of
from narrowgate.core.edited_line import edited
from narrowgate.core.line_doubts import goes_on, takes_from_history
from narrowgate.core.policy import Approval
from narrowgate.core.shown_line import ShownLine

LONGEST_LINE: Final = 16 * 1024
"""Bytes of a line that is still typed, four times what a terminal takes. Of a longer one nobody can tell what it says,
and the session is ended.
"""

MOST_AHEAD: Final = 64 * 1024
"""Bytes that are kept of what is typed while a line is held: a script. With more the session is ended."""

MOST_AGREED: Final = 64
"""Lines that were agreed to and are not shown yet; more than are typed ahead at one time."""

_NO: Final = frozenset({"0", "false"})
"""What the API server takes for a no; an empty value is a yes (k8s.io/apimachinery/pkg/runtime/conversion.go)."""

_ENTERED: Final = re.compile(rb"[\r\n\x04\x0f]|\x1b(?:OM|\[13(?:;[0-9:;]*)?u|\[27;[0-9]+;13~)")
"""What hands a line over: the line ends, ^D (what is typed is read at once), ^O (readline: run it, fetch the next); and
Enter as a keypad, kitty's protocol and xterm's modifyOtherKeys write it.
"""
_MOST_OF_A_KEY: Final = 32
"""Bytes of such a sequence that may have been typed before its last one."""
_LINE_ENDS: Final = (b"\r", b"\n")
_FETCHES_NEXT: Final = b"\x0f"
_decoder: Final = codecs.getincrementaldecoder("utf-8")
_TYPED: Final = "a line that was typed"
_TOO_LONG: Final = "a line longer than can be looked at"
_UNSURE: Final = "a line that nobody can be asked about, because its keys do not tell what it says: type it out"
_UNFINISHED: Final = "a line that nobody can be asked about, because it may go on in others: write it in one"
_LATE: Final = "a line that people are to be asked about, and that was shown only when it had been entered"
_HISTORY: Final = "a line that takes others from the history: type them out"
_TOO_MUCH: Final = "what was typed while a line waits for people, which is more than is kept"


class LineGuard(msgspec.Struct, frozen=True):
    """What one rule says of lines. The same for the same words, whatever revision they are from."""

    rule: str
    """`policy/rule`."""
    patterns: tuple[Pattern, ...]
    approval: Approval | None = None
    """Who is asked before such a line is entered; None: nobody, and it ends the session."""


class LineMet(msgspec.Struct, frozen=True):
    """A line that may not be typed. The line itself is not here: it may hold a secret."""

    rule: str
    why: str


class LineAsked(msgspec.Struct, frozen=True):
    """A line that waits for people."""

    guards: tuple[LineGuard, ...]
    """All that ask about it."""
    text: str
    """What it says."""


class Unsettled(msgspec.Struct, frozen=True):
    """A line that was entered with keys that fetch text: what they fetched has to be shown before it can be read."""


Found = LineMet | LineAsked | Unsettled


class Passing(msgspec.Struct, frozen=True):
    """What of what was typed goes on now, and what was found behind it."""

    data: bytes = b""
    found: Found | None = None
    """None: nothing is held back. A LineMet ends the session, and nothing goes on at all."""
    ends: bool = False
    """Whether the end of the input goes on now, behind the data."""


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
    """Looks at what is typed into one session, and keeps back what has to wait."""

    def typed(self, data: bytes) -> Passing:
        """Somebody typed."""
        ...

    def ended(self) -> Passing:
        """Nothing more will be typed: whatever is on the line is entered by that where there is no terminal."""
        ...

    def go_on(self) -> Passing:
        """The line that is held goes on: people have said yes, or what it was to be read by has been shown by now. What
        was typed behind it follows.
        """
        ...

    def written(self, data: bytes) -> LineMet | None:
        """The program wrote: a line that was entered before the terminal had shown it may be seen now."""
        ...

    def resized(self, width: int) -> None:
        """The terminal has so many columns."""
        ...


def line_watch(guards: Sequence[LineGuard], *, has_terminal: bool) -> LineWatch:
    """What looks at the lines of a session, on a terminal or without one."""
    return _TerminalWatch(_Guards(guards)) if has_terminal else _PipeWatch(_Guards(guards))


class _Guards:
    """What all rules of a session say of lines."""

    def __init__(self, guards: Sequence[LineGuard]) -> None:
        made = [(one, CommandGuard(one.patterns)) for one in guards]
        self.ending: Final = [(one, guard) for one, guard in made if one.approval is None]
        self.asking: Final = [(one, guard) for one, guard in made if one.approval is not None]
        self.most_words: Final = max((guard.most_words for _, guard in made), default=0)
        """Of any pattern: so far back in a line one may begin."""
        self.first: Final = guards[0].rule if guards else ""
        """Who ends the session where no rule does by itself; nobody where there are no rules."""

    def met(self, speaks: Callable[[CommandGuard], bool]) -> LineMet | None:
        """What ends the session because of a text."""
        rule = next((one.rule for one, guard in self.ending if speaks(guard)), None)
        return None if rule is None else LineMet(rule, _TYPED)

    def asked(self, speaks: Callable[[CommandGuard], bool]) -> tuple[LineGuard, ...]:
        """Who asks because of a text."""
        return tuple(one for one, guard in self.asking if speaks(guard))


class _PipeWatch:
    """Lines without a terminal: what is sent is what is read, and the end of the input enters a line as well.

    A line is looked at while it grows: programs may read what is no line. What ends a session is met as soon as it is
    there. What people are asked about is held from there on, until all of the line is.
    """

    def __init__(self, guards: _Guards) -> None:
        self._guards: Final = guards
        self._decoder: Final = _decoder("replace")
        self._words = [""]
        """Of the line that is sent; the last one may go on."""
        self._length = 0
        self._line = bytearray()
        """The line as it came, what has gone on already included. Kept where somebody may be asked about it."""
        self._asking: tuple[LineGuard, ...] = ()
        """Who asks about it."""
        self._held = bytearray()
        """What of it has not gone on."""
        self._ahead = b""
        """What came behind a line that waits for people."""
        self._is_waiting = False
        self._has_ended = False

    def typed(self, data: bytes) -> Passing:
        """See `LineWatch`."""
        self._ahead += data
        return self._kept() if self._is_waiting else self._run()

    def ended(self) -> Passing:
        """See `LineWatch`."""
        self._has_ended = True
        return Passing() if self._is_waiting else self._run()

    def go_on(self) -> Passing:
        """See `LineWatch`."""
        self._is_waiting = False
        data = bytes(self._held)
        self._begin_line()
        rest = self._run()
        return rest if isinstance(rest.found, LineMet) else Passing(data + rest.data, rest.found, rest.ends)

    def written(self, data: bytes) -> LineMet | None:  # noqa: ARG002 (whatever it is)
        """See `LineWatch`. What is not a terminal shows nothing of what is typed."""
        return None

    def resized(self, width: int) -> None:
        """See `LineWatch`. There is nothing to be resized."""

    def _kept(self) -> Passing:
        too_much = len(self._ahead) + len(self._held) > MOST_AHEAD
        return Passing(found=LineMet(self._guards.first, _TOO_MUCH) if too_much else None)

    def _run(self) -> Passing:
        data, self._ahead = self._ahead, b""
        passing = bytearray()
        at = 0
        while at < len(data):
            end = data.find(b"\n", at)
            found = self._take(data[at:] if end < 0 else data[at : end + 1], passing)
            at = len(data) if end < 0 else end + 1
            if isinstance(found, LineMet):
                return Passing(found=found)
            if found is not None:
                self._ahead = data[at:]
                return self._wait(found, passing)
        if self._has_ended and self._asking:
            found = self._whole()
            return Passing(found=found) if isinstance(found, LineMet) else self._wait(found, passing)
        return Passing(bytes(passing), None, self._has_ended)

    def _wait(self, found: LineAsked, passing: bytearray) -> Passing:
        self._is_waiting = True
        kept = self._kept()
        return kept if kept.found is not None else Passing(bytes(passing), found)

    def _take(self, part: bytes, passing: bytearray) -> LineMet | LineAsked | None:
        """A part of a line, with its end where that has come."""
        is_end = part.endswith(b"\n")
        met = self._grown(self._decoder.decode(part.removesuffix(b"\n")))
        if met is not None:
            return met
        if self._guards.asking:
            self._line += part
        if self._asking:
            self._held += part
        else:
            passing += part
        if not is_end:
            return None
        if self._words[-1].endswith("\\"):
            self._words[-1] = self._words[-1][:-1]
            return None
        if self._asking:
            return self._whole()
        self._begin_line()
        return None

    def _whole(self) -> LineMet | LineAsked:
        """The line has come as a whole, and people are to be asked about it."""
        try:
            text = self._line.decode().removesuffix("\n")
        except UnicodeDecodeError:
            return LineMet(self._asking[0].rule, _UNSURE)
        if goes_on(text):
            return LineMet(self._asking[0].rule, _UNFINISHED)
        return LineAsked(self._asking, text)

    def _begin_line(self) -> None:
        self._words, self._length = [""], 0
        self._line.clear()
        self._held.clear()
        self._asking = ()

    def _grown(self, text: str) -> LineMet | None:
        self._length += len(text)
        if self._length > LONGEST_LINE and self._guards.first:
            return LineMet(self._guards.first, _TOO_LONG)
        since = len(self._words) - 1
        *whole, last = words_of(self._words[-1] + text)
        self._words[-1:] = [*(word for word in whole if word), last]
        plain = [said(word) for word in self._words[max(0, since - self._guards.most_words) :]]
        asking = self._guards.asked(lambda guard: guard.stands_in(plain))
        self._asking = tuple(dict.fromkeys((*self._asking, *asking)))
        return self._guards.met(lambda guard: guard.stands_in(plain))


class _TerminalWatch:
    """Lines on a terminal: looked at when they are entered, and until then passed on, so that they can be seen."""

    def __init__(self, guards: _Guards) -> None:
        self._guards: Final = guards
        self._typed = b""
        """Of the line that has not been entered."""
        self._before = ""
        """What a backslash at the end of earlier lines makes part of this one."""
        self._agreed: list[str] = []
        """Lines that people said yes to and that have not been shown as entered."""
        self._is_fetched = False
        """Whether the line began with what the one before it fetched."""
        self._awaits_echo = False
        self._shown = ShownLine()
        self._held = b""
        """The end of a line that waits, with as much of the line as came with it."""
        self._waits_for: Found | None = None
        self._ahead = b""
        """What came behind that."""
        self._has_ended = False

    def typed(self, data: bytes) -> Passing:
        """See `LineWatch`."""
        self._ahead += data
        return self._run() if self._waits_for is None else self._kept()

    def ended(self) -> Passing:
        """See `LineWatch`."""
        self._has_ended = True
        return Passing(ends=True) if self._waits_for is None else Passing()

    def go_on(self) -> Passing:
        """See `LineWatch`."""
        waited, self._waits_for = self._waits_for, None
        data, self._held = self._held, b""
        if isinstance(waited, LineAsked):
            self._agreed = [*self._agreed[1 - MOST_AGREED :], waited.text.rstrip()]
            self._enter(data[-1:], edited(self._typed))
        elif (found := self._judge(data[-1:], is_settled=True)) is not None:
            if isinstance(found, LineMet):
                return Passing(found=found)
            self._held, self._waits_for = data, found
            return Passing(found=found)
        else:
            self._enter(data[-1:], edited(self._typed))
        rest = self._run()
        return rest if isinstance(rest.found, LineMet) else Passing(data + rest.data, rest.found, rest.ends)

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
            if (met := self._met_late(line)) is not None:
                return met
        self._shown.feed(rest)
        return None

    def resized(self, width: int) -> None:
        """See `LineWatch`."""
        self._shown.resized(width)

    def _met_late(self, line: str) -> LineMet | None:
        if not line:
            return None
        met = self._guards.met(lambda guard: guard.speaks_of(line))
        asking = self._guards.asked(lambda guard: guard.speaks_of(line)) if met is None else ()
        if not asking:
            return met
        agreed = next((text for text in self._agreed if line.rstrip().endswith(text)), None)
        if agreed is None:
            return LineMet(asking[0].rule, _LATE)
        self._agreed.remove(agreed)
        return None

    def _kept(self) -> Passing:
        if isinstance(self._waits_for, LineAsked) and b"\x03" in self._ahead:
            return Passing(found=LineMet(self._waits_for.guards[0].rule, "a line that was taken back (^C)"))
        too_much = len(self._ahead) + len(self._held) > MOST_AHEAD
        return Passing(found=LineMet(self._guards.first, _TOO_MUCH) if too_much else None)

    def _run(self) -> Passing:
        data, self._ahead = self._ahead, b""
        passing = bytearray()
        at = 0
        # A key may have begun in what has gone on already: without its last byte nothing is entered.
        begun = self._begun()
        for key in _ENTERED.finditer(begun + data):
            first = max(at, key.start() - len(begun))
            part, end = data[at:first], data[first : key.end() - len(begun)]
            self._typed = self._typed[: len(self._typed) - max(0, len(begun) - key.start())] + part
            at = key.end() - len(begun)
            found = self._judge(end)
            match found:
                case None:
                    passing += part + end
                    self._enter(end, edited(self._typed))
                case LineMet():
                    return Passing(found=found)
                case _:
                    # The keys of a line that has to be shown go on, and nothing of one that people are asked about.
                    shows = isinstance(found, Unsettled)
                    passing += part if shows else b""
                    self._held = end if shows else part + end
                    self._waits_for, self._ahead = found, data[at:]
                    kept = self._kept()
                    return kept if kept.found is not None else Passing(bytes(passing), found)
        self._typed += data[at:]
        if len(self._typed) > LONGEST_LINE and self._guards.first:
            return Passing(found=LineMet(self._guards.first, _TOO_LONG))
        return Passing(bytes(passing + data[at:]), None, self._has_ended)

    def _begun(self) -> bytes:
        """The beginning of a sequence that is not whole, at the end of what was typed."""
        place = self._typed.rfind(b"\x1b", -_MOST_OF_A_KEY)
        return self._typed[place:] if place >= 0 else b""

    def _enter(self, end: bytes, text: str) -> None:
        """The line has gone on."""
        self._before = (self._before + text[:-1])[-LONGEST_LINE:] if text.endswith("\\") else ""
        self._awaits_echo = True
        self._is_fetched = end == _FETCHES_NEXT
        self._typed = b""

    def _judge(self, end: bytes, *, is_settled: bool = False) -> Found | None:
        """What is to become of the line that is entered with this key."""
        line, text = self._typed, edited(self._typed)
        readings = [one for one in dict.fromkeys(self._readings(line, text)) if one]
        met = self._guards.met(lambda guard: any(guard.speaks_of(one) for one in readings))
        if met is not None or not self._guards.first:
            return met
        is_sure = bool(text) and not self._is_fetched and edited_line.is_plain(line)
        if not self._shown.is_screen:
            fetches = self._is_fetched or edited_line.fetches(line)
            from_history = takes_from_history(text)
            if (fetches or from_history) and not is_settled:
                return Unsettled()
            # What is not shown is no line for a shell: passwords are typed so.
            if from_history and self._shown.text.rstrip().endswith(text.rstrip()):
                return LineMet(self._guards.first, _HISTORY)
        if is_sure:
            # Whatever else stands on the line is a prompt, and was not typed.
            readings = [text, self._before + text]
        asking = self._guards.asked(lambda guard: any(guard.speaks_of(one) for one in readings))
        return self._asked(asking, text, end, is_sure=is_sure) if asking else None

    def _asked(self, asking: tuple[LineGuard, ...], text: str, end: bytes, *, is_sure: bool) -> LineAsked | LineMet:
        rule = asking[0].rule
        if not is_sure and not self._is_shown_as(text):
            return LineMet(rule, _UNSURE)
        if self._before or end not in _LINE_ENDS or edited_line.is_in_paste(self._typed) or goes_on(text):
            return LineMet(rule, _UNFINISHED)
        return LineAsked(asking, text)

    def _is_shown_as(self, text: str) -> bool:
        """Whether the terminal shows at the end of its line what the keys say."""
        is_known = edited_line.is_known(self._typed) and not self._is_fetched
        shown = not self._shown.is_screen and self._shown.text.rstrip().endswith(text.rstrip())
        return is_known and shown and bool(text.strip())

    def _readings(self, line: bytes, text: str) -> Iterator[str]:
        """All that the line may say."""
        yield edited_line.as_typed(line)
        yield self._before + text
        if not self._shown.is_screen:
            yield self._shown.text
            yield self._before + self._shown.text
