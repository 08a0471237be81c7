"""Tokens of one issuer: which are good, until when, and what is remembered of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.oidc_issuer import AUDIENCE, FAR, Issuer, ec_key, ed25519_key, rsa_key, run, signed, verifier_of

from narrowgate.authenticators.issuer_keys import IssuerKeys, Pace
from narrowgate.authenticators.jwks import TokenRefused
from narrowgate.authenticators.jwt_issuer import ClaimMapping, ExtraMapping, UserRule
from narrowgate.authenticators.port import Rejected, Unavailable
from narrowgate.authenticators.token_verifier import (
    LATEST,
    MOST_REFUSED,
    MOST_REMEMBERED,
    RECHECK_SECONDS,
    REFUSED_SECONDS,
    TokenVerifier,
)
from narrowgate.core.identity import Identity, Kind, chain_behind

NOW = 1_800_000_000.0
SKEW = 30.0
ISSUER = Issuer()
VERIFIER = verifier_of(ISSUER)


@pytest.fixture
def listening() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def verified(token: str, now: float = NOW, verifier: TokenVerifier = VERIFIER, **wanted: Any) -> Identity:
    return asyncio.run(verifier.verify(token, now, **wanted))


def refusal(token: str, now: float = NOW, verifier: TokenVerifier = VERIFIER, **wanted: Any) -> str:
    with pytest.raises(TokenRefused) as caught:
        verified(token, now, verifier, **wanted)
    assert ";" in caught.value.reason, "what is wrong; what to do"
    return caught.value.reason


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def test_a_good_token_is_the_identity_it_names() -> None:
    token = ISSUER.token(groups=["sre"])
    found = verified(token)
    assert (found.kind, found.name, found.groups) == (Kind.PERSON, "alice", ("sre",))
    assert (found.proven_by, found.cluster, found.expires_at) == ("jwt", "", FAR)
    assert found.claims == (("issuer", ISSUER.url), ("subject", "alice"))
    # A key may be removed without a word, so that streams are looked at again.
    assert found.recheck_seconds == RECHECK_SECONDS


def test_the_record_names_the_token_and_cannot_give_it_away() -> None:
    one, other = ISSUER.token(), ISSUER.token(jti="2")
    assert verified(one).credential == verified(one).credential != verified(other).credential
    assert len(verified(one).credential) == 16
    assert verified(one).credential not in one


def test_uid_and_extra_go_into_the_record() -> None:
    verifier = verifier_of(
        ISSUER,
        uid=ClaimMapping(claim="oid"),
        extra=(ExtraMapping(key="corp.example/team", value_expression="claims.team"),),
    )
    found = verified(ISSUER.token(oid="7", team=["red", "blue"]), verifier=verifier)
    assert found.claims == (
        ("corp.example/team", "blue"),
        ("corp.example/team", "red"),
        ("issuer", ISSUER.url),
        ("subject", "alice"),
        ("uid", "7"),
    )


class TestAudience:
    @pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
    def test_a_token_for_the_gate_is_good(self, aud: object) -> None:
        assert verified(ISSUER.token(aud=aud))

    @pytest.mark.parametrize(
        "aud",
        ["other", ["other"], [], "", None, 1, {AUDIENCE: 1}, [[AUDIENCE]], [AUDIENCE, 1], "narrowgate ", "Narrowgate"],
    )
    def test_a_token_for_anything_else_is_not(self, aud: object) -> None:
        assert "audience" in refusal(ISSUER.token(aud=aud))

    def test_any_of_several_audiences_will_do(self) -> None:
        verifier = verifier_of(ISSUER, audiences=("a", "b"))
        assert verified(ISSUER.token(aud="b"), verifier=verifier)
        assert '"a" or "b"' in refusal(ISSUER.token(), verifier=verifier)


class TestIDTokens:
    """OpenID Connect Core 1.0, section 3.1.3.7: what the answer to a sign-in must say."""

    def test_it_is_for_our_client_and_not_for_the_configured_audiences(self) -> None:
        assert verified(ISSUER.token(aud="client"), audience="client")
        assert "audience" in refusal(ISSUER.token(), audience="client")

    @pytest.mark.parametrize("azp", [None, "other", 1, ["client"]])
    def test_with_several_audiences_it_was_given_to_us(self, azp: object) -> None:
        assert "azp" in refusal(ISSUER.token(aud=["client", "other"], azp=azp), audience="client")
        assert verified(ISSUER.token(aud=["client", "other"], azp="client"), audience="client")

    def test_it_was_given_to_nobody_else(self) -> None:
        assert "azp" in refusal(ISSUER.token(aud="client", azp="other"), audience="client")

    @pytest.mark.parametrize("nonce", [None, "", "other", 1, ["n"], "n "])
    def test_it_answers_this_sign_in_and_no_other(self, nonce: object) -> None:
        assert "nonce" in refusal(ISSUER.token(aud="client", nonce=nonce), audience="client", nonce="n")
        assert verified(ISSUER.token(aud="client", nonce="n"), audience="client", nonce="n")


class TestTime:
    def test_it_is_good_up_to_its_end_and_not_a_moment_longer(self) -> None:
        token = ISSUER.token(exp=NOW)
        assert verified(token, NOW - 0.001)
        # A difference of clocks is granted to a beginning, never to an end.
        for now in (NOW, NOW + 1, float("inf"), float("nan")):
            assert "expired on 2027-01-15" in refusal(token, now)

    @pytest.mark.parametrize("member", ["nbf", "iat"])
    def test_it_is_not_good_before_it_begins(self, member: str) -> None:
        token = ISSUER.token(**{member: NOW})
        assert verified(token, NOW - SKEW)
        assert "not valid yet" in refusal(token, NOW - SKEW - 1)
        assert verified(ISSUER.token(**{member: None}))

    def test_clocks_may_differ_by_as_much_as_is_configured(self) -> None:
        verifier = verifier_of(ISSUER, clock_skew=0.0)
        assert "not valid yet" in refusal(ISSUER.token(nbf=NOW), NOW - 1, verifier)

    def test_without_an_end_it_is_never_good(self) -> None:
        assert "no end" in refusal(ISSUER.token(exp=None))

    @pytest.mark.parametrize("member", ["exp", "nbf", "iat"])
    @pytest.mark.parametrize("time", ["4000000000", True, [FAR], {"a": FAR}, -1, LATEST + 1, 10**400, ""])
    def test_a_time_is_a_number(self, member: str, time: object) -> None:
        assert f"time ({member})" in refusal(ISSUER.token(**{member: time}))

    @pytest.mark.parametrize("member", ["exp", "nbf", "iat"])
    @pytest.mark.parametrize("time", ["1e400", "-1e400", "null"])
    def test_an_infinite_time_is_none(self, member: str, time: str) -> None:
        claims = json.dumps(ISSUER.claims(**{member: "HERE"})).replace('"HERE"', time).encode()
        assert f"({member})" in refusal(signed(claims, ISSUER.keys[0]))

    def test_fractions_of_seconds_count(self) -> None:
        token = ISSUER.token(exp=NOW + 0.5)
        assert verified(token, NOW)
        assert refusal(token, NOW + 0.5)


class TestIssuers:
    @pytest.mark.parametrize("iss", [None, "", "https://other.example", ISSUER.url + "/", 1, [ISSUER.url]])
    def test_it_is_issued_by_the_issuer_whose_key_signed_it(self, iss: object) -> None:
        assert "not issued by" in refusal(ISSUER.token(iss=iss))

    def test_a_key_of_another_issuer_with_the_same_name_signs_nothing_here(self) -> None:
        other = Issuer(ec_key("first"))
        for token in (signed(ISSUER.claims(), other.keys[0]), signed(other.claims(), other.keys[0])):
            assert "not signed by a key" in refusal(token)
        # Each with its own: good where it belongs, and there only.
        assert verified(other.token(), verifier=verifier_of(other))
        assert "not issued by" in refusal(signed(other.claims(), ISSUER.keys[0]))

    def test_the_allowed_algorithms_are_the_issuers_own(self) -> None:
        issuer = Issuer(ed25519_key("o"), rsa_key("r"))
        ed25519 = signed(issuer.claims(), issuer.keys[0], "Ed25519")
        ps256 = signed(issuer.claims(), issuer.keys[1], "PS256")
        for token in (ed25519, ps256):
            assert "allowed are: RS256, ES256" in refusal(token, verifier=verifier_of(issuer))
            assert verified(token, verifier=verifier_of(issuer, algorithms=("EdDSA", "PS256")))


class TestMemory:
    def answered(self, verifier: TokenVerifier, token: str, now: float = NOW) -> Identity | Rejected | Unavailable:
        return asyncio.run(verifier.answer(token, digest(token), now))

    def test_a_good_token_is_remembered_until_its_end_and_no_longer(self) -> None:
        verifier, token = verifier_of(ISSUER), ISSUER.token(exp=NOW + 60)
        assert verifier.remembered(digest(token), NOW) is None
        found = self.answered(verifier, token)
        assert isinstance(found, Identity)
        assert verifier.remembered(digest(token), NOW + 59.9) is found
        for now in (NOW + 60, float("inf"), float("nan")):
            ended = verifier.remembered(digest(token), now)
            assert isinstance(ended, Rejected)
            assert "expired" in ended.reason

    def test_a_bad_token_is_remembered_for_a_moment(self) -> None:
        verifier, token = verifier_of(ISSUER), ISSUER.token(nbf=NOW + SKEW + 1)
        found = self.answered(verifier, token)
        assert isinstance(found, Rejected)
        assert verifier.remembered(digest(token), NOW + REFUSED_SECONDS / 2) is found
        assert verifier.remembered(digest(token), NOW + REFUSED_SECONDS) is None
        assert isinstance(self.answered(verifier, token, NOW + REFUSED_SECONDS), Identity)

    def test_ten_thousand_tokens_are_remembered_and_no_more_and_bad_ones_push_out_no_good_one(self) -> None:
        # RSA, whose signatures are verified fastest.
        issuer = Issuer(rsa_key("r"))
        verifier, first = verifier_of(issuer), signed(issuer.claims(), issuer.keys[0], "RS256")

        async def work() -> None:
            await verifier.answer(first, digest(first), NOW)
            for number in range(MOST_REFUSED + 10):
                # Not a token at all is enough to be refused; what is looked up is its hash.
                await verifier.answer("x", digest(f"bad {number}"), NOW)
            assert verifier.remembered(digest(first), NOW)
            assert len(verifier) == MOST_REFUSED + 1
            for number in range(MOST_REMEMBERED):
                await verifier.answer(first, digest(f"good {number}"), NOW)
            assert len(verifier) == MOST_REFUSED + MOST_REMEMBERED
            assert verifier.remembered(digest(first), NOW) is None

        run(work())


class TestRotation:
    def test_a_key_that_was_removed_takes_its_tokens_with_it(self, listening: Issuer) -> None:
        pace = Pace(retry=0.0)

        async def work() -> None:
            verifier = verifier_of(listening)
            keys = IssuerKeys(verifier.issuer, pace)
            verifier = verifier_of(listening, keys)
            old = listening.token()
            assert isinstance(await verifier.answer(old, digest(old), NOW), Identity)
            assert verifier.remembered(digest(old), NOW)
            listening.keys = [ec_key("second")]
            new = listening.token()
            assert isinstance(await verifier.answer(new, digest(new), NOW), Identity)
            assert verifier.remembered(digest(old), NOW) is None
            refused = await verifier.answer(old, digest(old), NOW)
            assert isinstance(refused, Rejected)
            assert "not signed by a key" in refused.reason

        run(work())

    def test_a_key_with_the_name_of_its_predecessor_is_found_too(self, listening: Issuer) -> None:
        async def work() -> None:
            verifier = verifier_of(listening, IssuerKeys(verifier_of(listening).issuer, Pace(retry=0.0)))
            await verifier.verify(listening.token(), NOW)
            listening.keys = [ec_key("first")]
            assert (await verifier.verify(listening.token(), NOW)).name == "alice"

        run(work())

    def test_what_was_refused_for_want_of_a_key_is_good_once_the_key_is_known(self, listening: Issuer) -> None:
        async def work() -> None:
            keys = IssuerKeys(verifier_of(listening).issuer, Pace(retry=3600.0))
            verifier = verifier_of(listening, keys)
            await keys.current()
            later = ec_key("second")
            token = signed(listening.claims(), later)
            assert isinstance(await verifier.answer(token, digest(token), NOW), Rejected)
            assert isinstance(verifier.remembered(digest(token), NOW), Rejected)
            listening.keys.append(later)
            keys.hold(await keys.metadata(), type(await keys.current()).of(listening.published()))
            assert verifier.remembered(digest(token), NOW) is None
            assert isinstance(await verifier.answer(token, digest(token), NOW), Identity)

        run(work())


def test_while_the_issuer_is_away_the_known_stay_and_nobody_new_comes_in(listening: Issuer) -> None:
    now = [1000.0]

    async def work() -> None:
        pace = Pace(max_age=300, retry=10)
        keys = IssuerKeys(verifier_of(listening).issuer, pace, lambda: now[0])
        verifier = verifier_of(listening, keys)
        known, unknown = listening.token(), listening.token(sub="bob")
        assert isinstance(await verifier.answer(known, digest(known), NOW), Identity)
        listening.down()
        now[0] += pace.max_age + 1
        answer = await verifier.answer(unknown, digest(unknown), NOW)
        assert isinstance(answer, Unavailable)
        assert listening.url in answer.reason
        assert "nobody new comes in" in answer.reason
        assert isinstance(verifier.remembered(digest(known), NOW), Identity)
        # That it could not be told is not remembered: it comes back, and no restart is needed.
        listening.up()
        now[0] += pace.retry
        assert isinstance(await verifier.answer(unknown, digest(unknown), NOW), Identity)
        assert isinstance(verifier.remembered(digest(known), NOW), Identity)

    run(work())


AGENTS_ACT = verifier_of(ISSUER, actors=Kind.AGENT)


def acting(act: Any, *, verifier: TokenVerifier = AGENTS_ACT) -> list[str]:
    """The chain of a token of alice with this `act`."""
    found = verified(ISSUER.token(act=act), verifier=verifier)
    return [str(member) for member in chain_behind(found)]


class TestActors:
    """RFC 8693, section 4.1: whoever bears the token is not its subject."""

    @pytest.mark.parametrize("act", [{"sub": "bot"}, "bot", {}, 0])
    def test_an_issuer_of_which_nobody_said_so_may_not_tell_who_acts(self, act: object) -> None:
        assert "somebody who acts for its subject" in refusal(ISSUER.token(act=act))

    def test_whoever_acts_comes_behind_the_subject_the_last_of_them_last(self) -> None:
        assert acting({"sub": "bot"}) == ["person:alice", "agent:bot"]
        nested = {"sub": "second", "act": {"sub": "first"}}
        assert acting(nested) == ["person:alice", "agent:first", "agent:second"]

    def test_each_of_them_ends_with_the_token_and_is_no_more_than_it_says(self) -> None:
        token = ISSUER.token(act={"sub": "bot"}, groups=["sre"])
        found = verified(token, verifier=verifier_of(ISSUER, actors=Kind.AGENT))
        (subject,) = found.on_behalf_of
        assert (subject.name, subject.groups, found.groups) == ("alice", ("sre",), ())
        assert found.expires_at == subject.expires_at == FAR
        assert found.claims == (("issuer", ISSUER.url), ("subject", "bot"))
        assert found.recheck_seconds == RECHECK_SECONDS

    def test_a_person_who_acts_is_mapped_as_subjects_are(self) -> None:
        verifier = verifier_of(
            ISSUER,
            actors=Kind.PERSON,
            username=ClaimMapping(claim="sub", prefix="corp:"),
            user_rules=(UserRule(expression="!user.username.endsWith('blocked')", message="blocked"),),
        )
        assert acting({"sub": "bob"}, verifier=verifier) == ["person:corp:alice", "person:corp:bob"]
        found = verified(ISSUER.token(act={"sub": "bob", "groups": ["dev"]}), verifier=verifier)
        assert found.groups == ("dev",)
        assert "blocked" in refusal(ISSUER.token(act={"sub": "blocked"}), verifier=verifier)
        assert "system:" in refusal(
            ISSUER.token(act={"sub": "system:masters"}), verifier=verifier_of(ISSUER, actors=Kind.PERSON)
        )

    def test_a_name_of_another_issuer_is_taken_by_nobody_who_acts(self) -> None:
        verifier = verifier_of(
            ISSUER, actors=Kind.PERSON, username=ClaimMapping(claim="sub"), foreign_prefixes=("partner:",)
        )
        assert "another issuer" in refusal(ISSUER.token(act={"sub": "partner:eve"}), verifier=verifier)

    @pytest.mark.parametrize(
        ("act", "says"),
        [
            ("bot", "no object"),
            ([{"sub": "bot"}], "no object"),
            ({}, "names nobody"),
            ({"sub": 7}, "names nobody"),
            ({"sub": "bot", "act": "root"}, "no object"),
            ({"sub": "bot", "iss": "https://other.example"}, "another issuer"),
            ({"sub": "Bot"}, "a name that"),
            ({"sub": "bot/helper"}, "a name that"),
            ({"sub": "bot\n"}, "a name that"),
            ({"sub": "bot", "act": {"sub": "bot"}}, "twice"),
            ({"sub": "a", "act": {"sub": "b", "act": {"sub": "a"}}}, "twice"),
            ({"sub": "a", "act": {"sub": "b", "act": {"sub": "c", "act": {"sub": "d"}}}}, "more actors than the 3"),
        ],
    )
    def test_what_does_not_say_who_acts_is_refused(self, act: object, says: str) -> None:
        assert says in refusal(ISSUER.token(act=act), verifier=verifier_of(ISSUER, actors=Kind.AGENT))

    def test_nobody_acts_for_themselves(self) -> None:
        verifier = verifier_of(ISSUER, actors=Kind.PERSON)
        assert "twice" in refusal(ISSUER.token(act={"sub": "alice"}), verifier=verifier)

    @pytest.mark.parametrize("longest", [1, 2])
    def test_a_chain_is_no_longer_than_chains_may_be(self, longest: int) -> None:
        verifier = verifier_of(ISSUER, actors=Kind.AGENT, longest_chain=longest)
        if longest == 2:
            assert acting({"sub": "a"}, verifier=verifier) == ["person:alice", "agent:a"]
        deep = {"sub": "a", "act": {"sub": "b"}} if longest == 2 else {"sub": "a"}
        assert "more actors than" in refusal(ISSUER.token(act=deep), verifier=verifier)

    def test_a_claim_that_is_there_twice_is_refused_wherever_it_is(self) -> None:
        (key,) = ISSUER.keys
        body = json.dumps({"iss": ISSUER.url, "aud": AUDIENCE, "sub": "alice", "exp": FAR})[:-1]
        verifier = verifier_of(ISSUER, actors=Kind.AGENT)
        for act in ('{"sub":"bot","sub":"root"}', '{"sub":"bot"},"act":{"sub":"root"}'):
            assert "twice" in refusal(signed(f'{body},"act":{act}}}'.encode(), key), verifier=verifier)

    def test_nobody_signs_in_for_another(self) -> None:
        verifier = verifier_of(ISSUER, actors=Kind.AGENT)
        token = ISSUER.token(aud="client", act={"sub": "bot"})
        refused = refusal(token, verifier=verifier, audience="client")
        assert "acts for its subject" in refused
        # Which no configuration would help.
        assert "set actors" not in refused
