"""The control port's entries in the trail: what was asked of the gate itself, by whom, and what came of it.

The rule is the data path's: what changes anything is in the journal, on disk, before it is done; if it cannot be, it is
not done. Query strings are left out altogether: codes and states stand there.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import Protocol

import msgspec
from starlette.requests import Request

from narrowgate.core.audit import ActsOn, Asked, Outcome, RequestEvents, Verdict
from narrowgate.core.identity import Identity, chain_behind


class Journal(Protocol):
    """A journal as the control port needs it (`proxy.trail_writer.TrailWriter`)."""

    async def record(self, entry: bytes, durable: bool) -> None:
        """Return once the entry is in the journal (`durable`: on the disk). Raises TrailUnwritable."""
        ...


class Recorder:
    """Writes the control port's entries. Both calls raise `trail.segment_file.TrailUnwritable`: refuse then."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._prefix = f"control-{os.urandom(6).hex()}-"
        self._counter = itertools.count(1)

    def asked(self, request: Request, who: Identity | None, acts_on: ActsOn | None) -> Asked:
        """What is recorded of a request that came just now; `who` is None while nobody has proven anything."""
        client = request.client
        return Asked(
            audit_id=f"{self._prefix}{next(self._counter):08x}",
            method=request.method,
            target=request.url.path.encode("utf-8", "replace"),
            received_at=time.time(),
            source_ip=client.host if client else "",
            user_agent=request.headers.get("user-agent", ""),
            chain=None if who is None else chain_behind(who),
            acts_on=acts_on,
        )

    async def received(self, asked: Asked) -> None:
        """Have it on the disk that this was asked: before it is done, for whatever changes something."""
        await self._journal.record(RequestEvents(asked).received(), durable=True)

    async def finished(self, asked: Asked, verdict: Verdict, code: int, who: Identity | None = None) -> None:
        """Record what came of it; `who` where that became known only on the way (a sign-in)."""
        told = asked if who is None else msgspec.structs.replace(asked, chain=chain_behind(who))
        outcome = Outcome(code=code, at=time.time())
        await self._journal.record(RequestEvents(told).finished(verdict, outcome), durable=False)
