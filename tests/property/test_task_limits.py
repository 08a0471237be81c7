"""Laws of limits: whatever processes do, and in whatever order they die, no task gets more than its limit."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from narrowgate.core.task_limits import STALE_SECONDS, TELL_SECONDS
from narrowgate.store.sqlite import SQLiteStore

PROCESSES = st.sampled_from(("one", "two", "three"))
TASK = "t1"


class Processes(RuleBasedStateMachine):
    """Three processes on one store, each of which uses, gives back, tells, and is killed and started anew."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.store = SQLiteStore(Path(self._folder.name) / "gate.db")
        self.limits = self.store.task_limits
        self.in_hand = dict.fromkeys(("one", "two", "three"), 0)
        self.streams = dict.fromkeys(("one", "two", "three"), 0)
        self.told_at = dict.fromkeys(("one", "two", "three"), 0.0)
        self.lives = dict.fromkeys(("one", "two", "three"), 0)
        self.used = 0
        self.now = 1_000.0

    @initialize(limit=st.integers(1, 60))
    def begin(self, limit: int) -> None:
        self.limit = limit

    def _name(self, process: str) -> str:
        return f"{process}-{self.lives[process]}"

    @rule(process=PROCESSES)
    def use(self, process: str) -> None:
        if not self.in_hand[process]:
            self.in_hand[process] = self.limits.hand_out(TASK, self.limit)
        if self.in_hand[process]:
            self.in_hand[process] -= 1
            self.used += 1

    @rule(process=PROCESSES)
    def give_back(self, process: str) -> None:
        returned, self.in_hand[process] = self.in_hand[process], 0
        self.limits.take_back({TASK: returned})

    @rule(process=PROCESSES)
    def look_again(self, process: str) -> None:
        returned = self.in_hand[process]
        self.in_hand[process] = self.limits.hand_out(TASK, self.limit, returned=returned)

    @rule(process=PROCESSES)
    def open_stream(self, process: str) -> None:
        name, own = self._name(process), self.streams[process]
        if self.limits.add_stream(TASK, self.limit, own, by=name, now=self.now):
            self.streams[process] += 1
            self.told_at[process] = self.now

    @rule(process=PROCESSES)
    def end_stream(self, process: str) -> None:
        if self.streams[process]:
            self.streams[process] -= 1
            self._tell(process)

    @rule(process=PROCESSES)
    def kill(self, process: str) -> None:
        """Everything that it had is gone, and nobody is told."""
        self.in_hand[process] = self.streams[process] = 0
        self.lives[process] += 1

    @rule(seconds=st.floats(0.0, 2 * STALE_SECONDS))
    def wait(self, seconds: float) -> None:
        """Time goes by, in which whoever lives tells as often as it does."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + TELL_SECONDS)
            for process in self.streams:
                self._tell(process)

    def _tell(self, process: str) -> None:
        self.limits.tell_streams({TASK: self.streams[process]}, by=self._name(process), now=self.now)
        self.told_at[process] = self.now

    @invariant()
    def no_more_requests_than_the_limit(self) -> None:
        if self.used:
            assert self.used + sum(self.in_hand.values()) <= self.limit
            assert self.used <= self.limits.used([TASK], now=self.now)[TASK].requests <= self.limit

    @invariant()
    def no_more_streams_than_the_limit(self) -> None:
        running = sum(self.streams.values())
        if running:
            assert running <= self.limit
            assert running <= self.limits.used([TASK], now=self.now)[TASK].streams

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
