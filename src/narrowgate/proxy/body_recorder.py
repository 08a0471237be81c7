"""The body of a log or a watch, recorded before it leaves: between whatever relays it and the client.

It comes no faster than its recorder keeps up: while too much waits for the disk, nothing is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from narrowgate.core.recording import BodyData
from narrowgate.proxy.client import Source
from narrowgate.proxy.recordings import UNSYNCED_LIMIT, LiveRecording
from narrowgate.proxy.session_relay import Unrecorded
from narrowgate.proxy.transform import Client
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import Framing


class Brake:
    """What slows a source down: a slow client, and a recorder that is behind; both may at once."""

    def __init__(self, source: Source) -> None:
        self._source: Source | None = source
        self._is_slow = False
        self._is_behind = False

    def pause(self) -> None:
        """The client does not keep up."""
        self._turn(slow=True, behind=self._is_behind)

    def resume(self) -> None:
        """The client takes more."""
        self._turn(slow=False, behind=self._is_behind)

    def hold(self) -> None:
        """The recorder does not keep up."""
        self._turn(slow=self._is_slow, behind=True)

    def let_go(self) -> None:
        """The recorder has caught up."""
        self._turn(slow=self._is_slow, behind=False)

    def come_off(self) -> None:
        """The source is not this answer's any more."""
        self._source = None

    def _turn(self, *, slow: bool, behind: bool) -> None:
        before, now = self._is_slow or self._is_behind, slow or behind
        self._is_slow, self._is_behind = slow, behind
        if self._source is None or before == now:
            return
        if now:
            self._source.pause()
        else:
            self._source.resume()


class BodyRecorder:
    """One recording. `through` is asked once for where the body goes."""

    def __init__(self, live: LiveRecording, limit: int = UNSYNCED_LIMIT) -> None:
        """`limit` is how many bytes may wait for the disk before nothing more is read."""
        self._live = live
        self._limit = limit
        self._brake: Brake | None = None
        self._catching_up: asyncio.Future[None] | None = None
        self._problem = ""

    @property
    def name(self) -> str:
        """Under which the recording will be kept."""
        return self._live.name

    def through(
        self, client: Client, framing: Framing, fail: Callable[[str], None], *, head_first: bool = False
    ) -> RecordedBody:
        """Where a body of this framing goes instead of to the client; `fail` breaks the answer off. `head_first`: the
        first thing that is written is the answer's head.
        """
        return RecordedBody(client, framing, self.keep, fail, head_first=head_first)

    def keep(self, payload: bytes) -> None:
        """Have this kept. Raises Unrecorded: then it does not pass."""
        if self._problem:
            raise Unrecorded(self._problem)
        try:
            self._live.write(BodyData(payload))
        except RecordingUnwritable as error:
            raise Unrecorded(f"the answer cannot be recorded: {error}") from None
        if self._live.file.waiting > self._limit and self._catching_up is None and self._brake is not None:
            self._catching_up = asyncio.get_running_loop().create_future()
            self._brake.hold()
            self._live.catch_up(self._limit, self._caught_up)

    def slowing(self, source: Source) -> Brake:
        """What the client is to slow down in the place of the source; the recorder does, too."""
        self._brake = Brake(source)
        return self._brake

    async def caught_up(self) -> None:
        """Wait until no more is behind than may be: whoever has the source next must not find it held. Raises
        Unrecorded where it cannot be kept.
        """
        if self._catching_up is not None:
            await self._catching_up
        if self._problem:
            raise Unrecorded(self._problem)

    def _caught_up(self, problem: str) -> None:
        waiting, self._catching_up = self._catching_up, None
        if problem:
            # What comes next is not passed on.
            self._problem = f"the answer cannot be recorded: {problem}"
        if self._brake is not None:
            self._brake.let_go()
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def end(self, reason: str) -> None:
        """The answer is over. Raises Unrecorded where its end cannot be kept now."""
        try:
            await self._live.end(reason)
        except RecordingUnwritable as error:
            raise Unrecorded(str(error)) from None


class RecordedBody:
    """Takes the raw body of an answer, chunk lines included, and sends it on once its payload is kept."""

    def __init__(
        self,
        client: Client,
        framing: Framing,
        keep: Callable[[bytes], None],
        fail: Callable[[str], None],
        *,
        head_first: bool,
    ) -> None:
        """See `BodyRecorder.through`."""
        self._client = client
        self._keep = keep
        self._fail = fail
        self._awaits_head = head_first
        self._payload: list[bytes] = []
        self._body: Body | None = None if framing.until_close else follow(framing, strict=False, payload=self._payload)
        self._failed = False

    @property
    def must_close(self) -> bool:
        """The client's."""
        return self._client.must_close

    @must_close.setter
    def must_close(self, value: bool) -> None:
        self._client.must_close = value

    def write(self, data: bytes) -> None:
        """Send this on, unless it cannot be kept: then the answer is broken off, and none of it passes."""
        if self._failed:
            return
        if self._awaits_head:
            self._awaits_head = False
        else:
            try:
                self._kept(data)
            except Unrecorded as error:
                self._failed = True
                self._fail(str(error))
                return
        self._client.write(data)

    def _kept(self, data: bytes) -> None:
        if self._body is None:
            self._keep(data)
            return
        self._body.feed(data)
        payload = b"".join(self._payload)
        self._payload.clear()
        if payload:
            self._keep(payload)
