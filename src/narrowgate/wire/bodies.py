"""Where a body ends: counters that follow a message without changing it.

`feed(data)` says how many of the bytes belong to the body; `done` says that it has ended. How the bytes were cut into
`data` never matters. Payload is collected only where somebody asked for it.
"""

from __future__ import annotations

import re
from typing import Protocol

from narrowgate.core.malformed import Malformed
from narrowgate.wire.http1 import Framing

MAX_CHUNK_LINE = 256
"""Longest chunk-size line; ours from the API server are under ten bytes, extensions included."""

_STRICT_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}\r\n")
_LOOSE_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class Body(Protocol):
    """Follows one body."""

    done: bool

    def feed(self, data: bytes) -> int:
        """Take the next bytes of the connection; how many of them are this body's. Raises Malformed."""
        ...


class LengthBody:
    """A body of a known number of bytes."""

    __slots__ = ("done", "payload", "remaining")

    def __init__(self, length: int, payload: list[bytes] | None = None) -> None:
        self.remaining = length
        self.done = length == 0
        self.payload = payload

    def feed(self, data: bytes) -> int:
        """See `Body`."""
        taken = len(data)
        if taken >= self.remaining:
            taken = self.remaining
            self.done = True
        self.remaining -= taken
        if self.payload is not None and taken:
            self.payload.append(data[:taken])
        return taken


class UntilCloseBody:
    """A body that ends with its connection (responses only)."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> int:
        """See `Body`."""
        return len(data)


class ChunkedBody:
    """A chunked body (RFC 9112 7.1), followed by jumping from one chunk-size line to the next.

    Strict (requests): no chunk extensions, no trailers, exact CRLFs. Otherwise both are let through unread, because the
    API server is the one that wrote them. `at_boundary` is true between two chunks: there a chunk may be put in.
    """

    __slots__ = ("_in_trailer", "_line", "_skip", "at_boundary", "done", "payload", "strict")

    def __init__(self, *, strict: bool, payload: list[bytes] | None = None) -> None:
        self.strict = strict
        self.done = False
        self.at_boundary = True
        self.payload = payload
        self._line = b""
        self._skip = 0
        """Bytes still to come of the current chunk, its CRLF included."""
        self._in_trailer = False

    def feed(self, data: bytes) -> int:
        """See `Body`."""
        position = 0
        end = len(data)
        while position < end and not self.done:
            take = self._take_chunk if self._skip else self._take_line
            position = take(data, position, end)
        self.at_boundary = not self._skip and not self._line and not self._in_trailer
        return position

    def _take_chunk(self, data: bytes, position: int, end: int) -> int:
        taken = min(self._skip, end - position)
        if self.payload is not None and self._skip > 2:
            self.payload.append(data[position : position + min(taken, self._skip - 2)])
        if self._skip - taken < 2:
            self._check_chunk_end(data, position, taken)
        self._skip -= taken
        return position + taken

    def _check_chunk_end(self, data: bytes, position: int, taken: int) -> None:
        """The last two bytes of a chunk are CRLF, wherever the input was cut."""
        first = max(self._skip - 2, 0)
        for offset in range(first, taken):
            expected = 13 if self._skip - offset == 2 else 10
            if data[position + offset] != expected:
                raise Malformed("a chunk is not followed by CRLF (RFC 9112 7.1)")

    def _take_line(self, data: bytes, position: int, end: int) -> int:
        newline = data.find(b"\n", position, position + MAX_CHUNK_LINE + 1)
        stop = newline + 1 if newline >= 0 else end
        line = self._line + data[position:stop]
        if len(line) > MAX_CHUNK_LINE:
            raise Malformed("a chunk-size line is too long")
        if newline < 0:
            self._line = line
            return end
        self._line = b""
        if self._in_trailer:
            self._end_trailer(line)
        else:
            self._begin_chunk(line)
        return stop

    def _begin_chunk(self, line: bytes) -> None:
        if self.strict:
            if not _STRICT_SIZE.fullmatch(line):
                raise Malformed("a chunk-size line is not a plain hexadecimal number")
            size = int(line[:-2], 16)
        else:
            match = _LOOSE_SIZE.fullmatch(line)
            if match is None:
                raise Malformed("a chunk-size line is not a hexadecimal number", 502)
            size = int(match.group(1), 16)
        if size:
            self._skip = size + 2
        else:
            self._in_trailer = True

    def _end_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self.done = True
        elif self.strict:
            raise Malformed("trailers are not accepted")


def follow(framing: Framing, *, strict: bool, payload: list[bytes] | None = None) -> Body:
    """The counter for a body framed like this; `payload` gets its content, without chunk lines."""
    if framing.chunked:
        return ChunkedBody(strict=strict, payload=payload)
    if framing.until_close:
        return UntilCloseBody()
    return LengthBody(framing.length, payload)
