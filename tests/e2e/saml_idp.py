"""A real SAML identity provider as a program of the tests: started, stopped, its signing key changed.

Here belongs what a test needs to sign people in with SAML: where the provider is, whom it knows, and what a gate's
configuration says of it. The program is `dev/saml_idp`.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from dev.build import build
from dev.cluster.certificates import Certificates
from dev.cluster.processes import free_ports
from playwright.sync_api import Page
from tests.e2e.dex import PASSWORD, PEOPLE, Person
from tests.e2e.gate import GateFailure

REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.1

NAME = "corp"
"""`name` in the gate's configuration: who signs in here has been vouched for by `saml:corp`."""
USERNAME = "urn:oid:0.9.2342.19200300.100.1.1"
GROUPS = "urn:oid:1.3.6.1.4.1.5923.1.1.1.1"
"""The attributes in which samlidp sends them (`uid`, `eduPersonAffiliation`)."""


@dataclass
class SAMLProvider:
    """One running provider, in a folder of its own, with two signing keys of which the first signs."""

    folder: Path
    name: str = NAME
    people: Sequence[Person] = PEOPLE
    settings: Mapping[str, Any] = field(default_factory=dict)
    """More for `dev/saml_idp`: `nameIDFormat`, `signatureMethod`, `wantSignedRequests`."""
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        certificates = Certificates(self.folder / "certificates")
        authority = certificates.authority("saml-authority")
        serving = certificates.server("saml", authority, ["127.0.0.1"], ["localhost"])
        self.ca = authority.certificate
        """PEM file of the authority that signed its serving certificate."""
        document = {
            "url": self.origin,
            "listen": f"127.0.0.1:{self.port}",
            "certificate": str(serving.certificate),
            "key": str(serving.key),
            "signing": [_signing_pair(self.folder / f"signing-{number}") for number in (1, 2)],
            "users": [_user(person) for person in self.people],
            **self.settings,
        }
        self.config.write_text(json.dumps(document))

    @property
    def config(self) -> Path:
        return self.folder / "saml_idp.json"

    @property
    def log(self) -> Path:
        return self.folder / "saml_idp.log"

    @property
    def origin(self) -> str:
        # To browsers another site than the gate's 127.0.0.1: cookies that are kept from other sites do not come along.
        return f"https://localhost:{self.port}"

    @property
    def entity_id(self) -> str:
        return f"{self.origin}/metadata"

    def entry(self, **more: Any) -> dict[str, Any]:
        """An entry for this provider, which runs, under `authentication.saml` of a gate's configuration."""
        metadata = self.folder / "metadata.xml"
        metadata.write_bytes(self._call("GET", "/metadata"))
        return {
            "name": self.name,
            "title": self.name.capitalize(),
            "metadata": str(metadata),
            "username": USERNAME,
            "usernamePrefix": f"{self.name}:",
            "groups": GROUPS,
            "groupsPrefix": f"{self.name}:",
            **more,
        }

    def register(self, name: str, metadata: bytes) -> None:
        """Make a gate known, by the metadata that it serves."""
        self._call("PUT", f"/services/{name}", metadata)

    def add_shortcut(self, name: str, entity_id: str) -> str:
        """Let people sign in from a link at the provider, without a request of the gate's; the link."""
        document = {"name": name, "service_provider": entity_id}
        self._call("PUT", f"/shortcuts/{name}", json.dumps(document).encode())
        return f"{self.origin}/login/{name}"

    # --- the process ---

    def start(self) -> SAMLProvider:
        """Starts it and waits until it answers; also again after `stop`: then gates must be registered again."""
        program = build(REPOSITORY / "dev" / "saml_idp", {"saml_idp": "."}) / "saml_idp"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), str(self.config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._wait_until(self.answers, "it answers")
        return self

    def stop(self) -> None:
        """Ends it: nobody listens any more."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def next_key(self) -> None:
        """Sign with the other one of the two keys in its metadata."""
        if self._process is None:
            raise GateFailure("the SAML provider is not running")
        before = self._changes()
        os.kill(self._process.pid, signal.SIGHUP)
        self._wait_until(lambda: self._changes() > before, "it signs with the next key")

    def answers(self) -> bool:
        try:
            return self.entity_id.encode() in self._call("GET", "/metadata")
        except (OSError, urllib.error.URLError):
            return False

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.is_file() else "(no log)"
        return "\n".join(text.splitlines()[-15:])

    def _changes(self) -> int:
        return self.log.read_text(errors="replace").count("signing with key")

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise GateFailure(f"the SAML provider: not {what}\n{self.last_words()}")
            time.sleep(POLL_SECONDS)

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca))
        request = urllib.request.Request(f"{self.origin}{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            content: bytes = answer.read()
            return content


def sign_in_at_saml(page: Page, who: Person, password: str = PASSWORD) -> None:
    """Fill in and send the provider's login form, which the page shows now (or soon)."""
    page.fill("input[name=user]", who.name)
    page.fill("input[name=password]", password)
    page.click("input[type=submit]")


def _user(person: Person) -> dict[str, Any]:
    return {"name": person.name, "email": person.email, "password": PASSWORD, "groups": list(person.groups)}


def _signing_pair(path: Path) -> dict[str, str]:
    """A key that signs assertions; RSA, which every provider has."""
    certificate, key = path.with_suffix(".crt"), path.with_suffix(".key")
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return {"certificate": str(certificate), "key": str(key)}
