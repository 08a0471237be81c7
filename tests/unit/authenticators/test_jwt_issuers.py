"""Tokens as they are presented: whose they are, and that an agent is what its record says now."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.oidc_issuer import FAR, Issuer, base64url, ec_key, signed, verifier_of

from narrowgate.authenticators.jwks import MAX_TOKEN_CHARACTERS
from narrowgate.authenticators.jwt_issuer import ClaimMapping
from narrowgate.authenticators.jwt_issuers import JWTIssuers
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind, chain_behind

NOW = 5_000.0
PEOPLE, CI = Issuer(ec_key("same")), Issuer(ec_key("same"))
VERIFIERS = (
    verifier_of(PEOPLE),
    verifier_of(CI, subject=Kind.AGENT, groups=None, username=ClaimMapping(claim="sub", prefix="ci-")),
)
AGENT = AgentRecord(
    name="ci-deploy",
    owner="group:sre",
    purpose="test",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=0.0,
    expires_at=1.0,
    groups=("bots",),
)


def agent(**changed: Any) -> AgentRecord:
    return msgspec.structs.replace(AGENT, **changed)


def ask(token: str, *agents: AgentRecord, now: float = NOW) -> Answer:
    return asyncio.run(JWTIssuers(VERIFIERS, agents).authenticate(Presented(token), now))


def rejection(token: str, *agents: AgentRecord, now: float = NOW) -> str:
    answer = ask(token, *agents, now=now)
    assert isinstance(answer, Rejected)
    return answer.reason


def test_a_person_is_what_the_token_says_and_names_the_cluster_with_each_request() -> None:
    found = ask(PEOPLE.token(groups=["sre"]), AGENT)
    assert isinstance(found, Identity)
    assert (found.kind, found.name, found.groups, found.cluster) == (Kind.PERSON, "alice", ("sre",), "")


class TestAgents:
    TOKEN = CI.token(sub="deploy", groups=["admins"])

    def test_an_agent_is_what_its_record_says(self) -> None:
        found = ask(self.TOKEN, AGENT)
        assert isinstance(found, Identity)
        assert (found.kind, found.name, found.owner) == (Kind.AGENT, "ci-deploy", "group:sre")
        # Its own simple credential's end has nothing to do with it.
        assert (found.groups, found.cluster, found.expires_at) == (("bots",), "prod", FAR)

    def test_a_change_of_the_record_holds_for_a_token_that_is_known(self) -> None:
        assert isinstance(ask(self.TOKEN, AGENT), Identity)
        moved = ask(self.TOKEN, agent(cluster="staging", groups=("x",), owner="person:bob"))
        assert isinstance(moved, Identity)
        assert (moved.cluster, moved.groups, moved.owner) == ("staging", ("x",), "person:bob")
        assert "paused" in rejection(self.TOKEN, agent(paused=True))
        assert "narrowgate agents add ci-deploy" in rejection(self.TOKEN)

    def test_an_agent_that_is_over_is_over(self) -> None:
        ends = agent(ends_at=NOW + 10)
        found = ask(self.TOKEN, ends)
        assert isinstance(found, Identity)
        assert found.expires_at == NOW + 10
        for now in (NOW + 10, float("nan"), float("inf")):
            assert rejection(self.TOKEN, ends, now=now)

    def test_only_its_issuer_vouches_for_it(self) -> None:
        found = ask(PEOPLE.token(sub="ci-deploy"), AGENT)
        assert isinstance(found, Identity)
        assert found.kind is Kind.PERSON

    def test_groups_that_a_record_must_not_have_let_nobody_in(self) -> None:
        assert "system:" in rejection(self.TOKEN, agent(groups=("system:masters",)))


class TestActors:
    """Whoever acts for the subject of a token (`act`) is judged beside it, each as is registered now."""

    VERIFIERS = (
        verifier_of(PEOPLE, actors=Kind.AGENT),
        verifier_of(
            CI, subject=Kind.AGENT, actors=Kind.AGENT, groups=None, username=ClaimMapping(claim="sub", prefix="ci-")
        ),
    )

    def ask(self, token: str, *agents: AgentRecord, now: float = NOW) -> Answer:
        return asyncio.run(JWTIssuers(self.VERIFIERS, agents).authenticate(Presented(token), now))

    def test_an_agent_that_acts_for_a_person_is_what_its_record_says(self) -> None:
        found = self.ask(PEOPLE.token(groups=["sre"], act={"sub": "ci-deploy"}), agent(ends_at=NOW + 10))
        assert isinstance(found, Identity)
        assert [str(one) for one in chain_behind(found)] == ["person:alice", "agent:ci-deploy"]
        assert (found.groups, found.owner, found.cluster, found.expires_at) == (
            ("bots",), "group:sre", "prod", NOW + 10,
        )  # fmt: skip
        (subject,) = found.on_behalf_of
        assert (subject.groups, subject.cluster, subject.on_behalf_of) == (("sre",), "", ())

    def test_the_end_of_anybody_in_the_chain_is_the_end_of_it(self) -> None:
        token = CI.token(sub="deploy", act={"sub": "second", "act": {"sub": "first"}})
        records = [agent(name=f"ci-{name}") for name in ("deploy", "first", "second")]
        assert isinstance(self.ask(token, *records), Identity)
        for place, record in enumerate(records):
            others = [*records[:place], *records[place + 1 :]]
            for gone in ([], [msgspec.structs.replace(record, paused=True)]):
                answer = self.ask(token, *others, *gone)
                assert isinstance(answer, Rejected)
                assert record.name in answer.reason

    def test_an_agent_that_nobody_registered_acts_for_nobody(self) -> None:
        answer = self.ask(PEOPLE.token(act={"sub": "ghost"}), AGENT)
        assert isinstance(answer, Rejected)
        assert 'no agent "ghost" here' in answer.reason

    @pytest.mark.parametrize("iss", [CI.url, "https://elsewhere.example"])
    def test_an_issuer_does_not_say_that_somebody_of_another_one_acts(self, iss: str) -> None:
        answer = self.ask(PEOPLE.token(act={"sub": "deploy", "iss": iss}), AGENT)
        assert isinstance(answer, Rejected)
        assert "another issuer" in answer.reason


def test_two_issuers_whose_keys_have_the_same_name_are_not_mistaken_for_each_other() -> None:
    for claims, key in ((PEOPLE.claims(), CI.keys[0]), (CI.claims(sub="deploy"), PEOPLE.keys[0])):
        assert "not signed by a key" in rejection(signed(claims, key), AGENT)


@pytest.mark.parametrize("iss", ["https://other.example", "", 1, None, [PEOPLE.url], {"a": 1}])
def test_a_token_of_another_issuer_is_left_to_others(iss: object) -> None:
    assert ask(signed(PEOPLE.claims(iss=iss), PEOPLE.keys[0])) == NotMine()


def test_a_token_of_another_issuer_is_known_as_such_the_next_time_and_so_are_many() -> None:
    authenticator = JWTIssuers(VERIFIERS, ())
    foreign = [signed({"iss": "https://other.example", "n": number}, CI.keys[0]) for number in range(3)]

    async def work() -> None:
        for token in foreign * 2:
            assert await authenticator.authenticate(Presented(token), NOW) == NotMine()
        assert isinstance(await authenticator.authenticate(Presented(PEOPLE.token()), NOW), Identity)

    asyncio.run(work())


@pytest.mark.parametrize("text", ["", "x", "nga1_ey.e30.x", "ng1_x", "eyJhbGciOiJFUzI1NiJ9", "Bearer ey.e30.x"])
def test_what_is_no_token_is_left_to_others(text: str) -> None:
    assert ask(text) == NotMine()


@pytest.mark.parametrize(
    "text",
    [
        "ey.",
        "eyJhbGciOiJFUzI1NiJ9.e30",
        "eyJhbGciOiJFUzI1NiJ9.e30.a.b.c",
        "eyJhbGciOiJFUzI1NiJ9.e30.x y",
        "eyJhbGciOiJFUzI1NiJ9.é.x",
        "eyJhbGciOiJFUzI1NiJ9.\ud800.x",
        f"eyJhbGciOiJFUzI1NiJ9.{base64url(b'[]')}.AA",
        f"eyJhbGciOiJFUzI1NiJ9.{base64url(b'not JSON')}.AA",
        "ey." * 1_000_000,
        "ey." + "A" * MAX_TOKEN_CHARACTERS,
    ],
    ids=range(10),
)
def test_a_token_that_cannot_be_read_is_rejected(text: str) -> None:
    assert ";" in rejection(text)


def test_claims_written_twice_are_rejected_before_anybody_reads_one_of_them() -> None:
    twice = b'{"iss": "%b", "iss": "https://other.example"}' % PEOPLE.url.encode()
    assert "twice" in rejection(signed(twice, PEOPLE.keys[0]))
