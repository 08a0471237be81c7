"""Sessions over SPDY: who may open, answer, write to and end a stream, and what rewriting does to the frames."""

from __future__ import annotations

import pytest
from tests.unit.wire.spdy_by_hand import (
    CHANNELS,
    FIN,
    Exec,
    Sender,
    data,
    go_away,
    merged,
    ping,
    reset,
    settings,
    window,
)

from narrowgate.wire.spdy import PIECE
from narrowgate.wire.spdy_channels import spdy_channels
from narrowgate.wire.spdy_ports import spdy_ports
from narrowgate.wire.spdy_session import RESETS_LIMIT, STREAMS_LIMIT
from narrowgate.wire.stream_events import (
    Channel,
    ChannelClosed,
    ChannelData,
    ChannelOpened,
    Direction,
    Passed,
    PortClosed,
    PortData,
    SessionCodec,
)
from narrowgate.wire.unreadable import Unreadable

STDIN, STDOUT, STDERR = (CHANNELS[channel] for channel in (Channel.STDIN, Channel.STDOUT, Channel.STDERR))


class Shouting:
    """Rewrites by whole lines: capital letters, and `secret` gone; what is no line yet is held back."""

    def __init__(self) -> None:
        self.held: dict[Channel, bytes] = {}

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        lines, end, rest = (self.held.pop(channel, b"") + data).rpartition(b"\n")
        self.held[channel] = rest
        return (lines + end).replace(b"secret", b"").upper()

    def flush(self, channel: Channel) -> bytes:
        return self.held.pop(channel, b"").replace(b"secret", b"").upper()


def opened(rewrite: Shouting | None = None) -> SessionCodec:
    codec = spdy_channels(rewrite)
    Exec().open_in(codec)
    return codec


def test_bytes_pass_as_they_came_and_say_what_they_say() -> None:
    session, codec = Exec(), spdy_channels()
    opening, replies = session.opening(), session.replies()
    assert codec.from_client(opening) == Passed(opening, tuple(ChannelOpened(channel) for channel in CHANNELS))
    assert codec.from_upstream(replies) == Passed(replies)
    typed = data(STDIN, b"ls\n") + data(STDIN, b"", FIN)
    assert codec.from_client(typed) == Passed(
        typed, (ChannelData(Channel.STDIN, b"ls\n"), ChannelClosed(Channel.STDIN))
    )
    shown = data(STDOUT, b"a b\n") + ping(2) + data(STDERR, b"oh")
    assert codec.from_upstream(shown) == Passed(
        shown, (ChannelData(Channel.STDOUT, b"a b\n"), ChannelData(Channel.STDERR, b"oh"))
    )


def test_what_is_between_streams_passes_both_ways() -> None:
    codec = opened()
    for asides in (settings((4, 100)) + ping() + window(1, 10) + go_away(9), go_away(9)):
        assert codec.from_client(asides) == Passed(asides)
        assert codec.from_upstream(asides) == Passed(asides)


def test_only_the_client_opens_streams() -> None:
    with pytest.raises(Unreadable, match="the API server opens a stream"):
        spdy_channels().from_upstream(Sender().opened(2, streamtype="stdout"))


@pytest.mark.parametrize("number", [2, 1, 3])
def test_numbers_of_streams_are_odd_and_rise(number: int) -> None:
    client, codec = Sender(), spdy_channels()
    codec.from_client(client.opened(3, streamtype="error"))
    with pytest.raises(Unreadable, match=f"{number} is no number for a client's stream after 3"):
        codec.from_client(client.opened(number, streamtype="stdin"))


def test_the_client_answers_no_stream() -> None:
    session, codec = Exec(), spdy_channels()
    session.open_in(codec)
    with pytest.raises(Unreadable, match="the client answers"):
        codec.from_client(session.client.replied(1))


def test_a_stream_is_answered_once() -> None:
    session, codec = Exec(), spdy_channels()
    codec.from_client(session.opening())
    codec.from_upstream(session.upstream.replied(STDOUT))
    with pytest.raises(Unreadable, match="answered twice"):
        codec.from_upstream(session.upstream.replied(STDOUT))


