"""Which name a client certificate proves: by one rule's CA, made for clients, and written in one way only."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from tests.signed_certificates import ENDS_AT, Authority

from narrowgate.authenticators.certificate_names import (
    MOST_REMEMBERED,
    CertificateNames,
    Proven,
    Unproven,
    authority_problem,
)
from narrowgate.authenticators.certificate_rule import CertificateRule, NameFrom

PROD = Authority("prod")
LEGACY = Authority("legacy")
BOT = "spiffe://prod/ns/ci/sa/bot"


def by_spiffe(*authorities: Authority, trust_domain: str = "prod") -> CertificateRule:
    pem = "".join(authority.pem for authority in authorities)
    return CertificateRule(certificate_authority=pem, name_from=NameFrom.SPIFFE, trust_domain=trust_domain)


def by_common_name(authority: Authority) -> CertificateRule:
    return CertificateRule(certificate_authority=authority.pem, name_from=NameFrom.COMMON_NAME)


RULES = CertificateNames([by_spiffe(PROD), by_common_name(LEGACY)])


def why_not(der: bytes, names: CertificateNames = RULES) -> str:
    found = names.read(der)
    assert isinstance(found, Unproven), found
    assert ";" in found.reason, "what is wrong; what to do"
    return found.reason


def test_a_spiffe_id_is_read_from_the_one_uri() -> None:
    made = PROD.client(BOT, names=("whatever",), dns=("web.corp",))
    found = RULES.read(made.der)
    assert isinstance(found, Proven)
    assert (found.name, found.not_before, found.not_after) == (BOT, 0.0, ENDS_AT)
    assert dict(found.claims) == {"issuer": "CN=prod", "serial": f"{made.certificate.serial_number:x}"}


def test_a_common_name_is_read_where_the_rule_says_so() -> None:
    found = RULES.read(LEGACY.client(BOT, names=("build bot",)).der)
    assert isinstance(found, Proven)
    assert found.name == "cn:build bot"


def test_each_certificate_has_an_id_of_its_own_that_is_not_the_name() -> None:
    one, other = RULES.read(PROD.client(BOT).der), RULES.read(PROD.client(BOT).der)
    assert isinstance(one, Proven)
    assert isinstance(other, Proven)
    assert one.name == other.name
    assert one.credential != other.credential


def test_a_ca_speaks_for_its_own_rule_only() -> None:
    # TLS takes a certificate of either CA: which names it may have hangs on which.
    assert "no common names" in why_not(LEGACY.client(BOT).der)
    assert "subjectAltName" in why_not(PROD.client(names=("bot",)).der)


def test_a_ca_of_nobodys_is_nobody() -> None:
    assert "not signed by a CA" in why_not(Authority("prod").client(BOT).der)


def test_a_certificate_below_an_intermediate_ca_needs_that_ca_in_the_file() -> None:
    intermediate = Authority("intermediate", parent=PROD)
    made = intermediate.client(BOT)
    assert "intermediate CA must stand in its file" in why_not(made.der)
    assert isinstance(CertificateNames([by_spiffe(PROD, intermediate)]).read(made.der), Proven)


def test_a_certificate_lasts_no_longer_than_its_ca() -> None:
    brief = Authority("brief", ends_at=5_000.0)
    found = CertificateNames([by_spiffe(brief)]).read(brief.client(BOT).der)
    assert isinstance(found, Proven)
    assert found.not_after == 5_000.0


@pytest.mark.parametrize(
    ("uris", "spoilt", "said"),
    [
        ((), {}, "no URIs"),
        ((BOT, "spiffe://prod/other"), {}, "2 URIs"),
        ((BOT, BOT), {}, "2 URIs"),
        (("https://prod/bot",), {}, "SPIFFE ID"),
        (("spiffe://prod.evil/bot",), {}, "another trust domain"),
        (("spiffe://staging/bot",), {}, "another trust domain"),
        (("spiffe://prod/../staging/bot",), {}, "SPIFFE ID"),
        (("spiffe://PROD/bot",), {}, "SPIFFE ID"),
        ((BOT,), {"ca": True}, "CA's own"),
        ((BOT,), {"purposes": None}, "clientAuth"),
        ((BOT,), {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "clientAuth"),
        ((BOT,), {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, "clientAuth"),
        ((BOT,), {"signing": False}, "digitalSignature"),
        ((BOT,), {"extension": x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")}, "1.2.3.4"),
    ],
)
def test_whatever_is_odd_about_a_certificate_is_no_name(uris: tuple[str, ...], spoilt: Any, said: str) -> None:
    assert said in why_not(PROD.client(*uris, **spoilt).der)


@pytest.mark.parametrize("names", [(), ("one", "two"), ("system:masters",), (" bot",), ("a\u200bb",)])
def test_there_must_be_one_common_name_that_can_be_a_name(names: tuple[str, ...]) -> None:
    assert "common name" in why_not(LEGACY.client(names=names).der)


def test_a_name_only_in_dns_is_no_name() -> None:
    assert "no URIs" in why_not(PROD.client(dns=("spiffe",)).der)


def test_changed_bytes_are_no_certificate_of_anybodys() -> None:
    der = bytearray(PROD.client(BOT).der)
    der[-1] ^= 1
    assert why_not(bytes(der))
    assert "cannot be read" in why_not(b"garbage")
    assert "cannot be read" in why_not(bytes(der)[:-10])


def test_a_certificate_that_calls_itself_as_the_ca_does_is_not_signed_by_it() -> None:
    impostor = Authority("prod")
    assert "not signed by" in why_not(impostor.client(BOT).der)


def test_one_ca_certified_twice_is_still_one() -> None:
    again = Authority("prod", ends_at=9_000.0)
    rule = by_spiffe(PROD, again)
    assert isinstance(CertificateNames([rule]).read(PROD.client(BOT).der), Proven)


def test_what_is_remembered_is_bounded() -> None:
    names = CertificateNames([by_spiffe(PROD)])
    for number in range(MOST_REMEMBERED + 10):
        names.read(number.to_bytes(4, "big"))
    assert len(names) == MOST_REMEMBERED


def test_only_a_ca_may_stand_in_a_rule() -> None:
    assert authority_problem(PROD.certificate) == ""
    assert "not a CA's" in authority_problem(PROD.client(BOT).certificate)
