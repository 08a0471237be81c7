"""Streams are asked about again: when something changed, when their proof wants it, and never one at another's cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from tests.unit.proxy.loopback import rulebook, run, until

from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.core.decision import Allow, Decision, Deny, RuleRef
from narrowgate.proxy.running import GONE_BY, Running, RunningRequests
from narrowgate.proxy.state import State

ALLOWED = Allow(rule=RuleRef("test", "rule"), covers=())


class Gate:
    """A snapshot that can be replaced, and streams under it."""

    def __init__(self) -> None:
        self.state = State({})
        self.running = RunningRequests(self.state)
        self.ended: dict[str, str] = {}
        self.streams = ExitStack()
        self.change()

    def change(self) -> None:
        self.state.replace(FirstMatch([]), rulebook())
        # As if the store had answered just now.
        self.state._fresh_at = asyncio.get_running_loop().time()

    def stream(
        self, name: str, decide_again: Callable[[], Awaitable[Decision]], *, recheck_seconds: float | None = None
    ) -> Running:
        def end(reason: str, code: int) -> None:
            self.ended[name] = reason if code == GONE_BY else f"{code}: {reason}"

        one = Running(decide_again, end, None, self.state.number, is_long=True, recheck_seconds=recheck_seconds)
        self.streams.enter_context(self.running.entered(one))
        return one


def watched(scenario: Callable[[Gate], Awaitable[None]]) -> None:
    async def main() -> None:
        made = Gate()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(made.running.watch_over())
            await scenario(made)
            made.streams.close()
            watching.cancel()

    run(main())


async def allow() -> Decision:
    return ALLOWED


async def deny() -> Decision:
    return Deny(message="not any more")


async def never() -> Decision:
    await asyncio.Event().wait()
    return ALLOWED


def test_a_change_ends_what_is_not_allowed_any_more() -> None:
    async def scenario(made: Gate) -> None:
        stays = made.stream("stays", allow)
        made.stream("goes", deny)
        made.change()
        await until(lambda: "goes" in made.ended)
        await until(lambda: stays.number == made.state.number)
        assert made.ended == {"goes": "not any more"}

    watched(scenario)


def test_one_who_waits_for_an_answer_holds_up_nobody_else() -> None:
    async def scenario(made: Gate) -> None:
        made.stream("waits", never)
        made.stream("goes", deny)
        made.change()
        await until(lambda: "goes" in made.ended)
        assert "waits" not in made.ended

    watched(scenario)


def test_no_answer_in_time_is_a_no() -> None:
    async def scenario(made: Gate) -> None:
        made.stream("waits", never)
        made.change()
        await until(lambda: "waits" in made.ended)
        assert "in time" in made.ended["waits"]

    watched(scenario)


def test_a_question_that_breaks_ends_its_stream_and_not_the_gate() -> None:
    async def broken() -> Decision:
        raise RuntimeError("a mistake of ours")

    async def scenario(made: Gate) -> None:
        made.stream("broken", broken)
        made.change()
        await until(lambda: "broken" in made.ended)
        assert "a mistake of ours" not in made.ended["broken"]
        made.stream("goes", deny)
        made.change()
        await until(lambda: "goes" in made.ended)

    watched(scenario)


def test_a_proof_that_can_end_without_a_word_is_looked_at_again_though_nothing_changed() -> None:
    async def scenario(made: Gate) -> None:
        asked: list[str] = []

        def counted(name: str) -> Callable[[], Awaitable[Decision]]:
            async def decide_again() -> Decision:
                asked.append(name)
                return ALLOWED if len(asked) < 3 else Deny(message="its pod is gone")

            return decide_again

        made.stream("agent", counted("agent"))
        made.stream("workload", counted("workload"), recheck_seconds=0.0)
        await until(lambda: "workload" in made.ended)
        assert made.ended == {"workload": "its pod is gone"}
        assert asked == ["workload"] * 3

    watched(scenario)


def test_the_first_reason_is_the_one_that_counts() -> None:
    async def scenario(made: Gate) -> None:
        one = made.stream("goes", deny)
        made.change()
        await until(lambda: "goes" in made.ended)
        made.ended.clear()
        made.change()
        # It is told again for as long as its answer is on its way out.
        await until(lambda: "goes" in made.ended)
        one.finish("something else")
        assert made.ended == {"goes": "not any more"}

    watched(scenario)


def test_a_refusal_ends_it_with_its_own_code() -> None:
    async def scenario(made: Gate) -> None:
        async def moved() -> Decision:
            return Deny(message="list again", code=410)

        made.stream("a", moved)
        made.change()
        await until(lambda: bool(made.ended))
        assert made.ended == {"a": "410: list again"}

    watched(scenario)
