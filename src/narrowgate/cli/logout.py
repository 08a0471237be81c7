"""`narrowgate logout`: the sign-in ends at the gate, and nothing of it is left on this machine."""

from __future__ import annotations

import click

from narrowgate.cli.failure import REFUSED
from narrowgate.cli.gate_address import gate_in_use, read_metadata
from narrowgate.cli.login import end_at_gate
from narrowgate.cli.oauth_client import GatePort, GateRefused, GateUnreachable
from narrowgate.cli.output import note, output_option, write_json
from narrowgate.cli.sign_in_files import KeptSignIn, forget_sign_in, gate_lock, read_facts, read_sign_in


@click.command()
@click.argument("url", default="", metavar="[URL]")
@output_option
def logout(url: str, output: str) -> int:
    """Sign out at the gate of this URL (default: the one used last), and remove what was kept of the sign-in.

    What runs with it, a watch say, ends within a second. Exit code 1 where the gate could not be told.
    """
    gate = gate_in_use(url)
    with gate_lock(gate, wait=True):
        kept = read_sign_in(gate)
        failure = _end(gate, kept)
        forget_sign_in(gate)
    if output == "json":
        told = {"gate": gate, "wasSignedIn": kept is not None, "ended": not failure}
        write_json(told | ({"failure": failure} if failure else {}))
    elif kept is None:
        note(f"nobody is signed in at {gate}")
    elif failure:
        until = f"until {kept.expires}" if kept.expires else "until its end"
        note(f"signed out here, but {failure}")
        note(f"the sign-in itself runs {until}; nobody holds its secret, unless it was copied")
    else:
        note(f"signed out at {gate}")
    return REFUSED if failure else 0


def _end(gate: str, kept: KeptSignIn | None) -> str:
    """End the sign-in at the gate; why that failed, or nothing."""
    facts = read_facts(gate)
    if kept is None or facts is None:
        return ""
    try:
        port = GatePort(gate, facts.authority)
        end_at_gate(port, read_metadata(port).revocation_endpoint, kept.secret)
    except (GateUnreachable, GateRefused) as error:
        return str(error)
    return ""
