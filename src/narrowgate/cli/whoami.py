"""`narrowgate whoami`: who the gate takes this person for, or what is known of it here while the gate is away."""

from __future__ import annotations

from typing import Any

import click

from narrowgate.cli.api_calls import person_access
from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import gate_in_use
from narrowgate.cli.login import WHOAMI_PATH
from narrowgate.cli.oauth_client import GatePort, GateRefused, GateUnreachable
from narrowgate.cli.output import note, output_option, write_json
from narrowgate.cli.sign_in_files import KeptSignIn, read_facts, read_sign_in


@click.command()
@click.argument("url", default="", metavar="[URL]")
@output_option
def whoami(url: str, output: str) -> None:
    """Say who you are at the gate of this URL (default: the one used last): name, groups, roles, clusters."""
    gate = gate_in_use(url)
    kept = read_sign_in(gate)
    if kept is None:
        raise Failed("nobody is signed in", gate, f"run: narrowgate login {gate}")
    try:
        document = {"gate": gate, "confirmed": True} | _asked(gate) | {"signInExpiresAt": kept.expires or None}
    except GateUnreachable as error:
        note(f"{error}; this is what is known here")
        document = _remembered(gate, kept)
    if output == "json":
        write_json(document)
        return
    for name, value in document.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if text not in ("", None):
            click.echo(f"{_words(name)}: {_shown(text)}")


def _asked(gate: str) -> dict[str, Any]:
    """The gate's own answer. Raises Unusable."""
    facts = read_facts(gate)
    authority = facts.authority if facts is not None else ""
    port, access = GatePort(gate, authority), person_access(gate, None)
    try:
        return port.get(WHOAMI_PATH, access.token)
    except GateRefused:
        # The credential from the cache may have been ended; a new one says it better, or works.
        return port.get(WHOAMI_PATH, person_access(gate, access).token)


def _remembered(gate: str, kept: KeptSignIn) -> dict[str, Any]:
    return {
        "gate": gate,
        "confirmed": False,
        "name": kept.person,
        "signedInAt": kept.signed_in,
        "signInExpiresAt": kept.expires or None,
    }


def _words(name: str) -> str:
    """`signInExpiresAt` as `sign in expires at`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)


def _shown(value: object) -> str:
    """A value of the gate's, without anything that moves the terminal's cursor."""
    match value:
        case bool():
            return "yes" if value else "no"
        case _:
            return "".join(letter if letter.isprintable() else "?" for letter in str(value))
