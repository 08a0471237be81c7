"""An answer on its way from the API server to the client, masked: what is asked for, what is read, what is passed on.

Everything here fails closed: what cannot be read is not passed on. Before a byte has left, the caller gets a Status
that says why; after that the answer is broken off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from narrowgate.core.accept import JSON, PROTOBUF, json_ranges, protobuf_ranges
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.upstream import UpstreamBroken
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import CHUNKED, LAST_CHUNK, Framing, ResponseHead, reframed, write_response_head
from narrowgate.wire.json_spans import Unreadable
from narrowgate.wire.masked_answer import Form, MaskedAnswer
from narrowgate.wire.protobuf_mask import NotInProtobuf

RULES_TOLD: Final = 8
"""Rules that a warning names: their names may take 300 characters each."""

_COLLECTIONS: Final = frozenset({"list", "deletecollection"})


class Client(Protocol):
    """Where masked bytes go (`proxy.client.ClientConnection`)."""

    must_close: bool

    def write(self, data: bytes) -> None:
        """Send it; the client's own buffer slows the API server down."""
        ...


def form_of(info: RequestInfo) -> Form | None:
    """What sort of answer comes; None for text."""
    if info.subresource == "log":
        return None
    if info.verb == "watch":
        return Form.WATCH
    return Form.LIST if info.verb in _COLLECTIONS else Form.OBJECT


def masked_request(headers: list[tuple[bytes, bytes]], info: RequestInfo) -> list[tuple[bytes, bytes]]:
    """The headers for the API server where the answer will be masked: JSON, or protobuf where the client takes nothing
    else, not compressed. Raises Malformed 406.
    """
    kept = [pair for pair in headers if pair[0] not in (b"accept", b"accept-encoding")]
    if form_of(info) is None:
        return kept
    wanted = b",".join(value for name, value in headers if name == b"accept")
    accept = json_ranges(wanted) or protobuf_ranges(wanted)
    if not accept:
        raise Malformed(
            "the gate reads what this answers, to mask it or to know what it made, in JSON and in Kubernetes' "
            "protobuf: accept application/json",
            406,
        )
    return [(b"accept", accept), *kept]


def unmaskable(head: ResponseHead, info: RequestInfo) -> str:
    """Why this answer cannot be masked; empty where it can."""
    if head.framing.empty:
        return ""
    if encoding := head.field(b"content-encoding"):
        return f"it is encoded as {encoding[:40]!r}"
    kind = content_type(head)
    expected = (JSON, b"text/plain") if form_of(info) is None else (JSON, PROTOBUF)
    if kind not in expected:
        return f"it is {kind[:60].decode('latin-1') or 'of no content type'}, not {expected[0].decode()}"
    return ""


def content_type(head: ResponseHead) -> bytes:
    """The media type of an answer, without its parameters, in lower case."""
    return head.field(b"content-type").split(b";")[0].strip().lower()


class MaskedSink:
    """Takes the raw body of an answer and sends it on masked, in chunks, its head before the first of them."""

    def __init__(
        self,
        client: Client,
        head: ResponseHead,
        answer: MaskedAnswer,
        fail: Callable[[str], None],
        warnings: Callable[[bool], tuple[tuple[bytes, bytes], ...]],
    ) -> None:
        """`fail` ends the answer under way; `warnings` are asked for once, when the head goes, and
        told whether the answer is whole by then.
        """
        self._client = client
        self._head = head
        self._answer = answer
        self._fail = fail
        self._warnings = warnings
        self._payload: list[bytes] = []
        self._framing = head.framing
        self._body: Body = follow(head.framing, strict=False, payload=self._payload)
        self._is_begun = False
        self._failed = ""
        self.sent = 0
        """Bytes of the masked body that were sent on."""

    def begin(self, *, is_whole: bool = False) -> None:
        """Send the head, if it has not gone."""
        if not self._is_begun:
            self._is_begun = True
            head = reframed(self._head, CHUNKED, self._warnings(is_whole))
            self._client.write(write_response_head(head, close=self._client.must_close))

    @property
    def is_begun(self) -> bool:
        """Whether anything has left."""
        return self._is_begun

    @property
    def at_boundary(self) -> bool:
        """Whether another document may follow what was sent."""
        return self._answer.at_boundary

    def write(self, data: bytes) -> None:
        """Take the next bytes of the API server's body, its chunk lines included."""
        if self._failed:
            return
        if self._framing.until_close:
            self._payload.append(data)
        else:
            self._body.feed(data)
        payload = b"".join(self._payload)
        self._payload.clear()
        try:
            if payload and (masked := self._answer.feed(payload)):
                self._send(masked)
        except Unreadable as error:
            self._failed = unreadable(error)
            self._fail(self._failed)

    def go_on(self, rest: bytes, head: ResponseHead) -> None:
        """The body goes on with that of another answer, which has this head. `rest` is sent on before it."""
        self._framing = head.framing
        self._body = follow(head.framing, strict=False, payload=self._payload)
        if rest:
            self._send(rest)

    def finish(self) -> None:
        """The body is complete. Raises UpstreamBroken where its end cannot be read, Malformed 406 for what only JSON
        could show.
        """
        try:
            rest = self._answer.finish()
        except Unreadable as error:
            raise _refusal(error) from None
        self.begin(is_whole=True)
        if rest:
            self._send(rest)
        self._client.write(LAST_CHUNK)

    def _send(self, masked: bytes) -> None:
        self.begin()
        self.sent += len(masked)
        self._client.write(b"%x\r\n%b\r\n" % (len(masked), masked))


def masked_whole(answer: MaskedAnswer, body: bytes) -> bytes:
    """A whole body masked. Raises UpstreamBroken where it cannot be read, Malformed 406 for what only JSON shows."""
    try:
        return answer.feed(body) + answer.finish()
    except Unreadable as error:
        raise _refusal(error) from None


def warnings_for(counts: dict[str, int], *, is_whole: bool = True) -> tuple[tuple[bytes, bytes], ...]:
    """The `Warning` header (RFC 9111 5.5, as k8s.io/apiserver/pkg/endpoints/filters/warning.go writes it) that says
    what was masked, by which rules, most first; nothing where nothing was. One line, because kubectl prints each, and
    a reader who gets eight reads none. An answer that is not whole has only begun: more may come.
    """
    if not counts:
        return ()
    told = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    total = sum(counts.values())
    line = f"masked {total} value{'s' if total > 1 else ''}{'' if is_whole else ' so far'}"
    if len(told) == 1:
        line += f" by {told[0][0]}"
    else:
        line += ": " + ", ".join(f"{count} by {rule}" for rule, count in told[:RULES_TOLD])
    if len(told) > RULES_TOLD:
        line += f", others by {len(told) - RULES_TOLD} more rules"
    return ((b"warning", f'299 narrowgate "{line}"'.encode("ascii")),)


def length_of(body: bytes) -> Framing:
    """The framing of a whole body."""
    return Framing(len(body))


def _refusal(error: Unreadable) -> UpstreamBroken | Malformed:
    if isinstance(error, NotInProtobuf):
        return Malformed(
            f"what this answers cannot be masked in protobuf: {error}. Accept application/json (a write has been done "
            f"all the same)",
            406,
        )
    return UpstreamBroken(unreadable(error))


def unreadable(error: Unreadable) -> str:
    """What is said of an answer that cannot be read."""
    return f"the API server's answer cannot be masked, and is not passed on: {error}"
