"""The first administrator of a gate whose people sign in with their company's provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.api_caller import by_session, link_of
from tests.e2e.dex import ALICE, BOB
from tests.e2e.echo import Echo
from tests.e2e.signing_in import SignInGate, sign_in_gate

NEW = {"name": "made-by-api", "owner": "person:olga", "purpose": "tests", "cluster": "echo"}


@pytest.fixture(scope="module")
def signing_in(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInGate]:
    folder = tmp_path_factory.mktemp("first-admin")
    with sign_in_gate(folder, [echo.cluster("echo")]) as running:
        yield running


def test_whoever_opens_the_link_and_signs_in_becomes_the_first_admin_and_nobody_after(signing_in: SignInGate) -> None:
    gate = signing_in.gate
    void, link = link_of(gate), link_of(gate)
    page = signing_in.page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(link)
    assert "Sign in first" in page.inner_text("main")
    signing_in.signed_in(ALICE, page)
    assert page.inner_text("#roles") == "member"

    page.goto(void)
    page.click("main button")
    assert "the newest link" in page.inner_text('[role="alert"]')

    page.goto(link)
    assert page.inner_text("#person") == ALICE.email
    assert page.input_value("#code").startswith("ngf1_")
    assert page.url == f"{signing_in.url}/first-admin", "the code is out of the address"
    page.click("main button")
    page.wait_for_url(f"{signing_in.url}/")
    assert page.inner_text("#roles") == "admin, member"
    assert [text for text in complaints if "Content Security Policy" in text] == []

    other = signing_in.signed_in(BOB)
    other.goto(link)
    assert "has an admin already" in other.inner_text('[role="alert"]')
    refused = gate.command("roles", "first-admin")
    assert (refused.code, "there is an admin already" in refused.err) == (1, True)

    journal = gate.journal_text()
    assert "ngf1_" not in journal
    event = gate.wait_for_event(f"admin/{ALICE.email}")
    assert (event["user"]["username"], event["responseStatus"]["code"]) == (f"person:{ALICE.email}", 303)
    assert event["annotations"]["narrowgate.dev/because"] == "the one-time link of the host"

    # What the session of a person may do now, a program may do with it, and only from our own pages.
    alice, bob = by_session(gate, page), by_session(gate, other)
    assert alice("GET", "/whoami").document["roles"] == ["admin", "member"]
    assert bob("POST", "/agents", NEW).status == 403
    assert alice("POST", "/agents", NEW, Origin="https://evil.example").status == 403
    assert alice("POST", "/agents", NEW, X_CSRF_Token="0" * 64).status == 403
    assert alice("POST", "/roles", {"person": BOB.email, "role": "auditor"}).status == 201
    assert [item["subject"] for item in bob("GET", "/changes?limit=1").document["items"]] == [BOB.email]
    assert alice("DELETE", f"/roles/auditor/people/{BOB.email}").status == 204
    assert bob("GET", "/changes").status == 403
