"""Counting requests and streams of tasks with limits: several processes on one store, never more than the limit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.proxy.loopback import run, until

from narrowgate.core.decision import Deny
from narrowgate.core.task_limits import STALE_SECONDS, Limits, TaskUse
from narrowgate.proxy.task_limits import Counting, Taken
from narrowgate.store.port import StoreUnavailable
from narrowgate.store.sqlite import SQLiteStore
from narrowgate.store.task_limits import TaskLimitTable

REQUESTS = (Limits("t1", 50, None),)
STREAMS = (Limits("t1", None, 2),)


class World:
    """Processes of a gate, as far as they count."""

    def __init__(self, folder: Path, tasks: asyncio.TaskGroup) -> None:
        self.store = SQLiteStore(folder / "gate.db")
        self._folder = folder
        self._tasks = tasks
        self._followers: dict[str, asyncio.Task[None]] = {}

    def process(self, name: str, table: TaskLimitTable | None = None) -> Counting:
        counting = Counting(
            table or SQLiteStore(self._folder / "gate.db").task_limits, name, tell_seconds=0.2, answer_seconds=1.0
        )
        self._followers[name] = self._tasks.create_task(counting.follow())
        return counting

    def kill(self, *names: str) -> None:
        for name in names or tuple(self._followers):
            self._followers.pop(name).cancel()

    def used(self, task: str = "t1", *, later: float = 0.0) -> TaskUse:
        return self.store.task_limits.used([task], now=time.time() + later)[task]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as tasks:
        made = World(folder, tasks)
        yield made
        made.kill()


def scene(folder: Path, play: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world(folder) as made:
            await play(made)

    run(main())


async def one(counting: Counting, limits: tuple[Limits, ...] = REQUESTS, *, is_stream: bool = False) -> Taken | Deny:
    """As the pipeline does it."""
    return counting.at_hand(limits, is_stream=is_stream) or await counting.take(limits, is_stream=is_stream)


async def used_one(counting: Counting, limits: tuple[Limits, ...] = REQUESTS) -> bool:
    taken = await one(counting, limits)
    if isinstance(taken, Deny):
        return False
    taken.is_used = True
    taken.give_back()
    return True


def test_two_hundred_at_once_in_one_process_use_exactly_what_the_task_covers(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        counting = world.process("one")
        passed = await asyncio.gather(*(used_one(counting) for _ in range(200)))
        assert passed.count(True) == 50
        refused = await one(counting)
        assert isinstance(refused, Deny)
        assert refused.message == "task t1 has used up its 50 requests"
        assert "narrowgate tasks request" in refused.hint

    scene(tmp_path, play)


def test_several_processes_together_use_no_more(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        processes = [world.process(name) for name in ("one", "two", "three")]
        passed = await asyncio.gather(*(used_one(processes[number % 3]) for number in range(300)))
        assert 40 <= passed.count(True) <= 50
        assert world.used().requests <= 50

    scene(tmp_path, play)


def test_what_a_process_had_when_it_died_is_lost_and_never_used_twice(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        first = world.process("one")
        assert await used_one(first)
        world.kill("one")
        second = world.process("two")
        passed = [await used_one(second) for _ in range(60)]
        # The first was handed six.
        assert passed.count(True) == 44

    scene(tmp_path, play)


def test_what_a_process_has_and_nobody_uses_there_comes_back(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        first, second = world.process("one"), world.process("two")
        assert await used_one(first)
        await until(lambda: world.used().requests == 1)
        passed = [await used_one(second) for _ in range(60)]
        assert passed.count(True) == 49

    scene(tmp_path, play)


def test_a_request_that_was_counted_and_not_forwarded_costs_nothing(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        counting = world.process("one")
        limits = (Limits("t1", 1, None),)
        for _ in range(5):
            taken = await one(counting, limits)
            assert isinstance(taken, Taken)
            taken.give_back()
            taken.give_back()
        assert await used_one(counting, limits)
        assert not await used_one(counting, limits)

    scene(tmp_path, play)


def test_a_lowered_limit_holds_for_what_is_in_hand(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        counting = world.process("one")
        wide, narrow = (Limits("t1", 80, None),), (Limits("t1", 3, None),)
        assert await used_one(counting, wide)
        assert [await used_one(counting, narrow) for _ in range(4)] == [True, True, False, False]

    scene(tmp_path, play)


def test_every_task_of_a_chain_must_have_one_left(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        counting = world.process("one")
        both = (Limits("t1", 3, None), Limits("t2", 1, None))
        assert await used_one(counting, both)
        assert not await used_one(counting, both)
        # What the other one was counted for it came back.
        assert [await used_one(counting, both[:1]) for _ in range(3)] == [True, True, False]

    scene(tmp_path, play)


def test_streams_at_one_time_are_counted_over_all_processes(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        first, second = world.process("one"), world.process("two")
        here = await one(first, STREAMS, is_stream=True)
        there = await one(second, STREAMS, is_stream=True)
        assert isinstance(here, Taken)
        assert isinstance(there, Taken)
        refused = await one(second, STREAMS, is_stream=True)
        assert isinstance(refused, Deny)
        assert "task t1 has its 2 streams at one time under way already" in refused.message
        # What is no stream is not limited by it.
        assert isinstance(await one(second, STREAMS), Taken)

        here.give_back()
        await until(lambda: world.used().streams == 1)
        await asyncio.sleep(0.3)
        again = await one(second, STREAMS, is_stream=True)
        assert isinstance(again, Taken)
        assert (len(first), len(second), world.used().streams) == (0, 2, 2)

    scene(tmp_path, play)


def test_a_hundred_at_once_open_as_many_streams_as_the_task_covers(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        processes = [world.process("one"), world.process("two")]
        found = await asyncio.gather(*(one(processes[n % 2], STREAMS, is_stream=True) for n in range(100)))
        assert sum(isinstance(taken, Taken) for taken in found) == 2

    scene(tmp_path, play)


def test_a_stream_that_is_refused_costs_no_request(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        counting = world.process("one")
        limits = (Limits("t1", 2, 1),)
        stream = await one(counting, limits, is_stream=True)
        assert isinstance(stream, Taken)
        stream.is_used = True
        assert isinstance(await one(counting, limits, is_stream=True), Deny)
        assert await used_one(counting, limits)
        assert not await used_one(counting, limits)

    scene(tmp_path, play)


def test_streams_of_a_killed_process_are_free_when_it_was_silent_for_long(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        gone, here = world.process("one"), world.process("two")
        for _ in range(2):
            assert isinstance(await one(gone, STREAMS, is_stream=True), Taken)
        world.kill("one")
        assert isinstance(await one(here, STREAMS, is_stream=True), Deny)
        assert world.used(later=STALE_SECONDS - 1).streams == 2
        assert world.used(later=STALE_SECONDS + 1).streams == 0

    scene(tmp_path, play)


def test_ending_a_stream_can_wait_until_the_others_know(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        first, second = world.process("one"), world.process("two")
        limits = (Limits("t1", None, 1),)
        taken = await one(first, limits, is_stream=True)
        assert isinstance(taken, Taken)
        await taken.end_streams()
        assert isinstance(await one(second, limits, is_stream=True), Taken)
        taken.give_back()
        assert len(first) == 0

    scene(tmp_path, play)


class Faulty(TaskLimitTable):
    """The table of a store that hangs, or refuses, when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(SQLiteStore(folder / "gate.db")._file)
        self.refuses = False
        self.going = threading.Event()
        self.going.set()
        self.reached = threading.Event()

    def _pass(self) -> None:
        self.reached.set()
        self.going.wait(10)
        if self.refuses:
            raise StoreUnavailable("the disk is full")

    def hand_out(self, task: str, limit: int, *, returned: int = 0) -> int:
        self._pass()
        return super().hand_out(task, limit, returned=returned)

    def add_stream(self, task: str, limit: int, own: int, *, by: str, now: float) -> bool:
        self._pass()
        return super().add_stream(task, limit, own, by=by, now=now)

    def tell_streams(self, running: Mapping[str, int], *, by: str, now: float) -> None:
        self._pass()
        super().tell_streams(running, by=by, now=now)


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_cannot_be_counted_is_refused(tmp_path: Path, is_stream: bool) -> None:
    async def play(world: World) -> None:
        faulty = Faulty(tmp_path)
        counting = world.process("one", faulty)
        faulty.refuses = True
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await one(counting, (Limits("t1", 5, 5),), is_stream=is_stream)
        faulty.refuses = False
        assert isinstance(await one(counting, (Limits("t1", 5, 5),), is_stream=is_stream), Taken)

    scene(tmp_path, play)


