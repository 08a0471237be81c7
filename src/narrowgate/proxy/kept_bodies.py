"""Bodies of API calls, kept by record level: what was sent before it goes on, what was answered before it leaves.

Small ones stand in the entries of their request, larger ones are a recording that the entries name; never both. All of
it is masked as an agent without any reveal would be shown it (`Rulebook.masks_in_record`). What must be kept and cannot
be is not forwarded, or not answered.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.audit import OBJECT_LIMIT, KeptObject, RequestEvents, redact
from narrowgate.core.body_levels import BodyLevels, is_never_kept, keeps_response
from narrowgate.core.decision import Allow
from narrowgate.core.identity import Chain
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.matching import question_of
from narrowgate.core.recording import BodyData, Header, Kind, Noted
from narrowgate.core.stream_events import Direction
from narrowgate.core.target import rebuild
from narrowgate.core.valid_text import with_valid_text
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.exchange import Exchange, Response, Understood
from narrowgate.proxy.held_answer import HeldAnswer
from narrowgate.proxy.masking import AnswerMasks, Masking
from narrowgate.proxy.recordings import LiveRecording, Recorder
from narrowgate.proxy.trail_writer import TrailWriter
from narrowgate.proxy.transform import content_type
from narrowgate.proxy.upstream import UpstreamBroken
from narrowgate.proxy.write_back import body_of, form_of
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.wire.http1 import ResponseHead
from narrowgate.wire.protobuf_object import read_object

BODY_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one body that are kept, and of an answer that are held for it: any single object (the API server takes
3 MiB), and lists of a thousand pods. Of longer ones the beginning is kept."""

CREDENTIAL: Final = "left out: it is a credential"
OVER: Final = "the request is answered"


class KeptBodies:
    """Keeps them. One per process."""

    def __init__(
        self, levels: BodyLevels, masking: Masking, trail: TrailWriter, recorder: Recorder | None = None
    ) -> None:
        """Without a recorder no level may keep bodies."""
        self.levels: Final = levels
        self._masking = masking
        self._trail = trail
        self._recorder = recorder

    async def kept(
        self,
        exchange: Exchange,
        what: Understood,
        who: Chain,
        judged: tuple[Allow, RequestEvents],
        answer: tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[Response]]],
    ) -> Response:
        """Keep what was sent, then have the request answered, keeping what is answered where the level says so.

        `answer` is what makes sure that the request is still allowed (the disk is waited for), and what answers it.
        Raises TrailUnwritable, ClusterNotReady where masks need what nobody knows now, Malformed for what cannot be
        read, and whatever those two raise; whenever it does, nothing has left.
        """
        still_allowed, answered = answer
        call = _Call(self._trail, self._recorder, exchange, (what, who), judged)
        choice = what.snapshot.rulebook.masks_in_record(who, what.intent.cluster, question_of(what.intent))
        masks = self._masking.of(choice, what.intent.info, what.intent.cluster)
        try:
            if exchange.body:
                document = None if is_never_kept(what.intent.info) else self._masked(exchange, what, choice)
                await call.keep_sent(document)
            if not keeps_response(exchange.level) or masks is None:
                # Nothing more is kept: whoever has got the answer may leave, and nothing is left to be done then.
                await call.end(OVER)
                await still_allowed()
                response = await answered()
            else:
                await still_allowed()
                response = await call.answered(answered, masks)
        except BaseException as error:
            with contextlib.suppress(TrailUnwritable):
                await call.end(f"the request was broken off: {error}" if str(error) else "the request was broken off")
            raise
        return msgspec.structs.replace(response, recording=call.recording)

    def refused(self, exchange: Exchange, what: Understood, who: Chain) -> KeptObject | None:
        """What the last entry of a request that is refused holds of its body: small ones, nothing else is begun for
        what goes nowhere.
        """
        if not exchange.body:
            return None
        if is_never_kept(what.intent.info):
            return KeptObject(said=CREDENTIAL)
        choice = what.snapshot.rulebook.masks_in_record(who, what.intent.cluster, question_of(what.intent))
        try:
            written = encoded(self._masked(exchange, what, choice))
        except (Malformed, ClusterNotReady) as error:
            return KeptObject(said=f"left out: {error}")
        if len(written) > OBJECT_LIMIT:
            return KeptObject(said=f"left out: {len(written)} bytes, and it went nowhere")
        return KeptObject(written)

    def _masked(self, exchange: Exchange, what: Understood, choice: MaskChoice) -> Any:
        """What was sent, masked. Raises Malformed, ClusterNotReady."""
        return self._masking.in_record(
            choice, body_of(exchange), form_of(exchange), what.intent.info, what.intent.cluster
        )


