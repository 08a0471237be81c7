"""The record of what whoever works on the gate's own machine does without its API: on the disk before it is done.

A journal of its own in the gate's trail, because the gate may be writing in its own ones meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

from narrowgate.cli.failure import Failed
from narrowgate.cli.local_operator import local_operator
from narrowgate.config import Config, gate_keys
from narrowgate.core.audit import ActsOn, Asked, Outcome, Permitted, RequestEvents
from narrowgate.core.audit import Failed as Broke
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.main.trails import open_trail

WRITER: Final = "operator"
"""Of its journal. One command writes at a time: each takes some hundredths of a second."""

_DONE: Final = 200
_BROKEN: Final = 500
"""As the API would have answered."""

_T = TypeVar("_T")


def on_record(config: Config, acts_on: ActsOn, do: Callable[[], _T]) -> _T:
    """Do something that is in the record of this gate before, and what came of it after.

    Raises what `do` raises; TrailUnwritable, TrailDamaged, JournalInUse, NoSuchKey where it cannot be recorded: then
    nothing was done. Raises Failed for whoever does not own the data folder: the gate could not read what they write.
    """
    owner = config.data_dir.stat().st_uid
    if os.geteuid() != owner:
        raise Failed("another user runs this gate", str(config.data_dir), "run the command as the owner of that folder")
    return asyncio.run(_recorded(config, acts_on, do))


async def _recorded(config: Config, acts_on: ActsOn, do: Callable[[], _T]) -> _T:
    trail = open_trail(config, gate_keys(config), WRITER, wait=0.0)
    try:
        events = RequestEvents(_asked(acts_on))
        await trail.record(events.received(), durable=True)
        try:
            done = await asyncio.to_thread(do)
        except Exception as error:
            # Whatever it was: the record says that nothing came of it, and whoever asked is told.
            broke = Broke(message=f"it was not done: {error}")
            await trail.record(events.finished(broke, Outcome(code=_BROKEN, at=time.time())), durable=True)
            raise
        permitted = Permitted(because="who may write the gate's files")
        await trail.record(events.finished(permitted, Outcome(code=_DONE, at=time.time())), durable=True)
        return done
    finally:
        await trail.close()


def _asked(acts_on: ActsOn) -> Asked:
    # The kernel vouches for the user, and nobody signs in for it: the name says so, as in the list of changes.
    who = Identity(kind=Kind.PERSON, name=local_operator(), proven_by="local-files", credential="")
    return Asked(
        audit_id=f"operator-{os.urandom(12).hex()}",
        method=acts_on.verb,
        target=b"",
        received_at=time.time(),
        source_ip="",
        user_agent="narrowgate",
        chain=chain_of(who),
        acts_on=acts_on,
    )
