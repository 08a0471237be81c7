"""Recordings of terminals as asciicasts, versions 2 and 3, which asciinema's players play.

Version 2 counts its times from the beginning, version 3 from the event before, and says how the process ended
(docs.asciinema.org/manual/asciicast/v2, v3). Both take text alone: bytes that are no UTF-8 become U+FFFD here, and
nowhere else. What goes to a process without a terminal has bare line feeds, which a terminal would have turned into
carriage return and line feed; so they are here.
"""

from __future__ import annotations

import codecs
import enum
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from narrowgate.core.recording import BodyData, Ended, Entry, Exited, Header, Noted, Resized
from narrowgate.core.stream_events import Channel, ChannelData, Direction

USUAL_SIZE = Resized(80, 24)
"""Columns and rows, where the client never said any."""

LOOK_AHEAD = 64
"""Entries that may come before the first size: clients send it with the first frames."""

_MICROSECONDS = 1_000_000


class Version(enum.Enum):
    """Of the format."""

    V2 = 2
    V3 = 3


def asciicast(entries: Iterable[Entry], version: Version, *, shows_input: bool = False) -> Iterator[bytes]:
    """The lines of the cast, each with its line break: output and sizes, with `shows_input` what was typed as well.

    The first entry is the recording's header. Of log and watch recordings the body is the output.
    """
    stream = iter(entries)
    first = next(stream, None)
    if first is None or not isinstance(first.what, Header):
        raise ValueError("a recording begins with its header")
    early = [entry for entry, _ in zip(stream, range(LOOK_AHEAD), strict=False)]
    size = next((entry.what for entry in early if isinstance(entry.what, Resized)), USUAL_SIZE)
    cast = _Cast(first.what, version, shows_input=shows_input)
    yield cast.header(size)
    for some in (early, stream):
        for entry in some:
            yield from cast.lines(entry)
    yield from cast.rest()


class _Cast:
    """One cast that is being made: what it remembers from line to line."""

    def __init__(self, header: Header, version: Version, *, shows_input: bool) -> None:
        self._header = header
        self._version = version
        shown = {Channel.STDOUT: "o", Channel.STDERR: "o"} | ({Channel.STDIN: "i"} if shows_input else {})
        self._codes = shown
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {channel: decoder("replace") for channel in (*shown, None)}
        """One for each stream: characters are cut where the network pleased. None: the body."""
        self._last = 0
        """Time of the last event; version 3 counts from there."""
        self._at = 0
        self._ends_with_return = False

    def header(self, size: Resized) -> bytes:
        header = self._header
        target = "/".join(part for part in (header.cluster, header.namespace, header.pod, header.container) if part)
        about: dict[str, Any] = {"timestamp": header.began // _MICROSECONDS, "title": f"{header.kind.value} {target}"}
        if header.command:
            about["command"] = " ".join(header.command)
        if self._version is Version.V2:
            return _line({"version": 2, "width": size.width, "height": size.height} | about)
        return _line({"version": 3, "term": {"cols": size.width, "rows": size.height}} | about)

    def lines(self, entry: Entry) -> Iterator[bytes]:
        self._at = entry.at
        match entry.what:
            case ChannelData(channel, data) if channel in self._codes:
                yield from self._text(self._codes[channel], self._decoders[channel].decode(data))
            case BodyData(data, Direction.FROM_POD):
                yield from self._text("o", self._decoders[None].decode(data))
            case Resized(width, height):
                yield self._event("r", f"{width}x{height}")
            case Noted(text):
                yield self._event("m", text)
            case Exited(int(code)) if self._version is Version.V3:
                yield self._event("x", str(code))
            case Ended() if self._version is Version.V2:
                # Nothing is printed; a player waits until here, as long as the session did.
                yield self._event("m", "")
            case _:
                return

    def rest(self) -> Iterator[bytes]:
        """Characters that were never completed."""
        for channel, decoder in self._decoders.items():
            code = self._codes[channel] if channel else "o"
            yield from self._text(code, decoder.decode(b"", final=True))

    def _text(self, code: str, text: str) -> Iterator[bytes]:
        if not text:
            return
        if code == "o" and not self._header.tty:
            text = self._with_returns(text)
        yield self._event(code, text)

    def _with_returns(self, text: str) -> str:
        """Line feeds as a terminal shows them; those that have their return already stay."""
        starts_within = self._ends_with_return and text.startswith("\n")
        self._ends_with_return = text.endswith("\r")
        shown = text.replace("\r\n", "\n").replace("\n", "\r\n")
        return shown[1:] if starts_within else shown

    def _event(self, code: str, data: str) -> bytes:
        since = self._last if self._version is Version.V3 else 0
        self._last = self._at
        return _line([(self._at - since) / _MICROSECONDS, code, data])


def _line(content: object) -> bytes:
    return msgspec.json.encode(content) + b"\n"
