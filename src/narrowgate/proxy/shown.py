"""What the cluster shows of the object that a held request is about, in its sender's name and by its sender's rights.

The sender may read its own question, so nothing is looked up that it could not have read itself: the object as it is
only where the policies let it get that object now, asked for as itself. What the write would make of it is a dry run of
the very request, which people decide about next. Where anything is in the way, it is said instead; nothing of this ever
lets a request pass, or keeps people from being asked.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from narrowgate.core.decision import Allow
from narrowgate.core.documents import parse_json
from narrowgate.core.identity import Chain
from narrowgate.core.malformed import Malformed
from narrowgate.core.preview import cover_if_approved
from narrowgate.core.request_summary import Seen
from narrowgate.core.target import Target
from narrowgate.core.understand import is_proxied
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.facts import CHANGING_VERBS, Look, complaint, dry_target, right_to_read
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

SHOWN_SECONDS = 5.0
"""For all of it: people are asked without it rather than later; a cluster answers within a tenth of that."""

METHODS = {"update": "PUT", "patch": "PATCH"}


async def seen_by_sender(exchange: Exchange, who: Chain, what: Understood) -> Seen | None:
    """What is there now, and what the write would make of it; None for a request that is about no object of a name."""
    info = what.intent.info
    if not info.is_resource_request or info.verb not in CHANGING_VERBS or not info.name or is_proxied(info):
        return None
    right = right_to_read(who, what)
    if right is None:
        return Seen(hidden=f"{who[-1]} may not get it")
    try:
        async with asyncio.timeout(SHOWN_SECONDS):
            return await _looked_at(exchange, who, what, right)
    except TimeoutError:
        return Seen(hidden=f"the cluster did not show it within {SHOWN_SECONDS:.0f} s")
    except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, Malformed) as error:
        return Seen(hidden=f"the cluster did not show it ({error})")


async def _looked_at(exchange: Exchange, who: Chain, what: Understood, right: tuple[Allow, Target]) -> Seen:
    reading, target = right
    status, answer = await Look(exchange, who, what, reading.rule).ask("GET", target, b"", b"")
    if status not in (200, 404):
        return Seen(hidden=f"the cluster answers {status} to reading it")
    old: Any = parse_json(answer) if status == 200 else None
    snapshot = what.snapshot
    writing = cover_if_approved(who, what.intent, snapshot.rulebook, snapshot.grants_of(who), time.time())
    if what.intent.info.verb not in METHODS or writing is None:
        return Seen(old=old)
    seen = await _tried(Look(exchange, who, what, writing), exchange, what)
    return msgspec.structs.replace(seen, old=old)


async def _tried(look: Look, exchange: Exchange, what: Understood) -> Seen:
    """What the cluster says that the write would make."""
    content_type = exchange.head.fields.get(b"content-type", b"")
    method = METHODS[what.intent.info.verb]
    try:
        status, answer = await look.ask(method, dry_target(what.target), exchange.body, content_type)
        if status not in (200, 201):
            return Seen(refused=complaint(status, answer))
        return Seen(new=parse_json(answer))
    except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, Malformed) as error:
        return Seen(refused=f"it did not answer ({error})")
