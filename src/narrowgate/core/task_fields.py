"""What may be written into a task's record, and what not; each function says why not, empty where it can be kept."""

from __future__ import annotations

from urllib.parse import urlsplit

from narrowgate.core.agent_fields import purpose_problem

MOST_ACTIVE = 100
"""Active tasks of one agent: each is a credential that somebody must look after."""

DEFAULT_SECONDS = 1200.0
"""How long a task lasts that does not say: twenty minutes, or what is offered where that is less."""

DELETES = "the workloads that were created under it are deleted"
"""What people are told becomes of what a task leaves behind, where that is not that it stays."""

LONGEST_LINK = 500
"""Characters: an address in a tracker, with room for its query."""


def task_purpose_problem(purpose: str) -> str:
    """Why this does not say what a task is for."""
    return purpose_problem(purpose)


def link_problem(link: str) -> str:
    """Why this cannot be a task's link: it is shown to people, who follow it."""
    if not link:
        return ""
    wrong = f"link: write an https address of at most {LONGEST_LINK} characters, like https://tracker.example/OPS-12"
    if len(link) > LONGEST_LINK or not link.isascii() or not link.isprintable() or set(link) & set(' "<>\\'):
        return wrong
    try:
        parts = urlsplit(link)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return wrong
    # A name and password before the host make one address look like another.
    return "" if named and link.startswith("https://") and "@" not in parts.netloc else wrong
