"""Where the browser brings the authorization code: a server on loopback that waits for one answer (RFC 8252, 7.3)."""

from __future__ import annotations

import hmac
import http.server
import threading
import time
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

PATH = "/callback"

SILENT_SECONDS = 5
"""A connection that says nothing for so long is closed: browsers open some in advance."""

MOST_CONNECTIONS = 16
"""At one time; a browser opens six at most."""

LONGEST_TARGET = 4096
"""Bytes; a code, a state and an address have some 300."""

DONE_PAGE = "You are signed in at the gate. You may close this page and go back to the terminal."
REFUSED_PAGE = "The gate did not sign you in; the terminal says why. You may close this page."
FOREIGN_PAGE = "This is not the answer that the terminal waits for; begin again with narrowgate login."


class Brought(NamedTuple):
    """What the browser brought: a code, or the reason why there is none (RFC 6749, section 4.1.2)."""

    code: str
    error: str
    error_description: str


class LoopbackRedirect:
    """Listens on 127.0.0.1, on a port that the system chooses, while it is entered."""

    def __init__(self, state: str, issuer: str) -> None:
        """`state` and `issuer` are what the answer must carry (RFC 6749, 10.12; RFC 9207); others are ignored."""
        self._state = state
        self._issuer = issuer
        self._brought: list[Brought] = []
        self._came = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def uri(self) -> str:
        """The `redirect_uri`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self, seconds: float) -> Brought | None:
        """What the browser brought; None when `seconds` have passed without it."""
        deadline = time.monotonic() + seconds
        # In pieces: waiting in one would keep Ctrl-C from being noticed on some systems.
        while not self._came.wait(min(0.5, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                return None
        return self._brought[0]

    def taken(self, host: str, target: str) -> tuple[int, str]:
        """Take what a request brings: the status and the sentence to answer it with."""
        parts = urlsplit(target)
        # A page elsewhere whose name was pointed at this machine (DNS rebinding) has its own name in Host.
        if host != f"127.0.0.1:{self._server.server_address[1]}" or parts.path != PATH:
            return 404, "There is nothing here."
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=16)
        fields = dict(pairs)
        genuine = hmac.compare_digest(fields.get("state", "").encode(), self._state.encode())
        if not genuine or len(fields) < len(pairs) or fields.get("iss") != self._issuer or self._came.is_set():
            return 400, FOREIGN_PAGE
        code, error = fields.get("code", ""), fields.get("error", "")
        if bool(code) == bool(error):
            return 400, FOREIGN_PAGE
        self._brought.append(Brought(code, error, fields.get("error_description", "")))
        self._came.set()
        return (200, DONE_PAGE) if code else (200, REFUSED_PAGE)


class _Server(http.server.ThreadingHTTPServer):
    """One thread for each connection: one that a browser opened in advance must not keep the answer waiting."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread, or hang up where there are too many."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


def _handler_of(redirect: LoopbackRedirect) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = SILENT_SECONDS

        def do_GET(self) -> None:
            try:
                fits = len(self.path) <= LONGEST_TARGET
                code, sentence = redirect.taken(self.headers.get("Host", ""), self.path if fits else "")
            except ValueError:
                code, sentence = 400, FOREIGN_PAGE
            page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Narrowgate</title><p>{sentence}</p>'
            self.send_response(code)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page.encode())))
            self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the request holds a code."""

    return Handler
