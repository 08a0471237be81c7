"""What a call of the API is: one row of the table from which routes, rights, checks and OpenAPI are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from narrowgate.control.api.parts import ApiParts
from narrowgate.control.callers import Caller
from narrowgate.core.call_rights import Action, Reach, Right
from narrowgate.core.rulebook import Rulebook

PREFIX = "/api/v1"
"""Begins every path of this version of the API."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One call that was let through: who made it, by what right, and what it says, checked against its row."""

    caller: Caller
    right: Right
    path: Mapping[str, str]
    """The parameters of the path."""
    query: Any = None
    """An instance of the row's `query`."""
    body: Any = None
    """An instance of the row's `body`."""
    if_match: frozenset[str] = frozenset()
    """The entity tags of If-Match; empty where it was not sent."""
    now: float
    """Unix seconds."""
    rulebook: Rulebook | None = None
    """What is in force now, for calls that ask for it."""

    @property
    def by(self) -> str:
        """Who changes are signed by."""
        return str(self.caller.identity)

    @property
    def reaches_all(self) -> bool:
        """Whether the right goes beyond what is the caller's own."""
        return self.right.reach is Reach.ALL


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call."""

    document: Any = None
    """An instance of the row's `answer`; None for an answer without a body."""
    headers: Mapping[str, str] = {}
    kept: Any = None
    """What an idempotency key replays in the place of `document`, where that shows something that is shown once."""


Work = Callable[[ApiParts, Sent], Answered]
"""Does what a call asks for. It blocks (it is given a thread), and raises Problem or an error of the store's port."""


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call without query parameters."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call. The table of all of them is `table.py`."""

    id: str
    """OpenAPI's operationId; never changes."""
    method: str
    path: str
    """Behind PREFIX; `{name}` stands for one segment, `{person:path}` for the rest."""
    action: Action
    verb: str
    resource: str
    """What the entry in the trail names (`ActsOn`)."""
    summary: str
    work: Work
    answer: type[Any] | None = None
    status: int = 200
    """Of an answer that is no refusal."""
    body: type[Any] | None = None
    query: type[Any] = NoQuery
    changes: bool = False
    """Whether it changes something: then it is on the disk before it is done, and takes an idempotency key."""
    tagged: bool = False
    """Whether it heeds If-Match."""
    by_policies: bool = False
    """Whether its answer depends on the policies in force."""
