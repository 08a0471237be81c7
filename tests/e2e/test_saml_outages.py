"""The SAML provider goes away and returns: who is signed in stays so, nobody new comes in, and the page says why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.dex import ALICE, BOB
from tests.e2e.echo import Echo
from tests.e2e.saml_gate import SAMLGate, saml_gate
from tests.e2e.saml_idp import sign_in_at_saml
from tests.e2e.signing_in import session_cookie


@pytest.fixture
def signing_in(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SAMLGate]:
    folder = tmp_path_factory.mktemp("saml-outages")
    with saml_gate(folder, [echo.cluster("echo")], {"corp": {}}) as running:
        yield running


def test_a_provider_that_is_away_keeps_new_people_out_and_returns_without_a_restart(signing_in: SAMLGate) -> None:
    provider = signing_in.providers["corp"]
    stays = signing_in.signed_in(ALICE)
    provider.stop()
    stays.reload()
    assert stays.inner_text("h1") == "corp:alice"

    comes = signing_in.page()
    comes.goto(f"{signing_in.url}/")
    told = comes.inner_text("[role=alert]")
    assert told.startswith(f"Corp does not answer: nothing listens at {provider.origin}/sso.")
    assert "Nobody new can sign in with it until it is back" in told
    assert session_cookie(comes) == {}

    provider.start()
    # It keeps nothing on disk: like a provider that was restored without its latest changes.
    signing_in.register()
    comes.click("main a.button")
    sign_in_at_saml(comes, BOB)
    comes.wait_for_url(f"{signing_in.url}/")
    assert comes.inner_text("h1") == "corp:bob"
