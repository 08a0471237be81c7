"""Laws of what workloads bring: whatever is sent is read or refused, and one changed thing never makes another name."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signed_certificates import Authority
from tests.told_cluster import ToldCluster

from narrowgate.authenticators.bound_token import read_bound_token
from narrowgate.authenticators.certificate_names import CertificateNames, Proven
from narrowgate.authenticators.certificate_rule import CertificateRule, NameFrom
from narrowgate.authenticators.jwks import TokenRefused
from narrowgate.authenticators.port import Presented
from narrowgate.authenticators.service_account_rules import ServiceAccountRules
from narrowgate.authenticators.service_accounts import ServiceAccounts
from narrowgate.core.certificate_name import certificate_name_problem, spiffe_id_problem, trust_domain_of
from narrowgate.core.identity import Identity
from narrowgate.core.names import valid_name
from narrowgate.core.upstream_names import impersonation_headers

CLUSTER = ToldCluster()
CLAIMS = CLUSTER.claims()
CA = Authority("prod")
CERTIFICATE = CA.client("spiffe://prod/bot")
RULE = CertificateRule(certificate_authority=CA.pem, name_from=NameFrom.SPIFFE, trust_domain="prod")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
private_claims = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("namespace", "serviceaccount", "pod", "node", "secret"), json_values),
)


@given(changed=st.dictionaries(st.sampled_from([*CLAIMS, "extra"]), json_values, max_size=3), private=private_claims)
def test_claims_are_read_or_refused_and_a_name_that_is_read_can_be_sent_to_a_cluster(
    changed: dict[str, Any], private: dict[str, Any]
) -> None:
    claims = {**CLAIMS, "kubernetes.io": {**CLAIMS["kubernetes.io"], **private}, **changed}
    try:
        read = read_bound_token(claims)
    except TokenRefused:
        return
    assert claims["sub"] == read.username
    assert read.name.count("/") == 1
    assert all(part.isascii() and part.isprintable() for part in (read.name, read.id, read.username))


@settings(max_examples=60, deadline=None)
@given(namespace=st.text(max_size=70), account=st.text(max_size=70))
def test_whatever_a_cluster_signs_becomes_a_name_that_passes_or_none(namespace: str, account: str) -> None:
    cluster = ToldCluster(key=CLUSTER.key)
    token = cluster.token(f"{namespace}/{account}") if "/" not in namespace else cluster.token()
    accounts = ServiceAccounts(ServiceAccountRules(clusters=("prod",)), {"prod": cluster})
    answer = asyncio.run(accounts.authenticate(Presented(token), 5_000.0))
    if isinstance(answer, Identity):
        assert valid_name(answer.name)
        assert impersonation_headers((answer,), "r")  # type: ignore[arg-type]


@given(uri=st.text(max_size=60) | st.from_regex(r"spiffe://[a-z./@:%?#-]{0,30}", fullmatch=True))
def test_a_spiffe_id_without_a_problem_has_one_spelling(uri: str) -> None:
    if spiffe_id_problem(uri):
        return
    assert certificate_name_problem(uri) == ""
    assert uri == uri.strip()
    assert uri.isascii()
    rest = uri.removeprefix("spiffe://")
    assert not set(rest) & set(":@?#%\\ ")
    domain, *segments = rest.split("/")
    assert trust_domain_of(uri) == domain == domain.lower() != ""
    assert segments
    assert all(segment not in ("", ".", "..") for segment in segments)


# The library warns of what it is about to refuse itself; here it is refused in any case.
@pytest.mark.filterwarnings("ignore:Parsed a serial number:Warning")
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_certificate_with_one_bit_changed_proves_nothing(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(CERTIFICATE.der) * 8 - 1))
    der = bytearray(CERTIFICATE.der)
    der[position // 8] ^= 1 << (position % 8)
    assert not isinstance(CertificateNames([RULE]).read(bytes(der)), Proven)


def test_the_certificate_that_is_changed_there_proves_its_name() -> None:
    found = CertificateNames([RULE]).read(CERTIFICATE.der)
    assert isinstance(found, Proven)
    assert msgspec.structs.asdict(found)["name"] == "spiffe://prod/bot"
