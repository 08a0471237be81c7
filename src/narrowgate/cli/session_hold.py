"""`narrowgate sessions hold` and `lift`: what keeps a recording, whatever retention says, until somebody lifts it."""

from __future__ import annotations

import re
import time
from typing import Any, Final

import click

from narrowgate.cli.api_calls import called_by_person
from narrowgate.cli.doctor_report import plain
from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import gate_in_use
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.output import output_option, write_json
from narrowgate.cli.session_place import SessionPlace, opened_place, session_argument
from narrowgate.core.audit import ActsOn
from narrowgate.core.moment import moment_text
from narrowgate.recordings.listing import session_of
from narrowgate.recordings.port import Hold, NoSuchRecording

MOST_WORDS: Final = 200
"""Characters of a reason: one line."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)

_gate_option = click.option(
    "--gate", default="", metavar="URL", help="Ask this gate, as who is signed in there, not the local files."
)


@click.command()
@session_argument
@click.option("--because", required=True, metavar="TEXT", help="Why, in one line; the record keeps it.")
@_gate_option
@output_option
def hold(session: str, config: str | None, because: str, gate: str, output: str) -> None:
    """Keep the recording of a session, whatever retention says, until the hold is lifted. The newest hold counts."""
    if not because.strip() or len(because) > MOST_WORDS or not because.isprintable():
        raise click.BadParameter(f"write one line of at most {MOST_WORDS} characters", param_hint="'--because'")
    _one_place(config, gate)
    if gate:
        held = _by_gate(gate_in_use(gate), session, "hold", {"because": because})
    else:
        held = _hold_here(opened_place(config), session, because)
    _write(held, output, f"the recording of session {plain(held['session'])} is on hold")


@click.command()
@session_argument
@_gate_option
@output_option
def lift(session: str, config: str | None, gate: str, output: str) -> None:
    """Let go of the hold on the recording of a session: retention counts again."""
    _one_place(config, gate)
    held = _by_gate(gate_in_use(gate), session, "lift", None) if gate else _lift_here(opened_place(config), session)
    said = f"the hold of {plain(held['by'])} on session {plain(held['session'])} is lifted: {plain(held['because'])}"
    _write(held, output, said)


def _one_place(config: str | None, gate: str) -> None:
    if gate and config:
        raise click.UsageError("--gate asks a gate and --config names local files; give one of them")


def _write(held: dict[str, Any], output: str, said: str) -> None:
    if output == "json":
        write_json(held)
    else:
        click.echo(said)


def _hold_here(place: SessionPlace, session: str, because: str) -> dict[str, Any]:
    from narrowgate.cli.operator_trail import on_record

    name = place.find(session)
    hold = Hold(by=local_operator(), reason=because, at=moment_text(time.time()))
    found = session_of(name)

    def take() -> None:
        try:
            place.store.hold(name, hold)
        except NoSuchRecording:
            raise Failed(
                f"the recording of session {found} is not in its store yet", "", "hold it when the session is over"
            ) from None

    on_record(place.config, ActsOn(verb="hold", resource="sessions", name=found, because=because), take)
    return _document(found, hold)


def _lift_here(place: SessionPlace, session: str) -> dict[str, Any]:
    from narrowgate.cli.operator_trail import on_record

    name = place.find(session)
    found = session_of(name)
    hold = place.store.held(name)
    if hold is None:
        raise Failed(f"the recording of session {found} is not on hold", "", "see `narrowgate sessions list`")
    on_record(place.config, ActsOn(verb="lift", resource="sessions", name=found), lambda: place.store.lift(name))
    return _document(found, hold)


def _by_gate(gate: str, session: str, verb: str, body: dict[str, str] | None) -> dict[str, Any]:
    """Have the gate do it. Raises Failed, GateUnreachable, GateRefused."""
    # It becomes a part of an address.
    if not _ID.fullmatch(session):
        raise Failed(f'"{session[:64]}" is no id of a session', f"at {gate}", "write its whole id")
    answer: dict[str, Any] = called_by_person(gate, "POST", f"/sessions/{session}/{verb}", body)
    return {key: str(answer.get(key, "")) for key in ("session", "by", "because", "at")}


def _document(session: str, hold: Hold) -> dict[str, Any]:
    return {"session": session, "by": hold.by, "because": hold.reason, "at": hold.at}
