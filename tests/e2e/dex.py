"""Dex, a real OpenID provider, as a program of the tests: started, stopped, held up, its keys rotated.

Here belongs what a test needs to sign people in: where Dex is, whom it knows, and what a gate's configuration says of
it. The program is `dev/dex`.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.build import build
from dev.cluster.certificates import Certificates
from dev.cluster.processes import free_ports
from tests.e2e.gate import GateFailure

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.1

NAME = "corp"
"""`login.name` in the gate's configuration: who signs in here has been vouched for by `oidc:corp`."""
CLIENT_ID = "narrowgate"
CLIENT_SECRET = "dex-client-secret"
PASSWORD = "password"


@dataclass(frozen=True)
class Person:
    """Somebody whom Dex knows; the password is `PASSWORD`."""

    name: str
    groups: tuple[str, ...]

    @property
    def email(self) -> str:
        return f"{self.name}@corp.example"


ALICE = Person("alice", ("sre", "developers"))
BOB = Person("bob", ("developers",))
CAROL = Person("carol", ())
PEOPLE = (ALICE, BOB, CAROL)


@dataclass
class Dex:
    """One running Dex, in a folder of its own. `serve` names the gates that it serves, before it is started."""

    folder: Path
    redirect_uris: Sequence[str] = ()
    signed_out_uris: Sequence[str] = ()
    people: Sequence[Person] = PEOPLE
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More for `dev/dex`: `sessions`, `askApproval`, `idTokensValidFor`, `keysRotationPeriod`."""
    clients: Sequence[Mapping[str, Any]] = ()
    """Clients besides the gate: `id`, `secret`, `public`, `redirectURIs`."""
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        certificates = Certificates(self.folder / "certificates")
        authority = certificates.authority("dex-authority")
        serving = certificates.server("dex", authority, ["127.0.0.1"], ["localhost"])
        self.ca = authority.certificate
        """PEM file of the authority that signed its certificate."""
        self._serving = serving

    def serve(self, control_url: str, name: str = NAME) -> None:
        """Take the gate with this control port for a client; it calls this provider `name`."""
        self.redirect_uris = [*self.redirect_uris, f"{control_url}/sign-in/oidc/{name}/callback"]
        self.signed_out_uris = [*self.signed_out_uris, f"{control_url}/signed-out"]

    def _write_config(self) -> None:
        gate = {
            "id": CLIENT_ID,
            "secret": CLIENT_SECRET,
            "name": "Narrowgate",
            "redirectURIs": list(self.redirect_uris),
            "postLogoutRedirectURIs": list(self.signed_out_uris),
        }
        document = {
            "issuer": self.issuer,
            "listen": f"127.0.0.1:{self.port}",
            "certificate": str(self._serving.certificate),
            "key": str(self._serving.key),
            "clients": [gate, *self.clients],
            "users": [_user(person) for person in self.people],
            **self.settings,
        }
        self.config.write_text(json.dumps(document))

    @property
    def config(self) -> Path:
        return self.folder / "dex.json"

    @property
    def log(self) -> Path:
        return self.folder / "dex.log"

    @property
    def issuer(self) -> str:
        return f"https://127.0.0.1:{self.port}/dex"

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def entry(self, **more: Any) -> dict[str, Any]:
        """An entry for this Dex under `authentication.jwt` of a gate's configuration."""
        secret = self.folder / "client-secret"
        secret.write_text(CLIENT_SECRET)
        secret.chmod(0o600)
        return {
            "issuer": {"url": self.issuer, "audiences": [CLIENT_ID], "certificateAuthority": self.ca.read_text()},
            "claimMappings": {
                "username": {"claim": "email", "prefix": ""},
                "groups": {"claim": "groups", "prefix": "corp:"},
            },
            "login": {
                "name": NAME,
                "title": "Corp",
                "clientID": CLIENT_ID,
                "clientSecretFile": str(secret),
                "scopes": ["openid", "profile", "email", "groups"],
            },
            **more,
        }

    # --- the process ---

    def start(self) -> Dex:
        """Starts it and waits until it answers; also again after `stop`, on the same port but with new keys."""
        self.stop()
        self._write_config()
        program = build(REPOSITORY / "dev" / "dex", {"dex": "."}) / "dex"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), str(self.config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise GateFailure(f"dex does not answer\n{self.last_words()}")
            time.sleep(POLL_SECONDS)
        return self

    def stop(self) -> None:
        """Ends it: nobody listens any more."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def hold(self) -> None:
        """SIGSTOP: connections are taken and never answered."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT: the end of `hold`."""
        self._send(signal.SIGCONT)

    def rotate_keys(self, *, forget_old: bool = False) -> None:
        """Sign with a new key from now on; the old one stays published unless it is to be forgotten."""
        before = self.key_ids()
        self._send(signal.SIGUSR1 if forget_old else signal.SIGHUP)
        deadline = time.monotonic() + START_SECONDS
        while self.key_ids() == before:
            if time.monotonic() > deadline:
                raise GateFailure(f"dex did not rotate its keys\n{self.last_words()}")
            time.sleep(POLL_SECONDS)

    def key_ids(self) -> list[str]:
        """What it publishes now, the signing key first."""
        return [key["kid"] for key in self._get("/dex/keys")["keys"]]

    def answers(self) -> bool:
        try:
            return bool(self._get("/dex/.well-known/openid-configuration")["issuer"] == self.issuer)
        except (OSError, urllib.error.URLError):
            return False

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.is_file() else "(no log)"
        return "\n".join(text.splitlines()[-15:])

    def _get(self, path: str) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(f"{self.origin}{path}", timeout=30, context=context) as answer:
            document: dict[str, Any] = json.load(answer)
            return document

    def _send(self, number: signal.Signals) -> None:
        if self._process is None:
            raise GateFailure("dex is not running")
        os.kill(self._process.pid, number)


def _user(person: Person) -> dict[str, Any]:
    return {
        "id": f"id-of-{person.name}",
        "email": person.email,
        "emailVerified": True,
        "username": person.name,
        "password": PASSWORD,
        "groups": list(person.groups),
    }
