"""Both ways to sign in from a terminal, against a gate that is slow, strict, or says no."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, granted, refused, told

from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import Metadata, read_metadata
from narrowgate.cli.oauth_client import GatePort, GateUnreachable
from narrowgate.cli.signing_in import by_browser, by_device, challenge_of

DEVICE = "/oauth/device_authorization"
CODE = {
    "device_code": "device-secret",
    "user_code": "BCDF-GHJK",
    "verification_uri": "https://gate/device",
    "verification_uri_complete": "https://gate/device?user_code=BCDF-GHJK",
    "expires_in": 600,
    "interval": 5,
}


@pytest.fixture
def port(scripted: ScriptedGate) -> GatePort:
    return GatePort(scripted.url, scripted.authority_pem)


@pytest.fixture
def metadata(port: GatePort) -> Metadata:
    return read_metadata(port)


def test_a_challenge_is_the_one_of_the_rfc() -> None:
    # RFC 7636, appendix B.
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


class Person:
    """Sits before a browser that is shown an address, and comes back to the terminal with an answer."""

    def __init__(self, **answer: str) -> None:
        self.answer = answer
        self.asked: dict[str, str] = {}

    def __call__(self, address: str) -> None:
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        issuer = address.partition("/oauth/")[0]
        back = {"state": self.asked["state"], "iss": issuer, **self.answer}
        threading.Thread(target=self._return, args=(f"{self.asked['redirect_uri']}?{urlencode(back)}",)).start()

    def _return(self, address: str) -> None:
        try:
            urllib.request.urlopen(address, timeout=10).close()
        except urllib.error.HTTPError as error:
            error.close()


def test_the_browsers_code_is_exchanged_with_the_verifier_of_its_challenge(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata
) -> None:
    person = Person(code="the-code")
    assert by_browser(port, metadata, person).secret == "ngr1_second"
    form = scripted.called("/oauth/token")[0].form
    assert form["code"] == "the-code"
    assert form["redirect_uri"] == person.asked["redirect_uri"]
    assert person.asked["code_challenge_method"] == "S256"
    assert person.asked["code_challenge"] == challenge_of(form["code_verifier"])
    assert len(form["code_verifier"]) >= 43
    assert person.asked["response_type"] == "code"


def test_every_sign_in_has_a_state_and_a_verifier_of_its_own(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata
) -> None:
    people = [Person(code="c"), Person(code="c")]
    for person in people:
        by_browser(port, metadata, person)
    assert people[0].asked["state"] != people[1].asked["state"]
    assert people[0].asked["code_challenge"] != people[1].asked["code_challenge"]


def test_a_no_in_the_browser_is_said_in_the_terminal(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata
) -> None:
    with pytest.raises(Failed, match=r"refused in the browser \(you said no\)"):
        by_browser(port, metadata, Person(error="access_denied", error_description="you said no"))
    assert scripted.called("/oauth/token") == []


def test_what_the_browser_brings_cannot_move_the_cursor(port: GatePort, metadata: Metadata) -> None:
    with pytest.raises(Failed) as caught:
        by_browser(port, metadata, Person(error="server_error", error_description="\x1b[2J"))
    assert "\x1b" not in str(caught.value)
    assert "server_error" in str(caught.value)


def test_a_device_waits_as_long_as_it_is_told_and_longer_when_asked_to(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata
) -> None:
    scripted.answers(DEVICE, told(CODE))
    pending = refused("authorization_pending")
    scripted.answers("/oauth/token", pending, refused("slow_down"), pending, granted())
    said: list[str] = []
    waited: list[float] = []
    assert by_device(port, metadata, said.append, wait=waited.append).access == "nga1_a.b"
    assert waited == [5, 5, 10, 10]
    assert any("https://gate/device" in line and "BCDF-GHJK" in line for line in said)
    assert not any("device-secret" in line for line in said)
    assert scripted.called("/oauth/token")[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "narrowgate-cli",
        "device_code": "device-secret",
    }


def test_a_device_that_hears_nothing_asks_less_often(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata
) -> None:
    scripted.answers(DEVICE, told(CODE))
    down = refused("server_error", status=503)
    scripted.answers("/oauth/token", down, down, granted())
    waited: list[float] = []
    by_device(port, metadata, lambda _: None, wait=waited.append)
    assert waited == [5, 10, 20]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (refused("access_denied", "alice said no"), r"refused in the browser \(alice said no\)"),
        (refused("expired_token"), "nobody entered the code BCDF-GHJK in time"),
        (refused("invalid_grant", "used already"), "did not sign you in .used already."),
    ],
)
def test_a_device_that_gets_a_final_answer_stops(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata, answer: object, says: str
) -> None:
    scripted.answers(DEVICE, told(CODE))
    scripted.answers("/oauth/token", answer)  # type: ignore[arg-type]
    waited: list[float] = []
    with pytest.raises(Failed, match=says):
        by_device(port, metadata, lambda _: None, wait=waited.append)
    assert waited == [5]


@pytest.mark.parametrize("interval", [-1, "5", 1e9, None])
def test_an_interval_that_is_none_is_five_seconds(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata, interval: object
) -> None:
    scripted.answers(DEVICE, told({**CODE, "interval": interval}))
    waited: list[float] = []
    by_device(port, metadata, lambda _: None, wait=waited.append)
    assert waited == [5]


@pytest.mark.parametrize("missing", ["device_code", "user_code", "verification_uri"])
def test_a_gate_without_a_code_is_none(
    scripted: ScriptedGate, port: GatePort, metadata: Metadata, missing: str
) -> None:
    scripted.answers(DEVICE, told({**CODE, missing: "\x1b[2J"}))
    with pytest.raises(GateUnreachable, match="gave no code"):
        by_device(port, metadata, lambda _: None)
