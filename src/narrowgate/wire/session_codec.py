"""Which codec reads a session: told by what was asked for and by what the 101 agreed to, or refused.

An answer that switches to something else than was asked for would not be read as its ends read it. Servers choose one
of the protocols that the client offers (k8s.io/streaming/pkg/httpstream, Handshake; RFC 6455 4.2.2), so another one
is refused as well, and so are WebSocket's extensions, which nobody offers.
"""

from __future__ import annotations

from typing import Final

import msgspec

from narrowgate.core.target import Target
from narrowgate.wire.http1 import RequestHead, ResponseHead
from narrowgate.wire.spdy_channels import spdy_channels
from narrowgate.wire.spdy_ports import spdy_ports
from narrowgate.wire.stream_events import Rewrite, SessionCodec, Typing
from narrowgate.wire.unreadable import Unreadable
from narrowgate.wire.websocket_channels import websocket_channels
from narrowgate.wire.websocket_messages import chosen_subprotocol
from narrowgate.wire.websocket_ports import websocket_ports

_CHANNELS: Final = ("exec", "attach")
_PORTS: Final = "portforward"
_SPDY: Final = "spdy/3.1"
_WEBSOCKET: Final = "websocket"
_REMOTE_COMMAND: Final = ("", "channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io")
_PORT_FORWARD: Final = ("", "portforward.k8s.io")
_SPDY_VERSIONS: Final = {"exec": _REMOTE_COMMAND, "attach": _REMOTE_COMMAND, "portforward": _PORT_FORWARD}
"""What is spoken over SPDY/3.1 (k8s.io/apimachinery/pkg/util/remotecommand, .../portforward). Servers of old take a
client that names no version for one of the first."""


class Asked(msgspec.Struct, frozen=True):
    """What a request for a session asks for."""

    subresource: str
    """`exec`, `attach` or `portforward`."""
    upgrade: str
    """`spdy/3.1` or `websocket`."""
    offered: tuple[str, ...]
    """The protocols to choose from, in the words of the transport."""
    ports: tuple[str, ...] = ()
    """What the query says about ports; only WebSocket's own port-forward does."""


def asked_of(head: RequestHead, subresource: str, target: Target) -> Asked:
    """What a request asks for, as far as it is passed on (`proxy/headers.py` has refused what is not)."""
    name = b"x-stream-protocol-version" if head.upgrade == _SPDY else b"sec-websocket-protocol"
    values = [value.decode("latin-1") for header, value in head.headers if header == name]
    offered = tuple(word.strip() for value in values for word in value.split(","))
    return Asked(subresource, head.upgrade, offered, tuple(value for key, value in target.query if key == "ports"))


def session_codec(
    asked: Asked, answer: ResponseHead, rewrite: Rewrite | None = None, typing: Typing | None = None
) -> SessionCodec:
    """The codec for what the API server has switched to; `rewrite` changes what exec and attach show, `typing` looks at
    what is sent to them.

    Raises Unreadable where that is not what was asked for, or nothing that is known: nothing may be passed on then, the
    101 itself included.
    """
    if answer.field(b"upgrade").lower() != asked.upgrade.encode():
        raise Unreadable("the API server has switched to another protocol than it was asked to")
    if asked.subresource in _CHANNELS:
        if asked.upgrade == _SPDY:
            _require_version(asked, answer)
            return spdy_channels(rewrite, typing)
        return websocket_channels(_subprotocol(asked, answer), rewrite, typing)
    if asked.subresource == _PORTS:
        if asked.upgrade == _SPDY:
            _require_version(asked, answer)
            return spdy_ports()
        return websocket_ports(_subprotocol(asked, answer), asked.ports)
    raise Unreadable(f"nothing is known of sessions of {asked.subresource}")


def _require_version(asked: Asked, answer: ResponseHead) -> None:
    chosen = answer.field(b"x-stream-protocol-version").decode("latin-1").strip()
    if chosen not in (asked.offered or ("",)):
        raise Unreadable(f"SPDY: the server answers with the version {chosen[:60]!r}, which was not offered")
    if chosen not in _SPDY_VERSIONS[asked.subresource]:
        raise Unreadable(f"SPDY: {asked.subresource} has no version {chosen[:60]!r}")


def _subprotocol(asked: Asked, answer: ResponseHead) -> str:
    if asked.upgrade != _WEBSOCKET:
        raise Unreadable(f"nothing is known of the protocol {asked.upgrade[:60]!r}")
    if answer.field(b"sec-websocket-extensions"):
        raise Unreadable("WebSocket: the server uses an extension, which nobody has offered")
    return chosen_subprotocol(asked.offered, answer.field(b"sec-websocket-protocol"))
