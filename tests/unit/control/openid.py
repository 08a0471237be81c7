"""An OpenID provider for unit tests: HTTPS on loopback, keys of its own, and answers that a test can bend.

It signs whatever claims a test wants, so that what Dex would never say can be said.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT_ID = "narrowgate"
CLIENT_SECRET = "s3cret:with/odd characters"

Reply = tuple[int, Any]
"""Status and document, or bytes as they are."""


@dataclass
class Asked:
    """A request to the token endpoint."""

    form: dict[str, str]
    authorization: str


@dataclass
class OpenID:
    """The provider: `issuer`, `ca`, and what it will answer next."""

    port: int
    ca: str
    key: ECKey = field(
        default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
    )
    published: list[ECKey] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    """Put over the usual claims of the next ID tokens."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Put over the usual metadata."""
    token_reply: Callable[[str], Reply] | None = None
    """Makes the token endpoint's answer from the ID token, in the place of the usual one."""
    asked: list[Asked] = field(default_factory=list)
    asked_elsewhere: list[Asked] = field(default_factory=list)
    """What came to where every redirect of this provider leads."""
    nonce: str = ""
    """Of the sign-in under way: what an honest provider remembers with its code."""

    @property
    def issuer(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def document(self) -> dict[str, Any]:
        usual = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/keys",
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
        }
        return {name: value for name, value in {**usual, **self.metadata}.items() if value is not None}

    def id_token(self) -> str:
        now = int(time.time())
        usual = {
            "iss": self.issuer,
            "sub": "id-of-alice",
            "aud": CLIENT_ID,
            "exp": now + 60,
            "iat": now,
            "nonce": self.nonce,
            "email": "alice@corp.example",
            "email_verified": True,
            "groups": ["sre"],
        }
        claims = {name: value for name, value in {**usual, **self.claims}.items() if value is not None}
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, claims, self.key, algorithms=["ES256"])

    def rotate(self) -> None:
        """Sign with a key that is published from now on, beside the old ones."""
        self.published = [*(self.published or [self.key])]
        name = f"rotated-{len(self.published)}"
        self.key = ECKey.generate_key("P-256", {"kid": name, "use": "sig", "alg": "ES256"})
        self.published.append(self.key)

    def reply(self, path: str, form: dict[str, str], authorization: str) -> Reply:
        match path:
            case "/.well-known/openid-configuration":
                return 200, self.document()
            case "/keys":
                return 200, {"keys": [key.as_dict(private=False) for key in self.published or [self.key]]}
            case "/token":
                self.asked.append(Asked(form, authorization))
                token = self.id_token()
                if self.token_reply is not None:
                    return self.token_reply(token)
                return 200, {"access_token": "thrown-away", "token_type": "Bearer", "id_token": token}
            case "/elsewhere":
                self.asked_elsewhere.append(Asked(form, authorization))
                return 200, {}
            case _:
                return 404, {}


def basic(client_id: str, secret: str) -> str:
    """RFC 6749, section 2.3.1, with both halves encoded as forms are."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


@contextmanager
def running_openid(folder: Path) -> Iterator[OpenID]:
    """A provider on a port of its own, until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    serving = folder / "serving.pem"
    ca = _certificate(serving)
    provider = OpenID(0, ca)

    class Handler(BaseHTTPRequestHandler):
        # Connections are kept: the client then waits for their end before its loop does.
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            self._answer(dict(parse_qsl(self.rfile.read(length).decode(), keep_blank_values=True)))

        def _answer(self, form: dict[str, str]) -> None:
            path = urlsplit(self.path).path
            status, document = provider.reply(path, form, self.headers.get("authorization", ""))
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if 300 <= status < 400:
                self.send_header("Location", f"{provider.issuer}/elsewhere")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that do not trust the certificate hang up; that is their test."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(serving)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    provider.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _certificate(serving: Path) -> str:
    """Write a certificate for 127.0.0.1 that is its own authority, with its key; its PEM is the answer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "unit test provider")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    serving.write_bytes(pem + private)
    return pem.decode()


def with_claims(provider: OpenID, claims: Mapping[str, Any]) -> None:
    """Let the next ID tokens say this; None leaves a claim out."""
    provider.claims = dict(claims)
