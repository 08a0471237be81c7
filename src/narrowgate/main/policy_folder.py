"""The policies folder becomes numbered revisions in the store; a broken folder changes nothing and is loud about it."""

from __future__ import annotations

import asyncio
import logging
import time

from narrowgate.config import Config, ConfigError, load_policy_files
from narrowgate.core.policy import Policy
from narrowgate.core.policy_file import PolicyErrors, check_set, parse_policies
from narrowgate.core.rulebook import Rulebook, compile_policies
from narrowgate.store.port import NotThere, PolicyRevision, Store

LOOK_SECONDS = 0.5
"""How often the folder is read; an edit is in force within about twice this."""

log = logging.getLogger("narrowgate.policies")


def parse_set(files: list[tuple[str, str]]) -> list[Policy]:
    """All policies of a set of files. Raises PolicyErrors, with every error of every file."""
    policies: list[Policy] = []
    errors = []
    for name, text in files:
        try:
            policies += parse_policies(text, name)
        except PolicyErrors as found:
            errors += list(found.errors)
    if errors:
        raise PolicyErrors(errors)
    check_set(policies)
    return policies


def rulebook_of(revision: PolicyRevision) -> Rulebook:
    """The rules of a stored revision, ready to decide by. Raises PolicyErrors."""
    return compile_policies(parse_set(list(revision.files)), revision.number)


class PolicyFolder:
    """Follows the folder. `trouble` says what is wrong with it, for `/readyz` and the log."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._seen: list[tuple[str, str]] | None = None
        self.trouble = ""

    def load(self) -> None:
        """Read the folder once and make a revision of what it holds now. Raises ConfigError, PolicyErrors."""
        files = load_policy_files(self._config.policies)
        if files == self._seen:
            return
        parse_set(files)
        self._store.add_revision(files, by="folder", at=time.time())
        self._seen = files
        self.trouble = ""

    def load_first(self) -> None:
        """Read the folder at start: broken files leave the last good revision in force, if there is one.

        Raises ConfigError, PolicyErrors when there is nothing to fall back to.
        """
        try:
            self.load()
        except (ConfigError, PolicyErrors) as error:
            try:
                number = self._store.revision().number
            except NotThere:
                raise error from None
            self._complain(error, number)

    async def follow(self) -> None:
        """Read the folder again and again, for as long as the gate runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.load)
            except Exception as error:  # noqa: BLE001 the last good revision stays in force whatever is wrong
                self._complain(error, None)

    def _complain(self, error: Exception, number: int | None) -> None:
        reason = str(error)
        if reason != self.trouble:
            kept = "the last good revision" if number is None else f"revision {number}"
            log.error("the policies folder was not loaded, %s stays in force:\n%s", kept, reason)
        self.trouble = reason