def test_a_store_that_hangs_keeps_nobody_for_long_and_lets_nobody_through(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        faulty = Faulty(tmp_path)
        counting = world.process("one", faulty)
        limits = (Limits("t1", 2, None),)
        faulty.going.clear()
        try:
            found = await asyncio.gather(*(one(counting, limits) for _ in range(3)), return_exceptions=True)
        finally:
            faulty.going.set()
        assert [str(each) for each in found] == [
            "the store does not say in time how much of the task is left; try again"
        ] * 3
        # Nothing was used up by whoever has gone.
        assert [await used_one(counting, limits) for _ in range(3)] == [True, True, False]

    scene(tmp_path, play)


def test_what_was_counted_for_somebody_who_left_is_taken_back(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        faulty = Faulty(tmp_path)
        counting = world.process("one", faulty)
        limits = (Limits("t1", 1, 1),)
        faulty.going.clear()
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(counting.take(limits, is_stream=True))
            await asyncio.to_thread(faulty.reached.wait, 10)
            leaving.cancel()
            faulty.going.set()
        assert leaving.cancelled()
        await until(lambda: world.used().streams == 0 and len(counting) == 0)
        taken = await one(counting, limits, is_stream=True)
        assert isinstance(taken, Taken)

    scene(tmp_path, play)


def test_streams_that_others_have_not_heard_of_for_long_are_lost(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        counting = world.process("one")
        taken = await one(counting, STREAMS, is_stream=True)
        assert isinstance(taken, Taken)
        assert not taken.is_lost
        # The process was stopped for a while, as far as it can tell.
        counting._told_at -= 9.0
        assert taken.is_lost
        await until(lambda: counting._epoch == 1)
        # That it has told again does not bring back what others counted without it.
        await until(lambda: asyncio.get_running_loop().time() - counting._told_at < 1.0)
        assert taken.is_lost
        taken.give_back()
        assert not taken.is_lost
        again = await one(counting, STREAMS, is_stream=True)
        assert isinstance(again, Taken)
        assert not again.is_lost

    scene(tmp_path, play)


def test_a_process_that_stops_in_order_gives_everything_back(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        counting = world.process("one")
        assert await used_one(counting)
        assert world.used().requests == 6
        stream = await one(counting, STREAMS, is_stream=True)
        assert isinstance(stream, Taken)
        stream.give_back()
        await counting.settle()
        world.kill("one")
        assert world.used() == TaskUse(1, 0)

    scene(tmp_path, play)
