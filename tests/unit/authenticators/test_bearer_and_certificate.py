"""What becomes of a request that brings two things to prove itself by."""

from __future__ import annotations

import asyncio

from tests.unit.authenticators.test_client_certificates import CA, CERTIFICATE, NAMES, agent

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.bearer_and_certificate import BearerAndCertificate
from narrowgate.authenticators.client_certificates import ClientCertificates
from narrowgate.authenticators.credential import new_credential
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.identity import Identity

MADE = new_credential()
BOT = agent(credential_id=MADE.id, credential_hash=MADE.hash)
OTHER_MADE = new_credential()
OTHER = agent("other", "cn:other", credential_id=OTHER_MADE.id, credential_hash=OTHER_MADE.hash)
BOTH = BearerAndCertificate(AgentCredentials.of([BOT, OTHER]), ClientCertificates(NAMES, [BOT, OTHER]))
UNREGISTERED = CA.client("spiffe://prod/mesh")


def ask(bearer: str, certificate: bytes) -> Answer:
    return asyncio.run(BOTH.authenticate(Presented(bearer, certificate), 5_000.0))


def proven_by(answer: Answer) -> tuple[str, str]:
    assert isinstance(answer, Identity)
    return answer.name, answer.proven_by


def test_one_of_them_alone_decides() -> None:
    assert proven_by(ask(MADE.text, b"")) == ("bot", "agent-credential")
    assert proven_by(ask("", CERTIFICATE.der)) == ("bot", "client-certificate")
    assert ask("", b"") == NotMine()


def test_two_that_agree_are_the_bearer_credentials_identity() -> None:
    assert proven_by(ask(MADE.text, CERTIFICATE.der)) == ("bot", "agent-credential")


def test_two_that_disagree_are_a_doubt() -> None:
    answer = ask(OTHER_MADE.text, CERTIFICATE.der)
    assert isinstance(answer, Rejected)
    assert "agent:other" in answer.reason
    assert "agent:bot" in answer.reason


def test_a_certificate_that_names_nobody_does_not_spoil_a_bearer_credential() -> None:
    assert proven_by(ask(MADE.text, UNREGISTERED.der)) == ("bot", "agent-credential")


def test_a_bearer_credential_that_is_not_known_is_not_excused_by_a_certificate() -> None:
    assert ask("whatever", CERTIFICATE.der) == NotMine()
    assert isinstance(ask(MADE.text[:-1], CERTIFICATE.der), Rejected)
