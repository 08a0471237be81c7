"""HTTP/1.1 heads: the strict reading of a request head, the reading of a response head, and the writing of both.

Tokenising is llhttp's (httptools). What lies between a lenient parser and a smuggled request is decided here, before
llhttp sees the bytes: lines end in CRLF and nothing else, no folded lines, one framing, one Host (RFC 9112 2.2, 5.2,
6.1, 6.3; RFC 9110 7.2). Bodies are followed by `wire/bodies.py`, so that llhttp never decides where a message ends.
"""

from __future__ import annotations

import re
from functools import lru_cache

import httptools
import msgspec

from narrowgate.core.malformed import Malformed

MAX_HEAD_BYTES = 64 * 1024
"""Largest head of an answer; the API server's are under 2 KiB. What clients may send is `ClientLimits`' business."""
MAX_HEADERS = 1000
"""Most headers that are looked at one by one, whatever a configuration allows."""
MAX_REMEMBERED_HEAD = 2048
"""Bytes of a head that is remembered. With the limit below this is some 10 MB at the very most."""
REMEMBERED_HEADS = 1024
END_OF_HEAD = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
"""What ends a chunked body that has no trailers (RFC 9112 7.1)."""

_METHODS_NOT_SPOKEN = frozenset({"CONNECT", "TRACE"})
_SINGLETONS = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"authorization",
    b"content-type",
    b"upgrade",
    b"expect",
)
_OVERRIDES = (b"x-http-method", b"x-http-method-override", b"x-method-override")


class Framing(msgspec.Struct, frozen=True):
    """How long a body is: `length` bytes, or chunked, or (responses only) until the connection closes."""

    length: int = 0
    chunked: bool = False
    until_close: bool = False

    @property
    def empty(self) -> bool:
        """Whether no body byte follows the head."""
        return not (self.length or self.chunked or self.until_close)


NO_BODY = Framing()
CHUNKED = Framing(chunked=True)
UNTIL_CLOSE = Framing(until_close=True)


class RequestHead(msgspec.Struct, frozen=True):
    """A request head that passed every framing rule. Header names are lower case; `headers` keeps order and repeats."""

    block: bytes
    """The head as it came: equal blocks have equal heads, and whatever follows from one may be remembered by it."""
    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    """The first value of each header."""
    framing: Framing
    keep_alive: bool
    upgrade: str
    """What the client asks to switch to, lower case; empty unless `Connection: upgrade` names it."""
    impersonates: bool
    """Whether it asks to be run as somebody else (`Impersonate-*`)."""


class ResponseHead(msgspec.Struct, frozen=True):
    """A response head from the API server."""

    status: int
    relayed: bytes
    """Status line and headers as they are passed on, without what belongs to one connection only and without the empty
    line that ends them."""
    framing: Framing
    keep_alive: bool

    def field(self, name: bytes) -> bytes:
        """The first value of a header that is passed on, by its lower-case name; empty where there is none."""
        found = self.relayed.lower().find(b"\r\n" + name + b":")
        if found < 0:
            return b""
        start = found + len(name) + 3
        return self.relayed[start : self.relayed.index(b"\r\n", start)].strip(b" \t")


class _Collector:
    """What llhttp calls back with; it only remembers."""

    __slots__ = ("complete", "headers", "reason", "target")

    def __init__(self) -> None:
        self.target = b""
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def read_request_head(block: bytes) -> RequestHead:
    """Read one request head, `block` being everything up to and including the first empty line.

    Clients that keep a connection send the same head again and again, so short ones are remembered (reading is pure).

    Raises Malformed: 400 for framing that two readers could understand differently, 405 for CONNECT and TRACE, 431 for
    too many headers, 505 for anything but HTTP/1.1.
    """
    return _remembered_request_head(block) if len(block) <= MAX_REMEMBERED_HEAD else _read_request_head(block)


