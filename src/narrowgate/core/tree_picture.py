"""A tree of tasks as a picture: one SVG that needs nothing else, and in which nothing can run.

Every text is escaped; there is no script, no style sheet, no font and no link in it (SVG 2, sections 5 and 11).
"""

from __future__ import annotations

from html import escape
from typing import Final

from narrowgate.core.task_tree import Node, NodeKind, did_text

_WIDTH, _HEIGHT, _GAP, _STEP, _MARGIN = 460, 74, 14, 40, 16
"""Pixels: of a box, between boxes, by which a level stands further right, around everything."""

_LONGEST: Final = 62
"""Letters of a line in a box."""

_FONT: Final = 'font-family="ui-monospace, Menlo, Consolas, monospace"'
_ALIVE, _OVER, _LINE, _INK, _FAINT = "#e5f4ea", "#f0f0f2", "#8a8f98", "#1c1e21", "#5a5f66"
"""Colours: alive, over, lines, what is written, and what matters less. Both states are written out, too."""


def tree_svg(root: Node) -> str:
    """The picture of a tree, each node below what it hangs on, further right by its depth."""
    boxes: list[str] = []
    lines: list[str] = []
    depth = _draw(root, 0, [0], boxes, lines)
    width = 2 * _MARGIN + _WIDTH + depth * _STEP
    height = 2 * _MARGIN + len(boxes) * (_HEIGHT + _GAP) - _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" {_FONT} font-size="12">\n<title>{_text("What came of task " + root.id)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join((*lines, *boxes)) + "\n</svg>\n"
    )


def _draw(node: Node, depth: int, row: list[int], boxes: list[str], lines: list[str]) -> int:
    """Draw a node and all that hangs on it; the deepest level that came of it."""
    x, y = _MARGIN + depth * _STEP, _MARGIN + row[0] * (_HEIGHT + _GAP)
    row[0] += 1
    boxes.append(_box(node, x, y))
    deepest = depth
    for child in node.children:
        below = _MARGIN + row[0] * (_HEIGHT + _GAP) + _HEIGHT // 2
        corner = x + _STEP // 2
        lines.append(
            f'<path d="M{corner} {y + _HEIGHT}V{below}H{x + _STEP}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>'
        )
        deepest = max(deepest, _draw(child, depth + 1, row, boxes, lines))
    return deepest


def _box(node: Node, x: int, y: int) -> str:
    until = f" until {node.ends_at}" if node.is_alive and node.ends_at else ""
    told = (
        (20, _INK, f"{node.name} ({node.kind.value} {node.id})"),
        (38, _INK, f"{node.state}{until}" + (f" - {did_text(node.did)}" if node.did is not None else "")),
        (56, _FAINT, node.purpose or node.ended_because),
    )
    corner = 8 if node.kind is NodeKind.TASK else 0
    fill = _ALIVE if node.is_alive else _OVER
    dashed = "" if node.is_alive else ' stroke-dasharray="4 3"'
    frame = (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="{corner}" fill="{fill}" '
        f'stroke="{_LINE}"{dashed}/>'
    )
    words = (f'<text x="{x + 12}" y="{y + below}" fill="{ink}">{_text(text)}</text>' for below, ink, text in told)
    tip = "".join(f"{line}\n" for line in (*node.allow, node.ended_because) if line)
    return f"<g><title>{_text(tip, 2_000)}</title>{frame}{''.join(words)}</g>"


def _text(text: str, longest: int = _LONGEST) -> str:
    """Text as SVG has it: shortened, without what no XML holds."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
    return escape(shown if len(shown) <= longest else shown[: longest - 3] + "...")
