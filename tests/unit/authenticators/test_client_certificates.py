"""For whom a client certificate stands now: the agent whose record names it, and nobody by default."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.signed_certificates import ENDS_AT, Authority

from narrowgate.authenticators.certificate_names import CertificateNames
from narrowgate.authenticators.certificate_rule import CertificateRule, NameFrom
from narrowgate.authenticators.client_certificates import ClientCertificates
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind

CA = Authority("prod")
BOT = "spiffe://prod/bot"
NAMES = CertificateNames(
    [CertificateRule(certificate_authority=CA.pem, name_from=NameFrom.SPIFFE, trust_domain="prod")]
)
CERTIFICATE = CA.client(BOT)


def agent(name: str = "bot", *certificate_names: str, **more: Any) -> AgentRecord:
    return AgentRecord(
        **{
            "name": name,
            "owner": "group:sre",
            "purpose": "test",
            "cluster": "prod",
            "credential_id": "",
            "credential_hash": b"",
            "created_at": 0.0,
            "expires_at": 20_000.0,
            "certificate_names": certificate_names or (BOT,),
            **more,
        }
    )


def ask(*agents: AgentRecord, now: float = 5_000.0, der: bytes = CERTIFICATE.der) -> Answer:
    return asyncio.run(ClientCertificates(NAMES, agents).authenticate(Presented("", der), now))


def reason(answer: Answer) -> str:
    assert isinstance(answer, Rejected)
    assert ";" in answer.reason
    return answer.reason


def test_a_certificate_is_the_agent_whose_record_names_it() -> None:
    answer = ask(agent("other", "cn:bot"), agent(groups=("bots",)))
    assert isinstance(answer, Identity)
    assert (answer.kind, answer.name, answer.groups, answer.owner) == (Kind.AGENT, "bot", ("bots",), "group:sre")
    assert (answer.proven_by, answer.cluster, answer.expires_at) == ("client-certificate", "prod", ENDS_AT)
    assert dict(answer.claims)["issuer"] == "CN=prod"
    assert answer.credential.startswith("cert-")


def test_nobody_registered_is_told_the_command_that_registers() -> None:
    said = reason(ask(agent("other", "spiffe://prod/other")))
    assert f"narrowgate agents add NAME --certificate-name {BOT}" in said


def test_the_command_can_be_pasted_whatever_the_name_is() -> None:
    legacy = Authority("legacy")
    names = CertificateNames([CertificateRule(certificate_authority=legacy.pem, name_from=NameFrom.COMMON_NAME)])
    odd = legacy.client(names=("bot; rm -rf $HOME",))
    answer = asyncio.run(ClientCertificates(names, ()).authenticate(Presented("", odd.der), 5_000.0))
    assert "--certificate-name 'cn:bot; rm -rf $HOME'" in reason(answer)


def test_a_certificate_that_two_agents_have_opens_for_neither() -> None:
    assert "several agents (bot, twin)" in reason(ask(agent(), agent("twin")))


def test_a_paused_agent_and_one_that_is_over_are_refused() -> None:
    assert "paused" in reason(ask(agent(paused=True)))
    assert "ended on" in reason(ask(agent(ends_at=4_000.0)))


def test_the_end_of_an_agent_is_the_end_of_its_certificates() -> None:
    answer = ask(agent(ends_at=6_000.0))
    assert isinstance(answer, Identity)
    assert answer.expires_at == 6_000.0
    assert "ended on" in reason(ask(agent(ends_at=6_000.0), now=6_000.0))


@pytest.mark.parametrize("now", [ENDS_AT, ENDS_AT + 1, float("inf"), float("nan")])
def test_a_certificate_ends_though_its_connection_goes_on(now: float) -> None:
    certificates = ClientCertificates(NAMES, [agent()])
    presented = Presented("", CERTIFICATE.der)
    assert isinstance(asyncio.run(certificates.authenticate(presented, ENDS_AT - 0.1)), Identity)
    assert "expired" in reason(asyncio.run(certificates.authenticate(presented, now)))


def test_a_certificate_is_not_valid_before_its_time() -> None:
    assert "not valid yet" in reason(ask(agent(), der=CA.client(BOT, not_before=6_000).der))


def test_the_end_of_a_simple_credential_says_nothing_about_certificates() -> None:
    assert isinstance(ask(agent(expires_at=1.0)), Identity)


def test_no_certificate_is_left_to_others() -> None:
    assert ask(agent(), der=b"") == NotMine()
    assert isinstance(ask(agent(), der=b"garbage"), Rejected)
