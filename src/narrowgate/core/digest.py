"""The digest of a request: what an approval is bound to, so that it covers that one request and no other.

Two requests have the same digest where, and only where, they come with the same credential, for the same cluster, and
mean the same: verb, path, parameters, and the very bytes of the body with the media type that says how to read them.
Spellings that mean the same are one: everything is taken from the parsed value, never from the bytes of the target. The
order of parameters means nothing, the order of one parameter's own values does (`command=rm&command=x`).

Behind `proxy` is a program that may heed any header: those that reach it count as well, in the order of their names.

What is left out says nothing about what happens in the cluster: the form of the answer (`Accept`), who forwards it, and
whether a stream is opened as WebSocket or as SPDY. kubectl repeats a refused exec the other way; that is one question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from narrowgate.core.identity import Identity
from narrowgate.core.intent import Intent
from narrowgate.core.target import Target

VERSION = b"narrowgate request digest 2"
"""Grows when anything about the digest changes: an approval from before then covers nothing after."""


def request_digest(
    sender: Identity,
    intent: Intent,
    target: Target,
    content_type: bytes,
    body: bytes,
    behind_proxy: Sequence[tuple[bytes, bytes]] = (),
) -> str:
    """SHA-256 in hex of what `sender` asks. `target` is the one at the cluster, `body` as the sender sent it,
    `behind_proxy` the headers that reach a program (none where the API server itself answers).

    Nobody but the sender's own credential opens what it asks: who else it speaks for hangs on that credential alone.
    """
    digest = hashlib.sha256()
    for part in (*_parts(sender, intent, target, content_type, body), *_paired(behind_proxy)):
        # The length before each part: no two different requests write the same bytes.
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def line_digest(request: str, session: str, line: str) -> str:
    """SHA-256 in hex of a line that is typed into a session: `request` is the digest of what opened that, which hangs
    on its sender's credential, `session` its id. The same line in another session is another one.
    """
    digest = hashlib.sha256()
    for part in (b"narrowgate line digest 1", request.encode(), session.encode(), line.encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _parts(sender: Identity, intent: Intent, target: Target, content_type: bytes, body: bytes) -> Iterator[bytes]:
    yield VERSION
    # Ids of credentials are told apart by who vouches for them: two issuers may use the same.
    for word in (sender.kind.value, sender.name, sender.proven_by, sender.credential, sender.task):
        yield word.encode("utf-8", "surrogatepass")
    yield intent.cluster.encode()
    yield intent.info.verb.encode("utf-8", "surrogatepass")
    yield target.path.encode("utf-8", "surrogatepass")
    encoded = [
        (key.encode("utf-8", "surrogatepass"), value.encode("utf-8", "surrogatepass")) for key, value in target.query
    ]
    yield from _paired(encoded)
    # Without a body there is nothing that a media type could say.
    yield content_type.strip().lower() if body else b""
    yield body


def _paired(pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    # Sorted by name alone, which keeps the order of each one's values.
    yield str(len(pairs)).encode()
    for key, value in sorted(pairs, key=lambda pair: pair[0]):
        yield key
        yield value
