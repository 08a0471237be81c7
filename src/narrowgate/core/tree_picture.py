"""A tree of tasks as a picture: one SVG that needs nothing else, and in which nothing can run.

Every text is escaped; there is no script, no font and no link in it (SVG 2, sections 5 and 11). Its colours are in a
style sheet of its own, so that it is dark where its reader likes that (Media Queries 5, `prefers-color-scheme`). What a
colour says is written out, too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from html import escape
from math import ceil
from typing import Final

import msgspec

from narrowgate.core.task_tree import Node, NodeKind, left_out_text, over_because, requests_text, running_of, totals_of
from narrowgate.core.tree_doings import Stream, stream_text

_WIDTH, _GAP, _STEP, _MARGIN, _HEAD = 680, 10, 30, 20, 52
"""Pixels: of the narrowest card, between cards, by which a level stands further right, around everything, and of the
heading."""

_INSET, _TOP, _ROW, _PILL = 16, 22, 17, 170
"""Pixels in a card: beside its text, above its first line, from one line to the next, kept for its state."""

_LARGE, _SMALL = 13, 11
"""Pixels of letters: of who it is, and of all else."""

_ADVANCE: Final = 0.62
"""Of a letter's size that one takes in a font of one width (0.6 in nearly all of them, and a little to spare)."""

_MOST_STREAMS: Final = 3
"""Streams of one card; the text has more."""

_ON: Final = "  ·  on "

_SHORTEST: Final = 8
"""Letters that are left of a name, or it is told by the text alone."""

_LONGEST_TIP: Final = 2_000
"""Characters that are shown where a pointer rests on a card."""

_STYLE: Final = """
text { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11px;
  fill: #1f2328; unicode-bidi: isolate; direction: ltr; white-space: pre }
.who { font-size: 13px; font-weight: 600 }
.faint { fill: #59636e }
.refused { fill: #c9252d; font-weight: 600 }
.this { fill: #9a5200; font-weight: 600 }
.back { fill: #ffffff }
.line { fill: none; stroke: #afb8c1; stroke-width: 1.5 }
.card { fill: #f6f8fa; stroke: #d1d9e0 }
.named { stroke: #bf6a02; stroke-width: 2.5 }
.over { fill: #ffffff; stroke-dasharray: 4 3 }
.task { fill: #0969da }
.pod { fill: #8250df }
.sign-in { fill: #1b7c83 }
.gone { fill: #afb8c1 }
.alive { fill: #1a7f37 }
.pill { fill: #dafbe1 }
.pill-over { fill: #eaeef2 }
.ring { fill: none; stroke: #59636e; stroke-width: 1.2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .faint { fill: #9198a1 }
  .refused { fill: #ff7b72 }
  .this { fill: #e3a13b }
  .back { fill: #0d1117 }
  .line { stroke: #4b535d }
  .card { fill: #161b22; stroke: #343c45 }
  .named { stroke: #d29922 }
  .over { fill: #0d1117 }
  .task { fill: #4493f8 }
  .pod { fill: #ab7df8 }
  .sign-in { fill: #39c5cf }
  .gone { fill: #4b535d }
  .alive { fill: #3fb950 }
  .pill { fill: #12361f }
  .pill-over { fill: #262c34 }
  .ring { stroke: #9198a1 }
}
"""


class _Card(msgspec.Struct, frozen=True):
    """Where a node stands, in pixels."""

    node: Node
    x: int
    y: int
    height: int
    above: _Card | None
    width: int = _WIDTH


