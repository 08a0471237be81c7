"""The checks that the record shows what happens: what was tried a moment ago is looked up, allowed and denied alike.

Only where the gate's data folder can be read: on its machine, by whoever runs it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from narrowgate.cli.doctor_report import Line, Outcome, plain
from narrowgate.cli.doctor_tries import Came, Tried, Tries
from narrowgate.core.audit import timestamp
from narrowgate.core.audit_entry import AuditEntry
from narrowgate.core.audit_query import AuditQuery, SeesAll
from narrowgate.trail.index import Index

WAIT_SECONDS = 5.0
"""An entry about the end of a request is written a moment after the answer."""

AGAIN_SECONDS = 0.2


def recorded(folder: Path, where: str, tries: Tries, wait: float = WAIT_SECONDS) -> list[Line]:
    """Whether every request of `tries` that was answered is in the record of `folder`, within `wait` seconds.

    They are known by their user agent, which nothing else has. Raises IndexUnusable, OSError.
    """
    answered = [one for one in tries.tried if one.came is not Came.UNKNOWN]
    deadline = time.monotonic() + wait
    while True:
        entries = _entries(folder, tries)
        lines = [
            _line("allowed path recorded", where, [one for one in answered if one.came is Came.OPENED], entries),
            _line("denied path recorded", where, [one for one in answered if one.came is Came.REFUSED], entries),
        ]
        if time.monotonic() > deadline or not any(line.outcome is Outcome.FINDING for line in lines):
            return lines
        time.sleep(AGAIN_SECONDS)


def _entries(folder: Path, tries: Tries) -> list[AuditEntry]:
    index = Index.open(folder)
    try:
        index.update()
        # Both clocks are this machine's; a second covers what rounding takes away.
        query = AuditQuery(since=timestamp(tries.began_at - 1.0).decode())
        found = [one.entry for one in index.search(query, SeesAll())]
        # Oldest first, as they were tried.
        return [entry for entry in reversed(found) if entry.user_agent == tries.user_agent and entry.finished_at]
    finally:
        index.close()


def _line(check: str, where: str, tried: Sequence[Tried], entries: Sequence[AuditEntry]) -> Line:
    if not tried:
        what = "allowed" if check.startswith("allowed") else "refused"
        said = f"nothing was {what}, so there is nothing to look for"
        return Line(check=check, where=where, outcome=Outcome.NOT_TRIED, found=said, counts=False)
    wanted = ("allow",) if tried[0].came is Came.OPENED else ("deny", "needs-approval")
    missing = [one.request.name for one in tried if not any(_is_about(entry, one, wanted) for entry in entries)]
    if missing:
        return Line(
            check=check,
            where=where,
            outcome=Outcome.FINDING,
            found=f"not in the record: {', '.join(missing)}",
            to_do="see whether reads are recorded (audit.reads), and run: narrowgate audit verify",
        )
    said = f"all of {len(tried)} requests are in the record, the first as {plain(_first(entries, tried[0], wanted))}"
    return Line(check=check, where=where, outcome=Outcome.OK, found=said)


def _first(entries: Sequence[AuditEntry], tried: Tried, wanted: Sequence[str]) -> str:
    return next(entry.audit_id for entry in entries if _is_about(entry, tried, wanted))


def _is_about(entry: AuditEntry, tried: Tried, wanted: Sequence[str]) -> bool:
    return entry.decision in wanted and entry.request_uri.endswith(tried.request.path)
