"""Who asks at a gate for tasks, and by what: a credential at hand, an agent's key, or the person who is signed in."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from narrowgate.authenticators.task_credential import task_named
from narrowgate.cli.access_cache import Asked, cached_access
from narrowgate.cli.api_calls import API, called_by_person
from narrowgate.cli.credential_plugin import VARIABLE, read_credential
from narrowgate.cli.gate_address import authority_of, gate_to_sign_in, read_metadata
from narrowgate.cli.kubeconfig_file import inline_token
from narrowgate.cli.oauth_client import GatePort, GateRefused, opener
from narrowgate.cli.renewal import renewed

KNOWN_SECONDS = 5.0
"""Longest wait for a new credential to be known; a gate whose feed is slower than this refuses requests anyway."""

ASK_AGAIN_SECONDS = 0.1

FEED_SECONDS = 0.3
"""A process of the gate looks for changes five times a second, and reads them in a moment."""

_NOT_PROVEN = 401


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a command line says about who asks, and where."""

    gate: str
    certificate_authority: Path | None
    credential_file: Path | None
    key_file: Path | None
    kubeconfig: Path | None = None
    """A task's own, for what a task's credential may do."""
    agent: str = ""


def proof_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which gate is meant, and what proves the caller there."""
    file = click.Path(path_type=Path)
    for option in reversed(
        (
            click.option(
                "--gate",
                default="",
                envvar="NARROWGATE_GATE",
                metavar="URL",
                help="The gate's control port (default: $NARROWGATE_GATE, the one configured here, the one used last).",
            ),
            click.option(
                "--certificate-authority",
                type=file,
                envvar="NARROWGATE_CERTIFICATE_AUTHORITY",
                metavar="FILE",
                help="The gate's CA, where it is not known here ($NARROWGATE_CERTIFICATE_AUTHORITY).",
            ),
            click.option(
                "--credential-file",
                type=file,
                metavar="FILE",
                help=f"An agent's credential (default: ${VARIABLE}, else your sign-in).",
            ),
            click.option("--key-file", type=file, metavar="FILE", help="An agent's private key; goes with --agent."),
            click.option("--agent", default="", metavar="NAME", help="The agent whose key it is, or for whom you ask."),
        )
    ):
        function = option(function)
    return function


class TaskCaller:
    """Calls the API of one gate. Each call raises Failed, Unusable (GateUnreachable, GateRefused)."""

    def __init__(self, proof: Proof) -> None:
        """Raises click.UsageError where the proofs contradict each other, Failed, Unusable."""
        named = [one for one in (proof.credential_file, proof.key_file, proof.kubeconfig) if one is not None]
        if len(named) > 1:
            raise click.UsageError("--credential-file, --key-file and --kubeconfig each prove who asks; give one")
        if proof.key_file is not None and not proof.agent:
            raise click.UsageError("--key-file goes with --agent NAME, whose key it is")
        self._proof = proof
        self.gate = gate_to_sign_in(proof.gate, None)
        self.authority = authority_of(self.gate, file=proof.certificate_authority, fingerprint="", config=None)
        self._port = GatePort(self.gate, self.authority)
        self._credential = self._at_hand()

    @property
    def own_task(self) -> str:
        """The id of the task whose credential is at hand; empty for every other proof."""
        return task_named(self._credential)

    def kubernetes_url(self) -> str:
        """Where clients reach clusters by this gate, as it says itself."""
        return read_metadata(self._port).kubernetes_url

    def get(self, path: str) -> dict[str, Any]:
        """The document at a path below the API's prefix."""
        return self._called("GET", path, None)

    def post(self, path: str, document: object = None) -> dict[str, Any]:
        """The answer to a call that does something."""
        return self._called("POST", path, document)

    def by(self, credential: str, path: str) -> dict[str, Any]:
        """The answer to a POST with a credential that was got just now."""
        return self._port.call("POST", API + path, credential)

    def wait_until_known(self, server: str, credential: str) -> None:
        """Return once the cluster's port knows a credential that was made just now, or cannot be asked from here.

        Each process of the gate hears of it by itself, within a fraction of a second: whoever gets a credential uses
        it at once, and must not be told that it is none.
        """
        deadline = time.monotonic() + KNOWN_SECONDS
        while not self._is_known(server, credential) and time.monotonic() < deadline:
            time.sleep(ASK_AGAIN_SECONDS)
        # One process has answered; the others ask as often.
        time.sleep(FEED_SECONDS)

    def _is_known(self, server: str, credential: str) -> bool:
        request = urllib.request.Request(f"{server}/version", headers={"Authorization": f"Bearer {credential}"})
        try:
            with opener(server, ssl.create_default_context(cadata=self.authority or None)).open(request, timeout=5):
                return True
        except urllib.error.HTTPError as error:
            with error:
                return error.code != _NOT_PROVEN
        except (OSError, http.client.HTTPException):
            return True

    def _called(self, method: str, path: str, document: object) -> dict[str, Any]:
        if self._credential:
            return self._port.call(method, API + path, self._credential, document)
        if self._proof.key_file is None:
            return called_by_person(self.gate, method, path, document)
        try:
            return self._port.call(method, API + path, self._by_key(refused=False), document)
        except GateRefused as error:
            if error.status != _NOT_PROVEN:
                raise
            return self._port.call(method, API + path, self._by_key(refused=True), document)

    def _at_hand(self) -> str:
        """A credential as it is; empty where a key or a sign-in proves the caller."""
        if self._proof.kubeconfig is not None:
            return inline_token(self._proof.kubeconfig)
        if self._proof.credential_file is not None:
            return read_credential(str(self._proof.credential_file), "")[0]
        if self._proof.key_file is None and (variable := os.environ.get(VARIABLE, "")):
            return read_credential("", variable)[0]
        return ""

    def _by_key(self, *, refused: bool) -> str:
        """An access credential for the agent's key: the one in the cache, or a new one."""
        data = base64.b64encode(self.authority.encode()).decode()
        asked = Asked(self.gate, "", agent=self._proof.agent, key_file=str(self._proof.key_file), authority_data=data)
        had = cached_access(asked, asked.path())
        if had is not None and not refused and had.fresh(time.time()):
            return had.token
        return renewed(asked, had, refused=refused).token
