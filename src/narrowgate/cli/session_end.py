"""`narrowgate sessions end`: the end of a session that runs, by whoever works on the gate's machine or at the gate."""

from __future__ import annotations

import re
import time
from typing import Any, Final

import click

from narrowgate.cli.agent_options import opened_store
from narrowgate.cli.api_calls import called_by_person
from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import gate_in_use
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.oauth_client import GateUnreachable
from narrowgate.cli.output import output_option, write_json
from narrowgate.cli.session_place import SessionPlace, opened_place, session_argument

MOST_WORDS: Final = 200
"""Characters of a reason: one line."""

LONGEST_WAIT: Final = 10.0
"""Seconds until the session must have ended: it takes one, on a busy machine some more."""

_AGAIN: Final = 0.1

_PAGE: Final = 500

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


@click.command()
@session_argument
@click.option("--because", required=True, metavar="TEXT", help="Why, in one line; the record keeps it.")
@click.option(
    "--gate", default="", metavar="URL", help="Ask this gate, as who is signed in there, not the local files."
)
@output_option
def end(session: str, config: str | None, because: str, gate: str, output: str) -> None:
    """End a session that runs, in whichever process of the gate. On the gate's own machine, or anywhere with --gate."""
    if not because.strip() or len(because) > MOST_WORDS or not because.isprintable():
        raise click.BadParameter(f"write one line of at most {MOST_WORDS} characters", param_hint="'--because'")
    if gate and config:
        raise click.UsageError("--gate asks a gate and --config names local files; give one of them")
    ended = _by_gate(gate_in_use(gate), session, because) if gate else _here(opened_place(config), session, because)
    if output == "json":
        write_json({"session": ended, "because": because})
    else:
        click.echo(f"session {ended} was ended")


def _here(place: SessionPlace, session: str, because: str) -> str:
    """End it by the store of the gate that is configured here; its id. Raises Failed, StoreUnavailable."""
    name = place.find(session)
    with place.open(name) as recording:
        found, is_over = recording.header.session, recording.finished
    if is_over:
        raise Failed(f"session {found} is over already", "", f"see `narrowgate sessions show {found}`")
    if not place.is_live(name):
        raise Failed(
            f"session {found} ended with its gate, which was killed", "", "the next start finishes its recording"
        )
    with opened_store(place.config) as store:
        store.session_ends.end(found, because, by=local_operator(), at=time.time())
    give_up = time.monotonic() + LONGEST_WAIT
    while place.is_live(name):
        if time.monotonic() > give_up:
            raise Failed(
                f"session {found} does not end",
                "",
                "if its gate runs, look at its log; if it was killed, the session ended with it",
            )
        time.sleep(_AGAIN)
    return found


def _by_gate(gate: str, session: str, because: str) -> str:
    """End it by the gate's API; its id. Raises Failed, GateUnreachable, GateRefused."""
    found = _running(gate, session)
    called_by_person(gate, "POST", f"/sessions/{found}/end", {"because": because})
    return found


def _running(gate: str, session: str) -> str:
    page: dict[str, Any] = called_by_person(gate, "GET", f"/sessions?running=true&limit={_PAGE}")
    items = page.get("items")
    if not isinstance(items, list):
        raise GateUnreachable(f"{gate} does not answer as a gate does: is it a gate of this version?")
    ids: list[str] = [one["id"] for one in items if isinstance(one, dict) and isinstance(one.get("id"), str)]
    # They become a part of an address: whatever is no id of a gate's is none.
    ids = [one for one in ids if _ID.fullmatch(one)]
    parts = [one for one in ids if session and (one.startswith(session) or one.endswith(session))]
    found = [one for one in ids if one == session] or parts
    if len(found) != 1:
        what = "is a part of several sessions" if found else "is no session that runs and that you may see"
        raise Failed(f'"{session[:64]}" {what}', f"at {gate}", "write its whole id; new ones are known after seconds")
    return found[0]
