"""A program that signs a person in, as the RFCs have it and as thieves would: it shares no code with the gate.

It listens on a loopback port for its answer, and says whatever a test wants to the gate's OAuth endpoints.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from dev.cluster.processes import free_ports
from tests.e2e.gate import Agent, Gate, GateFailure

CLIENT_ID = "narrowgate-cli"
ANSWER_SECONDS = 120.0
GRANT = "urn:ietf:params:oauth:grant-type:"


@dataclass
class Program:
    """One program at one gate."""

    url: str
    ca: Path
    redirect_uri: str = ""
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    brought: list[dict[str, str]] = field(default_factory=list)
    """The parameters of each answer that came to the redirect address."""
    arrived: threading.Event = field(default_factory=threading.Event)

    def address(self, **changed: str) -> str:
        """What to open in a browser."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        usual = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": self.redirect_uri,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
            "state": self.state,
        }
        return f"{self.url}/oauth/authorize?{urlencode(usual | changed)}"

    def answer(self) -> dict[str, str]:
        """What the browser brought."""
        if not self.arrived.wait(ANSWER_SECONDS):
            raise GateFailure("the browser brought nothing to the program")
        return self.brought[-1]

    def redeem(self, code: str, **changed: str) -> tuple[int, dict[str, Any]]:
        fields = {"code": code, "redirect_uri": self.redirect_uri, "code_verifier": self.verifier}
        return self.token("authorization_code", **fields | changed)

    def refresh(self, secret: str, **more: str) -> tuple[int, dict[str, Any]]:
        return self.token("refresh_token", refresh_token=secret, **more)

    def exchange(self, token: str, **more: str) -> tuple[int, dict[str, Any]]:
        kind = "urn:ietf:params:oauth:token-type:jwt"
        return self.token(GRANT + "token-exchange", subject_token=token, subject_token_type=kind, **more)

    def token(self, grant_type: str, **fields: str) -> tuple[int, dict[str, Any]]:
        return self.post("/oauth/token", {"grant_type": grant_type, "client_id": CLIENT_ID, **fields})

    def post(self, path: str, fields: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and document."""
        request = urllib.request.Request(self.url + path, urlencode(fields).encode(), method="POST")
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def get(self, path: str) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(self.url + path, timeout=ANSWER_SECONDS, context=context) as answer:
            document: dict[str, Any] = json.load(answer)
            return document


@contextmanager
def program(url: str, ca: Path, host: str = "127.0.0.1") -> Iterator[Program]:
    """A program that waits for its answer at a loopback address."""
    (port,) = free_ports(1)
    named = f"[{host}]" if ":" in host else host
    waiting = Program(url, ca, f"http://{named}:{port}/callback")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(self.path).path == "/callback":
                waiting.brought.append(dict(parse_qsl(urlsplit(self.path).query)))
                waiting.arrived.set()
            content = b"<!doctype html><title>done</title><p id=done>You may close this page."
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listening(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    server = Listening((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield waiting
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def holder(gate: Gate, ca: Path, access: str) -> Agent:
    """Whoever holds this access credential, at the data port."""
    return Agent("holder", Path("/nonexistent"), "127.0.0.1", gate.kubernetes_port, ca.read_text(), access)
