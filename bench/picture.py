"""The results as a picture: an SVG of grouped bars, made by hand, legible on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from bench.results import Run
from bench.table import cell, compared
from bench.workloads import METRICS

WIDTH = 900
LABEL = 150
VALUE = 130
BAR = 16
GAP = 5
PANEL_HEAD = 44
PANEL_FOOT = 14
COLOURS = {
    "direct": "#9aa5b1",
    "nginx": "#7a9e7e",
    "reverseproxy": "#5b8bd0",
    "reverseproxy-h2": "#8fb3e3",
    "kube-rbac-proxy": "#b48ead",
    "gate": "#e07a3f",
    "gate-revealed": "#efb48f",
    "gate-pod": "#c9a227",
    "gate-pod-placed": "#e3c878",
}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2933}.what{font-weight:600}.unit{fill:#616e7c}rect.page{fill:#ffffff}"
)
# The first of these is drawn where no processor time is: speed, or delay.
OTHERWISE = ("addedP50Milliseconds", "p50Milliseconds")


def svg(run: Run) -> str:
    """One panel a workload: processor time (or memory) of each contender, shorter is better."""
    parts: list[str] = []
    top = 34
    for workload, what in run.workloads.items():
        measured = run.medians.get(workload)
        figure = _figure(measured) if measured else None
        if measured and figure:
            panel, height = _panel(what, figure, measured, top)
            parts += panel
            top += height
    machine = run.machine
    title = f"Narrowgate's bench, {run.begun:%Y-%m-%d}: {machine.cores} cores, {machine.processor}; shorter is better"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" '
            f'role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{top}"/>',
            f'<text class="unit" x="14" y="22">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _figure(measured: Mapping[str, Mapping[str, float]]) -> str | None:
    found = compared(measured)
    return found or next((name for name in OTHERWISE if any(name in one for one in measured.values())), None)


def _panel(what: str, figure: str, measured: Mapping[str, Mapping[str, float]], top: int) -> tuple[Sequence[str], int]:
    values = {name: figures[figure] for name, figures in measured.items() if figure in figures}
    longest = max([*values.values(), 1e-9])
    scale = (WIDTH - LABEL - VALUE) / longest
    parts = [
        f'<text class="what" x="14" y="{top + 28}">{escape(what)}</text>',
        f'<text class="unit" x="{WIDTH - 14}" y="{top + 28}" text-anchor="end">{escape(METRICS[figure].title)}</text>',
    ]
    y = top + PANEL_HEAD
    for name, value in values.items():
        width = max(1.0, value * scale)
        middle = y + BAR - 4
        colour = COLOURS.get(name, "#888888")
        parts += [
            f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
            f'<text x="{LABEL + width + 8:.1f}" y="{middle}">{escape(cell(figure, value))}</text>',
        ]
        y += BAR + GAP
    return parts, y - top + PANEL_FOOT
