"""The way to a provider and back: what ties a response to the browser that was sent away, and what counts once."""

from __future__ import annotations

import base64
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from dev.cluster.processes import free_ports
from starlette.applications import Starlette
from tests.saml_messages import (
    ACS,
    ENTITY_ID,
    ISSUER,
    Message,
    a_provider,
    certificate_of,
    metadata_text,
    moment,
    rsa_key,
    sign,
    signed_assertion,
)
from tests.unit.control.browsing import ORIGIN, Answer, Browsing
from tests.unit.control.gate_parts import a_store, parts_of
from tests.unit.control.journal import Journal

from narrowgate.control.console_sessions import COOKIE as SESSION
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.control.saml.sign_in import COOKIE, FORM_LIMIT, PENDING_SECONDS, saml_routes
from narrowgate.control.saml.xml import SAMLRefused, read_xml
from narrowgate.control.sign_in import Provider, SignInPages, sign_in_routes
from narrowgate.core.sign_in import Client
from narrowgate.keys.saml_key import SAMLKey
from narrowgate.store.port import Store

KEY = SAMLKey(
    private=rsa_key("gate"),
    certificate=x509.load_der_x509_certificate(base64.b64decode(certificate_of(rsa_key("gate")))),
)
CROSS_SITE = {"origin": "https://idp.example", "sec-fetch-site": "cross-site"}
"""How a browser marks the form that a provider's page sends."""

BEGIN = "/sign-in/saml/corp?anyway=1"
"""`anyway`: unit tests do not look whether idp.example answers."""

NOT_OURS = (
    "The response of Corp is refused: it answers no sign-in that this browser has begun in the last ten minutes, or "
    "was used before; sign in again."
)


@dataclass
class Gate:
    """One gate with SAML providers, and the provider's side of it."""

    store: Store
    journal: Journal = field(default_factory=Journal)
    providers: tuple[SAMLProvider, ...] = (a_provider(groups="groups"),)

    def browser(self) -> Browsing:
        parts = parts_of(self.store, self.journal)
        pages = SignInPages(parts, [Provider(source=one.source, title=one.title) for one in self.providers])
        return Browsing(Starlette(routes=[*sign_in_routes(pages), *saml_routes(self.providers, parts, pages, KEY)]))

    def sessions(self) -> list[str]:
        return [one.person for one in self.store.sign_ins.listed() if one.ended_at is None]

    def denied(self) -> str:
        """What the last entry in the journal says that was refused."""
        assert self.journal.last["annotations"]["narrowgate.dev/decision"] == "deny"
        return str(self.journal.last["annotations"]["narrowgate.dev/reason"])


@dataclass(frozen=True)
class Sent:
    """What a provider got with a browser."""

    request_id: str
    relay_state: str

    def response(self, change: Callable[[Message], Message] = lambda what: what) -> bytes:
        """The provider's answer to this request, at this very time."""
        return signed_assertion(change(fresh(self.request_id)))

    def form(self, response: bytes | None = None) -> dict[str, str]:
        encoded = base64.b64encode(self.response() if response is None else response).decode()
        return {"SAMLResponse": encoded, "RelayState": self.relay_state}


def fresh(request_id: str) -> Message:
    """A response to that request, issued now: the routes read the clock themselves."""
    now = time.time()

    def at(seconds: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + seconds))

    usual = Message(attributes={"groups": ("sre",)})
    return replace(
        usual,
        assertion_id=f"_assertion-{request_id}",
        in_response_to=f' InResponseTo="{request_id}"',
        issued=at(0),
        confirmed_until=f' NotOnOrAfter="{at(300)}"',
        window=f' NotBefore="{at(-5)}" NotOnOrAfter="{at(300)}"',
        statement=usual.statement.replace(moment(-1), at(-1)),
    )


def sent_by(answer: Answer) -> Sent:
    query = parse_qs(urlsplit(answer.location).query)
    request = read_xml(zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), wbits=-15))
    return Sent(request.attribute("ID") or "", query["RelayState"][0])


