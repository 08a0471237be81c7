"""Somebody else's web site, for what it could do to a person who is signed in at the gate.

It answers every path with the page that a test gave it, by http or https, and remembers what browsers asked for.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dev.cluster.certificates import Certificates
from dev.cluster.processes import free_ports


@dataclass
class OtherSite:
    """The running site."""

    origin: str
    ca: Path
    pages: dict[str, str] = field(default_factory=dict)
    """HTML by path."""
    asked: list[str] = field(default_factory=list)
    """Targets of all requests so far."""

    def form(self, path: str, action: str, fields: dict[str, str]) -> str:
        """Put a form at `path` that sends itself to `action`; the page's address."""
        inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
        self.pages[path] = (
            f'<!doctype html><form method="post" action="{action}">{inputs}</form>'
            "<script>document.forms[0].submit()</script>"
        )
        return self.origin + path


@contextmanager
def other_site(folder: Path, *, https: bool, host: str = "127.0.0.1") -> Iterator[OtherSite]:
    """A site at `host`, which may be `localhost`: another site to browsers than 127.0.0.1, whatever its port."""
    (port,) = free_ports(1)
    certificates = Certificates(folder)
    authority = certificates.authority("other-authority")
    serving = certificates.server("other", authority, ["127.0.0.1"], ["localhost"])
    site = OtherSite(f"{'https' if https else 'http'}://{host}:{port}", authority.certificate)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            page = site.pages.get(self.path.partition("?")[0], "<!doctype html><title>other</title><p>Nothing.</p>")
            content = page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if https:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(serving.certificate, serving.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