@pytest.mark.parametrize("fin", [0, FIN])
def test_nothing_is_sent_on_a_stream_before_its_answer(fin: int) -> None:
    # Kubelet drops what comes before it has answered: the gate would read a command line that the pod never got.
    session, codec = Exec(), spdy_channels()
    codec.from_client(session.opening())
    with pytest.raises(Unreadable, match="before it was answered"):
        codec.from_client(data(STDIN, b"" if fin else b"echo ", fin))


def test_an_answer_may_come_while_other_streams_wait_for_theirs() -> None:
    session, codec = Exec(), spdy_channels()
    codec.from_client(session.opening())
    codec.from_upstream(session.upstream.replied(STDIN))
    assert codec.from_client(data(STDIN, b"x")).events == (ChannelData(Channel.STDIN, b"x"),)


@pytest.mark.parametrize("frame", [data(STDIN, b"x"), data(STDIN, b""), data(STDIN, b"", FIN)])
def test_nothing_is_sent_on_a_stream_after_its_end(frame: bytes) -> None:
    codec = opened()
    codec.from_client(data(STDIN, b"", FIN))
    with pytest.raises(Unreadable, match="after its end"):
        codec.from_client(frame)


def test_nothing_is_sent_on_a_stream_that_was_never_opened() -> None:
    for frame in (data(11, b"x"), reset(11), reset(2)):
        with pytest.raises(Unreadable, match="is not open"):
            opened().from_client(frame)


def test_a_stream_whose_both_ends_have_ended_is_gone() -> None:
    codec = opened()
    codec.from_client(data(STDIN, b"", FIN))
    codec.from_upstream(data(STDIN, b"", FIN))
    assert codec.from_client(reset(STDIN)).events == ()
    with pytest.raises(Unreadable, match="is not open"):
        codec.from_client(data(STDIN, b"x"))


def test_data_under_way_when_a_stream_is_reset_is_still_told() -> None:
    codec = opened()
    assert codec.from_client(reset(STDOUT)).events == (ChannelClosed(Channel.STDOUT, reset=True),)
    assert codec.from_upstream(data(STDOUT, b"late", FIN)).events == (ChannelData(Channel.STDOUT, b"late"),)
    assert codec.from_upstream(reset(STDOUT)).events == ()


def test_streams_may_end_as_they_are_opened_or_answered() -> None:
    client, server, codec = Sender(), Sender(), spdy_channels()
    assert codec.from_client(client.opened(1, FIN, streamtype="stdin")).events == (
        ChannelOpened(Channel.STDIN),
        ChannelClosed(Channel.STDIN),
    )
    codec.from_client(client.opened(3, streamtype="stdout"))
    assert codec.from_upstream(server.replied(3, FIN)).events == (ChannelClosed(Channel.STDOUT),)


def test_at_the_end_what_is_open_is_closed() -> None:
    codec = opened()
    codec.from_client(data(STDIN, b"", FIN) + reset(STDERR))
    codec.from_upstream(data(STDOUT, b"", FIN))
    assert codec.finish() == (ChannelClosed(Channel.ERROR, reset=True), ChannelClosed(Channel.RESIZE, reset=True))
    assert codec.finish() == ()


def test_streams_that_are_open_at_once_are_counted() -> None:
    client, codec = Sender(), spdy_ports()
    for n in range(STREAMS_LIMIT):
        codec.from_client(client.opened(2 * n + 1, streamtype="data", port="80", requestid=str(n)))
    with pytest.raises(Unreadable, match="open at once"):
        codec.from_client(client.opened(2 * STREAMS_LIMIT + 1, streamtype="data", port="80", requestid="x"))


def test_streams_after_a_reset_are_remembered_for_a_while_only() -> None:
    client, server, codec = Sender(), Sender(), spdy_ports()
    for n in range(RESETS_LIMIT + 1):
        stream = 2 * n + 1
        codec.from_client(client.opened(stream, streamtype="data", port="80", requestid=str(n)))
        codec.from_upstream(server.replied(stream))
        assert codec.from_client(reset(stream)).events == (PortClosed(n + 1, Direction.TO_POD, reset=True),)
    assert codec.from_upstream(data(3, b"late")).events == (PortData(2, b"late", Direction.FROM_POD),)
    assert codec.from_upstream(reset(1)).events == ()
    with pytest.raises(Unreadable, match="stream 1 is not open"):
        codec.from_upstream(data(1, b"too late"))