def begun(browser: Browsing, target: str = BEGIN) -> Sent:
    answer = browser.get(target)
    assert answer.status == 303, answer.text
    return sent_by(answer)


def post(browser: Browsing, form: dict[str, str], name: str = "corp") -> Answer:
    return browser.post(f"/sign-in/saml/{name}/acs", form, CROSS_SITE)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    with closing(a_store(tmp_path)) as store:
        yield Gate(store)


# --- there and back ---


def test_a_person_signs_in_and_goes_on_to_where_they_wanted(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser, f"{BEGIN}&return_to=/sessions%3Fpage%3D2")
    answer = post(browser, sent.form())
    assert (answer.status, answer.location) == (303, "/sessions?page=2")
    (sign_in,) = gate.store.sign_ins.listed("alice@corp.example")
    assert sign_in.client is Client.CONSOLE
    assert sign_in.groups == ("sre",)
    assert sign_in.source == "saml:corp"
    assert ("issuer", ISSUER) in sign_in.claims
    assert ("subject", "alice@corp.example") in sign_in.claims
    assert browser.get("/").status == 200


def test_the_sign_in_is_in_the_record_with_the_assertion_it_rests_on(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    post(browser, sent.form())
    user = gate.journal.last["user"]
    assert user["username"] == "person:alice@corp.example"
    assert user["extra"]["narrowgate.dev/assertion"] == [f"_assertion-{sent.request_id}"]
    assert gate.journal.last["objectRef"]["resource"] == "signins"


def test_the_cookie_travels_with_a_form_from_another_site_and_opens_nothing(gate: Gate) -> None:
    browser = gate.browser()
    (line,) = browser.get(BEGIN).cookies
    assert line.startswith(f"{COOKIE}=")
    flags = {part.strip().lower() for part in line.split(";")[1:]}
    assert {"secure", "httponly", "path=/", "samesite=none", f"max-age={PENDING_SECONDS}"} <= flags
    assert browser.get("/").location == "/sign-in"


def test_signing_in_does_not_keep_a_session_that_somebody_planted(gate: Gate) -> None:
    browser = gate.browser()
    browser.cookies[SESSION] = planted = "ngs1_" + "A" * 43
    post(browser, begun(browser).form())
    assert browser.cookies[SESSION] != planted


@pytest.mark.parametrize(
    "return_to", ["https://evil.example/", "//evil.example", "/\\evil.example", "%2F%2Fevil.example"]
)
def test_nobody_is_sent_to_another_site_in_the_end(gate: Gate, return_to: str) -> None:
    browser = gate.browser()
    assert post(browser, begun(browser, f"{BEGIN}&return_to={return_to}").form()).location == "/"


def test_two_tabs_of_one_browser_can_sign_in_side_by_side(gate: Gate) -> None:
    browser = gate.browser()
    first, second = begun(browser), begun(browser)
    assert first.relay_state != second.relay_state
    assert post(browser, first.form()).status == 303
    assert post(browser, second.form()).status == 303


def test_a_session_ends_with_the_providers(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))

    def ending(what: Message) -> Message:
        return replace(
            what, statement=what.statement.replace("AuthnInstant", f'SessionNotOnOrAfter="{end}" AuthnInstant')
        )

    post(browser, sent.form(sent.response(ending)))
    (sign_in,) = gate.store.sign_ins.listed("alice@corp.example")
    assert sign_in.expires_at <= time.time() + 600


# --- what counts once, and for one browser ---


def test_a_response_counts_once(gate: Gate) -> None:
    browser = gate.browser()
    form = begun(browser).form()
    assert post(browser, form).status == 303
    replayed = post(browser, form)
    assert (replayed.status, replayed.problem()) == (403, NOT_OURS)
    assert gate.sessions() == ["alice@corp.example"]


