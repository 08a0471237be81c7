"""The body of a log or a watch, recorded before it leaves: between whatever relays it and the client."""

from __future__ import annotations

from collections.abc import Callable

from narrowgate.core.recording import BodyData
from narrowgate.proxy.recordings import LiveRecording
from narrowgate.proxy.session_relay import Unrecorded
from narrowgate.proxy.transform import Client
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.wire.bodies import Body, follow
from narrowgate.wire.http1 import Framing


class BodyRecorder:
    """One recording. `through` is asked once for where the body goes."""

    def __init__(self, live: LiveRecording) -> None:
        self._live = live

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
        try:
            self._live.write(BodyData(payload))
        except RecordingUnwritable as error:
            raise Unrecorded(f"the answer cannot be recorded: {error}") from None

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
