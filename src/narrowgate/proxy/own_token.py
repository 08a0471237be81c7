"""The gate's own ServiceAccount token, renewed by the gate itself, so that none that lives long lies on a disk.

What was registered is only the beginning: with it the gate asks for a token of the same account that lives an hour, and
with that for the next. The newest is kept for the next start. Where renewing fails, the token in use stays in use until
its end, and the reason is in the log.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from narrowgate.core.cluster import ClusterAccess
from narrowgate.proxy.accounts import (
    LEFT_SECONDS,
    RETRY_SECONDS,
    Headers,
    Minted,
    RegisteredCredential,
    minted_token,
    token_request,
)
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

log = logging.getLogger("narrowgate.accounts")

_SUBJECT = "system:serviceaccount:"


class NotRenewable(Exception):
    """The registered credential is not a ServiceAccount's token; the text says what to do."""


class Keep(msgspec.Struct, frozen=True):
    """Where the newest token waits for the next start."""

    read: Callable[[], bytes | None]
    write: Callable[[bytes], None]


class OwnToken(RegisteredCredential):
    """The registered credential of a cluster, in the beginning; then what it was renewed to."""

    def __init__(self, cluster: Cluster, read_token_file: Callable[[str], str], keep: Keep) -> None:
        super().__init__(cluster.access, read_token_file)
        self._cluster = cluster
        self._keep = keep
        self._minted: Minted | None = None

    def own_headers(self) -> Headers:
        """See `RegisteredCredential`. Raises ClusterNotReady."""
        if self._minted is not None and time.time() < self._minted.expires_at - LEFT_SECONDS:
            return [(b"authorization", self._minted.header)]
        return super().own_headers()

    async def follow(self) -> None:
        """Renew it for as long as the gate runs."""
        self._minted = self._kept(time.time())
        complaint = ""
        while True:
            if self._minted is None or time.time() >= self._minted.renew_at:
                reason = await self._renew()
                if reason and reason != complaint:
                    log.warning("cluster %s: the gate's own token is not renewed: %s", self._cluster.name, reason)
                complaint = reason
            await asyncio.sleep(RETRY_SECONDS)

    async def _renew(self) -> str:
        """Why it could not be renewed; empty when it was."""
        try:
            namespace, name = account_of(self._registered_token(), self._cluster.access)
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
            now = time.time()
            status, _, answer = await self._cluster.call("POST", path, body=token_request())
            if status != 201:
                return (
                    f"the API server answers {status}; let the account mint its own tokens "
                    f"(`narrowgate clusters manifests {self._cluster.name}` prints the role)"
                )
            self._minted = minted_token(answer, now)
            kept = {"header": self._minted.header.decode("ascii"), "expiresAt": self._minted.expires_at}
            await asyncio.to_thread(self._keep.write, orjson.dumps(kept))
        except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, NotRenewable) as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 a full disk or an odd answer must not end the gate: the token goes on
            return f"{error}"
        return ""

    def _kept(self, now: float) -> Minted | None:
        """The token of an earlier run, if it is still good for a while."""
        try:
            content = self._keep.read()
            if content is None:
                return None
            kept = orjson.loads(content)
            header, expires_at = str(kept["header"]).encode("ascii"), float(kept["expiresAt"])
        except Exception as error:  # noqa: BLE001 what cannot be read is as good as nothing: the registered one is there
            log.warning("cluster %s: the token kept from an earlier run is not used: %s", self._cluster.name, error)
            return None
        if not now < expires_at - LEFT_SECONDS or b"\r" in header or b"\n" in header:
            return None
        # Renewed at once: how long it was to live is not known here.
        return Minted(header, now, expires_at)


def account_of(token: str, access: ClusterAccess) -> tuple[str, str]:
    """Namespace and name of the ServiceAccount that a token is of. Raises NotRenewable.

    The token is not verified: it is the gate's own credential, and the API server looks at it.
    """
    parts = token.split(".")
    try:
        claims: Any = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        namespace, _, name = str(claims["sub"]).removeprefix(_SUBJECT).partition(":")
        if str(claims["sub"]).startswith(_SUBJECT) and namespace and name:
            return namespace, name
    except (IndexError, ValueError, KeyError, TypeError):
        pass
    raise NotRenewable(
        f"cluster {access.name!r} is registered with something else than a ServiceAccount's token, which alone can be "
        "renewed; register such a token, or leave upstream.renew out"
    )
