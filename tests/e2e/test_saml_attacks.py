"""What others may try on a person's sign-in with SAML, with a real provider's responses: nothing comes of it."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from lxml import etree
from playwright.sync_api import Page, Request, Route
from tests.e2e.browser import SESSION_COOKIE
from tests.e2e.dex import ALICE, BOB, Person
from tests.e2e.echo import Echo
from tests.e2e.other_site import OtherSite, other_site
from tests.e2e.saml_gate import SAMLGate, saml_gate
from tests.e2e.saml_idp import sign_in_at_saml
from tests.e2e.signing_in import session_cookie

ACS = "/sign-in/saml/corp/acs"
NAMES = {"saml": "urn:oasis:names:tc:SAML:2.0:assertion", "ds": "http://www.w3.org/2000/09/xmldsig#"}
NOT_OURS = "it answers no sign-in that this browser has begun in the last ten minutes, or was used before"

Form = dict[str, str]


@dataclass(frozen=True)
class Scene:
    """A gate with its provider, and somebody else's site."""

    signing_in: SAMLGate
    other: OtherSite


@dataclass(frozen=True)
class Posted:
    """What a form was answered with."""

    code: int
    location: str
    problem: str
    cookies: str


@pytest.fixture(scope="module")
def scene(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("saml-attacks")
    with ExitStack() as stack:
        other = stack.enter_context(other_site(folder / "other", https=True, host="localhost"))
        # The browser trusts the other site's certificate too: nothing but our rules stands in its way.
        gate = saml_gate(folder, [echo.cluster("echo")], {"corp": {}}, trusted=[other.ca])
        yield Scene(stack.enter_context(gate), other)


@pytest.fixture(scope="module")
def signing_in(scene: Scene) -> SAMLGate:
    return scene.signing_in


def form_of(request: Request) -> Form:
    return {name: values[0] for name, values in parse_qs(request.post_data or "").items()}


def caught(signing_in: SAMLGate, page: Page, who: Person) -> Form:
    """Sign in at the provider and stop before its response reaches the gate: the form."""
    held: list[Form] = []

    def catch(route: Route) -> None:
        held.append(form_of(route.request))
        route.fulfill(status=200, body="held")

    page.route(f"**{ACS}", catch)
    page.goto(f"{signing_in.url}/sign-in/saml/corp")
    sign_in_at_saml(page, who)
    page.wait_for_url(f"**{ACS}")
    page.unroute(f"**{ACS}")
    return held[0]


def posted(signing_in: SAMLGate, form: Form, page: Page | None = None) -> Posted:
    """Post a form as the provider's page would, with the cookies of this page's browser."""
    cookies = page.context.cookies(signing_in.url) if page else []
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": signing_in.providers["corp"].origin,
        "Cookie": "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies),
    }
    address = urlsplit(signing_in.url)
    context = ssl.create_default_context(cafile=str(signing_in.ca))
    connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=context, timeout=90)
    try:
        connection.request("POST", ACS, urlencode(form), {name: value for name, value in headers.items() if value})
        answer = connection.getresponse()
        found = re.search(r'role="alert">(.*?)</p>', answer.read().decode(), re.DOTALL)
        cookies_set = answer.getheader("set-cookie", "")
        return Posted(answer.status, answer.getheader("location", ""), found[1] if found else "", cookies_set)
    finally:
        connection.close()


def refused(answer: Posted, why: str) -> None:
    """Nobody was signed in, and the page says why."""
    assert answer.code == 403
    assert why in answer.problem
    assert SESSION_COOKIE not in answer.cookies


def rewritten(form: Form, change: Callable[[str], str]) -> Form:
    """The form with another text in its response."""
    text = base64.b64decode(form["SAMLResponse"]).decode()
    changed = change(text)
    assert changed != text
    return form | {"SAMLResponse": base64.b64encode(changed.encode()).decode()}


# --- replay ---


def test_a_response_that_was_caught_signs_nobody_in_a_second_time(signing_in: SAMLGate) -> None:
    page = signing_in.page()
    form = caught(signing_in, page, ALICE)
    first, second = posted(signing_in, form, page), posted(signing_in, form, page)
    assert (first.code, first.location) == (303, "/")
    assert SESSION_COOKIE in first.cookies
    refused(second, NOT_OURS)


def test_a_response_that_was_caught_is_worth_nothing_in_another_browser(signing_in: SAMLGate) -> None:
    page, thief = signing_in.page(), signing_in.page()
    form = caught(signing_in, page, ALICE)
    thief.goto(f"{signing_in.url}/sign-in/saml/corp")
    for browser_of in (None, thief):
        refused(posted(signing_in, form, browser_of), NOT_OURS)


