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

from narrowgate.core.decision import Allow, RuleRef
from narrowgate.core.documents import parse_json
from narrowgate.core.identity import Chain
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import MaskChoice
from narrowgate.core.masking.write_back import less_known, texts_of
from narrowgate.core.preview import cover_if_approved
from narrowgate.core.request_summary import Seen
from narrowgate.core.target import Target
from narrowgate.core.understand import is_proxied
from narrowgate.proxy.cluster import ClusterNotReady
from narrowgate.proxy.exchange import Exchange, Understood
from narrowgate.proxy.facts import CHANGING_VERBS
from narrowgate.proxy.look import Look, dry_target, right_to_read
from narrowgate.proxy.masking import Masking
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable
from narrowgate.proxy.write_back import body_of

SHOWN_SECONDS = 5.0
"""For all of it: people are asked without it rather than later; a cluster answers within a tenth of that."""

METHODS = {"update": "PUT", "patch": "PATCH"}


async def seen_by_sender(exchange: Exchange, who: Chain, what: Understood, masking: Masking) -> Seen | None:
    """What is there now, and what the write would make of it; None for a request that is about no object of a name."""
    info = what.intent.info
    if not info.is_resource_request or info.verb not in CHANGING_VERBS or not info.name or is_proxied(info):
        return None
    right = right_to_read(who, what)
    if right is None:
        return Seen(hidden=f"{who[-1]} may not get it")
    try:
        async with asyncio.timeout(SHOWN_SECONDS):
            return await _Shown(exchange, who, what, masking, right[0].masks).looked_at(*right)
    except TimeoutError:
        return Seen(hidden=f"the cluster did not show it within {SHOWN_SECONDS:.0f} s")
    except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, Malformed) as error:
        return Seen(hidden=f"the cluster did not show it ({error})")


class _Shown:
    """One look, as the sender is shown things."""

    def __init__(
        self, exchange: Exchange, who: Chain, what: Understood, masking: Masking, masks: MaskChoice | None
    ) -> None:
        self._exchange = exchange
        self._who = who
        self._what = what
        self._masking = masking
        self._masks = masks

    async def looked_at(self, reading: Allow, target: Target) -> Seen:
        """What is there, and what the write would make of it."""
        what = self._what
        status, answer = await self._look(reading.rule).ask("GET", target, b"", b"")
        if status not in (200, 404):
            return Seen(hidden=f"the cluster answers {status} to reading it")
        old: Any = parse_json(answer) if status == 200 else None
        shown = self._masking.shown(self._masks, old, old, what.intent.cluster) if old is not None else None
        snapshot = what.snapshot
        writing = cover_if_approved(
            self._who, what.intent, snapshot.rulebook, snapshot.grants_of(self._who), time.time()
        )
        if what.intent.info.verb not in METHODS or writing is None:
            return Seen(old=shown)
        return msgspec.structs.replace(await self._tried(self._look(writing)), old=shown)

    async def _tried(self, look: Look) -> Seen:
        """What the cluster says that the write would make. Of that, its sender knows what it has written itself, and
        people are to see it.
        """
        content_type = self._exchange.head.fields.get(b"content-type", b"")
        method = METHODS[self._what.intent.info.verb]
        try:
            status, answer = await look.ask(method, dry_target(self._what.target), self._exchange.body, content_type)
            if status not in (200, 201):
                return Seen(refused=look.complaint(status, answer))
            new = parse_json(answer)
            masked = self._masking.shown(self._masks, new, new, self._what.intent.cluster)
            return Seen(new=new if masked is new else less_known(masked, new, texts_of(body_of(self._exchange))))
        except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, Malformed) as error:
            return Seen(refused=f"it did not answer ({error})")

    def _look(self, rule: RuleRef) -> Look:
        return Look(self._exchange, self._who, self._what, rule, self._masking)
