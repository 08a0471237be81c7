"""Idempotency keys: a call that is sent again because its answer was lost is done once.

The header is that of draft-ietf-httpapi-idempotency-key-header-07.

A key belongs to one caller and one request: the same key with another request is refused, somebody else's key means
nothing. What was answered is kept for a day and given again. A credential that was shown once is not in what is kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Literal

import msgspec
from starlette.requests import Request

from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.identity import Identity
from narrowgate.store.port import Once

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
"""`true` on an answer that was given before."""

KEPT_SECONDS = 86_400.0
"""A day: whoever tries again later has looked at what there is before."""

_PURPOSE = "idempotency"

_KEY = re.compile(r'("?)([\x21\x23-\x5b\x5d-\x7e]{1,255})\1', re.ASCII)
"""A string of structured fields (RFC 8941, section 3.3.3), in quotes as the draft has it or bare as most send it."""


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known under a key."""

    digest: str
    """Of the request, in hex."""
    state: Literal["running", "done"]
    status: int = 0
    headers: dict[str, str] = {}
    body: str = ""


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The key of one call, and what it is held against."""

    scope: str
    digest: str


def read_key(request: Request, who: Identity, body: bytes, *, heeded: bool) -> IdempotencyKey | None:
    """The key of a call; None where there is none. Raises Problem."""
    found = request.headers.getlist(HEADER)
    if not found:
        return None
    if not heeded:
        raise Problem(Trouble.UNREADABLE, f"this call changes nothing and takes no {HEADER}; send it without")
    match = _KEY.fullmatch(found[0].strip())
    if len(found) > 1 or match is None:
        raise Problem(
            Trouble.UNREADABLE,
            f'{HEADER} is not one word of up to 255 characters; send a UUID like "8e03978e-40d5-..."',
        )
    # Kind and name, not the credential: whoever tries again may have renewed theirs in between.
    return IdempotencyKey(f"{who.kind.value}\n{who.name}\n{who.proven_by}\n{match[2]}", _digest(request, body))


def _digest(request: Request, body: bytes) -> str:
    digest = hashlib.sha256()
    tags = ",".join(request.headers.getlist("if-match"))
    for part in (request.method, request.scope["path"], request.scope["query_string"].decode("latin-1"), tags):
        encoded = part.encode("utf-8", "surrogatepass")
        # Lengths before contents: no two requests write the same bytes.
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    digest.update(body)
    return digest.hexdigest()


class Replays:
    """The calls that were made under keys. Its calls block, and raise StoreUnavailable."""

    def __init__(self, once: Once) -> None:
        self._once = once

    def begin(self, key: IdempotencyKey, now: float) -> Kept | None:
        """Take the key for a call that begins; or what was answered under it. Raises Problem where it is in use."""
        running = _encoded(Kept(digest=key.digest, state="running"))
        if self._once.put(_PURPOSE, key.scope, running, expires_at=now + KEPT_SECONDS, now=now):
            return None
        text = self._once.look(_PURPOSE, key.scope, now=now)
        if text is None:
            raise Problem(Trouble.CONFLICT, f"the call with this {HEADER} has just been refused; send it again")
        kept = msgspec.json.decode(text, type=Kept)
        if kept.digest != key.digest:
            raise Problem(Trouble.KEY_REUSED, f"this {HEADER} was sent with another request; make a new one for each")
        if kept.state == "running":
            raise Problem(
                Trouble.CONFLICT,
                f"the call with this {HEADER} is under way, or broke off: look at what it was to change, and if "
                "nothing came of it, send it with a new key",
            )
        return kept

    def done(self, key: IdempotencyKey, status: int, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """Keep what was answered; `body` without what is shown once."""
        kept = Kept(digest=key.digest, state="done", status=status, headers=dict(headers), body=body.decode())
        self._once.change(_PURPOSE, key.scope, _encoded(kept), now=now)

    def refused(self, key: IdempotencyKey, now: float) -> None:
        """Give the key back: nothing was done, and the call may be made again when what stood against it is mended."""
        self._once.take(_PURPOSE, key.scope, now=now)


def _encoded(kept: Kept) -> str:
    return msgspec.json.encode(kept).decode()
