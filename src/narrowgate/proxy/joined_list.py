"""A list that is asked of the cluster in pieces, on its way to the client as one.

The first piece is asked for as the list was, the others as they were at the version that the first is of: together they
are the list at one version. As long as nothing has left, whatever goes wrong with a piece is the answer; after that the
answer is broken off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from narrowgate.core.accept import JSON
from narrowgate.core.malformed import Malformed
from narrowgate.core.visible import Part
from narrowgate.proxy.client import Answered
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.exchange import Response
from narrowgate.proxy.masking import OK, AnswerMasks
from narrowgate.proxy.reduction import Reduction
from narrowgate.proxy.transform import MaskedSink, content_type, unreadable
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamConnection, UpstreamUnreachable
from narrowgate.wire.http1 import ResponseHead, write_response_head
from narrowgate.wire.joined_answer import JoinedAnswer
from narrowgate.wire.json_spans import Unreadable

REFUSAL_LIMIT: Final = 1024 * 1024
"""Bytes of an answer that is no list: it is a Status, of a few hundred bytes."""

Ask = Callable[[Part, str], Awaitable[tuple[UpstreamConnection, ResponseHead]]]
"""Asks the cluster for a piece, as it was at a version; as it is where that is empty."""


class JoinedList:
    """The answer that several pieces make together."""

    def __init__(self, client: Answered, masks: AnswerMasks, reduction: Reduction, ask: Ask) -> None:
        """`reduction` is the one that `masks` goes by: it is told which piece comes."""
        self._client = client
        self._masks = masks
        self._reduction = reduction
        self._ask = ask
        self._answer = JoinedAnswer(masks)
        self._sink: MaskedSink | None = None
        self._connection: UpstreamConnection | None = None
        self._ended_because = ""

    def end(self, reason: str, _code: int) -> None:
        """End this answer now: the permission is gone."""
        self._ended_because = reason
        if self._connection is not None:
            self._connection.break_off(reason)

    async def relay(self, parts: tuple[Part, ...]) -> Response:
        """Ask for one piece after the other and send on what they make. Raises what asking raises, UpstreamBroken and
        Malformed 406, while nothing has left.
        """
        try:
            for number, part in enumerate(parts):
                rest = self._turned() if number else b""
                self._reduction.turn_to(part)
                connection, head = await self._asked(part)
                if head.status != OK and not self._is_begun:
                    return await self._refused(connection, head)
                await self._relay_piece(connection, head, rest, is_last=part is parts[-1])
        except (UpstreamBroken, UpstreamUnreachable, ClusterNotReady, Malformed) as error:
            if not self._is_begun and not self._ended_because:
                raise
            self._client.abort()
            return self._done("" if self._ended_because else str(error))
        finally:
            if self._connection is not None:
                self._connection.abort()
        return self._done()

    @property
    def _is_begun(self) -> bool:
        return self._sink is not None and self._sink.is_begun

    def _turned(self) -> bytes:
        """One piece has come whole: what of it may be sent on."""
        try:
            return self._answer.turn()
        except Unreadable as error:
            raise UpstreamBroken(unreadable(error)) from None

    async def _asked(self, part: Part) -> tuple[UpstreamConnection, ResponseHead]:
        connection, head = await self._ask(part, self._answer.version)
        self._connection = connection
        if self._ended_because:
            raise UpstreamBroken(self._ended_because)
        self._masks.require_readable(head)
        if head.status == OK and content_type(head) != JSON:
            raise Malformed("this list is put together from pieces, in JSON: accept application/json", 406)
        return connection, head

    async def _relay_piece(
        self, connection: UpstreamConnection, head: ResponseHead, rest: bytes, *, is_last: bool
    ) -> None:
        if head.status != OK:
            raise UpstreamBroken(f"the API server answers {head.status} to a part of the list")
        if self._sink is None:
            self._sink = self._masks.sink(self._client, head, self._break_off, self._answer)
        else:
            self._sink.go_on(rest, head)
        self._client.bind(connection)
        try:
            await connection.relay_to(self._sink)
            if is_last:
                self._sink.finish()
            # See `forward.Answering.relay`: the connection stays ours until the client has caught up.
            await self._client.flushed()
        finally:
            self._client.bind(None)
        connection.release()
        self._connection = None

    def _break_off(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.break_off(reason)

    async def _refused(self, connection: UpstreamConnection, head: ResponseHead) -> Response:
        """The cluster does not give a piece: what it says about that is the answer."""
        body = connection.body_at_hand()
        if body is None:
            body = await connection.read_whole(REFUSAL_LIMIT)
        head, told = self._masks.whole(head, body)
        self._client.write(write_response_head(head, close=self._client.must_close) + told)
        connection.release()
        self._connection = None
        return Response(code=head.status, bytes_out=len(told), masked=self._masks.told())

    def _done(self, failed: str = "") -> Response:
        return Response(
            code=OK,
            bytes_out=self._sink.sent if self._sink is not None else 0,
            failed=failed,
            ended_because=self._ended_because,
            masked=self._masks.told(),
            filtered=self._masks.reduced(),
        )