def test_a_response_to_an_earlier_request_answers_no_later_one(signing_in: SAMLGate) -> None:
    page = signing_in.page()
    first = caught(signing_in, page, ALICE)
    page.context.clear_cookies(name="session")
    second = caught(signing_in, page, BOB)
    mixed = first | {"RelayState": second["RelayState"]}
    refused(posted(signing_in, mixed, page), "does not answer the request that this browser was sent with")


# --- tampering ---


def remove_signatures(text: str) -> str:
    root = etree.fromstring(text)
    for signature in root.iterfind(".//ds:Signature", NAMES):
        signature.getparent().remove(signature)
    return etree.tostring(root).decode()


def wrap(text: str) -> str:
    """XSW3 on the assertion, once the response's own signature is out of the way."""
    root = etree.fromstring(text)
    root.remove(root.find("ds:Signature", NAMES))
    genuine = root.find("saml:Assertion", NAMES)
    forged = etree.fromstring(etree.tostring(genuine))
    forged.remove(forged.find("ds:Signature", NAMES))
    forged.set("ID", "id-forged")
    for value in forged.iterfind(".//saml:AttributeValue", NAMES):
        value.text = "admin"
    genuine.addprevious(forged)
    return etree.tostring(root).decode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace(">alice<", ">admin<"), "it was changed after it was signed"),
        (lambda text: text.replace(">sre<", ">admins<"), "it was changed after it was signed"),
        (lambda text: text.replace(">alice<", ">al<!---->ice<"), "it has a comment, which could hide part of a name"),
        (lambda text: text.replace(">alice<", ">al<?x?>ice<"), "it has a processing instruction"),
        (lambda text: f'<!DOCTYPE x [<!ENTITY e "f">]>{text}', "it has a document type declaration"),
        (remove_signatures, "neither it nor its assertion is signed"),
        (wrap, "it holds more than one response or assertion"),
        (lambda text: text.replace("status:Success", "status:Responder"), "it was changed after it was signed"),
    ],
    ids=["name", "group", "comment", "instruction", "doctype", "unsigned", "wrapped", "status"],
)
def test_a_response_that_was_tampered_with_is_refused(
    signing_in: SAMLGate, change: Callable[[str], str], why: str
) -> None:
    page = signing_in.page()
    form = caught(signing_in, page, ALICE)
    refused(posted(signing_in, rewritten(form, change), page), why)


def test_what_was_refused_is_in_the_trail(signing_in: SAMLGate) -> None:
    page = signing_in.page()
    form = caught(signing_in, page, ALICE)
    posted(signing_in, rewritten(form, lambda text: text.replace(">alice<", ">eve<")), page)
    event = signing_in.gate.wait_for_event("it was changed after it was signed")
    assert event["annotations"]["narrowgate.dev/decision"] == "deny"
    assert event["annotations"]["narrowgate.dev/reason"].startswith("saml:corp: the response of Corp is refused")
    assert event["user"]["username"] == "system:anonymous"
    assert form["RelayState"] not in signing_in.gate.journal_text()


# --- sign-ins that nobody wanted ---


def test_nobody_is_signed_in_as_somebody_else_by_another_site(signing_in: SAMLGate, scene: Scene) -> None:
    """Login CSRF: the attacker's own response, posted by a page of theirs in the victim's browser."""
    attacker, page = signing_in.page(), signing_in.page()
    form = caught(signing_in, attacker, BOB)
    lure = scene.other.form("/lure", f"{signing_in.url}{ACS}", form)
    page.goto(f"{signing_in.url}/sign-in/saml/corp")
    page.goto(lure)
    page.wait_for_url(f"**{ACS}")
    assert NOT_OURS in page.inner_text("[role=alert]")
    assert session_cookie(page) == {}


def test_a_session_that_somebody_planted_is_not_the_one_a_person_signs_in_to(signing_in: SAMLGate) -> None:
    attacker = signing_in.signed_in(BOB)
    planted = session_cookie(attacker)
    victim = signing_in.page()
    victim.context.add_cookies([planted])  # type: ignore[list-item]
    signing_in.signed_in(ALICE, victim)
    assert victim.inner_text("h1") == "corp:alice"
    assert session_cookie(victim)["value"] != planted["value"]
    attacker.goto(f"{signing_in.url}/")
    assert attacker.inner_text("h1") != "corp:alice"


def test_a_sign_in_that_begins_at_the_provider_is_refused(signing_in: SAMLGate) -> None:
    """IdP-initiated: a genuine response to the right address that no request of ours asked for."""
    link = signing_in.providers["corp"].add_shortcut("gate", f"{signing_in.url}/sign-in/saml/corp/metadata")
    page = signing_in.signed_in(ALICE)
    page.context.clear_cookies(name="__Host-narrowgate-session")
    page.goto(link)
    page.wait_for_url(f"**{ACS}")
    assert NOT_OURS in page.inner_text("[role=alert]")
    assert session_cookie(page) == {}
