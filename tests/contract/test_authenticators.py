"""What every authenticator must do. An implementation joins by one more `Case` in `CASES`; the suite itself stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oidc_issuer import Issuer, signed, verifier_of
from tests.signed_certificates import Authority
from tests.told_cluster import ToldCluster

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.bearer_and_certificate import BearerAndCertificate
from narrowgate.authenticators.certificate_names import CertificateNames
from narrowgate.authenticators.certificate_rule import CertificateRule, NameFrom
from narrowgate.authenticators.client_certificates import ClientCertificates
from narrowgate.authenticators.credential import new_credential
from narrowgate.authenticators.first_match import FirstMatch
from narrowgate.authenticators.jwt_issuers import JWTIssuers
from narrowgate.authenticators.port import Answer, Authenticator, NotMine, Presented, Rejected
from narrowgate.authenticators.service_account_rules import ServiceAccountRules
from narrowgate.authenticators.service_accounts import ServiceAccounts
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.names import valid_name

ENDS_AT = 10_000.0
"""When the good credential of every case expires."""


class Case(msgspec.Struct, frozen=True):
    """One implementation with what the suite needs to know of it."""

    authenticator: Authenticator
    good: Presented
    """Opens until ENDS_AT, for the identity `name`."""
    name: str
    foreign: tuple[Presented, ...]
    """Credentials of another sort."""
    spoilt: tuple[Presented, ...]
    """Credentials of this sort that are worth nothing."""
    vouch_for: Callable[[str, tuple[str, ...]], tuple[Authenticator, Presented]] | None = None
    """An authenticator that was told, by its store or issuer, that this name and these groups are right. None: its
    names have a form of their own, which its unit test is about."""
    sort_is_inside: bool = False
    """Its sort is told by what is in it (an issuer's name): a changed one may be anybody's."""


NAMES_NOT_TO_VOUCH_FOR = (
    "system:masters",
    "System:Masters",
    "ｓystem:admin",
    " system:x",
    "a\nb",
    "a\0b",
    "",
    "x" * 300,
)


def agent_record(name: str, groups: tuple[str, ...], presented_hash: bytes, credential_id: str) -> AgentRecord:
    return AgentRecord(
        name=name,
        owner="person:alice",
        purpose="test",
        cluster="prod",
        credential_id=credential_id,
        credential_hash=presented_hash,
        created_at=0.0,
        expires_at=ENDS_AT,
        groups=groups,
    )


def told_agents(name: str, groups: tuple[str, ...]) -> tuple[AgentCredentials, Presented]:
    made = new_credential()
    return AgentCredentials.of([agent_record(name, groups, made.hash, made.id)]), Presented(made.text)


def agent_case() -> Case:
    good, paused, removed = new_credential(), new_credential(), new_credential()
    records = [
        agent_record("ci-bot", ("bots",), good.hash, good.id),
        msgspec.structs.replace(agent_record("resting", (), paused.hash, paused.id), paused=True),
    ]
    spoilt = (paused.text, removed.text, good.text[:-1], good.text + "A", good.text[:20])
    return Case(
        authenticator=AgentCredentials.of(records),
        good=Presented(good.text),
        name="ci-bot",
        foreign=(
            Presented(""),
            Presented("eyJhbGciOiJFUzI1NiJ9.e30.x"),
            Presented(good.text.upper()),
            Presented(client_certificate=b"x"),
        ),
        spoilt=tuple(Presented(text) for text in spoilt),
        vouch_for=told_agents,
    )


def composite_case() -> Case:
    inner = agent_case()

    knows_nobody = FirstMatch([])

    def vouch_for(name: str, groups: tuple[str, ...]) -> tuple[Authenticator, Presented]:
        told, presented = told_agents(name, groups)
        return FirstMatch([knows_nobody, told]), presented

    return msgspec.structs.replace(
        inner, authenticator=FirstMatch([knows_nobody, inner.authenticator]), vouch_for=vouch_for
    )


def service_account_case() -> Case:
    prod, other = ToldCluster(), ToldCluster("https://elsewhere.example")
    rules = ServiceAccountRules(clusters=("prod",))
    good = prod.token("ci/deployer")
    spoilt = (
        prod.token("ci/deployer", aud=["https://kubernetes.default.svc"]),
        prod.token("ci/deployer", exp=4_999),
        prod.token("ci/deployer", nbf=6_000),
        prod.token("ci/deployer", sub="system:serviceaccount:ci:other"),
        prod.sign(prod.claims("ci/deployer"), key=other.key, kid=prod.key.kid),
        good[:-5],
        "eyJhbGciOiJFUzI1NiJ9.e30",
    )
    accounts = ServiceAccounts(rules, {"prod": prod})
    # As when the gate has run for a moment: whose token it is can be told once the issuer is known.
    ask(accounts, Presented(good))
    return Case(
        authenticator=accounts,
        good=Presented(good),
        name="ci/deployer",
        foreign=(
            Presented(""),
            Presented(new_credential().text),
            Presented(other.token("ci/deployer")),
            Presented(client_certificate=b"x"),
        ),
        spoilt=tuple(Presented(text) for text in spoilt),
        sort_is_inside=True,
    )


def certified(*agents: AgentRecord) -> ClientCertificates:
    rule = CertificateRule(certificate_authority=CLIENT_CA.pem, name_from=NameFrom.SPIFFE, trust_domain="prod")
    return ClientCertificates(CertificateNames([rule]), agents)


def certificate_case() -> Case:
    bot, nobody = CLIENT_CA.client("spiffe://prod/bot"), CLIENT_CA.client("spiffe://prod/nobody")
    record = msgspec.structs.replace(agent_record("ci-bot", (), b"", ""), certificate_names=("spiffe://prod/bot",))
    foreign = Authority("prod").client("spiffe://prod/bot")

    def vouch_for(name: str, groups: tuple[str, ...]) -> tuple[Authenticator, Presented]:
        told = msgspec.structs.replace(agent_record(name, groups, b"", ""), certificate_names=("spiffe://prod/bot",))
        return certified(told), Presented("", bot.der)

    return Case(
        authenticator=certified(record),
        good=Presented("", bot.der),
        name="ci-bot",
        foreign=(Presented(""), Presented(new_credential().text)),
        spoilt=tuple(Presented("", der) for der in (nobody.der, foreign.der, bot.der[:-1], b"garbage")),
        vouch_for=vouch_for,
    )


def either_case() -> Case:
    inner = certificate_case()
    assert inner.vouch_for is not None
    told = inner.vouch_for

    def vouch_for(name: str, groups: tuple[str, ...]) -> tuple[Authenticator, Presented]:
        authenticator, presented = told(name, groups)
        return BearerAndCertificate(FirstMatch([]), authenticator), presented

    authenticator = BearerAndCertificate(FirstMatch([]), inner.authenticator)
    return msgspec.structs.replace(inner, authenticator=authenticator, vouch_for=vouch_for)


def ask(authenticator: Authenticator, presented: Presented, now: float = 5_000.0) -> Answer:
    return asyncio.run(authenticator.authenticate(presented, now))


CLIENT_CA = Authority("prod")


def jwt_case() -> Case:
    issuer, stranger = Issuer(), Issuer()
    verifier = verifier_of(issuer)
    good = issuer.token(exp=ENDS_AT)
    spoilt = (
        issuer.token(aud="another"),
        issuer.token(exp=None),
        issuer.token(exp=1_000),
        issuer.token(nbf=9_000),
        issuer.token(sub="system:admin"),
        signed(issuer.claims(), stranger.keys[0]),
        signed(issuer.claims(), issuer.keys[0], header={"alg": "none"}),
        "eyJhbGciOiJFUzI1NiJ9.e30",
    )

    def vouch_for(name: str, groups: tuple[str, ...]) -> tuple[Authenticator, Presented]:
        told = issuer.token(exp=ENDS_AT, sub=name, groups=list(groups))
        return JWTIssuers([verifier], []), Presented(told)

    return Case(
        authenticator=JWTIssuers([verifier], []),
        good=Presented(good),
        name="alice",
        foreign=(Presented(""), Presented(new_credential().text), Presented(stranger.token()), Presented("", b"x")),
        spoilt=tuple(Presented(text) for text in spoilt),
        vouch_for=vouch_for,
        sort_is_inside=True,
    )


def ci_job_case() -> Case:
    """A JWT issuer that vouches for agents: the token gives the name, the record everything else."""
    issuer = Issuer()
    verifier = verifier_of(issuer, subject=Kind.AGENT, groups=None)
    record = agent_record("ci-bot", ("bots",), b"", "")
    paused = msgspec.structs.replace(agent_record("resting", (), b"", ""), paused=True)
    over = msgspec.structs.replace(agent_record("over", (), b"", ""), ends_at=1_000.0)
    spoilt = [issuer.token(sub=name) for name in ("resting", "over", "unknown", "Not A Label")]

    def vouch_for(name: str, groups: tuple[str, ...]) -> tuple[Authenticator, Presented]:
        told = JWTIssuers([verifier], [agent_record(name, groups, b"", "")])
        return told, Presented(issuer.token(exp=ENDS_AT, sub=name))

    return Case(
        authenticator=JWTIssuers([verifier], [record, paused, over]),
        good=Presented(issuer.token(exp=ENDS_AT, sub="ci-bot")),
        name="ci-bot",
        foreign=(Presented(new_credential().text), Presented(Issuer().token())),
        spoilt=tuple(Presented(text) for text in spoilt),
        vouch_for=vouch_for,
        sort_is_inside=True,
    )


CASES = {
    "agent credentials": agent_case(),
    "first match": composite_case(),
    "service accounts": service_account_case(),
    "client certificates": certificate_case(),
    "bearer and certificate": either_case(),
    "JWT issuers": jwt_case(),
    "JWT issuers of agents": ci_job_case(),
}


def among(cases: Mapping[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


every_authenticator = among(CASES)
every_bearer = among({name: case for name, case in CASES.items() if case.good.bearer})
every_teller_of_names = among({name: case for name, case in CASES.items() if case.vouch_for is not None})


@every_authenticator
def test_a_good_credential_is_its_identity(case: Case) -> None:
    answer = ask(case.authenticator, case.good)
    assert isinstance(answer, Identity)
    assert answer.name == case.name
    assert answer.proven_by
    assert answer.credential


@every_bearer
def test_an_identity_never_carries_the_secret(case: Case) -> None:
    answer = ask(case.authenticator, case.good)
    assert case.good.bearer not in repr(answer)
    assert case.good.bearer[-40:] not in repr(answer)


@every_authenticator
def test_the_identity_says_when_its_credential_ends(case: Case) -> None:
    answer = ask(case.authenticator, case.good)
    assert isinstance(answer, Identity)
    assert answer.expires_at == ENDS_AT


@every_authenticator
@pytest.mark.parametrize("now", [ENDS_AT, ENDS_AT + 1, float("inf"), float("nan")])
def test_an_expired_credential_is_rejected_from_its_very_end_on(case: Case, now: float) -> None:
    answer = ask(case.authenticator, case.good, now)
    assert isinstance(answer, Rejected)
    assert "expired" in answer.reason


@every_authenticator
def test_a_credential_is_good_up_to_its_end(case: Case) -> None:
    assert isinstance(ask(case.authenticator, case.good, ENDS_AT - 0.001), Identity)


@every_authenticator
def test_another_sort_of_credential_is_left_to_others(case: Case) -> None:
    assert {type(ask(case.authenticator, presented)) for presented in case.foreign} == {NotMine}


@every_authenticator
def test_a_credential_of_its_sort_that_is_worth_nothing_is_rejected_with_a_reason(case: Case) -> None:
    assert case.spoilt
    for presented in case.spoilt:
        answer = ask(case.authenticator, presented)
        assert isinstance(answer, Rejected)
        assert ";" in answer.reason, "what is wrong; what to do"
        assert not presented.bearer or presented.bearer not in answer.reason


@every_teller_of_names
@pytest.mark.parametrize("name", NAMES_NOT_TO_VOUCH_FOR)
def test_no_name_of_kubernetes_own_or_with_control_characters_is_vouched_for(case: Case, name: str) -> None:
    assert case.vouch_for is not None
    for told in (case.vouch_for(name, ()), case.vouch_for("fine", ("fine", name))):
        assert isinstance(ask(*told), Rejected)


@every_teller_of_names
def test_an_identity_without_fault_is_vouched_for_with_its_groups(case: Case) -> None:
    assert case.vouch_for is not None
    answer = ask(*case.vouch_for("fine", ("bots", "team one")))
    assert isinstance(answer, Identity)
    assert (answer.name, answer.groups) == ("fine", ("bots", "team one"))


@every_authenticator
@settings(max_examples=200, deadline=None)
@given(bearer=st.text(max_size=200), certificate=st.binary(max_size=50), now=st.floats())
def test_garbage_never_raises_and_never_opens(case: Case, bearer: str, certificate: bytes, now: float) -> None:
    for text in (bearer, case.good.bearer[:4] + bearer, case.good.bearer + bearer + " "):
        answer = ask(case.authenticator, Presented(text, certificate), now)
        assert isinstance(answer, NotMine | Rejected)


@every_bearer
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_credential_with_one_character_changed_is_rejected(case: Case, data: st.DataObject) -> None:
    bearer = case.good.bearer
    index = data.draw(st.integers(4, len(bearer) - 1))
    letter = data.draw(st.characters(codec="ascii").filter(lambda drawn: drawn != bearer[index]))
    answer = ask(case.authenticator, Presented(bearer[:index] + letter + bearer[index + 1 :]))
    assert isinstance(answer, Rejected) or (case.sort_is_inside and isinstance(answer, NotMine))


@every_teller_of_names
@settings(max_examples=100, deadline=None)
@given(name=st.text(max_size=70), groups=st.lists(st.text(max_size=20), max_size=3))
def test_whoever_it_vouches_for_has_a_valid_name_and_valid_groups(case: Case, name: str, groups: list[str]) -> None:
    assert case.vouch_for is not None
    answer = ask(*case.vouch_for(name, tuple(groups)))
    if isinstance(answer, Identity):
        assert valid_name(answer.name)
        assert all(valid_name(group) for group in answer.groups)
    else:
        assert isinstance(answer, Rejected)


def test_the_first_that_knows_the_sort_answers_and_nobody_after_it_is_asked() -> None:
    made = new_credential()
    refuses = AgentCredentials.of([])
    accepts = AgentCredentials.of([agent_record("ci-bot", (), made.hash, made.id)])
    assert isinstance(ask(FirstMatch([refuses, accepts]), Presented(made.text)), Rejected)
    assert isinstance(ask(FirstMatch([accepts, refuses]), Presented(made.text)), Identity)


def test_with_no_authenticators_nobody_is_known() -> None:
    assert ask(FirstMatch([]), Presented(new_credential().text)) == NotMine()


def test_a_credential_that_two_agents_share_opens_for_neither() -> None:
    made = new_credential()
    records = [agent_record("one", (), made.hash, "a"), agent_record("two", (), made.hash, "b")]
    assert isinstance(ask(AgentCredentials.of(records), Presented(made.text)), Rejected)
