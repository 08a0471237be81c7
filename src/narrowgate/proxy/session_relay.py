"""After 101, where somebody looks on: what passes is read, what must not leave is masked, each side slowed down by the
other. What nobody has to read goes through `splice`.

What cannot be read ends the session: neither side gets any more of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from narrowgate.core.typed_lines import Passing
from narrowgate.proxy.side import Side
from narrowgate.wire.stream_events import Channel, Passed, SessionCodec, StreamEvent
from narrowgate.wire.unreadable import Unreadable

RELEASE_SECONDS: Final = 0.02
"""How long the beginning of a line is held back for its end. Nobody notices it, and what a program writes at once is
here by then.
"""


QUIET_SECONDS: Final = 1.0
"""How long nothing must have come from the pod before the client's signs of life go on to it: what it sends keeps the
way open by itself, and by then all of it is here.
"""


MOST_PONGS: Final = 4096
"""Bytes of answers to signs of life that wait for a place between frames; more are not answered."""


class Masks(Protocol):
    """What the codec's rewriter is told and asked besides (`proxy.session_masks`)."""

    is_pausing: bool
    """Whether what is flushed is to go on: a prompt, not an end."""

    def waiting(self) -> Iterable[Channel]:
        """Channels of which something is held back that can be let go."""
        ...

    def is_short(self, channel: Channel) -> bool:
        """Whether that may be let go at once."""
        ...


class Recorder(Protocol):
    """Keeps what passes, before it passes."""

    def keep(self, events: tuple[StreamEvent, ...]) -> None:
        """Have these kept. Raises Unrecorded where they cannot be; then they do not pass."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether nothing more should be read until `catch_up` has returned."""
        ...

    async def catch_up(self) -> None:
        """Wait for the disk. Raises Unrecorded."""
        ...


class Lines(Protocol):
    """Looks at what is typed into the session (`proxy.session_lines`)."""

    def judge(self, events: Sequence[StreamEvent]) -> None:
        """Look at what passes. Raises LineRefused where the session must end with it."""
        ...

    def let_go(self) -> Passing:
        """What of what is kept back goes on now. Raises LineRefused."""
        ...

    async def follow(self, hands: SessionRelay) -> None:
        """See to what is kept back, for as long as the session goes on."""
        ...

    def tell(self, why: str) -> tuple[Channel, bytes]:
        """Have the client told: this channel is to be flushed for it, and this `metav1.Status` to be the last word."""
        ...


class LineRefused(Exception):
    """What was typed may not be; the message says by which rule."""


class Unrecorded(Exception):
    """What passes cannot be kept; the message says why."""


