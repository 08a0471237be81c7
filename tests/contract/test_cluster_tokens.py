"""What a cluster must do that vouches for its tokens: a real API server does it, and so does the one in memory.

The real one is asked by the gate's own calls, and its tokens are made as the kubelet has them made.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from tests.told_cluster import ToldCluster

from narrowgate.authenticators.bound_token import read_bound_token
from narrowgate.authenticators.cluster_tokens import ALGORITHMS, ClusterTokens, TokenReview
from narrowgate.authenticators.jwks import KeySet, UnknownKey, unverified_claims, verified
from narrowgate.config import ClusterConfig, cluster_access
from narrowgate.core.cluster import ClusterAccess
from narrowgate.proxy.accounts import account_for
from narrowgate.proxy.cluster import Cluster
from narrowgate.proxy.token_reviews import TokenReviews

REPOSITORY = Path(__file__).parents[2]
CLUSTER_SECONDS = 1200.0
KUBECTL_SECONDS = 180.0
CALL_SECONDS = 90.0

_Value = TypeVar("_Value")


class Vouching(Protocol):
    """A cluster under test: asked on an event loop of its own, with an account to make tokens for."""

    def ask(self, question: Callable[[ClusterTokens], Awaitable[_Value]]) -> _Value: ...

    def token(self, *, audience: str = "narrowgate") -> str: ...

    def delete_account(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self._cluster = ToldCluster()

    def ask(self, question: Callable[[ClusterTokens], Awaitable[_Value]]) -> _Value:
        async def asked() -> _Value:
            return await question(self._cluster)

        return asyncio.run(asked())

    def token(self, *, audience: str = "narrowgate") -> str:
        return self._cluster.token("ci/deployer", pod="", aud=[audience])

    def delete_account(self) -> None:
        self._cluster.accounts.clear()


class Real:
    def __init__(self, access: ClusterAccess, kubectl: tuple[str, ...]) -> None:
        self._access = access
        self._kubectl = kubectl
        self.namespace = f"ngt-{secrets.token_hex(3)}"
        self.run("create", "namespace", self.namespace)
        self.run("create", "serviceaccount", "deployer", "-n", self.namespace)

    def run(self, *arguments: str) -> str:
        done = subprocess.run([*self._kubectl, *arguments], text=True, capture_output=True, timeout=KUBECTL_SECONDS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, question: Callable[[ClusterTokens], Awaitable[_Value]]) -> _Value:
        async def asked() -> _Value:
            cluster = Cluster(self._access)
            account_for(cluster, lambda path: Path(path).read_text())
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    return await question(TokenReviews(cluster))
            finally:
                cluster.close()

        return asyncio.run(asked())

    def token(self, *, audience: str = "narrowgate") -> str:
        return self.run("create", "token", "deployer", "-n", self.namespace, "--audience", audience).strip()

    def delete_account(self) -> None:
        self.run("delete", "serviceaccount", "deployer", "-n", self.namespace)

    def remove(self) -> None:
        self.run("delete", "namespace", self.namespace, "--wait=false")


@pytest.fixture(params=["in memory", "API server"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Vouching]:
    if request.param == "in memory":
        yield InMemory()
        return
    description = REPOSITORY / ".cluster" / "cluster.json"
    if not description.is_file():
        command = [sys.executable, str(REPOSITORY / "dev" / "cluster" / "cluster.py"), "up"]
        subprocess.run(command, check=True, cwd=REPOSITORY, timeout=CLUSTER_SECONDS)
    described = json.loads(description.read_text())
    access = cluster_access(ClusterConfig(name="real", kubeconfig=Path(described["kubeconfig"])))
    made = Real(access, (str(Path(described["bin"]) / "kubectl"), "--kubeconfig", described["kubeconfig"]))
    yield made
    made.remove()


def review(cluster: Vouching, token: str, audience: str = "narrowgate") -> TokenReview:
    return cluster.ask(lambda tokens: tokens.review(token, audience))


def test_it_names_the_issuer_that_its_tokens_have(cluster: Vouching) -> None:
    assert cluster.ask(lambda tokens: tokens.issuer()) == unverified_claims(cluster.token())["iss"]


def test_its_keys_verify_its_tokens_and_nobody_elses(cluster: Vouching) -> None:
    keys = KeySet.of(cluster.ask(lambda tokens: tokens.keys()))
    token = cluster.token()
    assert verified(token, keys, ALGORITHMS) == unverified_claims(token)
    with pytest.raises(UnknownKey):
        verified(ToldCluster().token(), keys, ALGORITHMS)


def test_its_tokens_have_the_form_that_is_read(cluster: Vouching) -> None:
    bound = read_bound_token(unverified_claims(cluster.token()))
    assert bound.name.endswith("/deployer")
    assert bound.audiences == ("narrowgate",)
    assert bound.expires_at > bound.not_before


def test_it_vouches_for_its_token_under_the_names_that_are_in_it(cluster: Vouching) -> None:
    token = cluster.token()
    found, bound = review(cluster, token), read_bound_token(unverified_claims(token))
    assert (found.authenticated, found.audiences) == (True, ("narrowgate",))
    assert (found.username, found.uid) == (bound.username, bound.account.uid)
    assert found.extra["authentication.kubernetes.io/credential-id"] == (f"JTI={bound.id}",)


def test_it_does_not_vouch_for_a_token_that_is_for_somebody_else(cluster: Vouching) -> None:
    assert not review(cluster, cluster.token(audience="other")).authenticated
    assert not review(cluster, cluster.token(), audience="other").authenticated


def test_it_does_not_vouch_for_what_was_changed_or_is_another_clusters(cluster: Vouching) -> None:
    token = cluster.token()
    head, _, signature = token.split(".")
    claims: dict[str, Any] = {**unverified_claims(token), "exp": 4_000_000_000}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    for spoilt in (f"{head}.{body}.{signature}", ToldCluster().token(), "garbage"):
        found = review(cluster, spoilt)
        assert not found.authenticated
        assert found.error


def test_it_does_not_vouch_for_a_deleted_account(cluster: Vouching) -> None:
    token = cluster.token()
    cluster.delete_account()
    assert not review(cluster, token).authenticated
