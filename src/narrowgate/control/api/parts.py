"""What the API is made of: the slice of the control port that its calls work with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from narrowgate.control.api.collect_pace import CollectPace
from narrowgate.control.api.standing_ages import StandingAges
from narrowgate.control.callers import Callers
from narrowgate.control.recorder import Recorder
from narrowgate.control.settings import ControlSettings
from narrowgate.control.sign_in import Provider
from narrowgate.core.cluster import UpstreamMode
from narrowgate.core.roles import RoleBinding
from narrowgate.core.rulebook import Rulebook
from narrowgate.recordings.port import RecordingStore
from narrowgate.store.port import Store

MOST_SEARCHES = 2
"""Searches of the record at one time: each may take a processor for a good part of a second."""


class ApiParts(msgspec.Struct, frozen=True, kw_only=True):
    """Once per control process."""

    settings: ControlSettings
    store: Store
    recorder: Recorder
    callers: Callers
    bindings: tuple[RoleBinding, ...] = ()
    """Roles from the configuration."""
    rulebook: Callable[[], Rulebook]
    """What is in force now, for the clusters that somebody may name. Called on the event loop; raises Problem while
    nobody knows."""
    modes: Mapping[str, UpstreamMode] = {}
    """How each cluster is reached, by its name."""
    providers: tuple[Provider, ...] = ()
    """How people sign in."""
    checking: threading.Lock = msgspec.field(default_factory=threading.Lock)
    """Held while policy files are checked: a megabyte of them takes seconds of the process that others sign in by."""
    standing_ages: StandingAges = msgspec.field(default_factory=StandingAges)
    """Since when rules stand."""
    requesting: threading.Lock = msgspec.field(default_factory=threading.Lock)
    """Held while a task is counted and kept, so that two at once are not both the last one allowed."""
    recordings: RecordingStore | None = None
    """Where finished recordings are kept, for holds; without it there are none."""
    trail: Path | None = None
    """The folder of the record, for searches; without it there are none."""
    searching: threading.Semaphore = msgspec.field(default_factory=lambda: threading.Semaphore(MOST_SEARCHES))
    """Searches that may run at one time."""
    pace: CollectPace = msgspec.field(default_factory=CollectPace)
    """When each task that waits was last asked about."""
