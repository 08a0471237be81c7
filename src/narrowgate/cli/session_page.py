"""A session as one page that needs nothing else: what happened, a player, and the timeline with what was refused.

What was recorded goes into the page as JSON in which no character can end the element that holds it, and from there
into text nodes. A policy in the page lets its own script and style run, by their hashes, and nothing else: no network.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from narrowgate.cli.doctor_report import plain
from narrowgate.core.recording import BodyData, Entry, Resized
from narrowgate.core.safe_terminal import SafeTerminal
from narrowgate.core.session_story import MICROSECONDS, Story, sentences
from narrowgate.core.session_timeline import Line, Timeline
from narrowgate.core.stream_events import Channel, ChannelData, Direction

PAGE_LIMIT: Final = 64 * 1024 * 1024
"""Characters of output in a page: browsers hold it several times over."""

TAB: Final = 8
"""Columns, as terminals have them."""

USUAL_SIZE: Final = (80, 24)
"""Columns and rows, where the client never said any."""

_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class TooLarge(Exception):
    """A session does not fit into a page."""


class Contents:
    """Takes a recording's entries for a page."""

    def __init__(self, *, has_terminal: bool) -> None:
        self._has_terminal = has_terminal
        self._terminals = {channel: SafeTerminal() for channel in (Channel.STDOUT, Channel.STDERR, None)}
        self._timeline = Timeline(has_terminal=has_terminal)
        self._taken = 0
        self.size: tuple[int, int] | None = None
        """Columns and rows at the beginning."""
        self.events: list[list[object]] = []
        """What the screen shows: seconds, `o` and text, or `r`, columns and rows."""
        self.lines: list[Line] = []
        """The timeline."""

    def feed(self, entry: Entry) -> None:
        """Take in an entry. Raises TooLarge."""
        self._take_lines(self._timeline.feed(entry))
        if not self._has_terminal:
            return
        what, seconds = entry.what, entry.at / MICROSECONDS
        if isinstance(what, Resized):
            self.size = self.size or (what.width, what.height)
            self.events.append([seconds, "r", what.width, what.height])
        elif text := self._shown(entry):
            self._count(len(text))
            self.events.append([seconds, "o", text])

    def finish(self) -> None:
        """No more comes. Raises TooLarge."""
        self._take_lines(self._timeline.rest())

    def _shown(self, entry: Entry) -> str:
        match entry.what:
            case ChannelData(channel, data) if channel in self._terminals:
                return self._terminals[channel].feed(data)
            case BodyData(data, Direction.FROM_POD):
                return self._terminals[None].feed(data)
        return ""

    def _take_lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._count(len(line.text) + _LINE_COST)
            self.lines.append(line)

    def _count(self, characters: int) -> None:
        self._taken += characters
        if self._taken > PAGE_LIMIT:
            raise TooLarge(f"it holds more than the {PAGE_LIMIT >> 20} MiB of a page")


_LINE_COST: Final = 64
"""Characters that a line of the timeline takes besides its text."""


def page_of(story: Story, verdict: str, contents: Contents, refused: Sequence[Line]) -> Iterator[str]:
    """The page in parts. `verdict` says whether the recording can be believed, `refused` what was denied around it."""
    header = story.header
    columns, rows = contents.size or USUAL_SIZE
    lines = sorted([*contents.lines, *refused], key=lambda line: line.at)
    data: dict[str, Any] = {
        "title": plain(f"{header.kind.value} in {header.namespace}/{header.pod} of {header.cluster}, {header.session}"),
        "told": [plain(sentence) for sentence in (*sentences(story), verdict)],
        "tty": header.tty,
        "columns": columns,
        "rows": rows,
        "seconds": max(story.seconds, 0.1),
        "events": contents.events,
        "lines": _shown(lines),
    }
    yield from _page(data)


def page_of_calls(title: str, told: Sequence[str], lines: Sequence[Line]) -> Iterator[str]:
    """A session of calls as a page in parts: its timeline, with what was denied in red. Raises TooLarge."""
    if sum(len(line.text) + _LINE_COST for line in lines) > PAGE_LIMIT:
        raise TooLarge(f"it holds more than the {PAGE_LIMIT >> 20} MiB of a page")
    lines = sorted(lines, key=lambda line: line.at)
    data: dict[str, Any] = {
        "title": plain(title),
        "told": [plain(sentence) for sentence in told],
        "tty": False,
        "columns": USUAL_SIZE[0],
        "rows": USUAL_SIZE[1],
        "seconds": max(lines[-1].at / MICROSECONDS if lines else 0.0, 0.1),
        "events": [],
        "lines": _shown(lines),
    }
    return _page(data)


def _shown(lines: Sequence[Line]) -> list[list[object]]:
    return [[line.at / MICROSECONDS, line.mark, plain(line.text.expandtabs(TAB))] for line in lines]


def _page(data: dict[str, Any]) -> Iterator[str]:
    script, style = _own("player.js"), _own("player.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    yield _HEAD.replace("{policy}", policy).replace("{style}", style)
    yield _BODY
    yield msgspec.json.encode(data).decode().translate(_ESCAPES)
    yield _TAIL.replace("{script}", script)


def _own(name: str) -> str:
    return files("narrowgate.cli").joinpath("player", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """As a policy names an inline script (W3C, Content Security Policy Level 3, hash-source)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>session</title>
<style>{style}</style>
</head>
"""

_BODY = """<body>
<h1 id="title"></h1>
<ul id="told"></ul>
<div id="screen" role="img" aria-label="terminal"></div>
<div id="controls">
<button id="play" type="button">Play</button>
<input id="place" type="range" min="0" max="1" step="any" value="0" aria-label="place in the session">
<span id="time"></span>
<label>speed <select id="speed"><option>0.5</option><option selected>1</option><option>2</option><option>4</option>
<option>16</option></select></label>
<label><input id="skip" type="checkbox" checked> skip pauses</label>
</div>
<h2>Timeline</h2>
<p><label>find <input id="search" type="search"></label></p>
<ol id="lines"></ol>
<script type="application/json" id="data">"""

_TAIL = """</script>
<script>{script}</script>
</body>
</html>
"""
