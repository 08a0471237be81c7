"""The masks of one exec or attach: what its codec asks to rewrite what a program writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from narrowgate.core.masking.known_values import KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.patterns import TextPatterns
from narrowgate.core.masking.stream_text import StreamMasker
from narrowgate.wire.stream_events import Channel

_SHOWN: Final = (Channel.STDOUT, Channel.STDERR)
"""What somebody may sit in front of. How a program ended is said once, and whole."""


class SessionMasks:
    """See `Rewrite` and `session_relay.Masks`."""

    def __init__(self, patterns: TextPatterns, values: ValueMasker, known: Callable[[], KnownValues]) -> None:
        """`known` says which values of Secrets are masked now. It may raise Unreadable: then nobody knows."""
        self._patterns = patterns
        self._values = values
        self._known = known
        self._maskers: dict[Channel, StreamMasker] = {}
        self._counts: dict[str, int] = {}
        self.is_pausing = False

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        """See `Rewrite`."""
        return self._masker(channel).feed(data)

    def flush(self, channel: Channel) -> bytes:
        """See `Rewrite`."""
        masker = self._masker(channel)
        return masker.release() if self.is_pausing else masker.finish()

    def of_input(self) -> StreamMasker:
        """What masks what is sent to the program, for its recording."""
        return StreamMasker(self._patterns, self._values, {}, self._known())

    def waiting(self) -> Iterator[Channel]:
        """See `session_relay.Masks`."""
        return (channel for channel in _SHOWN if channel in self._maskers and self._maskers[channel].holds_back)

    def is_short(self, channel: Channel) -> bool:
        """See `session_relay.Masks`."""
        return self._masker(channel).is_short

    def told(self) -> tuple[str, ...]:
        """What was masked so far: `policy/mask=count`, sorted."""
        return tuple(f"{rule}={count}" for rule, count in sorted(self._counts.items()))

    def _masker(self, channel: Channel) -> StreamMasker:
        masker = self._maskers.get(channel)
        if masker is None:
            masker = StreamMasker(self._patterns, self._values, self._counts, self._known())
            self._maskers[channel] = masker
        else:
            masker.known = self._known()
        return masker