class SessionRelay:
    """Two transports joined by a codec. `run` ends when either side has; `cut` ends both at once."""

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        codec: SessionCodec,
        masks: Masks | None = None,
        recorder: Recorder | None = None,
        lines: Lines | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._behind: asyncio.Future[None] = loop.create_future()
        self._codec = codec
        self._masks = masks
        self._recorder = recorder
        self._lines = lines
        self._release: asyncio.TimerHandle | None = None
        self._loop = loop
        self._heard_at = loop.time() - QUIET_SECONDS
        self._pongs = b""
        self.failed = ""
        """Why it was broken off; empty where it was not."""
        self.refused = ""
        """What was typed that ended it; empty where nothing did."""
        self.client = Side(client, self._ended, self._from_client)
        self.upstream = Side(upstream, self._ended, self._from_upstream)
        self.client.join(self.upstream)

    async def run(self, from_client: bytes, from_upstream: bytes) -> None:
        """Pass on what had already arrived, then everything else."""
        if from_client:
            self.client.data_received(from_client)
        if from_upstream:
            self.upstream.data_received(from_upstream)
        for side in (self.client, self.upstream):
            if side.transport.is_closing():
                # It ended before it was handed over: nobody tells its new protocol any more.
                side.connection_lost(None)
        async with asyncio.TaskGroup() as group:
            following = None if self._lines is None else group.create_task(self._lines.follow(self))
            try:
                while not self._ended.done():
                    await self._until_behind_or_ended()
            finally:
                if following is not None:
                    following.cancel()
                if self._release is not None:
                    self._release.cancel()
                self.client.transport.close()
                self.upstream.transport.close()
                self._keep(self._codec.finish())

    async def _until_behind_or_ended(self) -> None:
        await asyncio.wait((self._ended, self._behind), return_when=asyncio.FIRST_COMPLETED)
        if self._recorder is None or not self._behind.done():
            return
        try:
            await self._recorder.catch_up()
        except Unrecorded as error:
            self._fail(str(error))
        self._behind = asyncio.get_running_loop().create_future()
        for side in (self.client, self.upstream):
            side.hold(held=False)

    def end(self, status: bytes) -> None:
        """End both sides because somebody says so. The client is told where its protocol can tell it, by `status`: a
        `metav1.Status` as JSON. Asked a second time, it does not wait for the client to hear it.
        """
        told = None if self.client.transport.is_closing() else self._passed(lambda: self._codec.last_word(status))
        if told is None or not told.data:
            self.cut()
            return
        self.upstream.send_on(told.data)
        self.upstream.transport.abort()
        self.client.transport.close()

    def cut(self) -> None:
        """End both sides at once."""
        self.client.transport.abort()
        self.upstream.transport.abort()

    @property
    def bytes_out(self) -> int:
        """Bytes to the client."""
        return self.upstream.passed

    # --- what passes

    def _from_client(self, data: bytes) -> None:
        if data and not self._answered(data):
            self._send_to_pod(lambda: self._judged(self._codec.from_client(data)))

    def _send_to_pod(self, read: Callable[[], Passed]) -> None:
        """Send on what the client has typed, once it is kept. Where nobody reads it any more, because what is behind
        has closed, it is neither: what is recorded of the client is what was sent.
        """
        if not self.client.is_heard:
            return
        passed = self._passed(read)
        if passed is not None and passed.data:
            self.client.send(passed.data)

    def _answered(self, data: bytes) -> bool:
        """Whether this is a sign of life that is answered here, because what the pod wrote before is still to be read.

        Upstream it would meet whoever has written everything and closed; the API server takes the failure of that for
        the end of both ways, and what it still had for the client would be lost.
        """
        pong = self._codec.pong(data)
        if not pong or self.failed:
            return False
        if self._loop.time() - self._heard_at > QUIET_SECONDS and not self.upstream.is_behind:
            return False
        if len(self._pongs) < MOST_PONGS:
            self._pongs += pong
        self._interject()
        return True

    def _from_upstream(self, data: bytes) -> None:
        if not data:
            self._let_go()
            return
        self._heard_at = self._loop.time()
        passed = self._passed(lambda: self._judged(self._codec.from_upstream(data)))
        if self._masks is not None and passed is not None and self._release is None:
            waiting = list(self._masks.waiting())
            if waiting:
                soon = all(self._masks.is_short(channel) for channel in waiting)
                loop = asyncio.get_running_loop()
                self._release = loop.call_later(0 if soon else RELEASE_SECONDS, self._let_go)
        if self._pongs and passed is not None and self._codec.may_interject:
            passed, self._pongs = Passed(passed.data + self._pongs, passed.events), b""
        if passed is not None:
            self.upstream.send_on(passed.data)

    def _interject(self) -> None:
        """Send what answers signs of life, as soon as it can follow what was sent before."""
        if self._pongs and self._codec.may_interject:
            pongs, self._pongs = self._pongs, b""
            self.upstream.send_on(pongs)

    def _let_go(self) -> None:
        """Send what is held back of lines that have not ended."""
        self._release = None
        if self._masks is None or self.failed or self.client.transport.is_closing():
            return
        for channel in list(self._masks.waiting()):
            passed = self._passed(partial(self._released, channel))
            if passed is None:
                return
            self.upstream.send_on(passed.data)

    def _released(self, channel: Channel) -> Passed:
        return self._judged(self._flushed(channel))

    def _flushed(self, channel: Channel) -> Passed:
        if self._masks is None:
            return Passed()
        self._masks.is_pausing = True
        try:
            return self._codec.flush(channel)
        finally:
            self._masks.is_pausing = False

    def _passed(self, read: Callable[[], Passed]) -> Passed | None:
        """What may be sent on of what came, once it is kept; None where the session is over."""
        if self.failed:
            return None
        try:
            passed = read()
            if passed.events and self._recorder is not None:
                self._recorder.keep(passed.events)
        except LineRefused as error:
            self.refuse(str(error))
            return None
        except (Unreadable, Unrecorded) as error:
            self._fail(str(error))
            return None
        if self._recorder is not None and self._recorder.is_behind and not self._behind.done():
            self._behind.set_result(None)
            for side in (self.client, self.upstream):
                side.hold(held=True)
        return passed

    def _judged(self, passed: Passed) -> Passed:
        """What came, once nothing in it is a line that may not be typed. Raises LineRefused."""
        if self._lines is not None:
            self._lines.judge(passed.events)
        return passed

    def let_type(self) -> None:
        """Send on what was kept back of what the client typed, and may go on now."""
        self._send_to_pod(self._let_typed)

    def _let_typed(self) -> Passed:
        if self._lines is None:
            return Passed()
        passing = self._lines.let_go()
        return self._codec.type(passing.data, ends=passing.ends)

    def say(self, channel: Channel) -> None:
        """Send the client what it is to be told on a channel, in between what the pod writes there."""
        passed = self._passed(lambda: self._codec.flush(channel) if self._masks is None else self._flushed(channel))
        if passed is not None:
            self.upstream.send_on(passed.data)

    def refuse(self, why: str) -> None:
        """End the session at a line: nothing of it goes to the pod any more, and the client is told."""
        if self.failed:
            return
        self.upstream.transport.abort()
        if self._lines is not None:
            channel, status = self._lines.tell(why)
            for said in (partial(self._codec.flush, channel), partial(self._codec.last_word, status)):
                passed = self._passed(said)
                if passed is not None:
                    self.upstream.send_on(passed.data)
        self.refused = self.failed = why
        self.client.transport.close()

    def _fail(self, why: str) -> None:
        self.failed = self.failed or why
        self.cut()

    def _keep(self, events: tuple[StreamEvent, ...]) -> None:
        """The last of it: nothing of that passes any more."""
        if not events or self._recorder is None or self.failed:
            return
        try:
            self._recorder.keep(events)
        except Unrecorded as error:
            self.failed = str(error)