def tree_svg(root: Node) -> str:
    """The picture of a tree, each node below what it hangs on, further right by its depth."""
    cards = list(_placed(root, _MARGIN, [_MARGIN + _HEAD], None))
    right = max(card.x for card in cards) + _WIDTH
    width = right + _MARGIN
    height = cards[-1].y + cards[-1].height + _MARGIN
    title = f"What came of {root.kind.value} {root.id}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img">',
        f"<title>{_escaped(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}"/>',
        _words(_MARGIN, _MARGIN + 14, title, _WIDTH, css="who"),
        _words(_MARGIN, _MARGIN + 34, _totals(root), _WIDTH, css="faint"),
        *(_line(card, card.above) for card in cards if card.above is not None),
        *(_drawn(msgspec.structs.replace(card, width=right - card.x)) for card in cards),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _totals(root: Node) -> str:
    total = totals_of(root)
    counted = [
        f"{total.tasks} task{'' if total.tasks == 1 else 's'}",
        f"{total.pods} pod{'' if total.pods == 1 else 's'}",
        f"{total.alive} alive",
        f"{total.requests} request{'' if total.requests == 1 else 's'}, {total.denied} refused",
        f"{total.running} stream{' runs' if total.running == 1 else 's run'}",
    ]
    if root.left_out:
        counted.append(left_out_text(root))
    return "  ·  ".join(counted)


def _placed(node: Node, x: int, bottom: list[int], above: _Card | None) -> Iterator[_Card]:
    """The card of a node, and of all that hangs on it; `bottom` is where the next begins."""
    height = _TOP + _ROW * (1 + len(_about(node)) + len(_streams(node)) + bool(_more(node))) + 11
    card = _Card(node, x, bottom[0], height, above)
    bottom[0] += height + _GAP
    yield card
    for child in node.children:
        yield from _placed(child, x + _STEP, bottom, card)


def _line(card: _Card, above: _Card) -> str:
    corner = above.x + _STEP // 2
    return f'<path class="line" d="M{corner} {above.y + above.height}V{card.y + card.height // 2}H{card.x}"/>'


def _drawn(card: _Card) -> str:
    """A card in a picture of its own: whatever somebody wrote, nothing of it stands outside."""
    node, inner = card.node, card.width - 2 * _INSET
    bar = node.kind.value if node.is_alive else "gone"
    frame = " ".join(["card"] + (["over"] if not node.is_alive else []) + (["named"] if node.is_named else []))
    corner = 3 if node.kind is NodeKind.POD else 9
    parts = [
        f'<svg x="{card.x}" y="{card.y}" width="{card.width}" height="{card.height}">',
        f"<title>{_escaped(_tip(node))}</title>",
        f'<rect class="{frame}" x="1.5" y="1.5" width="{card.width - 3}" height="{card.height - 3}" rx="{corner}"/>',
        f'<rect class="{bar}" x="6" y="8" width="4" height="{card.height - 16}" rx="2"/>',
        _words(_INSET, _TOP, node.name, inner - _PILL, css="who", from_middle=True),
        *_pill(node, card.width),
        _numbers(node, _TOP + _ROW, inner),
    ]
    y = _TOP + _ROW
    for about in _about(node):
        y += _ROW
        parts.append(_words(_INSET, y, about, inner, css="faint"))
    for stream in _streams(node):
        y += _ROW
        parts += _stream(stream, y, card.width, is_running=stream in running_of(node))
    if more := _more(node):
        parts.append(_words(_INSET + 14, y + _ROW, f"and {more} more", inner, css="faint"))
    return "\n".join((*parts, "</svg>"))


def _pill(node: Node, right: int) -> Iterator[str]:
    said = f"{node.state}{', this one' if node.is_named else ''}"
    width = ceil(_cells(said) * _SMALL * _ADVANCE) + 16
    x = right - _INSET - width
    yield f'<rect class="{"pill" if node.is_alive else "pill-over"}" x="{x}" y="9" width="{width}" height="18" rx="9"/>'
    yield _words(x + 8, _TOP, said, width, css="alive" if node.is_alive else "faint")