def _read_request_head(block: bytes) -> RequestHead:
    _refuse_loose_lines(block)
    found = _Collector()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(block)
    except httptools.HttpParserUpgrade:
        pass  # The head ends here; whether anything is upgraded is our decision, taken below.
    except httptools.HttpParserError as error:
        raise Malformed(f"the request head is not HTTP/1.1: {_reason_of(error)}") from None
    if not found.complete:
        raise Malformed("the request head is not HTTP/1.1: it ends before its headers do")
    method = parser.get_method().decode("ascii")
    fields = _refuse_ambiguous_headers(found.headers)
    # llhttp also takes RTSP and ICE by their names, whatever their version.
    if not block[: block.index(b"\r\n")].endswith(b" HTTP/1.1"):
        raise Malformed("this port speaks HTTP/1.1 only", 505)
    if fields.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise Malformed("the only expectation that can be met here is 100-continue", 417)
    if method in _METHODS_NOT_SPOKEN:
        raise Malformed(f"method {method} is not served here", 405)
    if not fields.get(b"host"):
        raise Malformed("the request has no Host header, or an empty one (RFC 9112 3.2)")
    # Several Connection headers are legal and mean their list (RFC 9110 5.3).
    connection = b",".join(value for name, value in found.headers if name == b"connection").lower()
    return RequestHead(
        block,
        method,
        found.target,
        found.headers,
        fields,
        _request_framing(fields),
        b"close" not in connection,
        fields.get(b"upgrade", b"").decode("latin-1").lower() if b"upgrade" in connection else "",
        any(name.startswith(b"impersonate-") for name in fields),
    )


_remembered_request_head = lru_cache(maxsize=REMEMBERED_HEADS)(_read_request_head)


def _refuse_loose_lines(block: bytes) -> None:
    """Refuse what line-based parsers are known to read in two ways, before any of them reads it."""
    lines = block.count(b"\r\n")
    if block.count(b"\n") != lines or block.count(b"\r") != lines:
        raise Malformed("the request head has a line that does not end in CRLF (RFC 9112 2.2)")
    if b"\r\n " in block or b"\r\n\t" in block:
        raise Malformed("the request head has a folded header line (RFC 9112 5.2)")
    if b"\x00" in block:
        raise Malformed("the request head contains a NUL byte")
    if lines > MAX_HEADERS + 2:
        raise Malformed(f"the request has more than {MAX_HEADERS} headers", 431)


def _refuse_ambiguous_headers(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    fields = dict(reversed(headers))
    if len(fields) != len(headers):
        names = [name for name, _ in headers]
        for name in _SINGLETONS:
            if names.count(name) > 1:
                raise Malformed(f"the header {name.decode()} is sent more than once")
    for name in _OVERRIDES:
        if name in fields:
            raise Malformed(f"the header {name.decode()} is not accepted: send the method itself")
    return fields


def _request_framing(fields: dict[bytes, bytes]) -> Framing:
    encoding = fields.get(b"transfer-encoding")
    length = fields.get(b"content-length")
    if encoding is not None:
        if length is not None:
            raise Malformed("content-length and transfer-encoding are both sent (RFC 9112 6.3)")
        if encoding.lower() != b"chunked":
            raise Malformed("the only transfer-encoding accepted is chunked")
        return CHUNKED
    if length is None:
        return NO_BODY
    return Framing(_content_length(length))


def _content_length(value: bytes) -> int:
    # str.isdigit and int() take more than RFC 9110 8.6 allows (signs, underscores, other scripts' digits).
    if not value or len(value) > 18 or value.strip(b"0123456789"):
        raise Malformed("content-length is not a decimal number of bytes")
    return int(value)


def _reason_of(error: Exception) -> str:
    text = str(error.args[0]) if error.args else "unreadable"
    return text[:1].lower() + text[1:120]


def read_response_head(block: bytes, method: str) -> ResponseHead:
    """Read the API server's response head; `method` is what was asked (HEAD has no body).

    The usual head (a plain status line, nothing hop-by-hop, one framing) is passed on as it is; every other one is
    taken apart and written anew. Raises Malformed (code 502) when it is not HTTP/1.1 that the gate would pass on.
    """
    lowered = block.lower()
    code = block[9:12]
    if block[:9] != b"HTTP/1.1 " or not code.isdigit() or block[12:13] != b" " or _is_unusual(lowered):
        return _read_unusual_response_head(block, method)
    status = int(code)
    chunked = lowered.count(b"\r\ntransfer-encoding")
    lengths = lowered.count(b"\r\ncontent-length")
    if lengths + chunked > 1 or status < 200 or (chunked and status in (204, 304)):
        return _read_unusual_response_head(block, method)
    if lengths:
        found = _LENGTH.search(lowered)
        if found is None:
            return _read_unusual_response_head(block, method)
        framing = NO_BODY if method == "HEAD" or status in (204, 304) else Framing(int(found[1]))
    elif chunked:
        if b"\r\ntransfer-encoding: chunked\r\n" not in lowered:
            return _read_unusual_response_head(block, method)
        framing = NO_BODY if method == "HEAD" else CHUNKED
    else:
        framing = NO_BODY if method == "HEAD" or status in (204, 304) else UNTIL_CLOSE
    return ResponseHead(status, block[:-2], framing, not framing.until_close)


OWN_COOKIES = b"__host-narrowgate"
"""Begins the cookies of the control port, in lower case. Cookies know hosts and not ports: what answers behind
`services/proxy` on the data port's host must not be able to plant one."""

_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,18})\r\n")


