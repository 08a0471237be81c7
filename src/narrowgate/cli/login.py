"""`narrowgate login`: a person signs in at a gate, and this machine keeps what renews their access."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from narrowgate.cli.access_cache import Access, Asked, keep_access, moment
from narrowgate.cli.gate_address import authority_of, facts_of, gate_to_sign_in, read_metadata
from narrowgate.cli.oauth_client import CLIENT_ID, GatePort, GateRefused, GateUnreachable, Granted
from narrowgate.cli.output import config_option, note, output_option, write_json
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.sign_in_files import (
    GateFacts,
    KeptSignIn,
    forget_sign_in,
    gate_lock,
    keep_facts,
    keep_sign_in,
    note_last_gate,
    read_sign_in,
)
from narrowgate.cli.signing_in import by_browser, by_device

WHOAMI_PATH = "/api/v1/whoami"
SIGN_INS_PATH = "/api/v1/sign-ins?running=true"


class _About(NamedTuple):
    """A new sign-in as the gate tells it; empty what it does not."""

    person: str
    expires: str
    """When it is over at the latest."""
    clusters: list[str]
    """Those that the person may name."""


@click.command()
@click.argument("url", default="", metavar="[URL]")
@click.option("--device", is_flag=True, help="Show an address and a code for a browser on any machine.")
@click.option("--no-browser", is_flag=True, help="Print the address to open in a browser here; do not open it.")
@click.option(
    "--certificate-authority",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The gate's CA (PEM), where the system does not trust it.",
)
@click.option("--fingerprint", default="", metavar="SHA256", help="Trust the CA that the gate shows, if this is its.")
@config_option
@output_option
def login(url: str, output: str, **options: Any) -> None:
    """Sign in at the gate of this URL (its control port), through the identity provider of the company.

    Without URL: the gate configured here, or the one used last. What is kept is for your eyes alone, and renews short
    access credentials for kubectl until the sign-in is over.
    """
    chosen = gate_to_sign_in(url, options["config"])
    authority = authority_of(
        chosen, file=options["certificate_authority"], fingerprint=options["fingerprint"], config=options["config"]
    )
    port = GatePort(chosen, authority)
    metadata = read_metadata(port)
    if options["device"] or not (options["no_browser"] or has_browser(os.environ)):
        granted = by_device(port, metadata, note)
    else:
        granted = by_browser(port, metadata, _printed if options["no_browser"] else _opened)
    with _ended_unless_kept(port, metadata.revocation_endpoint, granted):
        document = _kept(port, facts_of(port, metadata, authority), granted, metadata.revocation_endpoint)
    if output == "json":
        write_json(document)
        return
    who = f" as {document['person']}" if document["person"] else ""
    until = f" until {document['expiresAt']} at the latest" if document["expiresAt"] else ""
    note(f"signed in at {chosen}{who}{until}; a kubeconfig for a cluster is printed by:")
    click.echo(f"narrowgate kubeconfig --cluster {(document['clusters'] or ['NAME'])[0]}")


def has_browser(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether a browser that is opened from here would be seen by whoever sits at this terminal."""
    if environ.get("BROWSER"):
        return True
    if environ.get("SSH_CONNECTION"):
        return False
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _printed(address: str) -> None:
    note("open this in a browser on this machine:")
    note(address)


def _opened(address: str) -> None:
    note("a browser opens for you to sign in; if it does not, open this yourself:")
    note(address)
    # It answers False where there is none, which the person sees.
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(address)


@contextlib.contextmanager
def _ended_unless_kept(port: GatePort, revocation_path: str, granted: Granted) -> Iterator[None]:
    """End the sign-in at the gate when it cannot be kept here, or Ctrl-C came: nobody would hold it."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Unusable):
            end_at_gate(port, revocation_path, granted.secret)
        raise


def end_at_gate(port: GatePort, revocation_path: str, secret: str) -> None:
    """End a sign-in (RFC 7009). Raises GateUnreachable, GateRefused."""
    if secret:
        port.post(revocation_path, {"token": secret, "token_type_hint": "refresh_token", "client_id": CLIENT_ID})


def _kept(port: GatePort, facts: GateFacts, granted: Granted, revocation_path: str) -> dict[str, Any]:
    """Keep the sign-in in the place of an older one, which is ended; as programs read it. Raises Unusable."""
    if not granted.secret:
        raise GateUnreachable(f"{port.url} gave no sign-in that could be kept: is it a gate of this version?")
    now = time.time()
    about = _about(port, granted.access)
    person, expires = about.person, about.expires
    with gate_lock(port.url, wait=True):
        old = _older(port.url)
        forget_sign_in(port.url)
        keep_facts(facts)
        keep_sign_in(port.url, KeptSignIn(person, granted.secret, moment(now), expires))
        note_last_gate(port.url)
        _keep_control(port.url, granted, now)
    if old:
        with contextlib.suppress(Unusable):
            end_at_gate(port, revocation_path, old)
    return {
        "gate": port.url,
        "person": person,
        "clusters": about.clusters,
        "signedInAt": moment(now),
        "expiresAt": expires or None,
    }


def _older(url: str) -> str:
    """The secret of the sign-in that was here; empty where there was none that could be read."""
    try:
        kept = read_sign_in(url)
    except Unusable:
        return ""
    return kept.secret if kept is not None else ""


def _keep_control(url: str, granted: Granted, now: float) -> None:
    """The first access credential is one for the control port."""
    asked = Asked(url, "")
    keep_access(asked, asked.path(), Access.lasting(granted.access, now, granted.seconds))


def _about(port: GatePort, access: str) -> _About:
    """What the gate tells of a new sign-in; nothing where it does not."""
    try:
        whoami = port.get(WHOAMI_PATH, access)
        items = port.get(SIGN_INS_PATH, access).get("items")
    except (GateRefused, GateUnreachable):
        return _About("", "", [])
    current = [one for one in items if isinstance(one, dict) and one.get("current")] if isinstance(items, list) else []
    clusters = whoami.get("clusters")
    names = [_line(one) for one in clusters] if isinstance(clusters, list) else []
    return _About(_line(whoami.get("name")), _line(current[0].get("expiresAt")) if current else "", names)


def _line(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""