def test_rewritten_payload_leaves_in_frames_of_its_own() -> None:
    codec = opened(Shouting())
    assert codec.from_upstream(data(STDOUT, b"a secret b\nno line y")) == Passed(
        data(STDOUT, b"A  B\n"), (ChannelData(Channel.STDOUT, b"A  B\n"),)
    )
    assert codec.from_upstream(data(STDOUT, b"et")) == Passed()
    assert codec.from_upstream(data(STDOUT, b"", FIN)) == Passed(
        data(STDOUT, b"NO LINE YET", FIN), (ChannelData(Channel.STDOUT, b"NO LINE YET"), ChannelClosed(Channel.STDOUT))
    )


def test_channels_are_rewritten_each_by_itself_and_what_the_client_sends_is_not() -> None:
    codec = opened(Shouting())
    assert codec.from_upstream(data(STDOUT, b"out ") + data(STDERR, b"err\n") + data(STDOUT, b"put\n")).data == (
        data(STDERR, b"ERR\n") + data(STDOUT, b"OUT PUT\n")
    )
    assert codec.from_upstream(data(1, b"why", FIN)).data == data(1, b"WHY", FIN)
    typed = data(STDIN, b"a secret\n", FIN)
    assert codec.from_client(typed) == Passed(
        typed, (ChannelData(Channel.STDIN, b"a secret\n"), ChannelClosed(Channel.STDIN))
    )


def test_frames_that_carry_no_text_stay_as_they_are_when_text_is_rewritten() -> None:
    session, codec = Exec(), spdy_channels(Shouting())
    codec.from_client(session.opening())
    frames = session.replies() + ping(2) + settings((4, 5)) + data(STDIN, b"", FIN) + reset(CHANNELS[Channel.RESIZE])
    assert b"".join(codec.from_upstream(bytes([byte])).data for byte in frames) == frames


def test_what_is_held_back_leaves_before_a_reset() -> None:
    codec = opened(Shouting())
    codec.from_upstream(data(STDOUT, b"so far"))
    assert codec.from_upstream(reset(STDOUT)) == Passed(
        data(STDOUT, b"SO FAR") + reset(STDOUT),
        (ChannelData(Channel.STDOUT, b"SO FAR"), ChannelClosed(Channel.STDOUT, reset=True)),
    )


def test_what_is_held_back_leaves_before_the_api_server_goes_away() -> None:
    # Nobody reads what comes after it: spdystream stops there.
    codec = opened(Shouting())
    codec.from_upstream(data(STDOUT, b"so far"))
    assert codec.from_upstream(go_away(9)) == Passed(
        data(STDOUT, b"SO FAR") + go_away(9), (ChannelData(Channel.STDOUT, b"SO FAR"),)
    )


def test_what_is_held_back_leaves_when_it_is_asked_for() -> None:
    codec = opened(Shouting())
    codec.from_upstream(data(STDOUT, b"$ "))
    assert codec.flush(Channel.STDOUT) == Passed(data(STDOUT, b"$ "), (ChannelData(Channel.STDOUT, b"$ "),))
    assert codec.flush(Channel.STDOUT) == Passed()
    assert opened().flush(Channel.STDOUT) == Passed()


def test_nothing_is_put_on_a_stream_that_has_ended() -> None:
    codec = opened(Shouting())
    codec.from_upstream(data(STDOUT, b"held"))
    codec.from_client(reset(STDOUT))
    assert codec.flush(Channel.STDOUT) == Passed()


def test_a_reset_of_the_client_does_not_lift_the_rewriting() -> None:
    codec = opened(Shouting())
    codec.from_client(reset(STDOUT))
    assert codec.from_upstream(data(STDOUT, b"the secret\n")).data == data(STDOUT, b"THE \n")


def test_half_a_frame_is_held_back_while_text_is_rewritten() -> None:
    codec = opened(Shouting())
    frame = data(STDOUT, b"secret\n")
    assert codec.from_upstream(frame[:-1]) == Passed()
    # Nothing stands in the middle of a frame, so that this may be put in between.
    assert codec.flush(Channel.STDERR) == Passed()
    assert codec.from_upstream(frame[-1:]).data == data(STDOUT, b"\n")


