"""Which execs, attaches and port-forwards are recorded, and how a recording of one begins."""

from __future__ import annotations

import enum
import time
from typing import Final

from narrowgate.core.identity import Chain
from narrowgate.core.recording import Header, Kind
from narrowgate.core.understand import is_streaming
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.recordings import Recorder
from narrowgate.proxy.session_masks import SessionMasks
from narrowgate.proxy.session_recorder import SessionRecorder
from narrowgate.recordings.errors import RecordingUnwritable
from narrowgate.trail.segment_file import TrailUnwritable
from narrowgate.wire.http1 import ResponseHead

_KINDS: Final = {"exec": Kind.EXEC, "attach": Kind.ATTACH, "portforward": Kind.PORT_FORWARD}
_NO: Final = frozenset({"", "0", "false"})
"""What the API server does not take for a yes (k8s.io/apimachinery/pkg/runtime/conversion.go)."""


class Ports(enum.Enum):
    """What is recorded of forwarded ports."""

    NOTHING = 0
    COUNTED = 1
    KEPT = 2


class Sessions:
    """Begins recordings. One per process."""

    def __init__(self, recorder: Recorder | None, *, channels: bool = True, ports: Ports = Ports.COUNTED) -> None:
        """`channels`: whether exec and attach are recorded. Without a recorder nothing is."""
        self._recorder = recorder
        self._channels = channels
        self._ports = ports

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
        try:
            live = self._recorder.begin(header)
        except RecordingUnwritable as error:
            raise TrailUnwritable(str(error)) from None
        return SessionRecorder(
            live,
            has_terminal=header.tty,
            keeps_ports=self._ports is Ports.KEPT,
            input_masker=masks.of_input() if masks is not None else None,
        )

    def records(self, what: Understood) -> bool:
        """Whether a session that this request begins is recorded."""
        info = what.intent.info
        if self._recorder is None or not is_streaming(info):
            return False
        return self._ports is not Ports.NOTHING if info.subresource == "portforward" else self._channels


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
        tty=any(key == "tty" and value.lower() not in _NO for key, value in query),
        protocol=(spdy or head.field(b"sec-websocket-protocol")).decode("latin-1"),
        transport=exchange.head.upgrade,
        verb=info.verb,
        target=what.target.path,
    )
