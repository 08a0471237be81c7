"""Whether the link of a task begins as a policy asks: the policy names a tracker, the task one of its tickets.

Both are compared as addresses (RFC 3986), never as texts: `https://tickets.corp.evil.example/` begins with
`https://tickets.corp` as a text, `https://tickets.corp@evil.example/` is at another host altogether. What a server may
read as something else than it looks (dot segments, encoded separators) begins with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

import msgspec

from narrowgate.core.task_fields import link_problem

HTTPS_PORT: Final = 443
"""The port of an https address that names none."""

MOST_LINKS: Final = 16
"""Beginnings that one rule can name: trackers of one company."""

_HIDDEN = re.compile(r"%(2e|2f|5c|25)", re.ASCII | re.IGNORECASE)
"""Dots, slashes, backslashes and percent signs that only show when they are decoded."""


class _Address(msgspec.Struct, frozen=True):
    host: str
    port: int
    path: str


def begins_with_one_of(link: str, beginnings: Iterable[str]) -> bool:
    """Whether a link is at the host and port of one of the beginnings, in or below its path.

    `https://tickets.corp/browse` is the beginning of `https://tickets.corp/browse/OPS-1`, not of
    `https://tickets.corp/browser`.
    """
    return _begins(link, tuple(beginnings))


def beginning_problem(text: str) -> str:
    """Why this cannot be what links must begin with; empty where it can."""
    if not text or link_problem(text):
        return f'"{text}" is no https address'
    parts = urlsplit(text)
    if "?" in text or "#" in text or parts.query or parts.fragment:
        return f'"{text}" has a query or a fragment, and links are compared up to their path'
    return "" if _read(text) is not None else f'"{text}" has dots or separators in its path that a server may resolve'


@lru_cache(maxsize=1024)
def _begins(link: str, beginnings: tuple[str, ...]) -> bool:
    # Asked at every request that rests on such a rule, of a handful of tasks and rules.
    found = _read(link)
    if found is None:
        return False
    for text in beginnings:
        wanted = _read(text)
        if wanted is None or (found.host, found.port) != (wanted.host, wanted.port):
            continue
        below = wanted.path if wanted.path.endswith("/") else f"{wanted.path}/"
        if found.path == wanted.path or found.path.startswith(below):
            return True
    return False


def _read(text: str) -> _Address | None:
    """The address as it is compared; None for what is none, or could be read as another one."""
    if not text or link_problem(text):
        return None
    parts = urlsplit(text)
    path = parts.path or "/"
    # Behind a semicolon are parameters of a segment (RFC 3986 3.3): some servers resolve `..;` as they do `..`.
    dots = any(segment.partition(";")[0] in (".", "..") for segment in path.split("/"))
    if dots or _HIDDEN.search(path) or parts.hostname is None:
        return None
    return _Address(parts.hostname, HTTPS_PORT if parts.port is None else parts.port, path)
