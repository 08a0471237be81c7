"""What the API server gets to see of a request: a target and headers built anew, never filtered from what came.

Names that are not listed do not exist for the API server: `Authorization`, `Impersonate-*`, `X-Remote-*`,
`X-Forwarded-*` and everything hop-by-hop are absent because nobody put them there (CVE-2021-31999
is what filtering does).
"""

from __future__ import annotations

from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.understand import is_proxied, is_streaming
from narrowgate.wire.http1 import RequestHead

_ALWAYS = frozenset(
    {b"accept", b"user-agent", b"content-type", b"if-none-match", b"if-modified-since", b"accept-encoding"}
)
_PROXIED = frozenset(
    {b"accept-language", b"cookie", b"range", b"if-match", b"if-range", b"if-unmodified-since", b"content-encoding"}
    | {b"origin", b"referer", b"cache-control", b"pragma", b"content-language", b"content-disposition"}
)
"""Further headers for what is behind `pods/proxy`, `services/proxy` and `nodes/proxy`: ordinary web servers."""
_STREAMING = frozenset({b"x-stream-protocol-version", b"sec-websocket-key", b"sec-websocket-version"})
"""Extensions are not among them: the 101 to the client would not name one, and frames are to stay readable."""
_SUBPROTOCOLS = frozenset(
    {"channel.k8s.io", "base64.channel.k8s.io", "portforward.k8s.io", "SPDY/3.1+portforward.k8s.io"}
    | {f"v{version}.channel.k8s.io" for version in range(2, 6)}
    | {f"v{version}.base64.channel.k8s.io" for version in range(2, 6)}
)
"""Subprotocols of exec, attach and port-forward (k8s.io/apimachinery/pkg/util/remotecommand, .../portforward)."""
_SPDY_VERSIONS = frozenset(
    {"channel.k8s.io", "portforward.k8s.io"} | {f"v{version}.channel.k8s.io" for version in range(2, 6)}
)
UPGRADES = frozenset({"websocket", "spdy/3.1"})


def upstream_headers(head: RequestHead, info: RequestInfo, upgrade: str) -> list[tuple[bytes, bytes]]:
    """The request's own headers for the API server; host, authentication, audit id and framing are not among them."""
    names = _ALWAYS
    if is_proxied(info):
        names = names | _PROXIED
    pairs = [pair for pair in head.headers if pair[0] in names]
    if info.verb == "watch":
        # A compressed watch is held back by the compressor; frames must leave as they are made.
        pairs = [pair for pair in pairs if pair[0] != b"accept-encoding"]
    if upgrade:
        pairs += [pair for pair in head.headers if pair[0] in _STREAMING]
        if protocols := _subprotocols(head):
            pairs.append((b"sec-websocket-protocol", ", ".join(protocols).encode("ascii")))
        pairs += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket" if upgrade == "websocket" else b"SPDY/3.1")]
    return pairs


def behind_proxy(head: RequestHead, info: RequestInfo) -> list[tuple[bytes, bytes]]:
    """The headers that a program behind `proxy` gets to see and may heed; none where the API server answers itself."""
    return upstream_headers(head, info, "") if is_proxied(info) else []


def upgrade_of(head: RequestHead, info: RequestInfo) -> str:
    """The protocol switch that this request asks for and may have; empty when it asks for none.

    Raises Malformed 400 where nothing is ever switched (watches and logs would otherwise leave HTTP unseen), and for
    protocols other than the two of `kubectl exec`.
    """
    if not head.upgrade:
        return ""
    if not is_streaming(info):
        what = f"{info.resource}/{info.subresource}".rstrip("/") if info.is_resource_request else info.path
        raise Malformed(f"a protocol upgrade is served for exec, attach and portforward only, not for {what}")
    if head.upgrade not in UPGRADES:
        raise Malformed(f"upgrade to {head.upgrade[:40]!r} is not served: use websocket or SPDY/3.1")
    if head.upgrade == "websocket" and head.method != "GET":
        raise Malformed("a WebSocket is opened by GET (RFC 6455 4.1)")
    if not head.framing.empty:
        raise Malformed("a request for an upgrade has no body")
    return head.upgrade


def _subprotocols(head: RequestHead) -> list[str]:
    """The subprotocols offered, tokens in disguise left out. Raises Malformed 400 for unknown ones."""
    offered: list[str] = []
    for name, value in head.headers:
        if name == b"sec-websocket-protocol":
            offered += [word.strip() for word in value.decode("latin-1").split(",")]
        if name == b"x-stream-protocol-version":
            _require_known(value.decode("latin-1").split(","), _SPDY_VERSIONS, "x-stream-protocol-version")
    kept = [word for word in offered if not word.startswith("base64url.bearer.authorization.k8s.io.")]
    _require_known(kept, _SUBPROTOCOLS, "sec-websocket-protocol")
    return kept


def _require_known(words: list[str], known: frozenset[str], header: str) -> None:
    for word in words:
        if word.strip() not in known:
            raise Malformed(f"{header} offers {word.strip()[:60]!r}, which the gate does not know")
