"""In whose name a request reaches the API server: the three upstream modes as one question, `headers`."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import orjson

from narrowgate.core.cluster import ClusterAccess, UpstreamMode
from narrowgate.core.decision import RuleRef
from narrowgate.core.identity import Chain
from narrowgate.core.manifests import policy_account
from narrowgate.core.upstream_names import impersonation_headers
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

log = logging.getLogger("narrowgate.accounts")

Headers = list[tuple[bytes, bytes]]

TOKEN_FILE_SECONDS = 10.0
"""How long a token read from a file is used before the file is looked at again (kubelet renews at 80 % of an hour)."""
TOKEN_REQUEST_SECONDS = 3600
"""Lifetime asked for by TokenRequest; the API server may shorten it."""
RENEW_AT = 0.75
"""Share of a minted token's life after which a new one is asked for."""
LEFT_SECONDS = 30.0
"""A token whose renewal fails is used until this long before its end."""
RETRY_SECONDS = 10.0
"""Between two attempts to renew."""
_TOKEN = re.compile(r"[\x21-\x7e]+")
"""What a header can hold as one credential."""


class Account(Protocol):
    """One upstream mode."""

    async def headers(self, chain: Chain, rule: RuleRef, request_id: str) -> Headers:
        """The headers that authenticate a request upstream; `rule` is what covers it. Raises ClusterNotReady."""
        ...


class RegisteredCredential:
    """The registered credential as it is: a token, a token file that is renewed in place, or TLS alone."""

    def __init__(self, access: ClusterAccess, read_token_file: Callable[[str], str]) -> None:
        self._access = access
        self._read = read_token_file
        self._token = access.token
        self._read_at = float("-inf")

    def own_headers(self) -> Headers:
        """The same for the gate's own calls. Raises ClusterNotReady when a token file cannot be read."""
        if self._access.token_file and time.monotonic() - self._read_at > TOKEN_FILE_SECONDS:
            self._token = self._read_file()
            self._read_at = time.monotonic()
        return [(b"authorization", b"Bearer " + self._token.encode("ascii"))] if self._token else []

    def _registered_token(self) -> str:
        """The token as it was registered; empty where TLS is the credential. Raises ClusterNotReady."""
        return self._read_file() if self._access.token_file else self._token

    def _read_file(self) -> str:
        problem = "it holds no token, or more than one line"
        try:
            token = self._read(self._access.token_file)
            # Without a token a request would be nobody's, and a line break would begin another header.
            if _TOKEN.fullmatch(token):
                return token
        except OSError as error:
            problem = (error.strerror or "unreadable").lower()
        except ValueError:
            problem = "it is not text"
        raise ClusterNotReady(f"the token file of cluster {self._access.name!r} cannot be used: {problem}")

    async def headers(self, chain: Chain, rule: RuleRef, request_id: str) -> Headers:  # noqa: ARG002 the same for all
        """See `Account`."""
        return self.own_headers()


class Impersonation:
    """The gate's account, which may do nothing but impersonate, and the caller's name."""

    def __init__(self, registered: RegisteredCredential) -> None:
        self._registered = registered

    async def headers(self, chain: Chain, rule: RuleRef, request_id: str) -> Headers:  # noqa: ARG002
        """See `Account`."""
        try:
            names = impersonation_headers(chain, request_id)
        except ValueError as error:
            raise ClusterNotReady(str(error)) from None
        # Without a user to impersonate the API server would run the request as the gate's own account.
        if names[0][0] != b"impersonate-user" or not names[0][1]:
            raise ClusterNotReady("there is no user to impersonate")
        return self._registered.own_headers() + names


class Minted(msgspec.Struct, frozen=True):
    """A token from the TokenRequest API (KEP-1205), as a header; times in Unix seconds."""

    header: bytes
    renew_at: float
    expires_at: float


def token_request() -> bytes:
    """The body of a TokenRequest for the API server itself."""
    document = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_REQUEST_SECONDS},
    }
    return orjson.dumps(document)


def minted_token(answer: bytes, now: float) -> Minted:
    """The token in the answer to a TokenRequest made at `now`. Raises ClusterNotReady where there is none."""
    try:
        fields: dict[str, Any] = orjson.loads(answer)
        life = float(fields["spec"]["expirationSeconds"])
        token = str(fields["status"]["token"])
    except (ValueError, KeyError, TypeError):
        raise ClusterNotReady("the API server's answer to a TokenRequest holds no token") from None
    if not _TOKEN.fullmatch(token):
        raise ClusterNotReady("the API server's answer to a TokenRequest holds no token that a header can hold")
    return Minted(b"Bearer " + token.encode("ascii"), now + life * RENEW_AT, now + life)


class ScopedServiceAccounts:
    """A ServiceAccount for each policy, `narrowgate-<policy>`; tokens are minted by TokenRequest, kept in memory."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tokens: dict[str, Minted] = {}
        self._minting = asyncio.Lock()

    async def headers(self, chain: Chain, rule: RuleRef, request_id: str) -> Headers:  # noqa: ARG002
        """See `Account`."""
        name = policy_account(rule.policy)
        minted = self._tokens.get(name)
        if minted is None or time.time() >= minted.renew_at:
            async with self._minting:
                minted = self._tokens.get(name)
                if minted is None or time.time() >= minted.renew_at:
                    minted = self._tokens[name] = await self._renewed(name, minted)
        return [(b"authorization", minted.header)]

    async def _renewed(self, name: str, old: Minted | None) -> Minted:
        try:
            return await self._mint(name)
        except (ClusterNotReady, UpstreamUnreachable, UpstreamBroken) as error:
            now = time.time()
            if old is None or now >= old.expires_at - LEFT_SECONDS:
                raise
            log.warning("cluster %s: the token of %s is not renewed yet: %s", self._cluster.name, name, error)
            return Minted(old.header, min(now + RETRY_SECONDS, old.expires_at - LEFT_SECONDS), old.expires_at)

    async def _mint(self, name: str) -> Minted:
        access = self._cluster.access
        path = f"/api/v1/namespaces/{access.account_namespace}/serviceaccounts/{name}/token"
        now = time.time()
        status, _, answer = await self._cluster.call("POST", path, body=token_request())
        if status != 201:
            where = f"{access.account_namespace}/{name}"
            raise ClusterNotReady(
                f"no token for ServiceAccount {where}: the API server answers {status}"
                " (`narrowgate clusters manifests` prints the accounts to create)"
            )
        return minted_token(answer, now)


def account_for(
    cluster: Cluster, read_token_file: Callable[[str], str], registered: RegisteredCredential | None = None
) -> Account:
    """The account of a cluster's registered mode; the gate's own calls get the registered credential."""
    registered = registered or RegisteredCredential(cluster.access, read_token_file)
    cluster.own_headers = registered.own_headers
    match cluster.access.mode:
        case UpstreamMode.CREDENTIAL:
            return registered
        case UpstreamMode.IMPERSONATE:
            return Impersonation(registered)
        case UpstreamMode.SERVICE_ACCOUNT:
            return ScopedServiceAccounts(cluster)