def test_a_large_frame_is_rewritten_in_pieces() -> None:
    codec = opened(Shouting())
    text = (b"x" * 99 + b"\n") * 3000
    frame = data(STDOUT, text, FIN)
    passed = [codec.from_upstream(frame[at : at + 5000]) for at in range(0, len(frame), 5000)]
    out = b"".join(one.data for one in passed)
    # A piece, the line that was held back, and the heads of two frames.
    assert max(len(one.data) for one in passed) <= PIECE + 100 + 16
    again = opened()
    assert merged(list(again.from_upstream(out).events)) == [
        ChannelData(Channel.STDOUT, text.upper()),
        ChannelClosed(Channel.STDOUT),
    ]


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


def typed_into() -> tuple[SessionCodec, Typed]:
    typing = Typed()
    codec = spdy_channels(None, typing)
    Exec().open_in(codec)
    return codec, typing


def test_what_is_typed_goes_on_in_frames_made_anew_and_the_rest_passes() -> None:
    codec, typing = typed_into()
    passed = codec.from_client(data(STDIN, b"ls!rm") + ping(1) + data(STDIN, b"x", FIN) + window(1, 10))
    assert passed == Passed(data(STDIN, b"ls") + ping(1) + window(1, 10), (ChannelData(Channel.STDIN, b"ls"),))
    with pytest.raises(Unreadable, match="after its end"):
        codec.from_client(data(STDIN, b"more"))
    assert codec.type(typing.held, ends=True) == Passed(
        data(STDIN, b"!rmx", FIN), (ChannelData(Channel.STDIN, b"!rmx"), ChannelClosed(Channel.STDIN))
    )


def test_the_end_of_what_is_typed_passes_where_nothing_waits() -> None:
    codec, _ = typed_into()
    assert codec.from_client(data(STDIN, b"ls", FIN)) == Passed(
        data(STDIN, b"ls", FIN), (ChannelData(Channel.STDIN, b"ls"), ChannelClosed(Channel.STDIN))
    )
    assert codec.from_client(data(CHANNELS[Channel.RESIZE], b"{}")) == Passed(
        data(CHANNELS[Channel.RESIZE], b"{}"), (ChannelData(Channel.RESIZE, b"{}"),)
    )


def test_nothing_more_is_typed_on_a_stream_that_was_broken_off() -> None:
    codec, _ = typed_into()
    codec.from_client(data(STDIN, b"!"))
    assert codec.from_client(reset(STDIN)).data == reset(STDIN)
    assert codec.type(b"!", ends=False) == Passed()
    untouched, _ = typed_into()
    assert untouched.type(b"x", ends=False) == Passed()
    assert opened().type(b"x", ends=False) == Passed()
    assert spdy_ports().type(b"x", ends=True) == Passed()


@pytest.mark.parametrize("size", [1, 3, 8])
def test_how_a_client_is_cut_does_not_change_what_goes_on(size: int) -> None:
    sent = data(STDIN, b"l" * 50) + ping(1) + data(STDIN, b"s!held") + data(STDIN, b"held", FIN)
    codec, typing = typed_into()
    passed = [codec.from_client(sent[at : at + size]) for at in range(0, len(sent), size)]
    typed = [event for one in passed for event in one.events if isinstance(event, ChannelData)]
    assert b"".join(event.data for event in typed) == b"l" * 50 + b"s"
    assert typing.held == b"!heldheld"
    assert merged([event for one in passed for event in one.events]) == [ChannelData(Channel.STDIN, b"l" * 50 + b"s")]


def test_pings_of_the_clients_can_be_answered_in_the_pods_place() -> None:
    codec = opened(Shouting())
    assert codec.pong(ping(7)) == ping(7)
    assert codec.pong(ping(8)) == b""
    assert codec.pong(ping(7) + ping(9)) == ping(7) + ping(9)
    assert codec.pong(ping(7) + ping(9)[:-1]) == b""
    assert codec.pong(b"") == b""
    codec.from_client(ping(7)[:5])
    assert codec.pong(ping(7)) == b"", "in the middle of a frame it is something else"


def test_where_nothing_is_rewritten_the_gate_has_a_word_between_frames_alone() -> None:
    codec = opened()
    assert codec.may_interject
    codec.from_upstream(data(STDOUT, b"half")[:9])
    assert not codec.may_interject
    assert opened(Shouting()).may_interject
