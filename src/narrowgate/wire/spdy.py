"""SPDY/3.1 frames: one direction's bytes in, frames out; and the writing of DATA frames.

The format is draft-mbelshe-httpbis-spdy-00's; who speaks it is github.com/moby/spdystream, in kubectl and kubelet. That
one reads most control frames by their type, whatever length they claim, and looks at neither version nor reserved bits.
So a frame is read here only if it has exactly the length and flags of its type: then there is one way to read it. What
Kubernetes never sends (HEADERS, CREDENTIAL, unidirectional streams) is refused.
"""

from __future__ import annotations

import enum
import re
import struct
import zlib
from typing import Final

import msgspec

from narrowgate.wire.unreadable import Unreadable

CONTROL_LIMIT: Final = 16 * 1024
"""Bytes of a control frame with headers, the eight before it not counted; kubectl's are under 200."""

HEADERS_LIMIT: Final = 16 * 1024
"""Bytes of the headers of one stream, decompressed; kubectl's are under 100."""

SETTINGS_LIMIT: Final = 4 + 8 * 64
"""Bytes of a SETTINGS frame; there are eight settings."""

PIECE: Final = 64 * 1024
"""Bytes of DATA that are held, or written into one frame, where payloads are rewritten; kubelet writes 32 KiB."""

_PING: Final = b"\x80\x03\x00\x06\x00\x00\x00\x04"
"""In front of a PING's number."""
_HEAD: Final = struct.Struct(">II")
_PAIR: Final = struct.Struct(">II")
_NUMBER: Final = struct.Struct(">I")
_OPENING: Final = struct.Struct(">IIBB")
_CONTROL: Final = 1 << 31
_VERSION: Final = 3
_FIN: Final = 1
_LENGTH_BITS: Final = 24
_LENGTH: Final = (1 << _LENGTH_BITS) - 1
_SYNC: Final = b"\x00\x00\xff\xff"
"""How a flushed zlib block ends (RFC 1951 3.2.4); both ends flush after every header block."""
_NAME: Final = re.compile(rb":?[a-z0-9!#$%&'*+\-.^_`|~]+")

