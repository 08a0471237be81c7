"""exec and attach over WebSocket: what a session says, and what leaves of it under a mask."""

from __future__ import annotations

import json

import pytest
from tests.unit.wire.websocket_by_hand import Lines, masked
from tests.unit.wire.websocket_sessions import KUBECTL_EXEC, KUBECTL_TERMINAL, PYTHON_EXEC_V4, PYTHON_EXEC_V5, Session

from narrowgate.wire.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    Passed,
    SessionCodec,
    StreamEvent,
)
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket import BINARY, CLOSE, PING, PONG, TEXT, Piece, frame
from narrowgate.wire.websocket_channels import ASIDE_LIMIT, HELD_LIMIT, ChannelCodec, websocket_channels
from narrowgate.wire.websocket_messages import Form, MessageReader, Part

PLAIN, BASE64, V5 = Form(), Form(base64=True), Form(closes=True)
NORMAL = (1000).to_bytes(2, "big")


def test_a_session_is_told_and_passes_byte_for_byte() -> None:
    codec = ChannelCodec(V5, None)
    begin = frame(BINARY, b"\x01")
    assert codec.from_upstream(begin) == Passed(begin)
    sent = masked(b'\x04{"Width":80}') + masked(b"\x00ls\n") + masked(b"\xff\x00")
    assert codec.from_client(sent) == Passed(
        sent,
        (
            ChannelOpened(Channel.RESIZE),
            ChannelData(Channel.RESIZE, b'{"Width":80}'),
            ChannelOpened(Channel.STDIN),
            ChannelData(Channel.STDIN, b"ls\n"),
            ChannelClosed(Channel.STDIN),
        ),
    )
    answer = frame(BINARY, b"\x01a\n") + frame(BINARY, b"\x02b\n") + frame(BINARY, b"\x03{}") + frame(CLOSE, NORMAL)
    assert codec.from_upstream(answer) == Passed(
        answer,
        (
            ChannelOpened(Channel.STDOUT),
            ChannelData(Channel.STDOUT, b"a\n"),
            ChannelOpened(Channel.STDERR),
            ChannelData(Channel.STDERR, b"b\n"),
            ChannelOpened(Channel.ERROR),
            ChannelData(Channel.ERROR, b"{}"),
            ChannelClosed(Channel.STDOUT),
            ChannelClosed(Channel.STDERR),
            ChannelClosed(Channel.ERROR),
        ),
    )
    assert codec.finish() == (ChannelClosed(Channel.RESIZE, reset=True),)
    assert codec.finish() == ()


def test_a_client_that_closes_the_session_closes_what_it_writes() -> None:
    codec = ChannelCodec(PLAIN, None)
    told = codec.from_client(masked(b"\x00x") + masked(NORMAL, CLOSE)).events
    assert told[-1] == ChannelClosed(Channel.STDIN)
    assert codec.finish() == ()


def test_stdin_that_is_closed_before_anything_was_written_was_there() -> None:
    told = ChannelCodec(V5, None).from_client(masked(b"\xff\x00") + masked(b"\xff\x00")).events
    assert told == (ChannelOpened(Channel.STDIN), ChannelClosed(Channel.STDIN))


def test_a_client_that_no_longer_listens_to_a_channel_says_nothing_of_its_end() -> None:
    assert ChannelCodec(V5, None).from_client(masked(b"\xff\x01")).events == ()


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        (PLAIN, b"\x01I am the pod\n"),
        (PLAIN, b"\x03{}"),
        (PLAIN, b"\x05x"),
        (PLAIN, b"\xff\x00"),
        (V5, b"\xff\x05"),
        (BASE64, b"1Zm9v"),
        (BASE64, b"/Zm9v"),
    ],
)
def test_a_client_cannot_put_words_into_the_pods_mouth(form: Form, payload: bytes) -> None:
    with pytest.raises(Unreadable, match="WebSocket: a message "):
        ChannelCodec(form, None).from_client(masked(payload))


