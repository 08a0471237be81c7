"""Access credentials are made for no longer, and for no more, than what they rest on."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from narrowgate.authenticators.access_credential import (
    AccessClaims,
    AccessSigner,
    ActedFor,
    Port,
    read_access_credential,
)
from narrowgate.control.issuing import AccessIssuer, CannotIssue, Issued, new_id
from narrowgate.control.settings import ControlSettings
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.sign_in import Client, SignIn

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
SETTINGS = ControlSettings(
    url="https://gate:8444",
    kubernetes_url="https://gate:8443",
    ca_pem="",
    clusters=("dev", "prod"),
    sign_in_seconds=43_200,
    access_seconds=3_600,
)
ISSUER = AccessIssuer(AccessSigner(KEY), SETTINGS)
SIGN_IN = SignIn(
    id="s1",
    person="alice",
    groups=("sre",),
    source="oidc:corp",
    claims=(("issuer", "https://idp"),),
    client=Client.CLI,
    secret_hash=b"x" * 32,
    renewed_at=0.0,
    created_at=0.0,
    expires_at=10_000.0,
)
WORKLOAD = Identity(
    kind=Kind.WORKLOAD,
    name="ci/deployer",
    proven_by="service-account",
    credential="jti",
    claims=(("pod", "p"),),
    cluster="prod",
    expires_at=1_500.0,
)


def said(issued: Issued) -> AccessClaims:
    claims = read_access_credential(issued.text, KEY.public_key())
    assert (claims.id, claims.expires_at) == (issued.id, issued.expires_at)
    return claims


def test_a_sign_ins_credential_says_who_and_names_the_sign_in() -> None:
    claims = said(ISSUER.for_sign_in(SIGN_IN, Port.KUBERNETES, "prod", 100.0))
    assert (claims.id, claims.name, claims.groups, claims.cluster, claims.kind) == (
        "s1",
        "alice",
        ("sre",),
        "prod",
        Kind.PERSON,
    )
    assert (claims.issued_at, claims.expires_at) == (100.0, 3_700.0)


def test_it_never_outlives_the_sign_in() -> None:
    assert ISSUER.for_sign_in(SIGN_IN, Port.CONTROL, "", 9_000.0).expires_at == 10_000.0


@pytest.mark.parametrize("change", [{"ended_at": 1.0}, {"expires_at": 100.0}, {"expires_at": float("nan")}])
def test_a_sign_in_that_is_over_gets_none(change: dict[str, float]) -> None:
    with pytest.raises(CannotIssue, match="sign in again"):
        ISSUER.for_sign_in(msgspec.structs.replace(SIGN_IN, **change), Port.CONTROL, "", 100.0)


def test_the_control_ports_credential_names_no_cluster() -> None:
    assert said(ISSUER.for_sign_in(SIGN_IN, Port.CONTROL, "prod", 1.0)).cluster == ""


def test_a_cluster_that_is_not_registered_is_refused_by_name() -> None:
    with pytest.raises(CannotIssue, match=r'no cluster "qa" here; registered are: dev, prod'):
        ISSUER.for_sign_in(SIGN_IN, Port.KUBERNETES, "qa", 1.0)
    with pytest.raises(CannotIssue, match="no cluster"):
        ISSUER.for_sign_in(SIGN_IN, Port.KUBERNETES, "", 1.0)


def test_a_proof_is_exchanged_for_no_longer_than_it_lasts_itself() -> None:
    claims = said(ISSUER.for_identity(WORKLOAD, Port.KUBERNETES, "prod", 1_000.0))
    assert (claims.expires_at, claims.claims, claims.kind) == (1_500.0, (("pod", "p"),), Kind.WORKLOAD)


def test_whoever_opens_one_cluster_gets_no_other() -> None:
    with pytest.raises(CannotIssue, match='opens cluster "prod" only'):
        ISSUER.for_identity(WORKLOAD, Port.KUBERNETES, "dev", 1_000.0)


def test_ids_differ() -> None:
    assert len({new_id() for _ in range(1_000)}) == 1_000


ADA = Identity(
    kind=Kind.PERSON, name="ada", groups=("sre",), proven_by="jwt", credential="c", claims=(("issuer", "https://i"),),
    expires_at=1_200.0,
)  # fmt: skip
BOT = Identity(
    kind=Kind.AGENT, name="bot", proven_by="jwt", credential="c", cluster="prod", expires_at=2_000.0,
    on_behalf_of=(ADA,),
)  # fmt: skip


def test_whoever_acts_for_somebody_gets_a_credential_that_says_so_and_ends_with_the_first_of_them() -> None:
    claims = said(ISSUER.for_identity(BOT, Port.KUBERNETES, "prod", 100.0))
    assert claims.name == "bot"
    assert claims.behind == (
        ActedFor(kind=Kind.PERSON, name="ada", groups=("sre",), proven_by="jwt", claims=(("issuer", "https://i"),)),
    )
    assert claims.expires_at == 1_200.0


def test_nobody_acts_for_another_at_the_gates_own_api_nor_on_a_cluster_that_one_of_them_does_not_open() -> None:
    with pytest.raises(CannotIssue, match="not the gate's own API"):
        ISSUER.for_identity(BOT, Port.CONTROL, "", 100.0)
    with pytest.raises(CannotIssue, match="agent:bot opens cluster"):
        ISSUER.for_identity(BOT, Port.KUBERNETES, "dev", 100.0)
    bound = msgspec.structs.replace(BOT, cluster="", on_behalf_of=(msgspec.structs.replace(ADA, cluster="prod"),))
    with pytest.raises(CannotIssue, match="person:ada opens cluster"):
        ISSUER.for_identity(bound, Port.KUBERNETES, "dev", 100.0)
