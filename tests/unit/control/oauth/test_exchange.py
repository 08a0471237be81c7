"""Tokens of others, exchanged for the gate's own access credentials."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from tests.unit.control.oauth.server import (
    AGENT_ISSUER,
    CLUSTER,
    ISSUER,
    LIFE,
    Server,
    error,
    members,
)

from narrowgate.authenticators.access_credential import Port
from narrowgate.authenticators.base64url import to_base64url
from narrowgate.authenticators.credential import new_credential
from narrowgate.authenticators.port import Rejected
from narrowgate.control.oauth.exchange import WORKLOAD_SECONDS, _bounded
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind

NOT_BELIEVED = ("invalid_request", "temporarily_unavailable")
"""What no known key has signed may be signed by a new one, and the issuer that could tell does not answer here."""

ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token"


def test_a_good_token_gets_a_short_credential_and_no_sign_in(server: Server) -> None:
    answer = server.exchange(server.id_token(groups=["dev"]), resource=CLUSTER)
    got = members(answer)
    assert (got["issued_token_type"], got["token_type"]) == (ACCESS_TYPE, "Bearer")
    assert "refresh_token" not in got
    who = server.opened(answer, Port.KUBERNETES)
    assert (who.kind, who.name, who.groups, who.cluster) == (Kind.PERSON, "ci:erin", ("ci:dev",), "dev")
    assert server.store.sign_ins.listed() == ()


def test_it_is_good_no_longer_than_the_token(server: Server) -> None:
    answer = server.exchange(server.id_token(exp=int(server.now) + 100))
    assert server.opened(answer).expires_at == int(server.now) + 100
    assert members(answer)["expires_in"] <= 100


def test_it_is_recorded_before_it_is_given(server: Server) -> None:
    answer = server.exchange(server.id_token())
    (received, durable), (finished, _) = server.journal.entries
    assert (received["stage"], durable, received["user"]["username"]) == ("RequestReceived", True, "person:ci:erin")
    assert received["objectRef"]["name"] == server.opened(answer).credential
    assert finished["annotations"]["narrowgate.dev/because"] == "token exchange"


def test_a_full_disk_means_no_credential(server: Server) -> None:
    server.journal.full = True
    answer = server.exchange(server.id_token())
    assert answer.status == 503
    assert "nga1_" not in answer.text


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "https://kubernetes.default.svc"}, "audience"),
        ({"iss": "https://evil.example"}, "no issuer"),
        ({"exp": 1_000_000_000}, "expired"),
        ({"nbf": 4_000_000_000}, "not"),
        ({"sub": ""}, ""),
    ],
)
def test_a_token_that_is_not_good_is_refused(server: Server, claims: dict[str, object], said: str) -> None:
    answer = server.exchange(server.id_token(**claims))
    assert (answer.status, error(answer)) == (400, "invalid_request")
    assert said in answer.text


def test_a_token_signed_by_another_with_the_same_key_id_is_refused(server: Server) -> None:
    assert members(server.exchange(server.id_token()))["access_token"]
    server.issuer_key = ECKey.generate_key("P-256", {"kid": "one"})
    assert error(server.exchange(server.id_token())) in NOT_BELIEVED


def test_algorithms_that_anybody_can_make_are_refused(server: Server) -> None:
    header, claims, _ = server.id_token().split(".")
    none = to_base64url(b'{"alg":"none"}')
    unsigned = f"{none}.{claims}."
    public = server.issuer_key.as_pem(private=False)
    by_hmac = jwt.encode(
        {"alg": "HS256", "kid": "one"},
        {"iss": ISSUER, "sub": "erin", "aud": "https://gate.example:8444", "exp": int(server.now) + 60},
        OctKey.import_key(to_base64url(public)),
        algorithms=["HS256"],
    )
    for forged in (unsigned, by_hmac, f"{header}.{claims}.{to_base64url(b'x' * 64)}"):
        assert error(server.exchange(forged)) in NOT_BELIEVED


def test_an_access_credential_does_not_become_one_for_another_cluster(server: Server) -> None:
    for resource in ("", CLUSTER):
        own = members(server.exchange(server.id_token(), resource=resource))["access_token"]
        for kind in (ACCESS_TYPE, "urn:ietf:params:oauth:token-type:jwt"):
            answer = server.exchange(own, subject_token_type=kind, resource=CLUSTER.replace("dev", "prod"))
            assert error(answer) == "invalid_request"


def test_a_refresh_secret_is_no_subject(server: Server) -> None:
    assert error(server.exchange(server.signed_in()["refresh_token"])) == "invalid_request"


def test_an_agents_simple_credential_is_not_turned_into_another(server: Server) -> None:
    made = new_credential()
    server.agents["bot"] = AgentRecord(
        name="bot", owner="person:alice", purpose="test", cluster="dev", credential_id=made.id,
        credential_hash=made.hash, created_at=0.0, expires_at=server.now + LIFE,
    )  # fmt: skip
    assert isinstance(server.presented(made.text), Identity)
    assert error(server.exchange(made.text, resource=CLUSTER)) == "invalid_request"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"subject_token": ""}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"actor_token": "x", "actor_token_type": ACCESS_TYPE}, "invalid_request"),
        ({"audience": "prod"}, "invalid_request"),
        ({"client_secret": "x"}, "invalid_request"),
        ({"client_id": "other"}, "invalid_client"),
        ({"scope": "all"}, "invalid_scope"),
        ({"resource": "https://evil.example"}, "invalid_target"),
        ({"resource": f"{CLUSTER}x"}, "invalid_target"),
    ],
)
def test_what_would_mean_something_else_is_refused(server: Server, fields: dict[str, str], expected: str) -> None:
    assert error(server.exchange(server.id_token(), **fields)) == expected


def test_an_issuer_that_does_not_answer_is_named(server: Server) -> None:
    token = server.id_token()
    server.forget_keys()
    answer = server.exchange(token)
    assert (answer.status, error(answer)) == (503, "temporarily_unavailable")
    assert ISSUER in answer.text
    assert answer.header("retry-after")
    assert server.recorded() == [("ResponseComplete", "accesscredentials", "error", 503)]


def test_a_registered_agent_exchanges_the_token_of_its_ci_system(server: Server) -> None:
    server.key_agent("build", keys=())
    token = server.id_token(iss=AGENT_ISSUER, sub="build")
    answer = server.exchange(token, resource=CLUSTER)
    who = server.opened(answer, Port.KUBERNETES)
    assert (who.kind, who.name, who.owner, who.groups) == (Kind.AGENT, "build", "person:alice", ("bots",))
    assert error(server.exchange(token, resource=CLUSTER.replace("dev", "prod"))) == "invalid_target"
    del server.agents["build"]
    assert isinstance(server.presented(members(answer)["access_token"], Port.KUBERNETES), Rejected)
    assert error(server.exchange(token, resource=CLUSTER)) == "invalid_request"


def test_an_agent_that_nobody_registered_gets_nothing(server: Server) -> None:
    answer = server.exchange(server.id_token(iss=AGENT_ISSUER, sub="stranger"), resource=CLUSTER)
    assert error(answer) == "invalid_request"
    assert "narrowgate agents add stranger" in answer.text


def identity(kind: Kind, expires_at: float | None) -> Identity:
    return Identity(kind=kind, name="ci/deployer", proven_by="test", credential="c", expires_at=expires_at)


def test_a_workloads_credential_is_short_however_long_its_token_is_good() -> None:
    assert _bounded(identity(Kind.WORKLOAD, 1e6), 0.0).expires_at == WORKLOAD_SECONDS
    assert _bounded(identity(Kind.WORKLOAD, 10.0), 0.0).expires_at == 10.0
    assert _bounded(identity(Kind.PERSON, 1e6), 0.0).expires_at == 1e6
