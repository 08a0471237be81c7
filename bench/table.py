"""The results as plain text, one block a workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.contenders import YARDSTICK
from bench.results import Run
from bench.workloads import METRICS

# What the ratio at the end of a row is made of: the first of these that the workload has.
COMPARED = ("cpuMicrosecondsPerRequest", "cpuMillisecondsPerRequest", "kibibytesPerWatch")


def lines(run: Run) -> Iterator[str]:
    """The whole table."""
    machine = run.machine
    yield (
        f"{run.begun:%Y-%m-%d %H:%M} UTC, {machine.cores} cores ({machine.processor}), "
        f"Kubernetes {machine.kubernetes}, commit {machine.commit}, "
        f"load {machine.load_before:.1f} to {machine.load_after:.1f}"
    )
    for workload, what in run.workloads.items():
        measured = run.medians.get(workload)
        if measured:
            yield ""
            yield what
            yield from _block(measured, run.ratios.get(workload, {}))
    for name, reason in run.absent.items():
        yield ""
        yield f"not measured: {name}: {reason}"


def columns(measured: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The figures that any contender has at this workload, in their usual order."""
    return [name for name in METRICS if any(name in figures for figures in measured.values())]


def compared(measured: Mapping[str, Mapping[str, float]]) -> str | None:
    """The figure whose ratio to the yardstick is told."""
    return next((name for name in COMPARED if any(name in figures for figures in measured.values())), None)


def cell(name: str, value: float | None) -> str:
    """One figure in its usual precision; a dash where there is none."""
    return "-" if value is None else f"{value:,.{METRICS[name].decimals}f}"


def _block(measured: Mapping[str, Mapping[str, float]], ratios: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    names = columns(measured)
    ratio = compared(measured)
    rows = [["", *(METRICS[name].title for name in names)]]
    for contender, figures in measured.items():
        if not any(name in figures for name in names):
            continue
        rows.append([contender, *(cell(name, figures.get(name)) for name in names)])
    if ratio is not None:
        rows[0].append(f"{METRICS[ratio].title.split('/')[0].split()[0]} to {YARDSTICK}")
        for row in rows[1:]:
            value = ratios.get(row[0], {}).get(ratio)
            row.append("-" if value is None else f"{value:.2f}x")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = (
            text.ljust(width) if not at else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join([first, *rest]).rstrip()
