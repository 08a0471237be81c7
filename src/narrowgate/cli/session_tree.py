"""`narrowgate sessions show --tree`: what a session belongs to, as a tree; by the gate's files, or by its API."""

from __future__ import annotations

import re
import time
from contextlib import closing
from typing import Final

import click

from narrowgate.cli.agent_options import opened_store
from narrowgate.cli.api_calls import called_by_person
from narrowgate.cli.audit_place import progress_of, worded
from narrowgate.cli.failure import Failed
from narrowgate.cli.output import note
from narrowgate.cli.session_place import SessionPlace
from narrowgate.cli.task_trees import read_tree
from narrowgate.control.trees import NoTree, TreeReader
from narrowgate.core.audit_query import SeesAll
from narrowgate.core.task_tree import Node
from narrowgate.recordings.listing import session_of
from narrowgate.trail.index import Index

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
"""What may become a part of an address."""


def tree_by_gate(gate: str, session: str) -> Node:
    """The tree as a gate tells it to whoever is signed in there. Raises Failed, GateUnreachable, GateRefused."""
    if not _ID.fullmatch(session):
        raise click.BadParameter("write the whole id of a session, a task or a sign-in", param_hint="ID")
    return read_tree(called_by_person(gate, "GET", f"/sessions/{session}/tree"))


def tree_here(place: SessionPlace, session: str) -> Node:
    """The tree by the store and the record of the gate that is configured here. Raises Failed, StoreUnavailable."""
    with opened_store(place.config) as store:
        if not place.trail.is_dir():
            return _tree(place, TreeReader(store, None, SeesAll(), time.time()), session)
        with worded(), closing(Index.open(place.trail)) as index:
            with progress_of("indexing") as progress:
                if not index.update(progress):
                    note("the search index is behind; another process is filling it, so look again in a while")
            return _tree(place, TreeReader(store, index, SeesAll(), time.time()), session)


def _tree(place: SessionPlace, reader: TreeReader, session: str) -> Node:
    """Raises Failed where nothing hangs on it. A beginning or an end of a recording's id is enough, as everywhere."""
    try:
        return reader.tree_at(reader.place_of(session))
    except NoTree as error:
        problem = error
    whole = session_of(place.find(session))
    if whole != session:
        try:
            return reader.tree_at(reader.place_of(whole))
        except NoTree as error:
            problem = error
    raise Failed(str(problem), "", f"`narrowgate sessions show {whole}` tells of it alone") from None
