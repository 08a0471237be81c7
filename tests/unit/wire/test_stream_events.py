"""The words of sessions: Kubernetes' names, and which way each channel goes."""

from __future__ import annotations

from narrowgate.wire.stream_events import Channel, ChannelClosed, Direction, Passed, PortClosed


def test_channels_have_the_names_that_spdy_gives_them() -> None:
    assert [channel.value for channel in Channel] == ["stdin", "stdout", "stderr", "error", "resize"]


def test_the_client_writes_stdin_and_sizes_and_the_pod_everything_else() -> None:
    to_pod = {channel for channel in Channel if channel.direction is Direction.TO_POD}
    assert to_pod == {Channel.STDIN, Channel.RESIZE}


def test_an_end_is_no_reset_and_nothing_is_passed_on_unless_it_is_said() -> None:
    assert not ChannelClosed(Channel.STDIN).reset
    assert not PortClosed(1, Direction.TO_POD).reset
    assert Passed() == Passed(b"", ())
