"""A registered cluster asked about its own ServiceAccount tokens, by the gate's own calls to its API server."""

from __future__ import annotations

import asyncio

import msgspec
import orjson

from narrowgate.authenticators.cluster_tokens import ClusterSilent, TokenReview
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

CALL_SECONDS = 5.0
"""For one call: a caller waits for it before anything else happens."""

MOST_AT_ONCE = 16
"""Calls under way: reviews are answered in milliseconds, and a flood of tokens must not become one of connections."""

DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"
KEYS_ACCEPT = b"application/jwk-set+json, application/json"
"""The API server answers 406 to whoever takes only plain JSON (k8s.io/kubernetes/pkg/routes/openidmetadata.go)."""
REVIEWS_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


class _User(msgspec.Struct):
    username: str = ""
    uid: str = ""
    extra: dict[str, tuple[str, ...]] = {}


class _Status(msgspec.Struct):
    authenticated: bool = False
    user: _User = msgspec.field(default_factory=_User)
    audiences: tuple[str, ...] = ()
    error: str = ""


class _Review(msgspec.Struct):
    """`TokenReview` as the API server answers it (k8s.io/api/authentication/v1); what else is in it has no say here."""

    status: _Status


class _Discovery(msgspec.Struct):
    """`/.well-known/openid-configuration` (KEP-1393). Its `jwks_uri` is not followed: the API server has the keys."""

    issuer: str


class TokenReviews:
    """`ClusterTokens` of one cluster. One per process and cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)

    async def issuer(self) -> str:
        """See `ClusterTokens`."""
        document = await self._get(DISCOVERY_PATH)
        try:
            return msgspec.json.decode(document, type=_Discovery).issuer
        except msgspec.MsgspecError:
            raise self._silent(f"its answer to GET {DISCOVERY_PATH} names no issuer") from None

    async def keys(self) -> bytes:
        """See `ClusterTokens`."""
        return await self._get(KEYS_PATH)

    async def review(self, token: str, audience: str) -> TokenReview:
        """See `ClusterTokens`."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        status, answer = await self._call("POST", REVIEWS_PATH, orjson.dumps(asked))
        if status in (401, 403):
            raise self._silent(
                "the gate's account may not create tokenreviews; its operator runs "
                f"`narrowgate clusters manifests {self._cluster.name} | kubectl apply -f -`"
            )
        if status not in (200, 201):
            raise self._silent(f"it answers {status} to a TokenReview")
        try:
            found = msgspec.json.decode(answer, type=_Review).status
        except msgspec.MsgspecError:
            raise self._silent("its answer to a TokenReview cannot be read") from None
        return TokenReview(
            authenticated=found.authenticated,
            audiences=found.audiences,
            username=found.user.username,
            uid=found.user.uid,
            extra=found.user.extra,
            error=found.error,
        )

    async def _get(self, path: str) -> bytes:
        status, answer = await self._call("GET", path, accept=KEYS_ACCEPT)
        if status in (401, 403):
            raise self._silent(
                f"the gate's account may not read {path}; its operator binds ClusterRole "
                "system:service-account-issuer-discovery to it"
            )
        if status != 200:
            raise self._silent(f"it answers {status} to GET {path}")
        return answer

    async def _call(
        self, method: str, path: str, body: bytes = b"", *, accept: bytes = b"application/json"
    ) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(CALL_SECONDS), self._at_once:
                status, _, answer = await self._cluster.call(method, path, body=body, accept=accept)
        except TimeoutError:
            raise self._silent(f"it did not answer within {CALL_SECONDS:.0f} s") from None
        except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady) as error:
            raise self._silent(str(error)) from None
        return status, answer

    def _silent(self, why: str) -> ClusterSilent:
        return ClusterSilent(f"cluster {self._cluster.name!r} cannot say now whose token this is: {why}")
