"""One answer on its way to the client: an ordinary one byte for byte, or masked; a session by what reads it. Recorded,
where it is.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from narrowgate.core import status
from narrowgate.core.status import Status
from narrowgate.proxy.body_recorder import BodyRecorder, Brake
from narrowgate.proxy.exchange import Exchange, Response
from narrowgate.proxy.masking import AnswerMasks
from narrowgate.proxy.session_lines import SessionLines
from narrowgate.proxy.session_masks import SessionMasks
from narrowgate.proxy.session_recorder import SessionRecorder
from narrowgate.proxy.session_relay import SessionRelay, Unrecorded
from narrowgate.proxy.splice import Splice
from narrowgate.proxy.transform import MaskedSink
from narrowgate.proxy.upstream import Sink, UpstreamBroken, UpstreamConnection
from narrowgate.wire.http1 import CHUNKED, LAST_CHUNK, ResponseHead, write_response_head, write_switching_protocols
from narrowgate.wire.stream_events import SessionCodec

OVER = "the session ended"
"""How a recording says that nothing special happened."""


class Session(NamedTuple):
    """What reads a session, masks what comes out of it, and records it."""

    codec: SessionCodec
    masks: SessionMasks | None
    recorder: SessionRecorder | None
    lines: SessionLines | None


class Answering:
    """One answer on its way to the client."""

    def __init__(
        self,
        exchange: Exchange,
        connection: UpstreamConnection,
        head: ResponseHead,
        recorder: BodyRecorder | None = None,
        *,
        watches_json: bool,
        masks: AnswerMasks | None,
    ) -> None:
        self._recorder = recorder
        self._client = exchange.answers_to
        self._joins = exchange.client
        self._connection = connection
        self._head = head
        self._masks = masks
        self._sink: MaskedSink | None = None
        self._watches_json = watches_json and head.field(b"content-type").startswith(b"application/json")
        self._ended_because = ""
        self._end_code = 0
        self._joined: Splice | SessionRelay | None = None

    async def relay(self) -> Response:
        """Relay an ordinary answer, byte for byte, or masked; recorded where it is."""
        if self._recorder is None:
            return await self._relay()
        failed = ""
        try:
            response = await self._relay()
            failed = response.failed
        except BaseException:
            failed = "the answer was broken off"
            raise
        finally:
            failed = await _recorded(self._recorder, self._ended_because, failed)
        failed = "" if self._ended_because else failed
        return msgspec.structs.replace(response, recording=self._recorder.name, failed=failed)

    async def _relay(self) -> Response:
        client, connection = self._client, self._connection
        sink = self._begin()
        plain: Sink = client
        brake: Brake | None = None
        if self._recorder is not None:
            plain = self._recorder.through(client, self._head.framing, connection.break_off)
            brake = self._recorder.slowing(connection)
        client.bind(brake or connection)
        try:
            await connection.relay_to(plain if sink is None else sink)
            if sink is not None:
                sink.finish()
            if self._recorder is not None:
                await self._recorder.caught_up()
            # The connection stays ours until the client has caught up: a slow client may have paused it, and `end` may
            # still break it off. Given back sooner, both would hit whoever has it next.
            await client.flushed()
        except (UpstreamBroken, Unrecorded) as error:
            if sink is not None and not sink.is_begun and not self._ended_because:
                # Nothing has left: the caller is told in a Status.
                raise
            return self._broken_off(str(error))
        finally:
            client.bind(None)
            if brake is not None:
                brake.come_off()
        connection.release()
        return self._done()

    def _begin(self) -> MaskedSink | None:
        """Send the head, unless what is masked is to be told with it; what masks the body, where it is masked."""
        client, head = self._client, self._head
        if self._masks is not None and not head.framing.empty:
            fail = self._connection.break_off
            through = self._recorder.through(client, CHUNKED, fail, head_first=True) if self._recorder else client
            self._sink = self._masks.sink(through, head, fail)
            return self._sink
        if head.framing.until_close:
            client.must_close = True
        client.write(write_response_head(head, close=client.must_close))
        return None

    def _done(self, failed: str = "") -> Response:
        return Response(
            code=self._head.status,
            bytes_out=self._connection.received if self._sink is None else self._sink.sent,
            failed=failed,
            ended_because=self._ended_because,
            masked=self._masks.told() if self._masks is not None else (),
            filtered=self._masks.reduced() if self._masks is not None else (),
        )

    async def splice(self, session: Session | None) -> Response:
        """Switch protocols and pass bytes both ways until one side ends; through a codec, where somebody looks on."""
        client, connection = self._joins, self._connection
        client.must_close = True
        ends = client.transport, connection.transport
        if session is None:
            self._joined = joined = Splice(*ends)
            client.write(write_switching_protocols(self._head))
            await joined.run(client.take_over(joined.client), connection.take_over(joined.upstream))
            return Response(code=101, bytes_out=joined.bytes_out, ended_because=self._ended_because)
        self._joined = relay = SessionRelay(*ends, session.codec, session.masks, session.recorder, session.lines)
        try:
            client.write(write_switching_protocols(self._head))
            await relay.run(client.take_over(relay.client), connection.take_over(relay.upstream))
        finally:
            self._ended_because = self._ended_because or relay.refused
            failed = await _recorded(session.recorder, self._ended_because, relay.failed)
        return Response(
            code=101,
            bytes_out=relay.bytes_out,
            failed="" if self._ended_because else failed,
            ended_because=self._ended_because,
            masked=session.masks.told() if session.masks is not None else (),
            recording=session.recorder.name if session.recorder is not None else "",
        )

    def end(self, reason: str, code: int) -> None:
        """End this answer now: the permission is gone."""
        self._ended_because, self._end_code = reason, code
        if isinstance(self._joined, SessionRelay):
            self._joined.end(status.to_json(status.failure(code, reason)))
        elif self._joined is not None:
            self._joined.cut()
        else:
            self._connection.break_off(reason)

    def _broken_off(self, reason: str) -> Response:
        """The answer cannot be completed. A watch is told why in its own words; everything else just breaks."""
        client, connection = self._client, self._connection
        connection.abort()
        at_boundary = connection.at_boundary if self._sink is None else self._sink.is_begun and self._sink.at_boundary
        if self._ended_because and self._watches_json and at_boundary:
            client.write(_watch_error(status.failure(self._end_code, self._ended_because)) + LAST_CHUNK)
            client.must_close = True
        else:
            client.abort()
        return self._done("" if self._ended_because else reason)


def written_at_once(exchange: Exchange, head: ResponseHead, whole: bytes, masks: AnswerMasks | None) -> Response:
    """Pass on an answer that is here already, masked where it must be. Raises UpstreamBroken before anything left."""
    client = exchange.answers_to
    told: tuple[str, ...] = ()
    reduced: tuple[str, ...] = ()
    if masks is not None:
        head, whole = masks.whole(head, whole)
        told, reduced = masks.told(), masks.reduced()
    client.write(write_response_head(head, close=client.must_close) + whole)
    return Response(code=head.status, bytes_out=len(whole), masked=told, filtered=reduced)


async def _recorded(recorder: SessionRecorder | BodyRecorder | None, ended_because: str, failed: str) -> str:
    """End the recording, however what it is of ended; what went wrong with either, empty where nothing did."""
    if recorder is not None:
        try:
            await recorder.end(ended_because or failed or OVER)
        except Unrecorded as error:
            return failed or f"the end of the session could not be recorded: {error}"
    return failed


def _watch_error(why: Status) -> bytes:
    """A watch event of type ERROR as a chunk (k8s.io/apimachinery/pkg/watch: its object is a Status), on one line: some
    clients read line by line.
    """
    event = b'{"type":"ERROR","object":%b}\n' % status.to_json(why).rstrip()
    return b"%x\r\n%b\r\n" % (len(event), event)
