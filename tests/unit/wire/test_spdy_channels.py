"""Exec and attach over SPDY: streams are channels by their name, each once, and each goes one way."""

from __future__ import annotations

import pytest
from tests.unit.wire.spdy_by_hand import CHANNELS, FIN, Exec, Sender, data, reset

from narrowgate.wire.spdy_channels import spdy_channels
from narrowgate.wire.stream_events import Channel, ChannelClosed, ChannelData, ChannelOpened
from narrowgate.wire.unreadable import Unreadable

FROM_POD = [Channel.STDOUT, Channel.STDERR, Channel.ERROR]
TO_POD = [Channel.STDIN, Channel.RESIZE]


@pytest.mark.parametrize("channel", Channel)
def test_a_stream_is_the_channel_that_its_header_names(channel: Channel) -> None:
    assert spdy_channels().from_client(Sender().opened(1, streamtype=channel.value)).events == (ChannelOpened(channel),)


@pytest.mark.parametrize("name", ["", "STDIN", "data", "stdin\x00stdout", "stdin "])
def test_a_stream_that_kubelet_would_not_know_is_refused(name: str) -> None:
    with pytest.raises(Unreadable, match="no streamType"):
        spdy_channels().from_client(Sender().opened(1, streamtype=name))


def test_a_stream_without_a_type_is_refused() -> None:
    with pytest.raises(Unreadable, match="no streamType"):
        spdy_channels().from_client(Sender().opened(1, name="stdin"))


def test_a_channel_is_there_once_even_after_it_was_reset() -> None:
    client, codec = Sender(), spdy_channels()
    codec.from_client(client.opened(1, streamtype="stdin") + reset(1))
    with pytest.raises(Unreadable, match="two streams for stdin"):
        codec.from_client(client.opened(3, streamtype="stdin"))


@pytest.mark.parametrize("channel", FROM_POD)
def test_the_client_writes_nothing_where_it_reads(channel: Channel) -> None:
    codec = spdy_channels()
    Exec().open_in(codec)
    assert codec.from_client(data(CHANNELS[channel], b"", FIN)).events == ()
    again = spdy_channels()
    Exec().open_in(again)
    with pytest.raises(Unreadable, match=f"data on {channel.value} goes the wrong way"):
        again.from_client(data(CHANNELS[channel], b"x"))


@pytest.mark.parametrize("channel", TO_POD)
def test_the_pod_writes_nothing_where_it_reads(channel: Channel) -> None:
    codec = spdy_channels()
    Exec().open_in(codec)
    assert codec.from_upstream(data(CHANNELS[channel], b"", FIN)).events == ()
    again = spdy_channels()
    Exec().open_in(again)
    with pytest.raises(Unreadable, match=f"data on {channel.value} goes the wrong way"):
        again.from_upstream(data(CHANNELS[channel], b"x"))


@pytest.mark.parametrize("channel", FROM_POD)
def test_what_ended_is_not_broken_off_as_well(channel: Channel) -> None:
    codec = spdy_channels()
    Exec().open_in(codec)
    assert codec.from_upstream(data(CHANNELS[channel], b"x", FIN)).events == (
        ChannelData(channel, b"x"),
        ChannelClosed(channel),
    )
    assert codec.from_client(reset(CHANNELS[channel])).events == ()


@pytest.mark.parametrize("channel", Channel)
def test_whoever_resets_a_channel_ends_it(channel: Channel) -> None:
    for end in ("from_client", "from_upstream"):
        codec = spdy_channels()
        Exec().open_in(codec)
        assert getattr(codec, end)(reset(CHANNELS[channel])).events == (ChannelClosed(channel, reset=True),)


def test_the_last_word_is_said_on_the_error_channel_and_ends_it() -> None:
    codec = spdy_channels()
    Exec().open_in(codec)
    said = codec.last_word(b'{"status":"Failure"}')
    assert said.data == data(CHANNELS[Channel.ERROR], b'{"status":"Failure"}', FIN)
    assert said.events == (ChannelData(Channel.ERROR, b'{"status":"Failure"}'), ChannelClosed(Channel.ERROR))
    assert codec.last_word(b"twice").data == b""


def test_no_last_word_is_said_in_the_middle_of_a_frame_or_where_nobody_hears_it() -> None:
    assert spdy_channels().last_word(b"x").data == b""
    whole = data(CHANNELS[Channel.STDOUT], b"hello")
    for cut in range(1, len(whole)):
        codec = spdy_channels()
        Exec().open_in(codec)
        codec.from_upstream(whole[:cut])
        assert codec.last_word(b"x").data == b""
    for ended in (data(CHANNELS[Channel.ERROR], b"", FIN), reset(CHANNELS[Channel.ERROR])):
        codec = spdy_channels()
        Exec().open_in(codec)
        codec.from_upstream(ended)
        assert codec.last_word(b"x").data == b""


def test_what_is_rewritten_leaves_in_whole_frames_so_that_a_last_word_can_follow_at_any_time() -> None:
    codec = spdy_channels(Unchanged())
    Exec().open_in(codec)
    codec.from_upstream(data(CHANNELS[Channel.STDOUT], b"hello")[:10])
    assert codec.last_word(b"x").data == data(CHANNELS[Channel.ERROR], b"x", FIN)


class Unchanged:
    """A rewriter that changes nothing."""

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        assert channel
        return data

    def flush(self, channel: Channel) -> bytes:
        assert channel
        return b""
