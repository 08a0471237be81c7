"""Who is behind an access credential, and when it is not believed any more."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.authenticators.access_credential import AccessClaims, AccessSigner, ActedFor, Port
from narrowgate.authenticators.access_credentials import (
    LONGEST_LIFE,
    MOST_REMEMBERED,
    AccessCredentials,
    Genuine,
)
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.agent import AgentKey, AgentRecord
from narrowgate.core.identity import Identity, Kind, chain_behind

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PERSON = AccessClaims(
    id="session-1",
    port=Port.KUBERNETES,
    kind=Kind.PERSON,
    name="alice",
    groups=("sre",),
    proven_by="oidc:corp",
    claims=(("issuer", "https://idp"),),
    cluster="prod",
    issued_at=1_000.0,
    expires_at=4_600.0,
)
AGENT = msgspec.structs.replace(
    PERSON, id="x", kind=Kind.AGENT, name="bot", groups=(), proven_by="agent-key", claims=(("key", "k1"),)
)
RECORD = AgentRecord(
    name="bot",
    owner="person:alice",
    purpose="test",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=0.0,
    expires_at=99_999.0,
    groups=("bots",),
    keys=(AgentKey(id="k1", public=b"p" * 32, added_at=0.0),),
)


def ask(
    claims: AccessClaims,
    now: float = 2_000.0,
    *,
    ended: tuple[str, ...] = (),
    agents: tuple[AgentRecord, ...] = (RECORD,),
    port: Port = Port.KUBERNETES,
) -> Answer:
    authenticator = AccessCredentials(Genuine(KEY.public_key()), port, ended, agents)
    presented = Presented(AccessSigner(KEY).sign(claims))
    first = asyncio.run(authenticator.authenticate(presented, now))
    assert asyncio.run(authenticator.authenticate(presented, now)) == first
    return first


def refused(answer: Answer) -> str:
    assert isinstance(answer, Rejected)
    return answer.reason


def test_a_person_is_who_the_credential_says() -> None:
    assert ask(PERSON) == Identity(
        kind=Kind.PERSON,
        name="alice",
        groups=("sre",),
        proven_by="oidc:corp",
        credential="session-1",
        claims=(("issuer", "https://idp"),),
        cluster="prod",
        expires_at=4_600.0,
    )


def test_it_ends_at_its_time_and_not_a_moment_later() -> None:
    assert isinstance(ask(PERSON, 4_599.9), Identity)
    assert "expired" in refused(ask(PERSON, 4_600.0))
    assert "expired" in refused(ask(PERSON, float("nan")))


def test_one_that_says_it_lives_for_ever_does_not() -> None:
    forever = msgspec.structs.replace(PERSON, expires_at=9e9)
    assert isinstance(ask(forever, 1_000.0 + LONGEST_LIFE - 1), Identity)
    assert "expired" in refused(ask(forever, 1_000.0 + LONGEST_LIFE))


def test_a_known_credential_expires_all_the_same() -> None:
    authenticator = AccessCredentials(Genuine(KEY.public_key()), Port.KUBERNETES)
    presented = Presented(AccessSigner(KEY).sign(PERSON))
    assert isinstance(asyncio.run(authenticator.authenticate(presented, 2_000.0)), Identity)
    assert isinstance(asyncio.run(authenticator.authenticate(presented, 5_000.0)), Rejected)


def test_what_was_ended_is_over() -> None:
    assert "was ended" in refused(ask(PERSON, ended=("session-1",)))


@pytest.mark.parametrize("port", list(Port))
def test_a_credential_opens_its_own_port_only(port: Port) -> None:
    other = Port.CONTROL if port is Port.KUBERNETES else Port.KUBERNETES
    assert isinstance(ask(msgspec.structs.replace(PERSON, port=port), port=port), Identity)
    assert "this access credential is for" in refused(ask(msgspec.structs.replace(PERSON, port=other), port=port))


def test_one_without_a_cluster_opens_no_cluster() -> None:
    assert "names no cluster" in refused(ask(msgspec.structs.replace(PERSON, cluster="")))


@pytest.mark.parametrize("change", [{"name": "system:admin"}, {"groups": ("system:masters",)}, {"name": "a\nb"}])
def test_names_are_checked_again_although_the_gate_signed_them(change: dict[str, object]) -> None:
    assert "cannot be let in" in refused(ask(msgspec.structs.replace(PERSON, **change)))


def test_an_agent_is_what_its_record_says_now() -> None:
    answer = ask(msgspec.structs.replace(AGENT, groups=("admins",)))
    assert isinstance(answer, Identity)
    assert (answer.groups, answer.owner, answer.kind) == (("bots",), "person:alice", Kind.AGENT)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paused": True}, "is paused"),
        ({"ends_at": 1_500.0}, "ended on"),
        ({"created_at": 1_000.5}, "of another agent that was called"),
        ({"cluster": "staging"}, "does not open cluster"),
        ({"keys": ()}, "was removed"),
        ({"groups": ("system:masters",)}, "cannot be let in"),
    ],
)
def test_an_agent_that_is_not_as_it_was_is_refused(change: dict[str, object], says: str) -> None:
    assert says in refused(ask(AGENT, agents=(msgspec.structs.replace(RECORD, **change),)))


def test_an_agent_that_was_removed_is_refused() -> None:
    assert "not registered any more" in refused(ask(AGENT, agents=()))


def test_an_agents_end_comes_before_its_credentials() -> None:
    ending = msgspec.structs.replace(RECORD, ends_at=3_000.0)
    answer = ask(AGENT, agents=(ending,))
    assert isinstance(answer, Identity)
    assert answer.expires_at == 3_000.0
    assert "ended on" in refused(ask(AGENT, 3_000.0, agents=(ending,)))


def test_other_sorts_of_credentials_are_left_to_others() -> None:
    authenticator = AccessCredentials(Genuine(KEY.public_key()), Port.KUBERNETES)
    for bearer in ("", "ng1_x", "eyJ.x.y", "NGA1_x"):
        assert isinstance(asyncio.run(authenticator.authenticate(Presented(bearer), 1.0)), NotMine)


def test_what_is_remembered_is_bounded() -> None:
    genuine = Genuine(KEY.public_key())
    signer = AccessSigner(KEY)
    for number in range(MOST_REMEMBERED + 50):
        genuine.claims(signer.sign(msgspec.structs.replace(PERSON, id=str(number))))
    assert len(genuine) == MOST_REMEMBERED


ACTING = msgspec.structs.replace(
    AGENT, claims=(), behind=(ActedFor(kind=Kind.PERSON, name="corp:ada", groups=("dev",), proven_by="jwt"),)
)


class TestActing:
    """Whoever acts for somebody (RFC 8693, section 1.1): both are in the credential, each as is registered now."""

    def test_it_speaks_for_both(self) -> None:
        found = ask(ACTING)
        assert isinstance(found, Identity)
        assert [str(one) for one in chain_behind(found)] == ["person:corp:ada", "agent:bot"]
        (subject,) = found.on_behalf_of
        assert (subject.groups, subject.cluster, subject.expires_at) == (("dev",), "prod", 4_600.0)
        assert (found.groups, found.owner, found.credential) == (("bots",), "person:alice", "x")

    def test_an_end_of_either_is_the_end_of_both(self) -> None:
        swapped = msgspec.structs.replace(
            ACTING, kind=Kind.PERSON, name="ada", behind=(ActedFor(kind=Kind.AGENT, name="bot", proven_by="jwt"),)
        )
        for claims in (ACTING, swapped):
            assert isinstance(ask(claims), Identity)
            for change in ({"paused": True}, {"ends_at": 1_500.0}, {"created_at": 1_500.0}, {"cluster": "dev"}):
                refused(ask(claims, agents=(msgspec.structs.replace(RECORD, **change),)))
            refused(ask(claims, agents=()))

    def test_it_ends_with_the_first_agent_of_it_and_is_not_remembered_beyond(self) -> None:
        ends = msgspec.structs.replace(RECORD, ends_at=3_000.0)
        found = ask(ACTING, agents=(ends,))
        assert isinstance(found, Identity)
        assert found.expires_at == 3_000.0
        authenticator = AccessCredentials(Genuine(KEY.public_key()), Port.KUBERNETES, agents=(ends,))
        presented = Presented(AccessSigner(KEY).sign(ACTING))
        assert isinstance(asyncio.run(authenticator.authenticate(presented, 2_000.0)), Identity)
        assert isinstance(asyncio.run(authenticator.authenticate(presented, 3_000.0)), Rejected)

    @pytest.mark.parametrize("name", ["system:admin", "a\nb", ""])
    def test_names_of_those_behind_are_checked_as_well(self, name: str) -> None:
        bad = msgspec.structs.replace(ACTING, behind=(ActedFor(kind=Kind.PERSON, name=name, proven_by="jwt"),))
        refused(ask(bad))
