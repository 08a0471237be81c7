"""Which claims are those of a projected ServiceAccount token, and which only look so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.told_cluster import AUDIENCE, ENDS_AT, ISSUER, MADE_AT, ToldCluster

from narrowgate.authenticators.bound_token import MOST_AUDIENCES, Reference, is_account_token, read_bound_token
from narrowgate.authenticators.jwks import TokenRefused

CLUSTER = ToldCluster()


def claims(**more: Any) -> dict[str, Any]:
    return CLUSTER.claims(**more)


def with_private(**more: Any) -> dict[str, Any]:
    made = claims()
    made["kubernetes.io"] = {**made["kubernetes.io"], **more}
    return made


def test_a_token_is_read_as_kubernetes_writes_it() -> None:
    read = read_bound_token(claims(jti="j-1"))
    assert (read.issuer, read.audiences, read.id) == (ISSUER, (AUDIENCE,), "j-1")
    assert (read.name, read.username) == ("ci/deployer", "system:serviceaccount:ci:deployer")
    assert read.pod == Reference("web-1", CLUSTER.pods["ci/web-1"])
    assert read.node == Reference("node-1", "n-1")
    assert (read.not_before, read.expires_at) == (MADE_AT, ENDS_AT)


def test_one_audience_may_be_written_without_a_list() -> None:
    assert read_bound_token(claims(aud="narrowgate")).audiences == ("narrowgate",)


def test_older_clusters_write_no_id_no_pod_and_no_node() -> None:
    made = CLUSTER.claims(pod="")
    del made["jti"]
    read = read_bound_token(made)
    assert (read.id, read.pod, read.node) == ("", None, None)


@pytest.mark.parametrize("missing", ["iss", "aud", "exp", "sub"])
def test_a_token_without_what_binds_it_is_refused(missing: str) -> None:
    made = claims()
    del made[missing]
    with pytest.raises(TokenRefused, match="kubelet"):
        read_bound_token(made)


@pytest.mark.parametrize(
    "odd",
    [
        {"exp": "10000"},
        {"exp": None},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": -1},
        {"exp": 10**400},
        {"nbf": "soon"},
        {"iat": [1]},
        {"aud": []},
        {"aud": {}},
        {"aud": [7]},
        {"aud": [""]},
        {"aud": ["x"] * (MOST_AUDIENCES + 1)},
        {"iss": ""},
        {"iss": ["https://kubernetes.default.svc.cluster.local"]},
        {"jti": 7},
        {"jti": "a b"},
        {"jti": "x" * 65},
        {"sub": "system:serviceaccount:ci:other"},
        {"sub": "deployer"},
        {"sub": None},
        {"kubernetes.io": []},
        {"kubernetes.io": "ci"},
        {"kubernetes.io": {}},
    ],
)
def test_claims_of_another_form_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        read_bound_token(claims(**odd))


@pytest.mark.parametrize(
    "odd",
    [
        {"namespace": "Ci"},
        {"namespace": "ci\r\nimpersonate-group: system:masters"},
        {"namespace": "ci/x"},
        {"namespace": ""},
        {"namespace": None},
        {"serviceaccount": None},
        {"serviceaccount": {"name": "deployer"}},
        {"serviceaccount": {"name": "", "uid": "u"}},
        {"serviceaccount": {"name": "a:b", "uid": "u"}},
        {"serviceaccount": {"name": "a/b", "uid": "u"}},
        {"serviceaccount": {"name": "deployer", "uid": ""}},
        {"serviceaccount": {"name": "deployer", "uid": "u\n"}},
        {"serviceaccount": {"name": "x" * 254, "uid": "u"}},
        {"pod": "web"},
        {"pod": {"name": "web"}},
        {"pod": {"name": "web\r\n", "uid": "u"}},
        {"node": {"name": "NODE", "uid": "u"}},
    ],
)
def test_names_that_kubernetes_would_not_give_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        read_bound_token(with_private(**odd))


def test_tokens_of_service_accounts_are_told_from_all_others() -> None:
    assert is_account_token(claims())
    assert is_account_token({"iss": "kubernetes/serviceaccount"})
    assert not is_account_token({"iss": ISSUER, "sub": "system:serviceaccount:ci:deployer"})
