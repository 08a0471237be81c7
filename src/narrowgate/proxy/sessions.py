"""What is recorded of execs, attaches, port-forwards, logs and watches, and how a recording of one begins."""

from __future__ import annotations

import enum
import time
from typing import Final

from narrowgate.core.identity import Chain
from narrowgate.core.recording import Header, Kind
from narrowgate.core.target import rebuild
from narrowgate.core.typed_lines import asks_for
from narrowgate.core.understand import is_streaming
from narrowgate.proxy.body_recorder import BodyRecorder
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.recordings import LiveRecording, Recorder
from narrowgate.proxy.session_masks import SessionMasks
from narrowgate.proxy.session_recorder import SessionRecorder
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.wire.http1 import ResponseHead

_KINDS: Final = {"exec": Kind.EXEC, "attach": Kind.ATTACH, "portforward": Kind.PORT_FORWARD}
OK: Final = 200


class Ports(enum.Enum):
    """What is recorded of forwarded ports."""

    NOTHING = 0
    COUNTED = 1
    KEPT = 2


class Sessions:
    """Begins recordings. One per process."""

    def __init__(
        self,
        recorder: Recorder | None,
        *,
        channels: bool = True,
        ports: Ports = Ports.COUNTED,
        bodies: frozenset[Kind] = frozenset(),
    ) -> None:
        """`channels`: whether exec and attach are recorded. `bodies`: LOG and WATCH, where those are. Without a
        recorder nothing is.
        """
        self._recorder = recorder
        self._channels = channels
        self._ports = ports
        self._bodies = bodies

    def require_recordable(self, what: Understood) -> None:
        """Raise TrailUnwritable where a session would have to be recorded, and cannot be now."""
        if self._recorder is None or not self.records(what):
            return
        try:
            self._recorder.require_room()
        except RecordingUnwritable as error:
            raise TrailUnwritable(str(error)) from None

    def begun(
        self, exchange: Exchange, what: Understood, who: Chain, head: ResponseHead, masks: SessionMasks | None
    ) -> SessionRecorder | None:
        """What records the session that this 101 begins; None where it is not recorded. Raises TrailUnwritable."""
        if self._recorder is None or not self.records(what):
            return None
        header = _header(exchange, what, who, head)
        live = _begun(self._recorder, header, exchange)
        return SessionRecorder(
            live,
            has_terminal=header.tty,
            keeps_ports=self._ports is Ports.KEPT,
            input_masker=masks.of_input() if masks is not None else None,
        )

    def begun_body(self, exchange: Exchange, what: Understood, who: Chain, head: ResponseHead) -> BodyRecorder | None:
        """What records the log or watch that this answer begins; None where it is not recorded. Raises
        TrailUnwritable.
        """
        if self._recorder is None or _body_kind(what) not in self._bodies or head.status != OK:
            return None
        return BodyRecorder(_begun(self._recorder, _body_header(exchange, what, who, head), exchange))

    def records(self, what: Understood) -> bool:
        """Whether what this request begins is recorded."""
        info = what.intent.info
        if self._recorder is None:
            return False
        if not is_streaming(info):
            return _body_kind(what) in self._bodies
        return self._ports is not Ports.NOTHING if info.subresource == "portforward" else self._channels


def _begun(recorder: Recorder, header: Header, exchange: Exchange) -> LiveRecording:
    try:
        live = recorder.begin(header)
    except RecordingUnwritable as error:
        raise TrailUnwritable(str(error)) from None
    exchange.recording = live.name
    return live


def _body_kind(what: Understood) -> Kind | None:
    info = what.intent.info
    if info.verb == "watch":
        return Kind.WATCH
    return Kind.LOG if info.subresource == "log" else None


def _body_header(exchange: Exchange, what: Understood, who: Chain, head: ResponseHead) -> Header:
    """Of these, the query says which part was asked for, and nothing that is secret."""
    info, kind = what.intent.info, _body_kind(what)
    assert kind is not None
    return Header(
        session=exchange.audit_id,
        began=int(time.time() * 1_000_000),
        kind=kind,
        chain=tuple(str(member) for member in who),
        cluster=what.intent.cluster,
        task=who[-1].task,
        namespace=info.namespace,
        pod=info.name if info.resource == "pods" else "",
        container=next((value for key, value in what.target.query if key == "container"), ""),
        protocol=head.field(b"content-type").decode("latin-1"),
        verb=info.verb,
        target=rebuild(what.target).decode("ascii"),
    )


def _header(exchange: Exchange, what: Understood, who: Chain, head: ResponseHead) -> Header:
    info, query = what.intent.info, what.target.query
    spdy = head.field(b"x-stream-protocol-version")
    return Header(
        session=exchange.audit_id,
        began=int(time.time() * 1_000_000),
        kind=_KINDS[info.subresource],
        chain=tuple(str(member) for member in who),
        cluster=what.intent.cluster,
        task=who[-1].task,
        namespace=info.namespace,
        pod=info.name,
        container=next((value for key, value in query if key == "container"), ""),
        command=tuple(value for key, value in query if key == "command"),
        tty=asks_for(query, "tty"),
        protocol=(spdy or head.field(b"sec-websocket-protocol")).decode("latin-1"),
        transport=exchange.head.upgrade,
        verb=info.verb,
        target=what.target.path,
    )