_NOT_NAMES: Final = frozenset({b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding"})
"""Headers that a stream must not have (draft 3.2.1)."""

_WORDS: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TEXT: Final = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    b"Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    b"Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    b"00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    b"application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    b"charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY: Final = (
    b"".join(_NUMBER.pack(len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()) + _TEXT
)
"""What header blocks are compressed with (draft 2.6.10.1): words with their lengths before them, then text."""


class Opened(msgspec.Struct, frozen=True):
    """SYN_STREAM: a new stream. Header names are lower case, and no two are the same."""

    stream: int
    headers: dict[bytes, bytes]
    fin: bool
    raw: bytes
    """The frame as it came, as in every control frame."""


class Replied(msgspec.Struct, frozen=True):
    """SYN_REPLY: the other end takes the stream."""

    stream: int
    fin: bool
    raw: bytes


class Reset(msgspec.Struct, frozen=True):
    """RST_STREAM: both directions of the stream end at once."""

    stream: int
    raw: bytes


class Leaving(msgspec.Struct, frozen=True):
    """GOAWAY: its sender opens and takes no more streams. What follows it, spdystream does not read."""

    raw: bytes


class Aside(msgspec.Struct, frozen=True):
    """SETTINGS, PING or WINDOW_UPDATE: nothing that a stream carries. spdystream heeds no window."""

    raw: bytes


class Data(msgspec.Struct, frozen=True):
    """A DATA frame, or a piece of one."""

    stream: int
    payload: bytes
    fin: bool
    """Whether this is the end of the stream's data in this direction."""


Frame = Opened | Replied | Reset | Leaving | Aside | Data


class _Kind(msgspec.Struct, frozen=True):
    """What a control frame of one type must look like."""

    name: str
    flags: int
    """Which flags it may have."""
    least: int
    most: int
    """Its length in bytes."""


class _Type(enum.IntEnum):
    """Types of control frames that Kubernetes' clients and servers send, or read without heeding them."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 9


_KINDS: Final[dict[int, _Kind]] = {
    _Type.SYN_STREAM: _Kind("SYN_STREAM", _FIN, _OPENING.size + len(_SYNC), CONTROL_LIMIT),
    _Type.SYN_REPLY: _Kind("SYN_REPLY", _FIN, _NUMBER.size + len(_SYNC), CONTROL_LIMIT),
    _Type.RST_STREAM: _Kind("RST_STREAM", 0, 8, 8),
    _Type.SETTINGS: _Kind("SETTINGS", 1, 4, SETTINGS_LIMIT),
    _Type.PING: _Kind("PING", 0, 4, 4),
    _Type.GOAWAY: _Kind("GOAWAY", 0, 8, 8),
    _Type.WINDOW_UPDATE: _Kind("WINDOW_UPDATE", 0, 8, 8),
}


def are_pings(data: bytes) -> bool:
    """Whether this is PINGs of a client's, whole, and nothing else: its numbers are odd."""
    size = len(_PING) + _NUMBER.size
    frames = (data[at : at + size] for at in range(0, len(data), size))
    return all(len(one) == size and one.startswith(_PING) and one[-1] & 1 for one in frames)


class FrameReader:
    """One direction of one connection. Header blocks share a compressor, so every frame must go through here.

    Control frames come when they are whole. DATA comes as it arrives; with `piece`, it comes in pieces of exactly that
    many bytes and what is left at a frame's end, so that the pieces do not depend on how the input was cut.
    """

    def __init__(self, piece: int = 0) -> None:
        self._piece = piece
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)
        self._head = b""
        """What has come of the next frame's first eight bytes."""
        self._left = 0
        """Bytes still to come of the frame."""
        self._stream = 0
        self._fin = False
        self._control = 0
        """The type of the control frame; 0 in a DATA frame."""
        self._held = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether what has come ends with a frame."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in these bytes, and the DATA that is in them. Raises Unreadable."""
        frames: list[Frame] = []
        position, end = 0, len(data)
        while position < end:
            step = self._take if self._left else self._begin
            position = step(data, position, frames)
        return frames

    def _begin(self, data: bytes, position: int, frames: list[Frame]) -> int:
        missing = _HEAD.size - len(self._head)
        head = self._head + data[position : position + missing]
        if len(head) < _HEAD.size:
            self._head = head
            return len(data)
        self._head = b""
        first, second = _HEAD.unpack(head)
        flags, self._left = second >> _LENGTH_BITS, second & _LENGTH
        if first & _CONTROL:
            self._control = _control_type(first, flags, self._left)
            self._held += head
        else:
            self._control, self._stream, self._fin = 0, first, bool(flags)
            if not first or flags & ~_FIN:
                raise Unreadable("SPDY: a DATA frame has no stream, or flags that do not exist")
            if not self._left:
                frames.append(Data(first, b"", self._fin))
        return position + missing

    def _take(self, data: bytes, position: int, frames: list[Frame]) -> int:
        wanted = self._left
        if not self._control and self._piece:
            wanted = min(wanted, self._piece - len(self._held))
        taken = data[position : position + wanted]
        self._left -= len(taken)
        if self._control:
            self._held += taken
            if not self._left:
                frames.append(self._control_frame(self._release()))
        elif not self._piece or (len(taken) == wanted and not self._held):
            frames.append(Data(self._stream, taken, self._fin and not self._left))
        else:
            self._held += taken
            if len(taken) == wanted:
                frames.append(Data(self._stream, self._release(), self._fin and not self._left))
        return position + len(taken)

    def _release(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held

    def _control_frame(self, raw: bytes) -> Frame:
        body = raw[_HEAD.size :]
        fin = bool(raw[4] & _FIN)
        match self._control:
            case _Type.SYN_STREAM:
                stream, associated, _priority, _slot = _OPENING.unpack_from(body)
                if associated:
                    raise Unreadable("SPDY: a stream says that it belongs to another one")
                return Opened(_stream(stream), self._headers(body[_OPENING.size :]), fin, raw)
            case _Type.SYN_REPLY:
                (stream,) = _NUMBER.unpack_from(body)
                self._headers(body[_NUMBER.size :])
                return Replied(_stream(stream), fin, raw)
            case _Type.RST_STREAM:
                stream, status = _PAIR.unpack(body)
                if not status:
                    raise Unreadable("SPDY: a stream is reset for no reason")
                return Reset(_stream(stream), raw)
            case _Type.GOAWAY:
                return Leaving(raw)
            case _Type.SETTINGS if len(body) != 4 + 8 * _NUMBER.unpack_from(body)[0]:
                raise Unreadable("SPDY: a SETTINGS frame has another length than its settings")
            case _Type.PING if not any(body):
                raise Unreadable("SPDY: a PING has the number zero")
        return Aside(raw)

    def _headers(self, block: bytes) -> dict[bytes, bytes]:
        """Decompress a header block, which must hold its headers and nothing more: a rest would be read with the next.

        spdystream takes headers from the decompressed bytes as they come, wherever a frame ended.
        """
        if not block.endswith(_SYNC):
            raise Unreadable("SPDY: a header block is not flushed at its end")
        try:
            text = self._zlib.decompress(block, HEADERS_LIMIT)
        except zlib.error:
            raise Unreadable("SPDY: a header block cannot be decompressed") from None
        if len(text) >= HEADERS_LIMIT or self._zlib.unconsumed_tail:
            raise Unreadable(f"SPDY: the headers of a stream have more than {HEADERS_LIMIT} bytes")
        if self._zlib.eof:
            raise Unreadable("SPDY: the compression of headers ends before the connection does")
        try:
            return _header_pairs(text)
        except (struct.error, IndexError):
            raise Unreadable("SPDY: a header block is cut off") from None


def _control_type(first: int, flags: int, length: int) -> int:
    """The type of a control frame that may be read. Raises Unreadable."""
    version, number = (first & ~_CONTROL) >> 16, first & 0xFFFF
    kind = _KINDS.get(number)
    if version != _VERSION or kind is None:
        raise Unreadable(f"SPDY: a control frame of version {version} and type {number} is not spoken here")
    if flags & ~kind.flags or not kind.least <= length <= kind.most:
        raise Unreadable(f"SPDY: a {kind.name} frame has flags {flags:#x} and {length} bytes, which it cannot have")
    return number


def _stream(number: int) -> int:
    # spdystream does not mask the reserved bit: with it, the number is of no stream it knows.
    if not number or number & _CONTROL:
        raise Unreadable("SPDY: a stream has the number zero, or the reserved bit set")
    return number


def _header_pairs(text: bytes) -> dict[bytes, bytes]:
    """Names and values; raises Unreadable, and struct.error where it is cut off."""
    (count,) = _NUMBER.unpack_from(text)
    headers: dict[bytes, bytes] = {}
    at = _NUMBER.size
    for _ in range(count):
        name, at = _header_word(text, at)
        value, at = _header_word(text, at)
        if name in headers or name in _NOT_NAMES or not _NAME.fullmatch(name):
            raise Unreadable("SPDY: a header stands twice, or has a name that none may have, as with capital letters")
        headers[name] = value
    if at != len(text):
        raise Unreadable("SPDY: something stands behind the headers of a stream")
    return headers


def _header_word(text: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _NUMBER.unpack_from(text, at)
    start = at + _NUMBER.size
    if start + length > len(text):
        raise IndexError
    return text[start : start + length], start + length


def data_frames(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
    """DATA frames with this payload, none larger than `PIECE`; nothing where there is neither payload nor end."""
    parts: list[bytes] = []
    for at in range(0, len(payload), PIECE):
        piece = payload[at : at + PIECE]
        last = fin and at + PIECE >= len(payload)
        parts += [_HEAD.pack(stream, last << _LENGTH_BITS | len(piece)), piece]
    if fin and not payload:
        parts.append(_HEAD.pack(stream, _FIN << _LENGTH_BITS))
    return b"".join(parts)
