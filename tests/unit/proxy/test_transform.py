"""Masked answers on their way: asked for as JSON, passed on in chunks of their own, broken off where they are odd."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.wire.masking_by_hand import MASKED, Everywhere

from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.transform import (
    RULES_TOLD,
    MaskedSink,
    form_of,
    masked_request,
    masked_whole,
    unmaskable,
    warnings_for,
)
from narrowgate.proxy.upstream import UpstreamBroken
from narrowgate.wire.http1 import ResponseHead, read_response_head
from narrowgate.wire.masked_answer import Form, masked_answer

SECRET = {"kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "planted"}}
HIDDEN = SECRET | {"data": {"k": MASKED}}
LENGTH = "Content-Length: {}"
CHUNKS = "Transfer-Encoding: chunked"


class Recorder:
    """A client that keeps what it gets."""

    def __init__(self) -> None:
        self.must_close = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def asked(verb: str, **more: Any) -> RequestInfo:
    return RequestInfo(is_resource_request=True, path="/x", verb=verb, resource="pods", **more)


def head_of(*lines: str, status: int = 200) -> ResponseHead:
    return read_response_head("\r\n".join((f"HTTP/1.1 {status} X", *lines, "", "")).encode(), "GET")


def events(*documents: Any) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def in_chunks(body: bytes, size: int = 7) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def received(client: Recorder) -> tuple[bytes, bytes]:
    """The head and the content of what a client got, which must be whole."""
    head, _, rest = client.written.partition(b"\r\n\r\n")
    content = b""
    while size := int(rest.partition(b"\r\n")[0], 16):
        rest = rest.partition(b"\r\n")[2]
        assert rest[size : size + 2] == b"\r\n"
        content, rest = content + rest[:size], rest[size + 2 :]
    assert rest == b"0\r\n\r\n"
    return head, content


def sink_for(client: Recorder, form: Form, head: ResponseHead, failed: list[str]) -> MaskedSink:
    return MaskedSink(client, head, masked_answer(form, Everywhere()), failed.append, lambda _: ((b"warning", b"x"),))


@pytest.mark.parametrize(
    ("verb", "subresource", "form"),
    [("get", "", Form.OBJECT), ("list", "", Form.LIST), ("deletecollection", "", Form.LIST), ("watch", "", Form.WATCH),
     ("patch", "status", Form.OBJECT), ("get", "log", None)],
)  # fmt: skip
def test_what_was_asked_says_what_comes(verb: str, subresource: str, form: Form | None) -> None:
    assert form_of(asked(verb, subresource=subresource)) is form


def test_what_will_be_masked_is_asked_for_in_json_and_uncompressed() -> None:
    sent = [(b"accept", b"application/vnd.kubernetes.protobuf,application/json"), (b"accept-encoding", b"gzip")]
    assert masked_request([*sent, (b"x", b"y")], asked("list")) == [(b"accept", b"application/json"), (b"x", b"y")]
    with pytest.raises(Malformed, match="accept application/json") as refused:
        masked_request([(b"accept", b"application/cbor, application/yaml")], asked("get"))
    assert refused.value.code == 406
    alone = [(b"accept", b"application/vnd.kubernetes.protobuf"), (b"accept", b"application/cbor")]
    assert masked_request(alone, asked("get")) == [alone[0]]
    log = asked("get", subresource="log")
    assert masked_request([(b"accept", b"*/*"), (b"accept-encoding", b"gzip")], log) == []


def test_answers_in_other_forms_are_told_from_those_that_can_be_masked() -> None:
    json_type, length = "Content-Type: application/json; charset=utf-8", LENGTH.format(9)
    assert unmaskable(head_of(json_type, length), asked("get")) == ""
    assert unmaskable(head_of(status=304), asked("get")) == ""
    assert "gzip" in unmaskable(head_of(json_type, length, "Content-Encoding: gzip"), asked("get"))
    protobuf = "Content-Type: application/vnd.kubernetes.protobuf;stream=watch"
    assert unmaskable(head_of(protobuf, length), asked("watch")) == ""
    assert "protobuf" in unmaskable(head_of(protobuf, length), asked("get", subresource="log"))
    assert "cbor" in unmaskable(head_of("Content-Type: application/cbor", length), asked("list"))
    assert "no content type" in unmaskable(head_of(length), asked("get"))
    assert "text/plain" in unmaskable(head_of("Content-Type: text/plain", length), asked("get"))
    log = asked("get", subresource="log")
    assert unmaskable(head_of("Content-Type: text/plain", length), log) == ""


def test_one_warning_says_what_was_masked_most_first_and_is_short() -> None:
    assert warnings_for({}) == ()
    assert warnings_for({"a/b": 1}) == ((b"warning", b'299 narrowgate "masked 1 value by a/b"'),)
    assert warnings_for({"a/b": 1, "c/d": 2}) == (
        (b"warning", b'299 narrowgate "masked 3 values: 2 by c/d, 1 by a/b"'),
    )
    assert warnings_for({"a/b": 2}, is_whole=False)[0][1] == b'299 narrowgate "masked 2 values so far by a/b"'
    ((_, many),) = warnings_for({f"p/{n:02}": 1 for n in range(20)})
    assert many.count(b" by p/") == RULES_TOLD
    assert many.endswith(b', others by 12 more rules"')


@pytest.mark.parametrize("cut", [1, 5, 1 << 20])
@pytest.mark.parametrize("framing", ["length", "chunks", "until the close"])
def test_a_body_is_masked_however_it_is_framed_and_cut(framing: str, cut: int) -> None:
    body = json.dumps(SECRET).encode()
    lines = {"length": (LENGTH.format(len(body)),), "chunks": (CHUNKS,), "until the close": ()}[framing]
    raw = in_chunks(body) if framing == "chunks" else body
    client, failed = Recorder(), list[str]()
    sink = sink_for(client, Form.OBJECT, head_of("Content-Type: application/json", *lines), failed)
    for at in range(0, len(raw), cut):
        sink.write(raw[at : at + cut])
    assert not sink.is_begun
    sink.finish()
    head, content = received(client)
    assert (json.loads(content), sink.sent, failed) == (HIDDEN, len(content), [])
    assert head.lower().count(b"transfer-encoding: chunked") == 1
    assert b"content-length" not in head.lower()
    assert b"\r\nwarning: x" in head


def test_an_answer_without_any_content_still_has_an_end() -> None:
    client, failed = Recorder(), list[str]()
    sink = sink_for(client, Form.WATCH, head_of(CHUNKS), failed)
    sink.write(b"0\r\n\r\n")
    sink.finish()
    assert received(client)[1] == b""


def test_what_cannot_be_read_ends_the_answer_and_nothing_of_it_leaves() -> None:
    client, failed = Recorder(), list[str]()
    sink = sink_for(client, Form.WATCH, head_of(CHUNKS), failed)
    raw = in_chunks(events({"type": "ADDED", "object": SECRET}) + b'{"data":"planted"\n', 1_000)
    sink.write(raw)
    sink.write(in_chunks(events({"type": "ADDED", "object": {"data": "planted"}})))
    assert (len(failed), client.written) == (1, b"")
    assert "cannot be masked" in failed[0]
    assert "planted" not in failed[0]


def test_what_ends_too_early_is_told_when_it_ends() -> None:
    client, failed = Recorder(), list[str]()
    sink = sink_for(client, Form.OBJECT, head_of(), failed)
    sink.write(b'{"data":{"k":"plan')
    with pytest.raises(UpstreamBroken, match="cannot be masked"):
        sink.finish()
    assert (client.written, failed) == (b"", [])


def test_a_watch_may_be_ended_between_two_events_even_if_half_of_one_has_come() -> None:
    client = Recorder()
    sink = sink_for(client, Form.WATCH, head_of(CHUNKS), [])
    event = events({"type": "ADDED", "object": SECRET})
    sink.write(in_chunks(event + event[:-9], 1_000)[: -len("0\r\n\r\n")])
    assert sink.at_boundary
    written = client.written + b"0\r\n\r\n"
    client.written = written
    assert json.loads(received(client)[1]) == {"type": "ADDED", "object": HIDDEN}


def test_a_whole_body_is_masked_or_refused() -> None:
    assert json.loads(masked_whole(masked_answer(Form.OBJECT, Everywhere()), json.dumps(SECRET).encode())) == HIDDEN
    with pytest.raises(UpstreamBroken):
        masked_whole(masked_answer(Form.OBJECT, Everywhere()), b"k8s\x00")