def _is_unusual(lowered: bytes) -> bool:
    """Whether a head has a header that belongs to one connection only, a folded line, an odd line end, or a NUL."""
    lines = lowered.count(b"\r\n")
    # Written out: a loop over the marks takes five times as long, and this runs for every answer.
    return (
        lowered.count(b"\n") != lines
        or lowered.count(b"\r") != lines
        or b"\r\nconnection" in lowered
        or b"\r\nkeep-alive" in lowered
        or b"\r\nproxy-" in lowered
        or b"\r\nte:" in lowered
        or b"\r\ntrailer" in lowered
        or b"\r\nupgrade" in lowered
        or b"\r\n " in lowered
        or b"\r\n\t" in lowered
        or b"\x00" in lowered
        or OWN_COOKIES in lowered
    )


def _is_own_cookie(name: bytes, value: bytes) -> bool:
    return name == b"set-cookie" and value.strip().lower().startswith(OWN_COOKIES)


def _read_unusual_response_head(block: bytes, method: str) -> ResponseHead:
    found = _Collector()
    parser = httptools.HttpResponseParser(found)
    try:
        parser.feed_data(block)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise Malformed(f"the API server's answer is not HTTP/1.1: {_reason_of(error)}", 502) from None
    if not found.complete:
        raise Malformed("the API server's answer is not HTTP/1.1: its head is incomplete", 502)
    fields = dict(reversed(found.headers))
    status = parser.get_status_code()
    connection = b",".join(value for name, value in found.headers if name == b"connection").lower()
    _refuse_two_framings(found.headers)
    framing = _response_framing(fields, status, method)
    keep = b"close" not in connection and not framing.until_close and parser.get_http_version() == "1.1"
    # The headers of a 101 are the protocols' own: `write_switching_protocols` picks what it knows.
    dropped = HOP_BY_HOP - {b"upgrade"} if status == 101 else HOP_BY_HOP
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, found.reason)]
    lines += [b"%b: %b\r\n" % pair for pair in found.headers if pair[0] not in dropped and not _is_own_cookie(*pair)]
    lines.append(_framing_line(framing, status, fields))
    return ResponseHead(status, b"".join(lines), framing, keep)


def _refuse_two_framings(headers: list[tuple[bytes, bytes]]) -> None:
    if sum(name in (b"transfer-encoding", b"content-length") for name, _ in headers) > 1:
        raise Malformed("the API server's answer has a framing the gate does not pass on", 502)


