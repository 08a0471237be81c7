"""What of a recording can be looked for as text: what programs wrote, and what was typed or sent to them.

Here belongs the rule what is text and what is not, and how a terminal's output becomes words that can be found: without
colours and movements, so that a word is one word however it was painted. Each stream of a recording is one text, made
of whole lines; how its bytes were cut into entries means nothing.

Left out: what `kubectl cp` carries, forwarded ports, and lines that are not text (`is_text`). Nothing that stands in an
escape sequence is lost by it: titles, links and what went to the clipboard follow the line that held them.
"""

from __future__ import annotations

import codecs
import enum
import re
from typing import Final, assert_never

import msgspec

from narrowgate.core.recording import BodyData, Entry, Header, Kind
from narrowgate.core.stream_events import Channel, ChannelData, Direction

LONGEST_LINE: Final = 4096
"""Characters. A longer line goes on in the next one without anything between them; so much waits for its end."""

LONGEST_SEQUENCE: Final = 128
"""Characters before the place where a long line is cut, in which an escape sequence is kept in one piece."""

MOST_CHARACTERS: Final = 4 * 1024 * 1024
"""Of text in one recording, all streams together: some 50,000 lines, days of a busy terminal, about 2 MB of index."""

MOST_BYTES: Final = 256 * 1024 * 1024
"""Of one recording that are looked through for text; what is not text takes time as well."""

SHORTEST_HIDDEN: Final = 3
"""Characters of a title or a link that are worth keeping: fewer cannot be looked for."""

_decoder: Final = codecs.getincrementaldecoder("utf-8")

_ODD: Final = re.compile(r"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd]")
"""What text does not hold: controls but those that terminals and printers are used to, and bytes that are no UTF-8."""

_ALWAYS_ALLOWED: Final = 2
"""Of those in one line, or a short one would be hidden by a single control."""

_STRING: Final = re.compile(r"\x1b[\]PX^_]([^\x07\x18\x1a\x1b\x9c]*)(?:\x07|\x1b\\|[\x18\x1a\x9c])")
"""OSC, DCS, SOS, PM, APC with their end (ECMA-48, 5.6). One without an end is not taken for one: whatever a program
writes behind its beginning would be hidden."""

_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[ -/]*[0-~]?)")
"""Every other escape sequence (ECMA-48, 5.4; ECMA-35, 13), also one that the line's end cuts."""

_KEY: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?")
"""Keys that are no characters, as terminals send them: also SS3 and a letter, and Alt and a letter."""

_PARAMETERS: Final = re.compile(r"[0-9;]*")
_RETURNS: Final = re.compile(r"( ?)\r+")
_CONTROL: Final = re.compile(r"[\x01-\x08\x0b-\x1f\x7f-\x9f]")
_ENTERED: Final = re.compile(r"[\r\n]")

_KUBECTL_COPY: Final = re.compile(r"tar cf - [\w@%+=:,./ ~-]+ \| tail -c\+\d{1,18}", re.ASCII)
"""`kubectl cp --retries` (k8s.io/kubectl/pkg/cmd/cp): a shell's line, of which nothing else may be part."""


class Stream(enum.Enum):
    """Which way text went, and from where."""

    OUTPUT = "output"
    """What the program wrote, the terminal showed, or the API server answered."""
    ERRORS = "errors"
    INPUT = "input"
    """What was typed or sent, as far as it was recorded."""


class Passage(msgspec.Struct, frozen=True):
    """Text that follows the passages before it in the same stream."""

    at: int
    """Microseconds since the recording began: of the first byte of its line."""
    stream: Stream
    text: str


class RecordedText:
    """Takes the entries of one recording in their order. Holds a line of each stream at most."""

    def __init__(self, header: Header, most_characters: int = MOST_CHARACTERS, most_bytes: int = MOST_BYTES) -> None:
        """`most_...`: where it stops; whoever asks for `is_full` is told so."""
        self._copied = copied_channel(header)
        self._has_terminal = header.tty
        self._lines = {
            Stream.OUTPUT: _Lines(_Written(has_terminal=header.tty)),
            Stream.ERRORS: _Lines(_Written(has_terminal=header.tty)),
            Stream.INPUT: _Lines(_Typed() if header.tty else _Written(has_terminal=False)),
        }
        self._characters_left = most_characters
        self._bytes_left = most_bytes
        self.is_full = False
        """Whether there was more text than is taken of one recording, so that some of it was left out."""

    def feed(self, entry: Entry) -> list[Passage]:
        """The text that is complete with this entry."""
        found = self._data_of(entry)
        if found is None or self.is_full:
            return []
        stream, data = found
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self.is_full = True
            return []
        return self._kept(stream, self._lines[stream].feed(entry.at, data))

    def finish(self) -> list[Passage]:
        """The lines that were never ended."""
        return [
            passage
            for stream, lines in self._lines.items()
            if not self.is_full
            for passage in self._kept(stream, lines.finish())
        ]

    def _kept(self, stream: Stream, lines: list[tuple[int, str]]) -> list[Passage]:
        passages: list[Passage] = []
        for at, text in lines:
            if len(text) > self._characters_left:
                self.is_full = True
                break
            self._characters_left -= len(text)
            passages.append(Passage(at, stream, text))
        return passages

    def _data_of(self, entry: Entry) -> tuple[Stream, bytes] | None:
        match entry.what:
            case ChannelData(channel, data):
                stream = None if channel is self._copied else _stream_of(channel)
                return None if stream is None else (stream, data)
            case BodyData(data, direction):
                return (Stream.OUTPUT if direction is Direction.FROM_POD else Stream.INPUT), data
            case _:
                return None