@pytest.mark.parametrize("rewrite", [None, Lines()])
@pytest.mark.parametrize("payload", [b"\x00x", b"\x04x", b"\x05x", b"\xffx"])
def test_a_server_writes_on_the_pods_channels_alone(payload: bytes, rewrite: Lines | None) -> None:
    with pytest.raises(Unreadable, match="WebSocket: a message "):
        ChannelCodec(PLAIN, rewrite).from_upstream(frame(BINARY, payload))


def test_nothing_is_written_to_a_channel_that_was_closed() -> None:
    # The API server drops it: the process has read its end of file.
    with pytest.raises(Unreadable, match="follows the end of channel stdin"):
        ChannelCodec(V5, None).from_client(masked(b"\xff\x00") + masked(b"\x00rm -rf /\n"))


def test_text_is_rewritten_and_what_is_held_back_leaves_before_the_end() -> None:
    codec = ChannelCodec(V5, Lines())
    assert codec.from_upstream(frame(BINARY, b"\x01") + frame(PING, b"?")) == Passed(
        frame(BINARY, b"\x01") + frame(PING, b"?")
    )
    passed = codec.from_upstream(frame(BINARY, b"\x01one\ntw") + frame(BINARY, b"\x02oops"))
    assert passed.data == frame(BINARY, b"\x01ONE\n")
    assert passed.events == (ChannelOpened(Channel.STDOUT), ChannelData(Channel.STDOUT, b"ONE\n"))
    ended = codec.from_upstream(frame(BINARY, b"\x03{}") + frame(CLOSE, NORMAL))
    assert ended.data == b"".join(
        (frame(BINARY, b"\x01TW"), frame(BINARY, b"\x02OOPS"), frame(BINARY, b"\x03{}"), frame(CLOSE, NORMAL))
    )
    assert ended.events[-3:] == tuple(ChannelClosed(each) for each in (Channel.STDOUT, Channel.STDERR, Channel.ERROR))


def test_what_is_held_back_at_a_close_frame_leaves_before_it() -> None:
    codec = ChannelCodec(PLAIN, Lines())
    codec.from_upstream(frame(BINARY, b"\x01prompt"))
    assert codec.from_upstream(frame(CLOSE, b"")).data == frame(BINARY, b"\x01PROMPT") + frame(CLOSE, b"")
    assert codec.flush(Channel.STDOUT) == Passed()


def test_a_prompt_leaves_when_nobody_wants_to_wait_for_its_line_end() -> None:
    codec = ChannelCodec(PLAIN, Lines())
    assert codec.from_upstream(frame(BINARY, b"\x01$ ")).data == b""
    assert codec.flush(Channel.STDERR) == Passed()
    assert codec.flush(Channel.STDOUT) == Passed(
        frame(BINARY, b"\x01$ "), (ChannelOpened(Channel.STDOUT), ChannelData(Channel.STDOUT, b"$ "))
    )
    assert codec.flush(Channel.STDOUT) == Passed()
    assert ChannelCodec(PLAIN, None).flush(Channel.STDOUT) == Passed()


def test_half_a_message_leaves_with_what_was_held_back_before_it() -> None:
    codec = ChannelCodec(PLAIN, Lines())
    sent = frame(BINARY, b"\x01abcdef")
    assert codec.from_upstream(sent[:5]).data == b""
    assert codec.flush(Channel.STDOUT).data == frame(BINARY, b"\x01AB")
    assert codec.from_upstream(sent[5:]).data == b""
    assert codec.flush(Channel.STDOUT).data == frame(BINARY, b"\x01CDEF")


def test_base64_is_rewritten_as_base64() -> None:
    codec = ChannelCodec(BASE64, Lines())
    assert codec.from_upstream(frame(TEXT, b"1") + frame(TEXT, b"1YQo=")).data == frame(TEXT, b"1") + frame(
        TEXT, b"1QQo="
    )


def test_a_long_message_is_held_in_part_and_leaves_in_several() -> None:
    codec, text = ChannelCodec(PLAIN, Lines()), b"x" * 99 + b"\n"
    whole = text * 2000
    passed = codec.from_upstream(frame(BINARY, b"\x01" + whole))
    assert b"".join(event.data for event in passed.events if isinstance(event, ChannelData)) == whole.upper()
    assert passed.data.startswith(frame(BINARY, b"\x01" + whole[: HELD_LIMIT - HELD_LIMIT % 100].upper()))


