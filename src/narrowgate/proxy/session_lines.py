"""The lines typed into one exec or attach: what ends it, and what its client is told then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from narrowgate.core.stream_events import Channel, ChannelData, StreamEvent
from narrowgate.core.typed_lines import LineGuard, line_watch
from narrowgate.wire.stream_events import Rewrite

_TYPED: Final = (Channel.STDIN,)
_SHOWN: Final = (Channel.STDOUT, Channel.STDERR)


class SessionLines:
    """See `session_relay.Lines`. It is the rewriter of its session, too: that is how the client is told."""

    def __init__(self, guards: Sequence[LineGuard], masks: Rewrite | None, *, has_terminal: bool) -> None:
        """`masks` are what rewrites the session besides."""
        self._watch = line_watch(guards, has_terminal=has_terminal)
        self._masks = masks
        self._shown_on = Channel.STDOUT if has_terminal else Channel.STDERR
        self._last_words: dict[Channel, bytes] = {}

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        """See `Rewrite`."""
        return data if self._masks is None else self._masks(channel, data)

    def flush(self, channel: Channel) -> bytes:
        """See `Rewrite`."""
        rest = b"" if self._masks is None else self._masks.flush(channel)
        return rest + self._last_words.pop(channel, b"")

    def judge(self, events: Sequence[StreamEvent]) -> str:
        """Why the session must end with these; empty where it may go on."""
        sent = b"".join(event.data for event in events if isinstance(event, ChannelData) and event.channel in _TYPED)
        met = self._watch.typed(sent) if sent else None
        if met is None:
            shown = (one.data for one in events if isinstance(one, ChannelData) and one.channel in _SHOWN)
            met = next((found for data in shown if (found := self._watch.written(data)) is not None), None)
        return "" if met is None else f"rule {met.rule} ends sessions at {met.why}"

    def tell(self, why: str) -> tuple[Channel, ...]:
        """Have the client told; these channels are to be flushed for it, in this order."""
        # As `metav1.Status`, what remotecommand ends with since v4: kubectl prints its message.
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403}
        status |= {"reason": "Forbidden", "message": f"narrowgate: {why}"}
        self._last_words = {
            self._shown_on: f"\r\nnarrowgate: {why}\r\n".encode(),
            Channel.ERROR: json.dumps(status).encode(),
        }
        return self._shown_on, Channel.ERROR