def _stream_of(channel: Channel) -> Stream | None:
    match channel:
        case Channel.STDOUT:
            return Stream.OUTPUT
        case Channel.STDERR:
            return Stream.ERRORS
        case Channel.STDIN:
            return Stream.INPUT
        case Channel.ERROR | Channel.RESIZE:
            return None
        case _:
            assert_never(channel)


def copied_channel(header: Header) -> Channel | None:
    """The channel that carries files, where the command is exactly one that `kubectl cp` runs; otherwise None.

    Exactly, because nobody should hide what a command prints by making it look like a copy. The commands are those of
    k8s.io/kubectl/pkg/cmd/cp.
    """
    if header.kind is not Kind.EXEC or header.tty:
        return None
    match header.command:
        case ("tar", "cf", "-", path) if not path.startswith("-"):
            return Channel.STDOUT
        case ("sh", "-c", line) if (
            _KUBECTL_COPY.fullmatch(line) and " -" not in line[len("tar cf -") : line.index("|")]
        ):
            return Channel.STDOUT
        case ("tar", "-xmf", "-") | ("tar", "-xmf", "-", "-C", _):
            return Channel.STDIN
        case ("tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"):
            return Channel.STDIN
        case ("tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-", "-C", _):
            return Channel.STDIN
        case _:
            return None


def is_text(line: str) -> bool:
    """Whether a decoded line is text: of ten characters, no more than three are such as text does not hold; two of them
    are always allowed.

    Perl's `-T` draws the line there too (perldoc -f -X). Single NULs, as between the words of /proc/self/environ, pass.
    """
    odd = len(_ODD.findall(line))
    return odd <= _ALWAYS_ALLOWED or 10 * odd <= 3 * len(line)


class _Written:
    """Lines that a program wrote."""

    ends: Final = re.compile(r"\n")

    def __init__(self, *, has_terminal: bool) -> None:
        self._has_terminal = has_terminal

    def read(self, line: str) -> str:
        """What of a line, without its end, can be looked for."""
        if not is_text(line):
            return ""
        hidden: list[str] = []
        if "\x1b" in line:
            hidden = [found[1] for found in _STRING.finditer(line)]
            line = _SEQUENCE.sub("", _STRING.sub("", line))
        if "\r" in line:
            # A shell wraps a line that is longer than the screen by a space and a return; others draw it anew.
            line = _RETURNS.sub(
                lambda found: "" if found[1] and self._has_terminal else found[1] + "\n", line.rstrip("\r")
            )
        versions = [_plain(line)]
        if "\b" in line and (drawn := _plain(_drawn(line))) != versions[0]:
            # What somebody mistyped and put right is found both ways: as it was seen in the end, and with all of it.
            versions.insert(0, drawn)
        versions += [
            kept for text in hidden if len(kept := _plain(_PARAMETERS.sub("", text, count=1))) >= SHORTEST_HIDDEN
        ]
        return "\n".join(versions)


class _Typed:
    """Lines that were typed on a terminal."""

    ends: Final = _ENTERED

    def read(self, line: str) -> str:
        """What of a line, without its end, can be looked for."""
        typed: list[str] = []
        for letter in _KEY.sub("", line):
            if letter not in "\b\x7f":
                typed.append(letter)
            elif typed:
                typed.pop()
        return _plain("".join(typed))


class _Lines:
    """One stream, cut into lines where its bytes say and nowhere else."""

    def __init__(self, reader: _Written | _Typed) -> None:
        self._reader = reader
        self._decoder = _decoder("replace")
        self._line = ""
        self._began = 0

    def feed(self, at: int, data: bytes) -> list[tuple[int, str]]:
        """The lines that are complete now, each with the time of its first byte."""
        return self._take(at, self._decoder.decode(data))

    def finish(self) -> list[tuple[int, str]]:
        """What there is of a line without an end."""
        found = self._take(self._began, self._decoder.decode(b"", final=True))
        rest, self._line = self._reader.read(self._line), ""
        return [*found, (self._began, rest)] if rest else found

    def _take(self, at: int, text: str) -> list[tuple[int, str]]:
        *ended, rest = self._reader.ends.split(text)
        found: list[tuple[int, str]] = []
        for line in ended:
            found += self._grow(at, line)
            kept = self._reader.read(self._line)
            if kept:
                found.append((self._began if self._line else at, kept + "\n"))
            elif not self._line:
                found.append((at, "\n"))
            self._line = ""
        found += self._grow(at, rest)
        return found

    def _grow(self, at: int, text: str) -> list[tuple[int, str]]:
        """Put text behind the line; what is too long for one leaves it."""
        if not self._line:
            self._began = at
        self._line += text
        found: list[tuple[int, str]] = []
        while len(self._line) > LONGEST_LINE:
            escape = self._line.rfind("\x1b", LONGEST_LINE - LONGEST_SEQUENCE, LONGEST_LINE)
            end = escape if escape > 0 else LONGEST_LINE
            kept, self._line = self._reader.read(self._line[:end]), self._line[end:]
            if kept:
                found.append((self._began, kept))
            self._began = at
        return found


def _drawn(line: str) -> str:
    """What is seen of it in the end, where backspaces go back and what follows is written over what was there."""
    seen: list[str] = []
    place = 0
    for letter in line:
        if letter == "\b":
            place = max(0, place - 1)
        elif letter == "\n":
            seen.append(letter)
            place = len(seen)
        else:
            seen[place : place + 1] = [letter]
            place += 1
    return "".join(seen)


def _plain(line: str) -> str:
    return _CONTROL.sub("", line.replace("\0", " "))
