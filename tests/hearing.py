"""Receivers of notifications for tests, real ones: an HTTP server that checks nothing and keeps everything, and an SMTP
server. Both answer as they are told, may cut connections and go away; nothing else is between them and the gate.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography.x509.oid import ExtendedKeyUsageOID
from dev.cluster.processes import free_ports
from tests.signed_certificates import Authority

LONGEST_WAIT = 30.0
"""Seconds after which what should have come counts as lost. It comes within a second or two; tests wait longer."""

CUT = 0
"""As a status: the connection ends without an answer."""


def until(condition: Callable[[], bool], what: str, seconds: float = LONGEST_WAIT) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {seconds:.0f} s: {what}")
        time.sleep(0.02)


class ServerSide:
    """A certificate for `localhost`, the CA that signed it, and a context that shows it."""

    def __init__(self) -> None:
        authority = Authority("receivers")
        made = authority.client(dns=("localhost",), purposes=(ExtendedKeyUsageOID.SERVER_AUTH,), not_after=4e9)
        self.ca = authority.pem
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder, "pair.pem")
            pair.write_text(made.pair)
            self.context.load_cert_chain(pair)


@dataclass(frozen=True)
class Answer:
    """What the server says to one request."""

    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0
    """Seconds that it takes its time."""


@dataclass(frozen=True)
class Heard:
    """One request that came."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    status: int
    """What it was answered with."""

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class HTTPReceiver:
    """A server on loopback that keeps what it hears; the answers in `answers` come first, one each, then 200."""

    def __init__(self, tls: ServerSide | None = None) -> None:
        (self.port,) = free_ports(1)
        self.url = f"https://localhost:{self.port}/hook" if tls else f"http://127.0.0.1:{self.port}/hook"
        self.heard: list[Heard] = []
        self.answers: list[Answer] = []
        self._tls = tls
        self._server: http.server.ThreadingHTTPServer | None = None

    @property
    def told(self) -> list[Heard]:
        """What it has taken, in order."""
        return [one for one in self.heard if one.status == 200]

    def wait(self, count: int) -> list[Heard]:
        """What it has taken, once that is so many."""
        until(lambda: len(self.told) >= count, f"{count} messages, of which there are {len(self.told)}")
        return self.told

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.down()

    def up(self) -> None:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.answers.pop(0) if receiver.answers else Answer()
                headers = {name.lower(): value for name, value in self.headers.items()}
                time.sleep(answer.after)
                receiver.heard.append(Heard(self.path, headers, body, answer.status))
                if answer.status == CUT:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(answer.body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        if self._tls:
            self._server.socket = self._tls.context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@dataclass(frozen=True)
class Mail:
    """One message that came."""

    sender: str
    to: tuple[str, ...]
    text: str
    protected: bool
    """Whether it came by TLS."""
    user: str
    """Who logged in, by AUTH PLAIN; empty for nobody."""


class MailServer:
    """An SMTP server (RFC 5321) on loopback, with STARTTLS or TLS where it has a certificate."""

    def __init__(self, tls: ServerSide | None = None, *, at_once: bool = False, silent: bool = False) -> None:
        """`at_once`: TLS from the first byte; `silent`: it accepts connections and says nothing, a byte at a time."""
        (self.port,) = free_ports(1)
        self.mails: list[Mail] = []
        self.refuse: dict[str, str] = {}
        """Answers to commands instead of the usual (`RCPT` or `DATA`, `.` for the message), each used once."""
        self._tls, self._at_once, self._silent = tls, at_once, silent
        self._listener: socket.socket | None = None

    def wait(self, count: int) -> list[Mail]:
        until(lambda: len(self.mails) >= count, f"{count} mails, of which there are {len(self.mails)}")
        return self.mails

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._silent:
                while True:
                    connection.sendall(b"2")
                    time.sleep(0.1)
            if self._at_once and self._tls:
                connection = self._tls.context.wrap_socket(connection, server_side=True)
            dialogue = _Dialogue(self, connection, self._tls)
            try:
                dialogue.run()
            finally:
                dialogue.close()


class _Dialogue:
    """One connection: commands and answers."""

    def __init__(self, server: MailServer, connection: socket.socket, tls: ServerSide | None) -> None:
        self._server, self._connection, self._tls = server, connection, tls
        self._lines = connection.makefile("rb")
        self._sender, self._to, self._user = "", list[str](), ""

    def run(self) -> None:
        self._say("220 localhost ESMTP")
        while line := self._lines.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if said := self._server.refuse.pop(word.upper(), ""):
                self._say(said)
            elif not self._do(word.upper(), rest):
                return

    def close(self) -> None:
        self._lines.close()
        self._connection.close()

    def _do(self, word: str, rest: str) -> bool:
        match word:
            case "EHLO":
                offered = [] if self._protected or self._tls is None else ["STARTTLS"]
                features = ["localhost", *offered, "AUTH PLAIN"]
                self._say("\r\n".join([*(f"250-{one}" for one in features[:-1]), f"250 {features[-1]}"]))
            case "STARTTLS" if self._tls is not None:
                self._say("220 go on")
                self._connection = self._tls.context.wrap_socket(self._connection, server_side=True)
                self._lines = self._connection.makefile("rb")
            case "AUTH":
                self._user = base64.b64decode(rest.split()[-1]).decode().split("\0")[1]
                self._say("235 welcome")
            case "MAIL":
                self._sender = rest
                self._say("250 ok")
            case "RCPT":
                self._to.append(rest.partition(":<")[2].partition(">")[0])
                self._say("250 ok")
            case "DATA":
                self._say("354 go on")
                self._take()
            case "QUIT":
                self._say("221 bye")
                return False
            case _:
                self._say("250 ok")
        return True

    def _take(self) -> None:
        lines = []
        while (line := self._lines.readline().rstrip(b"\r\n")) != b".":
            lines.append(line.removeprefix(b"."))
        if said := self._server.refuse.pop(".", ""):
            self._say(said)
            return
        text = b"\n".join(lines).decode()
        self._server.mails.append(Mail(self._sender, tuple(self._to), text, self._protected, self._user))
        self._say("250 taken")

    @property
    def _protected(self) -> bool:
        return isinstance(self._connection, ssl.SSLSocket)

    def _say(self, text: str) -> None:
        self._connection.sendall(text.encode() + b"\r\n")