def test_an_assertion_counts_once_even_in_answer_to_another_request(gate: Gate) -> None:
    """A provider that repeats an assertion's id, or a replay that got past everything else."""
    browser = gate.browser()
    first, second = begun(browser), begun(browser)
    same = f"_assertion-{first.request_id}"
    assert post(browser, first.form()).status == 303
    again = second.response(lambda what: replace(what, assertion_id=same))
    assert post(browser, second.form(again)).problem() == (
        "The response of Corp is refused: its assertion was used before; sign in again."
    )


def test_a_response_for_another_browser_is_refused(gate: Gate) -> None:
    """Login CSRF: mallory has alice's browser post what signs mallory in."""
    mallory, alice = gate.browser(), gate.browser()
    form = begun(mallory).form()
    assert post(alice, form).problem() == NOT_OURS
    begun(alice)
    assert post(alice, form).problem() == NOT_OURS
    assert gate.sessions() == []


def test_a_response_that_was_tried_by_another_browser_is_used_up(gate: Gate) -> None:
    mallory, alice = gate.browser(), gate.browser()
    form = begun(alice).form()
    assert post(mallory, form).problem() == NOT_OURS
    assert post(alice, form).problem() == NOT_OURS


def test_a_response_to_another_request_of_the_same_browser_is_refused(gate: Gate) -> None:
    browser = gate.browser()
    first, second = begun(browser), begun(browser)
    mixed = second.form(first.response())
    assert post(browser, mixed).problem() == (
        "The response of Corp is refused: it does not answer the request that this browser was sent with "
        "(InResponseTo)."
    )


def test_what_nobody_asked_for_is_refused(gate: Gate) -> None:
    browser = gate.browser()
    encoded = base64.b64encode(signed_assertion(fresh("_x"))).decode()
    for form in ({"SAMLResponse": encoded}, {"SAMLResponse": encoded, "RelayState": "x" * 43}, {}):
        assert post(browser, form).problem() == NOT_OURS
    assert gate.denied() == f"saml:corp: t{NOT_OURS[1:-1]}"


def test_a_request_to_one_provider_is_not_answered_by_another(gate: Gate) -> None:
    partner = a_provider(name="partner", title="Partner", metadata=metadata_text([rsa_key("partner")]))
    gate.providers = (a_provider(), partner)
    browser = gate.browser()
    sent = begun(browser)
    assert post(browser, sent.form(), name="partner").problem() == NOT_OURS.replace("Corp", "Partner")
    other = begun(browser)
    theirs = sign(fresh(other.request_id).text(), f"_assertion-{other.request_id}", None)
    assert post(browser, begun(browser, "/sign-in/saml/partner?anyway=1").form(theirs), name="partner").status == 403
    assert gate.sessions() == []


# --- what is refused on the way ---


