"""A control port that answers as a test tells it: for what a gate does rarely, or only one that is broken would do.

What the real gate does with the same calls is shown by tests/e2e.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from dev.cluster.certificates import Certificates
from dev.cluster.processes import free_ports


class Called(NamedTuple):
    """One call that came."""

    method: str
    path: str
    form: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def document(self) -> Any:
        """The JSON that was sent."""
        return json.loads(self.body)


class Told(NamedTuple):
    """One answer to give."""

    status: int
    content: bytes
    headers: Mapping[str, str]


Answer = Told | Callable[[Called], Told]


def told(document: Any, status: int = 200, **headers: str) -> Told:
    """A JSON answer; bytes are sent as they are."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Told(status, content, {name.replace("_", "-"): value for name, value in headers.items()})


def refused(error: str, text: str = "because", status: int = 400) -> Told:
    """A refusal as OAuth words it."""
    return told({"error": error, "error_description": text}, status)


def granted(access: str = "nga1_a.b", seconds: float = 3600, secret: str = "ngr1_second") -> Told:
    """An answer of the token endpoint."""
    return told(
        {"access_token": access, "token_type": "Bearer", "expires_in": seconds}
        | ({"refresh_token": secret} if secret else {})
    )


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that trust nobody hang up, as they should."""


class ScriptedGate:
    """Listens on loopback with a certificate of its own; answers to a path are given in turn, the last for ever."""

    def __init__(self, folder: Path) -> None:
        certificates = Certificates(folder)
        authority = certificates.authority("scripted-authority")
        serving = certificates.server("scripted", authority, ["127.0.0.1"], ["localhost"])
        self.authority = authority.certificate
        self.authority_pem = authority.certificate.read_text()
        (self.port,) = free_ports(1)
        self.url = f"https://127.0.0.1:{self.port}"
        self.calls: list[Called] = []
        self._answers: dict[str, list[Answer]] = {}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(serving.certificate, serving.key)
        self._server: http.server.ThreadingHTTPServer | None = None
        self.up()

    def answers(self, path: str, *given: Answer) -> None:
        self._answers[path] = list(given)

    def metadata(self, **more: Any) -> dict[str, Any]:
        """What a gate says about itself."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/oauth/authorize",
            "device_authorization_endpoint": f"{self.url}/oauth/device_authorization",
            "token_endpoint": f"{self.url}/oauth/token",
            "revocation_endpoint": f"{self.url}/oauth/revoke",
            "narrowgate_kubernetes_url": "https://127.0.0.1:8443",
            "narrowgate_certificate_authority": self.authority_pem,
            **more,
        }

    def called(self, path: str) -> list[Called]:
        return [call for call in self.calls if call.path == path]

    def up(self) -> None:
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate._serve(self, b"")

            def do_POST(self) -> None:
                gate._serve(self, self.rfile.read(int(self.headers.get("Content-Length", "0"))))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.socket = self._context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Nobody listens any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _serve(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path
        call = Called(handler.command, path, dict(parse_qsl(body.decode())), dict(handler.headers.items()), body)
        self.calls.append(call)
        waiting = self._answers.get(path, [told({"title": "not found"}, 404)])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        status, content, headers = answer if isinstance(answer, Told) else answer(call)
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
