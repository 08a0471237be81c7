"""HTTP/1.1 heads: the strict reading of a request head, the reading of a response head, and the writing of both.

Tokenising is llhttp's (httptools). What lies between a lenient parser and a smuggled request is decided here, before
llhttp sees the bytes: lines end in CRLF and nothing else, no folded lines, one framing, one Host (RFC 9112 2.2, 5.2,
6.1, 6.3; RFC 9110 7.2). Bodies are followed by `wire/bodies.py`, so that llhttp never decides where a message ends.
"""

from __future__ import annotations

import httptools
import msgspec

from narrowgate.core.malformed import Malformed

MAX_HEAD_BYTES = 64 * 1024
"""A head above this is 431. Go's servers take 1 MiB; kubectl's largest (a long exec command) stay under 20 KiB."""
MAX_HEADERS = 100
END_OF_HEAD = b"\r\n\r\n"

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

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    """The first value of each header."""
    framing: Framing
    keep_alive: bool
    upgrade: str
    """What the client asks to switch to, lower case; empty unless `Connection: upgrade` names it."""


class ResponseHead(msgspec.Struct, frozen=True):
    """A response head from the API server."""

    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    framing: Framing
    keep_alive: bool


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

    Raises Malformed: 400 for framing that two readers could understand differently, 405 for CONNECT and TRACE, 431 for
    too many headers, 505 for anything but HTTP/1.1.
    """
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
    if parser.get_http_version() != "1.1":
        raise Malformed("this port speaks HTTP/1.1 only", 505)
    if method in _METHODS_NOT_SPOKEN:
        raise Malformed(f"method {method} is not served here", 405)
    if not fields.get(b"host"):
        raise Malformed("the request has no Host header, or an empty one (RFC 9112 3.2)")
    connection = fields.get(b"connection", b"").lower()
    return RequestHead(
        method,
        found.target,
        found.headers,
        fields,
        _request_framing(fields),
        b"close" not in connection,
        _upgrade_asked(found.headers, connection),
    )


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


def _upgrade_asked(headers: list[tuple[bytes, bytes]], connection: bytes) -> str:
    # Two Connection headers are legal; look at all of them before saying no.
    asked = b"upgrade" in connection or any(
        name == b"connection" and b"upgrade" in value.lower() for name, value in headers
    )
    if not asked:
        return ""
    for name, value in headers:
        if name == b"upgrade":
            return value.decode("latin-1").lower()
    return ""


def _reason_of(error: Exception) -> str:
    text = str(error.args[0]) if error.args else "unreadable"
    return text[:1].lower() + text[1:120]


def read_response_head(block: bytes, method: str) -> ResponseHead:
    """Read the API server's response head; `method` is what was asked (HEAD has no body).

    Raises Malformed (code 502) when it is not HTTP/1.1 that the gate would pass on.
    """
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
    connection = fields.get(b"connection", b"").lower()
    framing = _response_framing(fields, status, method)
    keep = b"close" not in connection and not framing.until_close and parser.get_http_version() == "1.1"
    return ResponseHead(status, found.reason, found.headers, fields, framing, keep)


def _response_framing(fields: dict[bytes, bytes], status: int, method: str) -> Framing:
    """RFC 9112 6.3, in its order."""
    if method == "HEAD" or status < 200 or status in (204, 304):
        return NO_BODY
    encoding = fields.get(b"transfer-encoding")
    if encoding is not None:
        if encoding.lower() != b"chunked" or b"content-length" in fields:
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
    """The response head for the client: the API server's own without what belongs to one connection only."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
    lines += [b"%b: %b\r\n" % pair for pair in head.headers if pair[0] not in HOP_BY_HOP]
    lines.append(_framing_line(head))
    if close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _framing_line(head: ResponseHead) -> bytes:
    framing = head.framing
    if framing.chunked:
        return b"transfer-encoding: chunked\r\n"
    if framing.until_close:
        return b""
    if framing.empty and (head.status in (204, 304) or head.status < 200):
        return b""
    # A HEAD answer keeps the length the body would have had.
    return b"content-length: %b\r\n" % head.fields.get(b"content-length", b"%d" % framing.length)


def write_switching_protocols(head: ResponseHead) -> bytes:
    """The 101 for the client, with the headers that the two protocols of `kubectl exec` negotiate by and no other."""
    lines = [b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n"]
    lines += [b"%b: %b\r\n" % pair for pair in head.headers if pair[0] in _SWITCHING]
    lines.append(b"\r\n")
    return b"".join(lines)


_SWITCHING = frozenset(
    {b"upgrade", b"sec-websocket-accept", b"sec-websocket-protocol", b"x-stream-protocol-version", b"date"}
)


def write_answer(
    status: int, reason: str, body: bytes, *, close: bool, headers: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """A whole answer of the gate's own, always JSON (a `metav1.Status`, a review)."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
    ending = "connection: close\r\n" if close else ""
    return (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncache-control: no-cache, private\r\n"
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
