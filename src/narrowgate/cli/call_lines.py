"""A session of calls as people and programs read it: on a terminal, as JSON, as a page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click
import msgspec

from narrowgate.cli.call_session import CallSession, recorded_lines, recording_text, with_bodies
from narrowgate.cli.doctor_report import plain
from narrowgate.cli.session_page import page_of_calls
from narrowgate.cli.session_place import SessionPlace
from narrowgate.core.call_timeline import Call, Changes, call_text, summary, what_text
from narrowgate.core.session_story import MICROSECONDS
from narrowgate.core.session_timeline import Line

INDENT: Final = " " * 22
"""Below the time of a call."""


def write_calls(place: SessionPlace, session: CallSession, *, with_changes: bool) -> None:
    """Print it, a call a line, denied ones in red; with what each changed and recorded where that is wanted."""
    for sentence in (*session.told, *summary(session.calls)):
        click.echo(plain(sentence))
    if not session.is_whole:
        click.echo("These are the latest of more; `narrowgate audit search` has all.")
    changes = Changes()
    for found in session.calls:
        call = with_bodies(place, found) if with_changes else found
        line = f"{call.entry.received_at[:19]}Z  {plain(call_text(call))}"
        click.echo(click.style(line, fg="red") if call.is_denied else line)
        if with_changes:
            for text in changes.lines(call):
                click.echo(f"{INDENT}{click.style(plain(text), fg=_COLOURS.get(text[:1]))}")
        if said := recording_text(place, call):
            click.echo(f"{INDENT}{plain(said)}")
        if with_changes:
            for one in recorded_lines(place, call):
                click.echo(f"{INDENT}{one.at / MICROSECONDS:10.3f}  {one.mark:<3}  {plain(one.text.expandtabs())}")


_COLOURS: Final = {"+": "green", "-": "yellow"}
"""Of what came and what went; red is what was denied."""


def document_of(place: SessionPlace, session: CallSession) -> dict[str, Any]:
    """The session for programs."""
    return {
        "session": session.id,
        "sort": session.sort,
        "told": [*session.told, *summary(session.calls)],
        "isWhole": session.is_whole,
        "calls": list(call_documents(place, session)),
    }


def call_documents(place: SessionPlace, session: CallSession) -> Iterator[dict[str, Any]]:
    """Its calls for programs, one by one."""
    changes = Changes()
    for found in session.calls:
        call = with_bodies(place, found)
        entry = call.entry
        yield {
            "time": entry.received_at,
            "auditID": entry.audit_id,
            "chain": list(entry.chain),
            "verb": entry.verb,
            "what": what_text(entry),
            "code": entry.code,
            "decision": entry.decision,
            "rule": entry.rule,
            "reason": entry.reason,
            "approval": entry.approval,
            "denied": call.is_denied,
            "recording": call.recording,
            "changes": changes.lines(call),
        }


def call_page(place: SessionPlace, session: CallSession) -> Iterator[str]:
    """The session as a page. Raises TooLarge."""
    lines: list[Line] = []
    began = _at(session.calls[0]) if session.calls else 0
    changes = Changes()
    for found in session.calls:
        call = with_bodies(place, found)
        at = _at(call) - began
        mark = "refused" if call.is_denied else "call"
        lines.append(Line(at, mark, f"{call.entry.received_at[:19]}Z {call_text(call)}"))
        lines += [Line(at, _MARKS.get(text[:1], ""), text) for text in changes.lines(call)]
        if said := recording_text(place, call):
            lines.append(Line(at, "-", said))
        lines += [msgspec.structs.replace(one, at=at + one.at) for one in recorded_lines(place, call)]
    title = f"{'task' if session.sort == 'task' else 'sign-in'} {session.id}"
    return page_of_calls(title, [*session.told, *summary(session.calls)], lines)


_MARKS: Final = {"+": "come", "-": "gone", "~": "change"}


def _at(call: Call) -> int:
    return round(datetime.fromisoformat(call.entry.received_at).timestamp() * MICROSECONDS)
