"""An issuer of tokens for tests: real HTTPS on loopback, a CA of its own, keys that can be rotated; it can go away.

It also makes the tokens, good ones and forged ones: every member of header and claims can be had as one wishes.
"""

from __future__ import annotations

import asyncio
import base64
import http.server
import ipaddress
import json
import ssl
import tempfile
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dev.cluster.processes import free_ports
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from narrowgate.authenticators.issuer_keys import IssuerKeys, Pace, read_metadata
from narrowgate.authenticators.jwks import KeySet
from narrowgate.authenticators.jwt_issuer import ClaimMapping, JWTIssuer
from narrowgate.authenticators.token_verifier import TokenVerifier

AUDIENCE = "narrowgate"
FAR = 4_000_000_000
"""Unix seconds, in the year 2096: when a token ends of which a test wants nothing else."""

GOODBYE_SECONDS = 0.02

NEVER_AGAIN = Pace(max_age=1e9, retry=1e9)
"""For keys that are held, not fetched: nobody is asked for others, and they never get old."""

Key = RSAKey | ECKey | OKPKey
Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """`asyncio.run`, and a moment for TLS connections to say goodbye: nothing waits for those that were given up."""

    async def and_goodbye() -> Result:
        try:
            return await work
        finally:
            await asyncio.sleep(GOODBYE_SECONDS)

    return asyncio.run(and_goodbye())


def ec_key(key_id: str, curve: str = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": key_id})


def rsa_key(key_id: str, bits: int = 2048) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": key_id})


def ed25519_key(key_id: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": key_id})


def key_set(*keys: Key, extra: Sequence[object] = ()) -> bytes:
    """The JWK Set that an issuer publishes."""
    return json.dumps({"keys": [*(key.as_dict(private=False) for key in keys), *extra]}).encode()


def signed(
    claims: Mapping[str, Any] | bytes, key: Key, algorithm: str = "ES256", header: Mapping[str, Any] | None = None
) -> str:
    """A token as an issuer signs it; `header` says what its header holds besides `alg` and `kid`, or instead."""
    head = {"alg": algorithm, "kid": key.kid, **(header or {})}
    content = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return with_signature(head, content, key, algorithm)


def with_signature(header: Mapping[str, Any] | bytes, content: bytes, key: Key, algorithm: str) -> str:
    """The signature of `key` by `algorithm` under a header that may say something else altogether."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    unsigned = f"{base64url(head)}.{base64url(content)}"
    signature = jws.JWSRegistry.algorithms[algorithm].sign(unsigned.encode(), key)
    return f"{unsigned}.{base64url(signature)}"


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@dataclass
class Answer:
    """What the server says to a path instead of the usual."""

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Issuer:
    """One issuer. As a context it listens on loopback; without, it only makes tokens."""

    def __init__(self, *keys: Key) -> None:
        self.keys: list[Key] = list(keys) or [ec_key("first")]
        (self.port,) = free_ports(1)
        self.url = f"https://127.0.0.1:{self.port}"
        self.asked: list[str] = []
        """Paths, in the order in which they were asked for."""
        self.answers: dict[str, Answer] = {}
        self.metadata: dict[str, Any] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
        }
        self._certificate, self.ca = _certificate()
        self._server: _Server | None = None

    # --- tokens

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a good token; None takes one away."""
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "exp": FAR, "iat": 0}
        return {name: value for name, value in {**usual, **changed}.items() if value is not None}

    def token(self, **changed: Any) -> str:
        """A good token, signed by the first key, but for what is changed in its claims."""
        return signed(self.claims(**changed), self.keys[0])

    def published(self) -> bytes:
        return key_set(*self.keys)

    # --- the server

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self) -> None:
        """Listen, on the same port every time."""
        self._server = _Server(self, self._certificate)

    def down(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return Answer(content=json.dumps(self.metadata).encode())
            case "/keys":
                return Answer(content=self.published())
            case _:
                return Answer(404)


class _Server:
    def __init__(self, issuer: Issuer, certificate: bytes) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5

            def do_GET(self) -> None:
                answer = issuer.answer(self.path)
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.content)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that does not trust the certificate, or goes away: it says so itself

        self._server = Server(("127.0.0.1", issuer.port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "issuer.pem")
            file.write_bytes(certificate)
            context.load_cert_chain(file)
        # The handshake is the handler's, in its own thread: a client that never finishes one holds up nobody.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _certificate() -> tuple[bytes, str]:
    """Key and certificate for loopback in one PEM, and the PEM of the CA, which is the certificate itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer of the tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + pem, pem.decode("ascii")


def verifier_of(issuer: Issuer, keys: IssuerKeys | None = None, **changed: Any) -> TokenVerifier:
    """A verifier of this issuer's tokens as a gate would have it: people by `sub`, groups by `groups`.

    Its keys are those the issuer has now, as if fetched just now: no server is needed for tokens signed by them.
    """
    usual = JWTIssuer(
        url=issuer.url,
        certificate_authority=issuer.ca,
        audiences=(AUDIENCE,),
        username=ClaimMapping(claim="sub"),
        groups=ClaimMapping(claim="groups"),
    )
    configured = msgspec.structs.replace(usual, **changed)
    if keys is None:
        keys = IssuerKeys(configured, NEVER_AGAIN)
        keys.hold(read_metadata(json.dumps(issuer.metadata).encode(), issuer.url), KeySet.of(issuer.published()))
    return TokenVerifier(configured, keys)
