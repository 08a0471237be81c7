"""What a program may ask a browser for, and where the answer may go."""

from __future__ import annotations

import pytest
from tests.unit.control.oauth.server import REDIRECT, authorization

from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.authorization_requests import NotOurClient, authorization_request, redirect_uri_of


def test_a_good_request_is_read() -> None:
    request = authorization_request(authorization())
    assert (request.redirect_uri, request.state) == (REDIRECT, "the-state")


@pytest.mark.parametrize(
    "redirect_uri",
    ["http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]:40123/callback"],
)
def test_answers_go_to_loopback_addresses_with_any_port(redirect_uri: str) -> None:
    assert redirect_uri_of(authorization(redirect_uri=redirect_uri)) == redirect_uri


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "",
        "http://localhost:40123/callback",
        "http://localhost.evil.example:40123/callback",
        "http://127.0.0.1.evil.example:40123/callback",
        "http://127.0.0.1:40123@evil.example/callback",
        "http://evil@127.0.0.1:40123/callback",
        "http://evil:x@127.0.0.1:40123/callback",
        "http://127.0.0.1:40123/callback#fragment",
        "http://127.0.0.1:40123/callback?x=1",
        "http://127.0.0.1:40123/callback/more",
        "http://127.0.0.1:40123/callback/../evil",
        "http://127.0.0.1:40123//callback",
        "http://127.0.0.1:40123/CALLBACK",
        "HTTP://127.0.0.1:40123/callback",
        "https://127.0.0.1:40123/callback",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:00080/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:٨٠/callback",
        "http://127.0.0.2:40123/callback",
        "http://127.1:40123/callback",
        "http://2130706433:40123/callback",
        "http://0.0.0.0:40123/callback",
        "http://[0:0:0:0:0:0:0:1]:40123/callback",
        "http://[::ffff:127.0.0.1]:40123/callback",
        "http://127.0.0.1:40123/callback\n",
        "\thttp://127.0.0.1:40123/callback",
        "http://127.0.0.1:40123\\@evil.example/callback",
        "javascript:alert(1)//http://127.0.0.1:40123/callback",
    ],
)
def test_answers_go_nowhere_else(redirect_uri: str) -> None:
    with pytest.raises(NotOurClient):
        authorization_request({**authorization(), "redirect_uri": redirect_uri})


@pytest.mark.parametrize("client_id", ["", "other", "narrowgate-cli ", "NARROWGATE-CLI"])
def test_there_is_one_client(client_id: str) -> None:
    with pytest.raises(NotOurClient):
        authorization_request(authorization(client_id=client_id))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"state": ""}, "invalid_request"),
        ({"state": "x" * 513}, "invalid_request"),
        ({"state": "a\r\nSet-Cookie: x"}, "invalid_request"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"resource": "https://gate.example:8444"}, "invalid_target"),
    ],
)
def test_whatever_is_not_exactly_right_is_refused(changed: dict[str, str], error: str) -> None:
    with pytest.raises(Refused) as refused:
        authorization_request(authorization(**changed))
    assert refused.value.error == error


def test_the_answer_says_whose_it_is_and_keeps_the_state() -> None:
    request = authorization_request(authorization(state="a b&c=d"))
    answered = request.answered("https://gate.example:8444", code="x&y")
    assert answered == f"{REDIRECT}?code=x%26y&state=a+b%26c%3Dd&iss=https%3A%2F%2Fgate.example%3A8444"
