"""Chromium as people use it: certificates are checked, cookies kept, other sites are other sites.

Here belongs what drives a browser for any test: opening one, signing in at Dex. A browser trusts exactly the
authorities it is given, as one on a company's machine would.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.chromium import chromium, trusting_home
from playwright.sync_api import Browser, Error, Page, sync_playwright
from tests.e2e.dex import PASSWORD, Person

PAGE_MILLISECONDS = 90_000
"""How long a page may take before a test calls it lost; two cores and a cluster are busy with other things."""

NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
"""What Chromium says of whatever it loads while an interface comes or goes, as one does with every pod."""

GOES = 5
"""How often a page is gone to before that is believed."""

SESSION_COOKIE = "__Host-narrowgate-session"


@contextmanager
def browser(home: Path, authorities: Sequence[Path]) -> Iterator[Browser]:
    """A running browser that trusts these authorities; `new_page(...)` opens a profile of its own in it."""
    environment: dict[str, str | float | bool] = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(trusting_home(home, authorities)),
        "TZ": "UTC",
    }
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=str(chromium()),
            # Chromium refuses its sandbox to root, which tests in containers are.
            chromium_sandbox=os.geteuid() != 0,
            args=["--disable-dev-shm-usage", "--no-first-run"],
            env=environment,
        )
        try:
            yield running
        finally:
            running.close()


def new_page(running: Browser) -> Page:
    """A page in a profile of its own: no cookie of any other."""
    page = running.new_context().new_page()
    page.set_default_timeout(PAGE_MILLISECONDS)
    return page


def go(page: Page, url: str) -> None:
    """Load a page, once more where the machine's pods got in the way."""
    for left in reversed(range(GOES)):
        try:
            page.goto(url)
        except Error as error:
            if NETWORK_CHANGED not in error.message or not left:
                raise
        else:
            return


def sign_in_at_dex(page: Page, who: Person, password: str = PASSWORD) -> None:
    """Fill in and send Dex's login form, which the page shows now (or soon)."""
    page.fill("#login", who.email)
    page.fill("#password", password)
    page.click("#submit-login")


@contextmanager
def intercepting(page: Page, pattern: str, passes: Callable[[str], bool]) -> Iterator[None]:
    """Have `passes` asked, inside the block, for every request whose address fits `pattern` (with `*`).

    What does not pass is answered with an empty page and never reaches its server. Playwright's own routes do not see
    where a redirect leads; the browser's protocol does.
    """
    session = page.context.new_cdp_session(page)

    def paused(event: dict[str, Any]) -> None:
        request = {"requestId": event["requestId"]}
        if passes(event["request"]["url"]):
            session.send("Fetch.continueRequest", request)
        else:
            session.send("Fetch.fulfillRequest", {**request, "responseCode": 200, "body": ""})

    session.on("Fetch.requestPaused", paused)
    session.send("Fetch.enable", {"patterns": [{"urlPattern": pattern}]})
    try:
        yield
    finally:
        session.send("Fetch.disable")
        session.detach()