def _numbers(node: Node, y: int, width: int) -> str:
    """What it is and what it did on one line, in which what was refused stands out."""
    parts = [("faint", f"{node.kind.value} {node.id[:40]}")]
    if node.did is not None:
        parts.append(("plain", f"  ·  {requests_text(node.did)}"))
        if node.did.denied:
            parts += [("plain", ", "), ("refused", f"{node.did.denied} refused")]
    if node.is_alive and node.ends_at:
        parts.append(("faint", f"  ·  until {node.ends_at}"))
    left = int(width / (_SMALL * _ADVANCE)) - sum(_cells(text) for _, text in parts) - len(_ON)
    if node.runs_on and left >= _SHORTEST:
        parts.append(("faint", _ON + _fitted(node.runs_on, left, from_middle=True)))
    spans = "".join(f'<tspan class="{css}">{_escaped(text)}</tspan>' for css, text in parts)
    return f'<text x="{_INSET}" y="{y}">{spans}</text>'


def _stream(stream: Stream, y: int, right: int, *, is_running: bool) -> Iterator[str]:
    """What it is, and on the right when it was and which session it is: that is told however long a command is."""
    css = "this" if stream.is_named else "plain" if is_running else "faint"
    told = f"{_times(stream)}  {stream.id[:40]}{'  this one' if stream.is_named else ''}"
    column = ceil(_cells(told) * _SMALL * _ADVANCE)
    begin = _INSET + 14
    yield f"<g><title>{_escaped(stream_text(stream))}</title>"
    yield f'<circle class="{"alive" if is_running else "ring"}" cx="{_INSET + 4}" cy="{y - 4}" r="3.5"/>'
    yield _words(
        begin, y, f"{stream.kind} {stream.what}", right - _INSET - column - begin - 12, css=css, from_middle=True
    )
    yield _words(right - _INSET - column, y, told, column, css=css) + "</g>"


def _times(stream: Stream) -> str:
    """When it was, UTC, without its day: the tip has all of it."""
    begin = stream.began_at[11:19]
    return f"since {begin}" if stream.ended_at is None else f"{begin} to {stream.ended_at[11:19]}"


def _streams(node: Node) -> tuple[Stream, ...]:
    return node.streams[:_MOST_STREAMS]


def _more(node: Node) -> int:
    return len(node.streams) - len(_streams(node)) + node.more_streams


def _about(node: Node) -> list[str]:
    """What it is for, and why it is over."""
    return [line for line in (node.purpose, over_because(node)) if line]


def _tip(node: Node) -> str:
    last = f"last asked {node.did.last_at}" if node.did is not None and node.did.last_at else ""
    where = f"on {node.runs_on}" if node.runs_on else ""
    lines = (f"{node.name} ({node.kind.value} {node.id})", where, node.purpose, *node.allow, node.ended_because, last)
    return "\n".join(line for line in lines if line)[:_LONGEST_TIP]


def _words(x: int, y: int, text: str, width: int, *, css: str = "plain", from_middle: bool = False) -> str:
    """A line of text, shortened to what fits into so many pixels: at its end, or in its middle."""
    size = _LARGE if css == "who" else _SMALL
    shown = _fitted(text, int(width / (size * _ADVANCE)), from_middle=from_middle)
    return f'<text x="{x}" y="{y}" class="{css}">{_escaped(shown)}</text>'


def _fitted(text: str, cells: int, *, from_middle: bool) -> str:
    if _cells(text) <= cells:
        return text
    behind = (cells - 1) // 2 if from_middle else 0
    end = ""
    for letter in reversed(text):
        if _cells(letter + end) > behind:
            break
        end = letter + end
    begin = ""
    for letter in text:
        if _cells(begin + letter) > cells - 1 - behind:
            break
        begin += letter
    return f"{begin}…{end}"


def _cells(text: str) -> int:
    """How wide a text is, in letters of a font of one width (Unicode Standard Annex 11)."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _escaped(text: str) -> str:
    """Text as SVG has it, without what no XML holds and what turns the order of letters round."""
    return escape("".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text))
