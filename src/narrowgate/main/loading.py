"""From the store to what a process judges by: the authenticator, the rules, the agents; read anew when they change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalState
from narrowgate.core.delegated_task import in_force
from narrowgate.core.rulebook import Rulebook, compile_policies
from narrowgate.main.identification import Identification
from narrowgate.main.policy_folder import rulebook_of
from narrowgate.proxy.state import Loaded
from narrowgate.store.port import NotThere, Store

ENDS_SECONDS = 3600.0
"""For which the ends of sessions are held: a process hears of them within seconds, or refuses everything."""

log = logging.getLogger("narrowgate")


class Loading:
    """What `proxy.state.State.follow` asks, answered from a store."""

    def __init__(
        self,
        store: Store,
        identification: Identification,
        *,
        needs_policies: bool = True,
        also: Callable[[], None] | None = None,
    ) -> None:
        """`needs_policies` False: before the first revision there are none, rather than nothing to judge by. `also` is
        called at each reading, before what was read is in force; it may raise what reading raises.
        """
        self._also = also
        self._store = store
        self._needs_policies = needs_policies
        self._identification = identification
        self._rulebook: Rulebook | None = None
        self.agents: Mapping[str, AgentRecord] = {}
        """By name, as of the last reading."""

    async def stamp(self) -> object:
        """Whether there is anything new. On the loop: it takes microseconds; handing it to a thread takes far more."""
        return self._store.change_stamp()

    async def load(self) -> Loaded:
        """Everything, as it is now. Raises StoreUnavailable, NotThere, PolicyErrors."""
        return await asyncio.to_thread(self._load)

    def _load(self) -> Loaded:
        rulebook = self._current_rulebook()
        if self._also is not None:
            self._also()
        tasks = in_force(self._store.tasks.active())
        authenticator, agents = self._identification.load(self._store, tasks, time.time())
        self.agents = {agent.name: agent for agent in agents}
        grants = {task.id: grant for task in tasks if (grant := task.grant()) is not None}
        waiting = (one.id for one in self._store.approvals.open() if one.state is ApprovalState.PENDING)
        ended = self._store.session_ends.since(time.time() - ENDS_SECONDS)
        return Loaded(authenticator, rulebook, grants, frozenset(waiting), ended)

    def _current_rulebook(self) -> Rulebook:
        try:
            revision = self._store.revision()
        except NotThere:
            if self._needs_policies:
                raise
            return compile_policies((), 0)
        if self._rulebook is None or self._rulebook.revision != revision.number:
            # Compiling takes a second for the largest sets, and agents change far more often than policies do.
            self._rulebook = rulebook_of(revision)
            log.info("policies of revision %d are in force", revision.number)
        return self._rulebook
