"""The lines typed into one exec or attach: what waits, what ends it, and what its client is told then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from narrowgate.core.masking.stream_text import StreamMasker
from narrowgate.core.remote_command import TerminalSizes
from narrowgate.core.stream_events import Channel, ChannelData, StreamEvent
from narrowgate.core.typed_lines import Found, LineAsked, LineGuard, LineMet, Passing, line_watch
from narrowgate.proxy.session_relay import LineRefused
from narrowgate.wire.stream_events import Rewrite
from narrowgate.wire.unreadable import Unreadable

SETTLE_SECONDS: Final = 0.1
"""How long the end of a line waits for what its keys fetch to be shown: nobody notices, and a shell draws sooner."""

_SHOWN: Final = (Channel.STDOUT, Channel.STDERR)

Ask = Callable[[LineAsked, str, Callable[[str], None]], Awaitable[str]]
"""Asks people about a line, which they are shown as this text, and says in between what its writer is to be told. Empty
once they have said yes and it may be entered; else why the session ends. Raises nothing but cancellation.
"""


class Masks(Rewrite, Protocol):
    """What masks a session (`session_masks`)."""

    def of_input(self) -> StreamMasker:
        """What masks what is typed, for those who are shown it. Raises Unreadable."""
        ...


class Hands(Protocol):
    """What a session is held by (`session_relay.SessionRelay`)."""

    def let_type(self) -> None:
        """Send what was kept back of what was typed and may go on now (`SessionLines.let_go`)."""
        ...

    def say(self, channel: Channel) -> None:
        """Send what is to be told on a channel (`SessionLines.flush`)."""
        ...

    def refuse(self, why: str) -> None:
        """End the session at a line."""
        ...


class SessionLines:
    """See `session_relay.Lines`. It is the rewriter and the `Typing` of its session, too: that is how lines are kept
    back, and how the client is told.
    """

    def __init__(self, guards: Sequence[LineGuard], masks: Masks | None, ask: Ask, *, has_terminal: bool) -> None:
        """`masks` are what rewrites the session besides."""
        self._watch = line_watch(guards, has_terminal=has_terminal)
        self._masks = masks
        self._ask = ask
        self._sizes = TerminalSizes()
        self._shown_on = Channel.STDOUT if has_terminal else Channel.STDERR
        self._words: dict[Channel, bytes] = {}
        self._found: Found | None = None
        """What is held back now."""
        self._is_found = asyncio.Event()

    def __call__(self, channel: Channel, data: bytes) -> bytes:
        """See `Rewrite`."""
        return data if self._masks is None else self._masks(channel, data)

    def flush(self, channel: Channel) -> bytes:
        """See `Rewrite`."""
        rest = b"" if self._masks is None else self._masks.flush(channel)
        return rest + self._words.pop(channel, b"")

    def typed(self, data: bytes) -> bytes:
        """See `Typing`. Raises LineRefused."""
        return self._passing(self._watch.typed(data)).data

    def ended(self) -> bool:
        """See `Typing`. Raises LineRefused."""
        return self._passing(self._watch.ended()).ends

    def let_go(self) -> Passing:
        """See `session_relay.Lines`. Raises LineRefused."""
        return self._passing(self._watch.go_on())

    def judge(self, events: Sequence[StreamEvent]) -> None:
        """See `session_relay.Lines`. Raises LineRefused."""
        for event in events:
            if not isinstance(event, ChannelData):
                continue
            if event.channel is Channel.RESIZE:
                for size in self._sizes.feed(event.data):
                    self._watch.resized(size.width)
            elif event.channel in _SHOWN and (met := self._watch.written(event.data)) is not None:
                raise LineRefused(_ends(met))

    async def follow(self, hands: Hands) -> None:
        """See `session_relay.Lines`."""
        while True:
            await self._is_found.wait()
            self._is_found.clear()
            if not isinstance(self._found, LineAsked):
                await asyncio.sleep(SETTLE_SECONDS)
            elif why := await self._asked(self._found, hands):
                hands.refuse(why)
                return
            hands.let_type()

    def tell(self, why: str) -> tuple[Channel, bytes]:
        """See `session_relay.Lines`."""
        # As `metav1.Status`, what remotecommand ends with since v4: kubectl prints its message.
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 403}
        status |= {"reason": "Forbidden", "message": f"narrowgate: {why}"}
        self._words = {self._shown_on: _notice(why)}
        return self._shown_on, json.dumps(status).encode()

    def _passing(self, passing: Passing) -> Passing:
        if isinstance(passing.found, LineMet):
            raise LineRefused(_ends(passing.found))
        if passing.found is not None:
            self._found = passing.found
            self._is_found.set()
        return passing

    async def _asked(self, line: LineAsked, hands: Hands) -> str:
        def say(words: str) -> None:
            self._words[self._shown_on] = _notice(words)
            hands.say(self._shown_on)

        try:
            text = self._masked(line.text)
        except Unreadable as error:
            return str(error)
        return await self._ask(line, text, say)

    def _masked(self, text: str) -> str:
        """The line as others may see it."""
        if self._masks is None:
            return text
        masker = self._masks.of_input()
        return (masker.feed(text.encode()) + masker.finish()).decode("utf-8", "replace")


def _ends(met: LineMet) -> str:
    return f"rule {met.rule} ends sessions at {met.why}"


def _notice(words: str) -> bytes:
    return f"\r\nnarrowgate: {words}\r\n".encode()
