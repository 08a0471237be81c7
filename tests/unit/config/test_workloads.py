"""How workloads may prove themselves, as written: every mistake is refused with file, line, key and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.signed_certificates import Authority

from narrowgate.authenticators.certificate_rule import NameFrom
from narrowgate.authenticators.service_account_rules import ServiceAccountRules, Verify
from narrowgate.config import Authentication, Config, parse_config
from narrowgate.config.errors import ConfigError

PROD, STAGING = Authority("prod"), Authority("staging")


def parsed(folder: Path, **authentication: Any) -> Authentication:
    document = {
        "apiVersion": "narrowgate.dev/v1alpha1",
        "kind": "Config",
        "clusters": [{"name": name, "kubeconfig": "./kubeconfig"} for name in ("prod", "staging")],
        "authentication": authentication,
    }
    config: Config = parse_config(yaml.safe_dump(document, sort_keys=False), folder / "narrowgate.yaml")
    return config.authentication


def complaint(folder: Path, **authentication: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(folder, **authentication)
    text = str(caught.value)
    assert text.startswith(f"{folder}/narrowgate.yaml:"), text
    assert "\n" not in text
    return text


# --- ServiceAccounts


def test_without_the_key_no_token_of_a_service_account_is_taken(tmp_path: Path) -> None:
    assert parsed(tmp_path).service_accounts is None


def test_an_empty_entry_takes_the_tokens_of_every_cluster_by_both_ways(tmp_path: Path) -> None:
    assert parsed(tmp_path, serviceAccounts={}).service_accounts == ServiceAccountRules(
        audience="narrowgate", verify=(Verify.KEYS, Verify.TOKEN_REVIEW), clusters=("prod", "staging")
    )


def test_what_is_written_counts(tmp_path: Path) -> None:
    written = {"audience": "gate.corp", "verify": ["tokenReview"], "clusters": ["staging"]}
    assert parsed(tmp_path, serviceAccounts=written).service_accounts == ServiceAccountRules(
        audience="gate.corp", verify=(Verify.TOKEN_REVIEW,), clusters=("staging",)
    )


def test_pods_speak_for_whoever_had_them_made_unless_that_is_switched_off(tmp_path: Path) -> None:
    on = parsed(tmp_path, serviceAccounts={"lineageOwners": ["databases.example.com"]}).service_accounts
    off = parsed(tmp_path, serviceAccounts={"lineage": False}).service_accounts
    assert on is not None
    assert off is not None
    assert (on.placing, on.lineage_owners) == (("prod", "staging"), (("example.com", "databases"),))
    assert off.placing == ()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"lineageOwners": ["databases"]}, "no operator's resource"),
        ({"lineageOwners": ["deployments.apps"]}, "no operator's resource"),
        ({"lineageOwners": ["*.example.com"]}, "no operator's resource"),
        ({"audience": ""}, "serviceAccounts.audience: "),
        ({"audience": " narrowgate"}, "is no audience"),
        ({"audience": "x" * 300}, "is no audience"),
        ({"audience": "https://kubernetes.default.svc"}, "tokens for the API server itself"),
        ({"verify": []}, "nobody would verify"),
        ({"verify": ["tokenreview"]}, 'did you mean "tokenReview"?'),
        ({"verify": ["keys", "keys"]}, "written twice"),
        ({"clusters": []}, "names no cluster"),
        ({"clusters": ["prdo"]}, 'did you mean "prod"?'),
        ({"clusters": ["prod", "prod"]}, "written twice"),
        ({"audiences": ["x"]}, 'serviceAccounts.audiences: unknown key, did you mean "audience"?'),
        ({"verify": "keys"}, "expected a list"),
    ],
)
def test_mistakes_about_service_accounts_are_refused(tmp_path: Path, written: dict[str, Any], said: str) -> None:
    assert said in complaint(tmp_path, serviceAccounts=written)


# --- client certificates


def entry(authority: Authority = PROD, **more: Any) -> dict[str, Any]:
    return {"certificateAuthority": authority.pem, "name": "spiffe", "trustDomain": "prod.corp", **more}


def test_a_ca_is_given_as_text_or_as_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "clients.pem").write_text("this is the CA of the legacy agents\n" + STAGING.pem)
    legacy = {"certificateAuthority": "./clients.pem", "name": "commonName"}
    by_spiffe, by_name = parsed(tmp_path, clientCertificates=[entry(), legacy]).client_certificates
    assert (by_spiffe.name_from, by_spiffe.trust_domain) == (NameFrom.SPIFFE, "prod.corp")
    assert (by_name.name_from, by_name.trust_domain) == (NameFrom.COMMON_NAME, "")
    assert (by_spiffe.certificate_authority, by_name.certificate_authority) == (PROD.pem, STAGING.pem)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (entry(name="SPIFFE"), 'did you mean "spiffe"?'),
        (entry(name="dns"), "name: unknown word"),
        (entry(trustDomain=""), "write the trust domain"),
        (entry(trustDomain="prod.corp/x"), "write the trust domain"),
        (entry(trustDomain="spiffe://prod.corp"), "write the trust domain"),
        (entry(name="commonName"), "trustDomain: common names have no trust domain"),
        (entry(certificateAuthority="./missing.pem"), "does not exist"),
        (entry(certificateAuthority=""), "expected PEM"),
        (entry(certificateAuthority="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "PEM"),
        (entry(certificateAuthority=PROD.client("spiffe://prod.corp/x").pem), "is not a CA's"),
        (entry(ca="x"), "unknown key"),
        ({"name": "commonName"}, "is missing"),
    ],
)
def test_mistakes_about_client_certificates_are_refused(tmp_path: Path, written: dict[str, Any], said: str) -> None:
    text = complaint(tmp_path, clientCertificates=[written])
    assert said in text
    assert "authentication.clientCertificates[0]" in text


def test_one_ca_cannot_speak_for_two_entries(tmp_path: Path) -> None:
    both = [entry(), entry(trustDomain="other.corp")]
    assert "clientCertificates[1].certificateAuthority: its CA is that of entry 0" in complaint(
        tmp_path, clientCertificates=both
    )


def test_a_file_with_a_key_beside_the_certificate_leaves_the_key_behind(tmp_path: Path) -> None:
    (rule,) = parsed(tmp_path, clientCertificates=[entry(certificateAuthority=PROD.pair)]).client_certificates
    assert rule.certificate_authority == PROD.pem
