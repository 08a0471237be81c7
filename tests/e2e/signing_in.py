"""A gate where people sign in by Dex: the two programs, each knowing the other.

Here belongs what every test of people's sign-in stands on; what a browser does is in `browser.py`.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from tests.e2e.browser import PAGE_MILLISECONDS, SESSION_COOKIE, browser, go, new_page, sign_in_at_dex
from tests.e2e.dex import Dex, Person
from tests.e2e.gate import Gate


@dataclass(frozen=True)
class SignInGate:
    """A running gate, its Dex, and a running browser that trusts both and nobody else."""

    gate: Gate
    dex: Dex
    browser: Browser

    @property
    def url(self) -> str:
        """The control port."""
        return control_url(self.gate)

    @property
    def ca(self) -> Path:
        return authority_of(self.gate)

    def raw(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: str = "") -> RawAnswer:
        """A request to the control port with exactly these headers, `Host` among them where it is given."""
        given = dict(headers or {})
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.gate.control_port, context=context, timeout=PAGE_MILLISECONDS / 1000
        )
        try:
            connection.putrequest(method, target, skip_host="Host" in given, skip_accept_encoding=True)
            for name, value in given.items():
                connection.putheader(name, value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body.encode() or None)
            answer = connection.getresponse()
            return RawAnswer(answer.status, answer.getheader("location", ""), answer.read().decode())
        finally:
            connection.close()

    def page(self) -> Page:
        """A page in a profile of its own."""
        return new_page(self.browser)

    def signed_in(self, who: Person, page: Page | None = None, path: str = "/") -> Page:
        """A page on which this person has just signed in, at `path`."""
        page = page or self.page()
        go(page, f"{self.url}{path}")
        sign_in_at_dex(page, who)
        page.wait_for_url(f"{self.url}{path}", timeout=PAGE_MILLISECONDS)
        return page


@dataclass(frozen=True)
class RawAnswer:
    """What came back to a request that no browser sent."""

    status: int
    location: str
    text: str


@contextmanager
def sign_in_gate(
    folder: Path,
    clusters: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any] | None = None,
    dex_settings: Mapping[str, Any] | None = None,
    trusted: Sequence[Path] = (),
) -> Iterator[SignInGate]:
    """A gate before these clusters with its own Dex; `settings` are keys of its configuration besides.

    The browser trusts the authorities `trusted` (PEM files), too: other sites that it is to be led to.
    """
    dex = Dex(folder / "dex", settings=dex_settings or {"sessions": True})
    given = dict(settings or {})
    authentication = {"jwt": [dex.entry()], **given.pop("authentication", {})}
    gate = Gate(folder / "gate", clusters, settings={**given, "authentication": authentication})
    dex.serve(control_url(gate))
    try:
        dex.start()
        gate.start()
        with browser(folder / "home", [authority_of(gate), dex.ca, *trusted]) as running:
            yield SignInGate(gate, dex, running)
    finally:
        gate.stop()
        dex.stop()


def control_url(gate: Gate) -> str:
    """Where a gate's control port is, as its configuration leaves it."""
    return f"https://127.0.0.1:{gate.control_port}"


def authority_of(gate: Gate) -> Path:
    """PEM file of the authority that a started gate made for itself."""
    return gate.data_dir / "keys" / "ca.pem"


def session_cookie(page: Page) -> dict[str, Any]:
    """The console's cookie in this page's profile; empty where there is none."""
    found = [cookie for cookie in page.context.cookies() if cookie.get("name") == SESSION_COOKIE]
    return dict(found[0]) if found else {}
