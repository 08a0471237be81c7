"""Messages that begin with their channel, plain and in base64."""

from __future__ import annotations

import pytest
from tests.unit.wire.websocket_by_hand import KEY, masked

from narrowgate.wire.stream_events import Direction
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, CONTINUATION, PING, PONG, TEXT, Piece, frame
from narrowgate.wire.websocket_messages import CLOSE_SIGNAL, Form, MessageReader, Part, chosen_subprotocol

PLAIN, BASE64, V5 = Form(), Form(base64=True), Form(closes=True)


def server(form: Form) -> MessageReader:
    return MessageReader(Direction.FROM_POD, form)


def client(form: Form) -> MessageReader:
    return MessageReader(Direction.TO_POD, form)


def in_pieces(reader: MessageReader, sent: bytes, size: int) -> list[Part | Piece]:
    return [part for at in range(0, len(sent), size) for part in reader.feed(sent[at : at + size])]


def test_the_first_byte_is_the_channel() -> None:
    assert server(PLAIN).feed(frame(BINARY, b"\x01hello")) == [Part(1, b"hello", True)]
    assert server(PLAIN).feed(frame(BINARY, b"\x01")) == [Part(1, b"", True)]
    assert server(PLAIN).feed(frame(BINARY, b"")) == [Part(None, b"", True)]


def test_the_first_digit_is_the_channel_and_the_rest_is_base64() -> None:
    assert server(BASE64).feed(frame(TEXT, b"1Zm9v")) == [Part(1, b"foo", True)]
    assert server(BASE64).feed(frame(TEXT, b"1")) == [Part(1, b"", True)]
    assert client(BASE64).feed(masked(b"0Zm8=", TEXT)) == [Part(0, b"fo", True)]


def test_the_channel_may_come_in_a_later_fragment_than_the_first() -> None:
    empty = b"\x02\x00"
    assert server(PLAIN).feed(empty + frame(CONTINUATION, b"\x02late")) == [Part(2, b"late", True)]


def test_clients_may_send_text_and_servers_what_their_subprotocol_has() -> None:
    assert client(PLAIN).feed(masked(b"\x00ls\n", TEXT)) == [Part(0, b"ls\n", True)]
    for form, opcode in ((PLAIN, TEXT), (BASE64, BINARY)):
        with pytest.raises(Unreadable, match="text where"):
            server(form).feed(frame(opcode, b"1"))


@pytest.mark.parametrize(
    "text", [b"0Zm8", b"0Zm8=Zm8=", b"0Zm\n9v", b"0Zm9-", b"0=", b"0====", b"0Zm9vZm9v=", b"0Z==="]
)
def test_base64_that_go_drops_or_reads_leniently_is_refused(text: bytes) -> None:
    for size in (1, 2, 3, 100):
        with pytest.raises(Unreadable, match="base64"):
            in_pieces(client(BASE64), masked(text), size)


def test_closing_names_one_channel() -> None:
    assert client(V5).feed(masked(b"\xff\x00")) == [Part(CLOSE_SIGNAL, b"\x00", True)]
    assert client(PLAIN).feed(masked(b"\xff\x00")) == [Part(255, b"\x00", True)]
    for payload in (b"\xff", b"\xff\x00\x00"):
        with pytest.raises(Unreadable, match="does not name one"):
            client(V5).feed(masked(payload))


def test_closing_is_read_whole_however_it_is_cut() -> None:
    sent = masked(b"\xff\x00") + masked(b"\xff\x04")
    assert in_pieces(client(V5), sent, 1) == [Part(CLOSE_SIGNAL, b"\x00", True), Part(CLOSE_SIGNAL, b"\x04", True)]


def test_a_longer_message_than_the_api_server_reads_is_refused() -> None:
    with pytest.raises(Unreadable, match="longer than"):
        client(PLAIN).feed(b"\x82\xff" + ((32 << 20) + 1).to_bytes(8, "big") + KEY)


def test_pings_and_pongs_are_told_as_they_are() -> None:
    sent = masked(b"?", PING) + masked(b"!", PONG)
    assert client(PLAIN).feed(sent) == [Piece(PING, b"?", True, True), Piece(PONG, b"!", True, True)]


@pytest.mark.parametrize("form", [PLAIN, BASE64, V5])
def test_what_is_framed_is_read_again(form: Form) -> None:
    parts: list[Part | Piece] = [
        Part(1, b"", True),
        Part(2, b"text\n", True),
        Part(3, bytes(range(256)) * 300, True),
        Part(None, b"", True),
    ]
    ping = Piece(PING, b"?", True, True)
    sent = b"".join([form.framed(part) for part in [*parts, ping]])
    assert server(form).feed(sent) == [*parts, ping]


def test_the_subprotocol_is_one_of_those_offered() -> None:
    assert chosen_subprotocol(["v5.channel.k8s.io", "v4.channel.k8s.io"], b"v4.channel.k8s.io") == "v4.channel.k8s.io"
    assert chosen_subprotocol([], b"") == ""
    for offered, answered in ((["v4.channel.k8s.io"], b""), ([], b"v4.channel.k8s.io"), (["a"], b"a, a")):
        with pytest.raises(Unreadable, match="not offered"):
            chosen_subprotocol(offered, answered)
