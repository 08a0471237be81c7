"""The gate as a relying party: what it asks a provider, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from joserfc.jwk import ECKey
from tests.unit.control.openid import (
    CLIENT_ID,
    CLIENT_SECRET,
    OpenID,
    basic,
    running_openid,
    silent_server,
    with_claims,
)

from narrowgate.authenticators.issuer_keys import IssuerKeys, Pace
from narrowgate.authenticators.jwt_issuer import ClaimMapping, JWTIssuer, OIDCLogin
from narrowgate.authenticators.token_verifier import TokenVerifier
from narrowgate.control.oidc_pending import OIDCPending
from narrowgate.control.oidc_provider import (
    LONGEST_HINT,
    MOST_ANSWER_BYTES,
    OIDCProvider,
    Patience,
    ProviderFailed,
    Redeemed,
)
from narrowgate.core.identity import Kind
from narrowgate.core.sign_in import Client, SignIn

GATE = "https://gate.example:8444"
PENDING = OIDCPending(secret=b"s" * 32, provider="corp", return_to="/", started_at=int(time.time()))
ALICE = SignIn(
    id="abc", person="alice@corp.example", source="oidc:corp", client=Client.CONSOLE, secret_hash=b"x", renewed_at=1.0,
    created_at=1.0, expires_at=2.0,
)  # fmt: skip
EAGER = Pace(retry=0.0)
EAGER_PATIENCE = Patience(keys=0.0)
IMPATIENT = Patience(probe=0.2, keys=0.0)


@pytest.fixture
def openid(tmp_path: Path) -> Iterator[OpenID]:
    with running_openid(tmp_path / "openid") as provider:
        provider.nonce = PENDING.nonce
        yield provider


def issuer_of(openid: OpenID, **login: Any) -> JWTIssuer:
    configured = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **login}
    return JWTIssuer(
        url=openid.issuer,
        certificate_authority=openid.ca,
        audiences=(CLIENT_ID,),
        username=ClaimMapping(claim="email"),
        groups=ClaimMapping(claim="groups", prefix="corp:"),
        algorithms=("ES256",),
        login=OIDCLogin(name="corp", title="Corp", **configured),
    )


def provider_of(
    openid: OpenID, issuer: JWTIssuer | None = None, patience: Patience = EAGER_PATIENCE, **login: Any
) -> OIDCProvider:
    issuer = issuer or issuer_of(openid, **login)
    return OIDCProvider(TokenVerifier(issuer, IssuerKeys(issuer, EAGER)), GATE, patience)


def redeem(openid: OpenID, issuer: JWTIssuer | None = None, **login: Any) -> Redeemed:
    return asyncio.run(provider_of(openid, issuer, **login).redeem("the-code", PENDING))


def failure(openid: OpenID, issuer: JWTIssuer | None = None, **login: Any) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as raised:
        redeem(openid, issuer, **login)
    return raised.value


# --- there ---


def test_the_browser_goes_with_everything_that_binds_the_answer(openid: OpenID) -> None:
    url = asyncio.run(provider_of(openid, scopes=("openid", "groups")).authorization_url(PENDING))
    assert url.startswith(f"{openid.issuer}/auth?")
    assert parse_qs(urlsplit(url).query) == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": [f"{GATE}/sign-in/oidc/corp/callback"],
        "scope": ["openid groups"],
        "state": [PENDING.state],
        "nonce": [PENDING.nonce],
        "code_challenge": [PENDING.challenge],
        "code_challenge_method": ["S256"],
    }
    assert PENDING.verifier not in url
    assert CLIENT_SECRET not in url


def test_a_query_that_an_endpoint_has_of_its_own_stays(openid: OpenID) -> None:
    openid.metadata["authorization_endpoint"] = f"{openid.issuer}/auth?tenant=7"
    url = asyncio.run(provider_of(openid).authorization_url(PENDING))
    assert url.startswith(f"{openid.issuer}/auth?tenant=7&response_type=code")


def test_a_provider_that_signs_nobody_in_is_named(openid: OpenID) -> None:
    openid.metadata["authorization_endpoint"] = None
    with pytest.raises(ProviderFailed, match="Corp signs nobody in: its metadata has no authorization"):
        asyncio.run(provider_of(openid).authorization_url(PENDING))


def gone(openid: OpenID) -> OIDCProvider:
    """The same provider, known from before, where nobody listens any more."""
    provider = provider_of(openid)
    asyncio.run(provider.check_named(None))
    return provider


def test_nobody_is_sent_to_a_provider_that_is_away(tmp_path: Path) -> None:
    with running_openid(tmp_path) as openid:
        provider = gone(openid)
    with pytest.raises(ProviderFailed) as raised:
        asyncio.run(provider.authorization_url(PENDING))
    assert raised.value.code == 503
    assert raised.value.sentence.startswith("Corp cannot be reached (connection refused): ")
    assert "who is signed in stays so" in raised.value.sentence
    assert "object at" not in raised.value.sentence


def test_a_provider_whose_name_nobody_knows_is_away(openid: OpenID) -> None:
    issuer = msgspec.structs.replace(issuer_of(openid), discovery_url="https://idp.invalid/")
    with pytest.raises(ProviderFailed) as raised:
        asyncio.run(provider_of(openid, issuer).authorization_url(PENDING))
    assert raised.value.code == 503
    assert raised.value.sentence.startswith("Corp cannot be reached (")
    assert "object at" not in raised.value.sentence


def test_a_provider_that_takes_connections_and_says_nothing_is_away(openid: OpenID) -> None:
    with silent_server() as port:
        issuer = msgspec.structs.replace(issuer_of(openid), discovery_url=f"https://127.0.0.1:{port}/")
        provider = provider_of(openid, issuer, IMPATIENT)
        with pytest.raises(ProviderFailed, match=r"no answer within 0\.2 s"):
            asyncio.run(provider.authorization_url(PENDING))


def test_a_provider_with_a_foreign_certificate_is_not_spoken_to(openid: OpenID, tmp_path: Path) -> None:
    with running_openid(tmp_path / "other") as other:
        issuer = msgspec.structs.replace(issuer_of(openid), certificate_authority=other.ca)
    with pytest.raises(ProviderFailed, match="its certificate is not to be trusted"):
        asyncio.run(provider_of(openid, issuer).authorization_url(PENDING))


# --- and back ---


def test_a_code_is_worth_the_person_it_stands_for(openid: OpenID) -> None:
    redeemed = redeem(openid)
    assert (redeemed.who.kind, redeemed.who.name, redeemed.who.groups) == (
        Kind.PERSON,
        "alice@corp.example",
        ("corp:sre",),
    )
    assert redeemed.who.proven_by == "oidc:corp"
    assert ("issuer", openid.issuer) in redeemed.who.claims
    assert ("subject", "id-of-alice") in redeemed.who.claims


def test_the_end_of_the_id_token_is_not_the_end_of_the_session(openid: OpenID) -> None:
    assert redeem(openid).who.expires_at is None


def test_the_provider_is_shown_the_verifier_and_the_client_s_secret(openid: OpenID) -> None:
    redeem(openid)
    (asked,) = openid.asked
    assert asked.form == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "redirect_uri": f"{GATE}/sign-in/oidc/corp/callback",
        "code_verifier": PENDING.verifier,
    }
    assert asked.authorization == basic("narrowgate", "s3cret%3Awith%2Fodd+characters")


def test_a_public_client_has_no_secret_to_show(openid: OpenID) -> None:
    redeem(openid, client_secret="")
    (asked,) = openid.asked
    assert (asked.authorization, asked.form["client_id"]) == ("", CLIENT_ID)


def test_a_provider_that_takes_secrets_in_the_body_alone_gets_it_there(openid: OpenID) -> None:
    openid.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    redeem(openid)
    (asked,) = openid.asked
    assert (asked.authorization, asked.form["client_secret"]) == ("", CLIENT_SECRET)


def test_keys_that_rotated_just_now_need_no_second_try(openid: OpenID) -> None:
    provider = provider_of(openid)

    async def scenario() -> tuple[str, str]:
        first = await provider.redeem("one", PENDING)
        openid.rotate()
        return first.who.name, (await provider.redeem("two", PENDING)).who.name

    assert asyncio.run(scenario()) == ("alice@corp.example", "alice@corp.example")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"nonce": "another"}, "is not the answer to this sign-in"),
        ({"nonce": None}, "is not the answer to this sign-in"),
        ({"aud": "another-client"}, "is for another audience"),
        ({"aud": [CLIENT_ID, "another"], "azp": "another"}, "was given to another client"),
        ({"iss": "https://evil.example"}, "is not issued by"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "has no end"),
        ({"iat": 9_000_000_000, "exp": 9_000_000_060}, "is not valid yet"),
        ({"email": "system:admin"}, "system:"),
        ({"email": None}, "email"),
        ({"email_verified": False}, "email_verified"),
        ({"groups": ["system:masters"], "email": "system:masters"}, "system:"),
        ({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}, "groups": None}, "groups"),
    ],
)
def test_a_token_that_is_not_for_us_signs_nobody_in(openid: OpenID, claims: dict[str, Any], reason: str) -> None:
    with_claims(openid, claims)
    failed = failure(openid)
    assert failed.code == 403
    assert failed.sentence.startswith("the token that Corp gave ")
    assert reason in failed.sentence


def test_a_token_signed_with_a_key_that_is_not_published_signs_nobody_in(openid: OpenID) -> None:
    openid.published = [openid.key]
    openid.key = ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})
    assert failure(openid).code == 403
    openid.key = ECKey.generate_key("P-256", {"kid": "two", "use": "sig", "alg": "ES256"})
    assert failure(openid).code == 403


def test_an_issuer_of_programs_signs_nobody_in(openid: OpenID) -> None:
    issuer = msgspec.structs.replace(issuer_of(openid), subject=Kind.AGENT)
    with_claims(openid, {"email": "bot"})
    assert "only people sign in" in failure(openid, issuer).sentence


@pytest.mark.parametrize(
    ("status", "document", "code", "said"),
    [
        (400, {"error": "invalid_grant"}, 403, "did not take back the code that it gave (invalid_grant)"),
        (400, {"error": "\x1b[31mred\n"}, 403, "( [31mred )"),
        (400, b"<html>", 403, "(400)"),
        (401, {"error": "invalid_client"}, 502, 'client secret of the login "corp"'),
        (400, {"error": "invalid_client"}, 502, "does not accept this gate"),
        (500, b"", 503, "its token endpoint answers 500"),
        (302, b"", 403, "(302)"),
        (200, b"not json", 502, "without an ID token"),
        (200, b'{"id_token": 1}', 502, "without an ID token"),
        (200, b'{"id_token": "a", "id_token": "b"}', 502, "without an ID token"),
        (200, {"access_token": "x"}, 502, "is `openid` among the scopes?"),
        (200, b'"' + b"x" * MOST_ANSWER_BYTES + b'"', 503, f"more than {MOST_ANSWER_BYTES} bytes"),
        (200, {"id_token": "x.y.z"}, 403, "the token that Corp gave"),
    ],
)
def test_whatever_a_token_endpoint_answers_is_a_sentence(
    openid: OpenID, status: int, document: Any, code: int, said: str
) -> None:
    openid.token_reply = lambda _: (status, document)
    failed = failure(openid)
    assert failed.code == code
    assert said in failed.sentence
    assert failed.sentence.isprintable()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_code_and_secret_do_not_follow_a_redirect(openid: OpenID, status: int) -> None:
    openid.token_reply = lambda _: (status, b"")
    assert failure(openid).code == 403
    assert openid.asked_elsewhere == []


def test_a_refusal_does_not_repeat_secrets(openid: OpenID) -> None:
    openid.token_reply = lambda token: (400, {"error": "invalid_grant", "error_description": token})
    sentence = failure(openid).sentence
    assert "the-code" not in sentence
    assert CLIENT_SECRET not in sentence
    assert PENDING.verifier not in sentence


def test_a_provider_that_goes_away_in_the_middle_is_named(tmp_path: Path) -> None:
    with running_openid(tmp_path) as openid:
        provider = gone(openid)
    with pytest.raises(ProviderFailed, match=r"Corp cannot be reached \(connect"):
        asyncio.run(provider.redeem("the-code", PENDING))


# --- who answered (RFC 9207) ---


def named(openid: OpenID, issuer: str | None) -> str:
    try:
        asyncio.run(provider_of(openid).check_named(issuer))
    except ProviderFailed as error:
        return error.sentence
    return ""


def test_an_answer_that_names_another_issuer_is_refused(openid: OpenID) -> None:
    assert named(openid, openid.issuer) == ""
    assert "does not come from Corp" in named(openid, "https://evil.example")
    assert "does not come from Corp" in named(openid, "")


def test_a_provider_that_says_that_it_names_itself_must(openid: OpenID) -> None:
    assert named(openid, None) == ""
    openid.metadata["authorization_response_iss_parameter_supported"] = True
    assert "does not come from Corp" in named(openid, None)


# --- out ---


def farewell(openid: OpenID, id_token: str) -> dict[str, list[str]]:
    openid.metadata["end_session_endpoint"] = f"{openid.issuer}/logout"
    url = asyncio.run(provider_of(openid).farewell(ALICE, id_token))
    assert url.startswith(f"{openid.issuer}/logout?")
    return parse_qs(urlsplit(url).query)


def test_the_provider_is_told_whose_session_ends_and_where_to_return(openid: OpenID) -> None:
    assert farewell(openid, "the-token") == {
        "client_id": [CLIENT_ID],
        "logout_hint": ["alice@corp.example"],
        "id_token_hint": ["the-token"],
        "post_logout_redirect_uri": [f"{GATE}/signed-out"],
    }


def test_without_a_token_nothing_is_asked_of_the_provider_but_the_end(openid: OpenID) -> None:
    assert farewell(openid, "") == {"client_id": [CLIENT_ID], "logout_hint": ["alice@corp.example"]}


def test_the_token_is_kept_for_the_provider_s_own_page_alone(openid: OpenID) -> None:
    assert redeem(openid).hint == ""
    openid.metadata["end_session_endpoint"] = f"{openid.issuer}/logout"
    assert redeem(openid).hint.startswith("ey")


def test_a_token_that_is_too_long_for_an_address_is_not_kept(openid: OpenID) -> None:
    openid.metadata["end_session_endpoint"] = f"{openid.issuer}/logout"
    with_claims(openid, {"more": "x" * LONGEST_HINT})
    redeemed = redeem(openid)
    assert (redeemed.who.name, redeemed.hint) == ("alice@corp.example", "")


def test_without_a_page_for_it_nobody_is_led_there(openid: OpenID) -> None:
    assert asyncio.run(provider_of(openid).farewell(ALICE, "the-token")) == ""


def test_nobody_is_led_to_a_page_of_a_provider_that_is_away(tmp_path: Path) -> None:
    with running_openid(tmp_path) as openid:
        openid.metadata["end_session_endpoint"] = f"{openid.issuer}/logout"
        provider = gone(openid)
    assert asyncio.run(provider.farewell(ALICE, "the-token")) == ""


def test_a_provider_that_was_never_reached_has_no_page(tmp_path: Path) -> None:
    with running_openid(tmp_path) as openid:
        provider = provider_of(openid)
    assert asyncio.run(provider.farewell(ALICE, "the-token")) == ""


def test_an_issuer_without_a_login_is_no_provider(openid: OpenID) -> None:
    issuer = msgspec.structs.replace(issuer_of(openid), login=None)
    with pytest.raises(ValueError, match="it has no login"):
        provider_of(openid, issuer)