def test_a_tampered_response_is_refused_and_recorded(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    forged = sent.response().replace(b"alice@corp", b"admin@corp")
    answer = post(browser, sent.form(forged))
    assert (answer.status, answer.problem()) == (
        403,
        "The response of Corp is refused: it was changed after it was signed.",
    )
    assert gate.denied() == "saml:corp: the response of Corp is refused: it was changed after it was signed"
    assert gate.sessions() == []


@pytest.mark.parametrize("encoded", ["", "%%%", "PHg+", "aGVsbG8="])
def test_what_is_no_response_is_refused_in_a_page(gate: Gate, encoded: str) -> None:
    browser = gate.browser()
    form = begun(browser).form() | {"SAMLResponse": encoded}
    answer = post(browser, form)
    assert answer.status == 403
    assert answer.problem().startswith("The response of Corp is refused: it is not ")


def test_a_form_beyond_its_limit_is_not_read(gate: Gate) -> None:
    browser = gate.browser()
    answer = post(browser, begun(browser).form() | {"SAMLResponse": "A" * FORM_LIMIT})
    assert answer.status == 413


def test_a_parameter_that_comes_twice_is_refused(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    headers = CROSS_SITE | {"content-type": "application/x-www-form-urlencoded"}
    answer = browser._send(
        "POST", "/sign-in/saml/corp/acs", b"RelayState=a&RelayState=" + sent.relay_state.encode(), headers
    )
    assert answer.status == 400


def test_a_response_is_taken_by_post_alone(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    assert browser.get(f"/sign-in/saml/corp/acs?RelayState={sent.relay_state}").status == 405
    assert browser.get("/sign-in/saml/nobody?anyway=1").status == 404


def test_without_a_record_nobody_is_signed_in(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    gate.journal.full = True
    assert post(browser, sent.form()).status == 503
    assert gate.sessions() == []


def test_a_broken_provider_shows_no_words_of_its_own(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    failed = '<samlp:StatusCode Value="urn:x"/><samlp:StatusMessage>&lt;script&gt;call us</samlp:StatusMessage>'
    answer = post(browser, sent.form(sent.response(lambda what: replace(what, status=failed))))
    assert "the identity provider did not sign you in: it does not say why" in answer.problem()
    assert "call us" not in answer.text


# --- the provider is away, or its metadata is ---


def test_nobody_is_sent_to_a_provider_that_does_not_listen(gate: Gate) -> None:
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}/sso"
    gate.providers = (a_provider(metadata=metadata_text(url=url)),)
    browser = gate.browser()
    answer = browser.get("/sign-in/saml/corp?return_to=/x")
    assert answer.status == 503
    assert answer.problem().startswith(f"Corp does not answer: nothing listens at {url}.")
    (onward,) = re.findall(r'href="(/sign-in/saml/corp[^"]*)"', answer.text)
    onward = onward.replace("&amp;", "&")
    assert browser.get(onward).location.startswith(url)
    assert post(browser, begun(browser, onward).form()).location == "/x"


def test_metadata_that_has_run_out_is_told_of_and_nobody_is_sent_away(gate: Gate) -> None:
    gate.providers = (a_provider(metadata=metadata_text(attributes=' validUntil="2026-01-01T00:00:00Z"')),)
    answer = gate.browser().get(BEGIN)
    assert (answer.status, answer.location) == (503, "")
    assert answer.problem() == (
        "Corp cannot be used now: the identity provider's metadata was good until 2026-01-01T00:00:00Z (validUntil); "
        "fetch it anew."
    )


def test_metadata_that_cannot_be_read_makes_no_routes(gate: Gate) -> None:
    gate.providers = (a_provider(metadata="<x/>"),)
    with pytest.raises(SAMLRefused):
        gate.browser()


# --- what the gate says of itself ---


def test_the_gates_metadata_names_where_it_takes_responses(gate: Gate) -> None:
    answer = gate.browser().get("/sign-in/saml/corp/metadata")
    assert answer.status == 200
    assert answer.header("content-type").startswith("application/samlmetadata+xml")
    assert f'entityID="{ENTITY_ID}"' in answer.text
    assert f'Location="{ACS}"' in answer.text
    assert ORIGIN in answer.text


def test_the_gate_can_go_by_another_entity_id(gate: Gate) -> None:
    gate.providers = (a_provider(entity_id="urn:narrowgate"),)
    browser = gate.browser()
    assert 'entityID="urn:narrowgate"' in browser.get("/sign-in/saml/corp/metadata").text
    sent = begun(browser)
    assert "is not among its audiences" in post(browser, sent.form()).problem()
    again = begun(browser)

    def meant(what: Message) -> Message:
        return replace(what, audience=what.audience.replace(ENTITY_ID, "urn:narrowgate"))

    assert post(browser, again.form(again.response(meant))).status == 303


def test_nothing_secret_of_a_sign_in_is_in_the_record(gate: Gate) -> None:
    browser = gate.browser()
    sent = begun(browser)
    post(browser, sent.form())
    post(browser, sent.form())
    written: Any = str(gate.journal.entries)
    assert sent.relay_state not in written
    assert browser.cookies[COOKIE] not in written
    assert browser.cookies[SESSION] not in written