def _response_framing(fields: dict[bytes, bytes], status: int, method: str) -> Framing:
    """RFC 9112 6.3, in its order."""
    if method == "HEAD" or status < 200 or status in (204, 304):
        return NO_BODY
    encoding = fields.get(b"transfer-encoding")
    if encoding is not None:
        if encoding.lower() != b"chunked":
            raise Malformed("the API server's answer has a framing the gate does not pass on", 502)
        return CHUNKED
    length = fields.get(b"content-length")
    if length is None:
        return UNTIL_CLOSE
    return Framing(_content_length(length))


HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"transfer-encoding",
        b"content-length",
    }
)
"""RFC 9110 7.6.1, and the two framing headers, which are written anew from the `Framing`."""


def write_response_head(head: ResponseHead, *, close: bool) -> bytes:
    """The response head for the client."""
    return head.relayed + (b"connection: close\r\n\r\n" if close else b"\r\n")


_FRAMING_LINES = re.compile(rb"\r\n(?:content-length|transfer-encoding):[^\r\n]*", re.IGNORECASE)


def reframed(head: ResponseHead, framing: Framing, extra: tuple[tuple[bytes, bytes], ...] = ()) -> ResponseHead:
    """The same head for a body that the gate has changed: framed anew, with `extra` headers."""
    lines = [_FRAMING_LINES.sub(b"", head.relayed)]
    lines += [b"%b: %b\r\n" % pair for pair in extra]
    lines.append(b"transfer-encoding: chunked\r\n" if framing.chunked else b"content-length: %d\r\n" % framing.length)
    return ResponseHead(head.status, b"".join(lines), framing, head.keep_alive)


def with_header(head: ResponseHead, name: bytes, value: bytes) -> ResponseHead:
    """The same head with one header more."""
    return ResponseHead(head.status, b"%b%b: %b\r\n" % (head.relayed, name, value), head.framing, head.keep_alive)


def without_length(head: ResponseHead) -> ResponseHead:
    """The same head for an answer without a body, saying nothing about how long one would be."""
    return ResponseHead(head.status, _FRAMING_LINES.sub(b"", head.relayed), head.framing, head.keep_alive)


def _framing_line(framing: Framing, status: int, fields: dict[bytes, bytes]) -> bytes:
    if framing.chunked:
        return b"transfer-encoding: chunked\r\n"
    if framing.until_close:
        return b""
    if status in (204, 304) or status < 200:
        return b""
    # A HEAD answer keeps the length the body would have had, if it was told.
    length = fields.get(b"content-length")
    return b"" if length is None else b"content-length: %b\r\n" % length


def write_switching_protocols(head: ResponseHead) -> bytes:
    """The 101 for the client, with the headers that the two protocols of `kubectl exec` negotiate by and no other."""
    lines = [b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n"]
    lines += [b"%b: %b\r\n" % (name, value) for name in _SWITCHING if (value := head.field(name))]
    lines.append(b"\r\n")
    return b"".join(lines)


_SWITCHING = (b"upgrade", b"sec-websocket-accept", b"sec-websocket-protocol", b"x-stream-protocol-version", b"date")


def write_answer(
    status: int, reason: str, body: bytes, *, close: bool, headers: tuple[tuple[str, str], ...] = (), text: bool = False
) -> bytes:
    """A whole answer of the gate's own: JSON (a `metav1.Status`, a review), or `text`."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
    ending = "connection: close\r\n" if close else ""
    form = "text/plain; charset=utf-8" if text else "application/json"
    return (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: {form}\r\ncache-control: no-cache, private\r\n"
        f"{extra}content-length: {len(body)}\r\n{ending}\r\n"
    ).encode("latin-1") + body


def write_request_head(method: str, target: bytes, headers: list[tuple[bytes, bytes]], framing: Framing) -> bytes:
    """The request head for the API server. `headers` is the allow-list's work; only the framing is added here."""
    lines = [b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target)]
    lines += [b"%b: %b\r\n" % pair for pair in headers]
    if framing.chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif framing.length or method in ("POST", "PUT", "PATCH"):
        lines.append(b"content-length: %d\r\n" % framing.length)
    lines.append(b"\r\n")
    return b"".join(lines)