def test_a_server_that_closes_a_channel_lets_its_rest_go_first() -> None:
    codec = ChannelCodec(V5, Lines())
    codec.from_upstream(frame(BINARY, b"\x01rest"))
    passed = codec.from_upstream(frame(BINARY, b"\xff\x01"))
    assert passed.data == frame(BINARY, b"\x01REST") + frame(BINARY, b"\xff\x01")
    assert passed.events[-1] == ChannelClosed(Channel.STDOUT)
    with pytest.raises(Unreadable, match="follows the end"):
        codec.from_upstream(frame(BINARY, b"\x01more\n"))


@pytest.mark.parametrize("name", ["", "channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_subprotocols_with_plain_bytes_are_served(name: str) -> None:
    assert websocket_channels(name).from_client(masked(b"\x00x")).events[-1] == ChannelData(Channel.STDIN, b"x")


@pytest.mark.parametrize("name", ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"])
def test_subprotocols_with_base64_are_served(name: str) -> None:
    assert websocket_channels(name).from_client(masked(b"0eA==")).events[-1] == ChannelData(Channel.STDIN, b"x")


def test_channels_are_closed_in_v5_alone() -> None:
    closed = masked(b"\xff\x00")
    assert ChannelClosed(Channel.STDIN) in websocket_channels("v5.channel.k8s.io").from_client(closed).events
    with pytest.raises(Unreadable, match="no channel"):
        websocket_channels("v4.channel.k8s.io").from_client(closed)


@pytest.mark.parametrize("name", ["v6.channel.k8s.io", "V4.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"])
def test_subprotocols_that_nobody_serves_are_refused(name: str) -> None:
    with pytest.raises(Unreadable, match="no subprotocol"):
        websocket_channels(name)


def played(codec: SessionCodec, session: Session) -> list[StreamEvent]:
    """What a session says, which passes unchanged."""
    events: list[StreamEvent] = []
    for way, data in session:
        passed = codec.from_client(data) if way is Direction.TO_POD else codec.from_upstream(data)
        assert passed.data == data
        events += passed.events
    return events + list(codec.finish())


def written(events: list[StreamEvent], channel: Channel) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, ChannelData) and event.channel is channel)


def test_an_exec_of_kubectl_is_told() -> None:
    told = played(websocket_channels("v5.channel.k8s.io"), KUBECTL_EXEC)
    assert told[:3] == [
        ChannelOpened(Channel.STDIN),
        ChannelData(Channel.STDIN, b"stdin line\n"),
        ChannelClosed(Channel.STDIN),
    ]
    assert written(told, Channel.STDOUT) == b"stdin line\n"
    assert written(told, Channel.STDERR) == b"err\n"
    assert json.loads(written(told, Channel.ERROR))["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert told[-3:] == [ChannelClosed(each) for each in (Channel.STDOUT, Channel.STDERR, Channel.ERROR)]


def test_a_terminal_of_kubectl_is_told() -> None:
    told = played(websocket_channels("v5.channel.k8s.io"), KUBECTL_TERMINAL)
    assert json.loads(written(told, Channel.RESIZE)) == {"Width": 0, "Height": 0}
    assert written(told, Channel.STDOUT).endswith(b"tty\r\n")
    assert not any(event.reset for event in told if isinstance(event, ChannelClosed))


def test_sessions_of_the_python_client_are_told() -> None:
    told = played(websocket_channels("v5.channel.k8s.io"), PYTHON_EXEC_V5)
    assert written(told, Channel.STDIN) == written(told, Channel.STDOUT) == b"text from python\nbytes from python\n"
    told = played(websocket_channels("v4.channel.k8s.io"), PYTHON_EXEC_V4)
    assert written(told, Channel.STDOUT) == b"v4\n"
    assert json.loads(written(told, Channel.ERROR))["reason"] == "NonZeroExitCode"


@pytest.mark.parametrize(("form", "opcode"), [(PLAIN, BINARY), (V5, BINARY), (BASE64, TEXT)])
def test_the_last_word_is_said_on_the_error_channel_and_closes_the_session(form: Form, opcode: int) -> None:
    codec = ChannelCodec(form, None)
    said = codec.last_word(b"why")
    message = b"3d2h5" if form.base64 else b"\x03why"
    assert said.data == frame(opcode, message) + frame(CLOSE, NORMAL)
    assert said.events == (
        ChannelOpened(Channel.ERROR),
        ChannelData(Channel.ERROR, b"why"),
        ChannelClosed(Channel.ERROR),
    )


def test_no_last_word_is_said_in_the_middle_of_a_message_or_behind_the_end() -> None:
    whole = frame(BINARY, b"\x01hello")
    for cut in range(1, len(whole)):
        codec = ChannelCodec(V5, None)
        codec.from_upstream(whole[:cut])
        assert codec.last_word(b"x").data == b""
    first = bytes([frame(BINARY, b"\x01hello")[0] & 0x7F]) + whole[1:]
    codec = ChannelCodec(V5, None)
    codec.from_upstream(first)
    assert codec.last_word(b"x").data == b""
    for ended in (frame(CLOSE, NORMAL), frame(BINARY, b"\x03{}") + frame(BINARY, b"\xff\x03")):
        codec = ChannelCodec(V5, None)
        codec.from_upstream(ended)
        assert codec.last_word(b"x").data == b""


def test_what_is_made_anew_leaves_in_whole_messages_so_that_a_last_word_can_follow_at_any_time() -> None:
    codec = ChannelCodec(V5, Lines())
    codec.from_upstream(frame(BINARY, b"\x01hello")[:5])
    assert codec.last_word(b"x").data == frame(BINARY, b"\x03x") + frame(CLOSE, NORMAL)


class Typed:
    """Keeps back what is typed from the first `!` on, and the end with it."""

    def __init__(self) -> None:
        self.held = b""
        self.is_holding = False

    def typed(self, data: bytes) -> bytes:
        if self.is_holding:
            passes, rest = b"", data
        else:
            passes, mark, rest = data.partition(b"!")
            rest = mark + rest
            self.is_holding = bool(mark)
        self.held += rest
        return passes

    def ended(self) -> bool:
        return not self.is_holding


def typing_codec(form: Form = V5) -> tuple[ChannelCodec, Typed]:
    typing = Typed()
    return ChannelCodec(form, None, typing), typing


def as_read(sent: bytes, form: Form) -> list[Part | Piece]:
    """What an API server reads of it."""
    return MessageReader(Direction.TO_POD, form).feed(sent)


@pytest.mark.parametrize("form", [PLAIN, BASE64, V5])
def test_what_is_typed_goes_on_in_messages_made_anew(form: Form) -> None:
    codec, typing = typing_codec(form)
    sent = form.typed(Part(4, b'{"Width":80}', last=True)) + form.typed(Part(0, b"ls!rm", last=True))
    passed = codec.from_client(sent)
    assert as_read(passed.data, form) == [Part(4, b'{"Width":80}', last=True), Part(0, b"ls", last=True)]
    assert passed.events == (
        ChannelOpened(Channel.RESIZE),
        ChannelData(Channel.RESIZE, b'{"Width":80}'),
        ChannelOpened(Channel.STDIN),
        ChannelData(Channel.STDIN, b"ls"),
    )
    assert codec.from_client(form.typed(Part(0, b"x", last=True))) == Passed()
    later = codec.type(typing.held, ends=False)
    assert as_read(later.data, form) == [Part(0, b"!rmx", last=True)]
    assert later.events == (ChannelData(Channel.STDIN, b"!rmx"),)


def test_control_frames_and_sizes_pass_while_a_line_is_held() -> None:
    codec, _ = typing_codec()
    codec.from_client(masked(b"\x00!"))
    passed = codec.from_client(masked(b"beat", PING) + masked(b'\x04{"Width":1}') + masked(b"\x00held") + masked(b""))
    assert as_read(passed.data, V5) == [
        Piece(PING, b"beat", first=True, last=True),
        Part(4, b'{"Width":1}', last=True),
        Part(None, b"", last=True),
    ]
    closed = codec.from_client(masked(NORMAL, CLOSE))
    assert as_read(closed.data, V5) == [Piece(CLOSE, NORMAL, first=True, last=True)]
    assert codec.type(b"!held", ends=True) == Passed(), "nobody is there any more who typed it"


def test_the_end_of_what_is_typed_waits_with_it() -> None:
    codec, _ = typing_codec()
    assert codec.from_client(masked(b"\x00!") + masked(b"\xff\x00")).events == (ChannelOpened(Channel.STDIN),)
    with pytest.raises(Unreadable, match="follows the end"):
        codec.from_client(masked(b"\x00more"))
    later = codec.type(b"!", ends=True)
    assert as_read(later.data, V5) == [Part(0, b"!", last=True), Part(255, b"\0", last=True)]
    assert later.events == (ChannelData(Channel.STDIN, b"!"), ChannelClosed(Channel.STDIN))
    nothing, _ = typing_codec()
    ended = nothing.from_client(masked(b"\xff\x00"))
    assert as_read(ended.data, V5) == [Part(255, b"\0", last=True)]
    assert ended.events[-1] == ChannelClosed(Channel.STDIN)


@pytest.mark.parametrize("form", [PLAIN, BASE64, V5])
def test_how_a_client_is_cut_does_not_change_what_goes_on(form: Form) -> None:
    sent = b"".join(
        form.typed(part)
        for part in (
            Part(0, b"l" * 300, last=True),
            Part(4, b'{"Width":80,"Height":24}', last=True),
            Piece(PING, b"x", first=True, last=True),
            Part(0, b"ls!held", last=True),
            Part(0, b"held", last=True),
        )
    )
    for size in (1, 2, 7, len(sent)):
        codec, typing = typing_codec(form)
        passed = [codec.from_client(sent[at : at + size]) for at in range(0, len(sent), size)]
        parts = as_read(b"".join(one.data for one in passed), form)
        typed = b"".join(part.data for part in parts if isinstance(part, Part) and part.channel == 0)
        assert (typed, typing.held) == (b"l" * 300 + b"ls", b"!heldheld")
        assert [part for part in parts if not isinstance(part, Part) or part.channel != 0] == [
            Part(4, b'{"Width":80,"Height":24}', last=True),
            Piece(PING, b"x", first=True, last=True),
        ]
        said = [event for one in passed for event in one.events if isinstance(event, ChannelData)]
        assert b"".join(event.data for event in said if event.channel is Channel.STDIN) == typed


def test_what_a_client_sends_beside_is_no_more_than_is_kept() -> None:
    codec, _ = typing_codec()
    with pytest.raises(Unreadable, match="beside what is typed"):
        codec.from_client(masked(b"\x04" + b"x" * (ASIDE_LIMIT + 1)))
    assert ChannelCodec(V5, None).type(b"x", ends=True) == Passed()


def test_pings_of_the_clients_can_be_answered_in_the_pods_place() -> None:
    codec = ChannelCodec(V5, Lines())
    assert codec.pong(masked(b"alive", PING)) == frame(PONG, b"alive")
    assert codec.pong(masked(b"", PING)) == frame(PONG, b"")
    assert codec.pong(masked(b"x", PING) + masked(b"", PING)) == frame(PONG, b"x") + frame(PONG, b"")
    for other in (
        masked(b"x", PING) + masked(b"x"),
        masked(b"x", PING)[:-1],
        frame(PING, b"x"),
        masked(b"x"),
        b"",
        b"\x89\xff",
    ):
        assert codec.pong(other) == b""
    codec.from_client(masked(b"\x00ls")[:5])
    assert codec.pong(masked(b"", PING)) == b"", "in the middle of a frame it is something else"


def test_where_nothing_is_rewritten_the_gate_has_a_word_between_messages_alone() -> None:
    codec = ChannelCodec(V5, None)
    assert codec.may_interject
    codec.from_upstream(frame(BINARY, b"\x01half")[:4])
    assert not codec.may_interject
    codec = ChannelCodec(V5, Lines())
    codec.from_upstream(frame(BINARY, b"\x01half")[:4])
    assert codec.may_interject
    codec.from_upstream(frame(BINARY, b"\x01half")[4:] + frame(CLOSE, NORMAL))
    assert not codec.may_interject, "nothing follows the end"
