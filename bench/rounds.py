"""The order of things: contenders take turns in every round, so that what else the machine does hits all alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.build import BuildError

from bench.contenders import Contender, Running, Stage
from bench.failure import BenchFailure
from bench.furniture import say
from bench.load import Address, Load
from bench.results import Sample
from bench.workloads import METRICS, Scene, Workload


@dataclass(frozen=True)
class Plan:
    """What is to be measured, how often, and with what."""

    stage: Stage
    generator: Path
    direct: Address
    workloads: Sequence[Workload]
    rounds: int
    quick: bool


def measure(plan: Plan, contenders: Sequence[Contender], absent: dict[str, str]) -> Iterator[Sample]:
    """Runs everything and yields each sample as it comes. Who cannot be started, or fails, is named in `absent`."""
    with _started(plan.stage, contenders, absent) as running:
        for workload in plan.workloads:
            rounds = min(plan.rounds, workload.rounds or plan.rounds)
            say(f"{workload.name}: {workload.what}")
            yield from _all_rounds(plan, workload, contenders, running, rounds, absent)


def _all_rounds(
    plan: Plan,
    workload: Workload,
    contenders: Sequence[Contender],
    running: Mapping[str, Running],
    rounds: int,
    absent: dict[str, str],
) -> Iterator[Sample]:
    taking_part = [
        contender
        for contender in contenders
        if contender.name in running and (contender.workloads is None or workload.name in contender.workloads)
    ]
    for number in range(rounds):
        # Each round begins with somebody else: who follows whom must not matter.
        for contender in _rotated(taking_part, number):
            if f"{workload.name}/{contender.name}" in absent:
                continue
            try:
                figures = _one(plan, workload, contender, running[contender.name], first=number == 0)
            except BenchFailure as failure:
                absent[f"{workload.name}/{contender.name}"] = str(failure)
                say(f"  {contender.name}: {failure}")
                continue
            say(f"  {number + 1}/{rounds} {contender.name:16} {_in_words(figures)}")
            yield Sample(workload.name, contender.name, number, dict(figures))


def _one(plan: Plan, workload: Workload, contender: Contender, running: Running, *, first: bool) -> Mapping[str, float]:
    if workload.fresh:
        with contender.start(plan.stage) as anew:
            scene = _scene(plan, anew)
            workload.warm_up(scene)
            return workload.measure(scene)
    scene = _scene(plan, running)
    if first:
        workload.warm_up(scene)
    return workload.measure(scene)


def _scene(plan: Plan, running: Running) -> Scene:
    return Scene(running, Load(plan.generator, running.address), plan.direct, plan.quick)


@contextmanager
def _started(stage: Stage, contenders: Sequence[Contender], absent: dict[str, str]) -> Iterator[Mapping[str, Running]]:
    running: dict[str, Running] = {}
    with ExitStack() as stack:
        for contender in contenders:
            try:
                running[contender.name] = stack.enter_context(contender.start(stage))
            except (BenchFailure, BuildError) as failure:
                absent[contender.name] = str(failure)
                say(f"{contender.name} takes no part: {failure}")
        yield running


def _rotated(contenders: Sequence[Contender], by: int) -> list[Contender]:
    start = by % max(1, len(contenders))
    return [*contenders[start:], *contenders[:start]]


def _in_words(figures: Mapping[str, float]) -> str:
    shown = ((METRICS[name], value) for name, value in figures.items() if name in METRICS)
    return ", ".join(f"{metric.title} {value:.{metric.decimals}f}" for metric, value in shown) or "nothing to weigh"
