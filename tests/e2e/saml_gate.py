"""A gate where people sign in with SAML: the gate and its providers, each knowing the other.

Here belongs what every test of signing in with SAML stands on; the provider as a program is in `saml_idp.py`, what a
browser does in `browser.py`.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from tests.e2e.browser import PAGE_MILLISECONDS, browser, go, new_page
from tests.e2e.dex import Person
from tests.e2e.gate import Gate
from tests.e2e.saml_idp import SAMLProvider, sign_in_at_saml
from tests.e2e.signing_in import authority_of, control_url


@dataclass(frozen=True)
class SAMLGate:
    """A running gate, its SAML providers by name, and a running browser that trusts them and nobody else."""

    gate: Gate
    providers: Mapping[str, SAMLProvider]
    browser: Browser

    @property
    def url(self) -> str:
        """The control port."""
        return control_url(self.gate)

    @property
    def ca(self) -> Path:
        return authority_of(self.gate)

    def page(self) -> Page:
        """A page in a profile of its own."""
        return new_page(self.browser)

    def signed_in(self, who: Person, page: Page | None = None, provider: str = "corp") -> Page:
        """The home page, where this person has just come by signing in."""
        page = page or self.page()
        go(page, f"{self.url}/sign-in/saml/{provider}")
        sign_in_at_saml(page, who)
        page.wait_for_url(f"{self.url}/", timeout=PAGE_MILLISECONDS)
        return page

    def metadata(self, provider: str = "corp") -> bytes:
        """What the gate says of itself to that provider."""
        context = ssl.create_default_context(cafile=str(self.ca))
        address = f"{self.url}/sign-in/saml/{provider}/metadata"
        with urllib.request.urlopen(address, timeout=30, context=context) as answer:
            content: bytes = answer.read()
            return content

    def register(self, provider: str = "corp") -> None:
        """Make the gate known to that provider, also again after it was stopped."""
        self.providers[provider].register("gate", self.metadata(provider))


@contextmanager
def saml_gate(
    folder: Path,
    clusters: Sequence[Mapping[str, Any]],
    entries: Mapping[str, Mapping[str, Any]],
    provider_settings: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    trusted: Sequence[Path] = (),
) -> Iterator[SAMLGate]:
    """A gate with one provider for each of `entries` (more keys of its configuration, by name).

    `trusted` are further authorities that the browser believes.
    """
    with ExitStack() as stack:
        providers = {
            name: SAMLProvider(folder / name, name=name, settings=(provider_settings or {}).get(name, {}))
            for name in entries
        }
        for provider in providers.values():
            stack.callback(provider.stop)
            provider.start()
        saml = [provider.entry(**entries[name]) for name, provider in providers.items()]
        gate = Gate(folder / "gate", clusters, settings={**(settings or {}), "authentication": {"saml": saml}})
        stack.callback(gate.stop)
        gate.start()
        authorities = [authority_of(gate), *(provider.ca for provider in providers.values()), *trusted]
        running = SAMLGate(gate, providers, stack.enter_context(browser(folder / "home", authorities)))
        for name in providers:
            running.register(name)
        yield running