class _Call:
    """One request whose bodies are kept."""

    def __init__(
        self,
        trail: TrailWriter,
        recorder: Recorder | None,
        exchange: Exchange,
        asked: tuple[Understood, Chain],
        judged: tuple[Allow, RequestEvents],
    ) -> None:
        self._trail = trail
        self._recorder = recorder
        self._exchange = exchange
        self._what, self._who = asked
        self._allowed, self._events = judged
        self._live: LiveRecording | None = None
        self._masks: AnswerMasks
        self.recording = ""
        """Its name; empty where none was begun."""

    # --- what was sent

    async def keep_sent(self, document: Any) -> None:
        """Have it on the disk; None stands for what is never kept. Raises TrailUnwritable."""
        sent = KeptObject(said=CREDENTIAL)
        if document is not None:
            written = encoded(document)
            sent = KeptObject(written)
            if len(written) > OBJECT_LIMIT:
                sent = self._recorded(written, Direction.TO_POD)
                await self._on_disk()
        entry = self._events.received(self._allowed, self._exchange.noticed, sent, self.recording)
        await self._trail.record(entry, durable=True)

    # --- what was answered

    async def answered(self, answer: Callable[[], Awaitable[Response]], masks: AnswerMasks) -> Response:
        """Have it answered, and keep that before it leaves. Raises TrailUnwritable, UpstreamBroken."""
        exchange, self._masks = self._exchange, masks
        self._require_room()
        held = HeldAnswer(exchange.client, exchange.head.method, BODY_LIMIT, self._beyond)
        exchange.answers_to = held
        try:
            response = await answer()
        finally:
            exchange.answers_to = exchange.client
        if held.is_passing:
            # All of it has left: a client that leaves now has not left in the middle.
            exchange.streaming_code = response.code
            try:
                await self.end(OVER)
            except TrailUnwritable as error:
                return msgspec.structs.replace(response, failed=response.failed or str(error))
            return response
        if held.failed:
            raise TrailUnwritable(held.failed)
        if held.is_broken or held.head is None:
            raise UpstreamBroken(response.ended_because or response.failed or "the answer was broken off")
        kept = self._answer(held.head, held.body)
        if kept is not None:
            await self._trail.record(self._entry(held.head, kept), durable=False)
        await self.end(OVER)
        held.let_go()
        await held.flushed()
        return response

    def _answer(self, head: ResponseHead, body: bytes) -> KeptObject | None:
        """What is kept of a whole answer. Raises TrailUnwritable; UpstreamBroken, Malformed where it cannot be read."""
        if not body:
            return None
        if is_never_kept(self._what.intent.info):
            return KeptObject(said=CREDENTIAL)
        self._masks.require_readable(head)
        _, masked = self._masks.whole(head, body)
        if content_type(head) != b"application/json":
            try:
                masked = encoded(read_object(masked))
            except Malformed:
                return self._recorded(masked, Direction.FROM_POD, f"it is {content_type(head).decode('latin-1')}")
        if len(masked) > OBJECT_LIMIT:
            return self._recorded(masked, Direction.FROM_POD)
        try:
            # Written anew: a line break within it would end the journal's line.
            return KeptObject(encoded(orjson.loads(masked)))
        except orjson.JSONDecodeError:
            return self._recorded(masked, Direction.FROM_POD, "it is no JSON")

    def _beyond(self, held: HeldAnswer) -> str:
        """Keep the beginning of an answer that is too long to be held; why that cannot be, empty where it could."""
        head = held.head
        assert head is not None
        try:
            if is_never_kept(self._what.intent.info):
                kept = KeptObject(said=CREDENTIAL)
            else:
                self._masks.require_readable(head)
                masked = self._masks.beginning(head, held.body)
                kept = self._recorded(
                    masked, Direction.FROM_POD, f"the rest of it, beyond {BODY_LIMIT} bytes, is not kept"
                )
        except (TrailUnwritable, UpstreamBroken) as error:
            return str(error)
        # The recording is what must be there before anything leaves; it is in a file by now.
        self._trail.note(self._entry(head, kept))
        return ""

    def _entry(self, head: ResponseHead, kept: KeptObject) -> bytes:
        return self._events.answered(
            self._allowed, head.status, time.time(), kept, self._exchange.noticed, self.recording
        )

    # --- the recording

    def _recorded(self, data: bytes, direction: Direction, note: str = "") -> KeptObject:
        """Put a body into the recording, which begins with the first. Raises TrailUnwritable."""
        cut = data[:BODY_LIMIT]
        if len(cut) < len(data):
            note = note or f"the rest of it, {len(data) - len(cut)} bytes, is not kept"
        what = "request" if direction is Direction.TO_POD else "response"
        try:
            live = self._begun()
            live.write(BodyData(cut, direction))
            if note:
                live.write(Noted(f"{what} body: {note}"))
        except RecordingUnwritable as error:
            raise TrailUnwritable(f"the {what} body cannot be recorded: {error}") from None
        said = f"in the recording, {len(cut)} bytes"
        return KeptObject(said=f"{said}; {note}" if note else said)

    def _begun(self) -> LiveRecording:
        if self._live is None:
            assert self._recorder is not None
            self._live = self._recorder.begin(self._header())
            self.recording = self._exchange.recording = self._live.name
        return self._live

    def _header(self) -> Header:
        what, info = self._what, self._what.intent.info
        return Header(
            session=self._exchange.audit_id,
            began=int(time.time() * 1_000_000),
            kind=Kind.API,
            chain=tuple(str(member) for member in self._who),
            cluster=what.intent.cluster,
            task=self._who[-1].task,
            namespace=info.namespace,
            verb=info.verb,
            target=redact(rebuild(what.target).decode("ascii")),
        )

    def _require_room(self) -> None:
        assert self._recorder is not None
        try:
            self._recorder.require_room()
        except RecordingUnwritable as error:
            raise TrailUnwritable(str(error)) from None

    async def _on_disk(self) -> None:
        assert self._recorder is not None
        assert self._live is not None
        try:
            await self._recorder.sync(self._live)
        except RecordingUnwritable as error:
            raise TrailUnwritable(f"the request body cannot be recorded: {error}") from None

    async def end(self, reason: str) -> None:
        """Nothing more is kept. Raises TrailUnwritable."""
        live, self._live = self._live, None
        if live is None:
            return
        try:
            await live.end(reason)
        except RecordingUnwritable as error:
            raise TrailUnwritable(f"the end of what is kept cannot be recorded: {error}") from None


def encoded(document: Any) -> bytes:
    """A document as JSON on one line, whatever numbers and texts are in it."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        # Whole numbers beyond 64 bits, lone surrogates: Python's own writes the one, and the others are replaced.
        return json.dumps(with_valid_text(document), separators=(",", ":")).encode()
