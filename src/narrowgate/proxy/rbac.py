"""What ServiceAccounts of one cluster may do, by its roles and bindings, read with the gate's own account.

Read when somebody asks, and kept for AGE_SECONDS: who binds an account a moment after a pod was judged could as well
have waited for the pod. What cannot be read is not known, and what is not known is refused.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from narrowgate.core.account_rights import OBJECTS_LIMIT, Account, Binding, ClusterRights, Role, TooManyRights
from narrowgate.core.pods_seen import AccountSeen
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

AGE_SECONDS: Final = 5.0
"""How old what is known may be. A rollout of many pods reads once; a new binding counts before anybody has noticed."""

FAILED_SECONDS: Final = 1.0
"""How long a failure counts, so that many who ask at once do not each try."""

TOO_MANY: Final = "it has more rights than can be looked at"

PAGE: Final = 500
"""Objects of one page: what kubectl asks for."""

_GROUP: Final = "rbac.authorization.k8s.io"


class _Metadata(msgspec.Struct):
    next_page: str = msgspec.field(default="", name="continue")


class _Roles(msgspec.Struct):
    kind: str
    metadata: _Metadata
    items: list[Role] | None = None


class _Bindings(msgspec.Struct):
    kind: str
    metadata: _Metadata
    items: list[Binding] | None = None


_Page = TypeVar("_Page", _Roles, _Bindings)


class _Unknown(Exception):
    """The message says why, for whoever is refused because of it."""


class AccountRights:
    """What the accounts of one cluster may do."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reading = asyncio.Lock()
        self._known: ClusterRights | None = None
        self._problem = "nobody has looked"
        self._until = float("-inf")

    async def of(self, account: Account) -> AccountSeen:
        """What is known of an account. Raises nothing: what is not known says why."""
        known = await self._current()
        if known is None:
            return AccountSeen(account=account, unknown=self._problem)
        try:
            return AccountSeen(account=account, rights=known.rights_of(account))
        except TooManyRights:
            return AccountSeen(account=account, unknown=TOO_MANY)

    async def _current(self) -> ClusterRights | None:
        clock = asyncio.get_running_loop().time
        async with self._reading:
            if clock() < self._until:
                return self._known
            began = clock()
            try:
                self._known = ClusterRights(
                    [*await self._roles("clusterroles"), *await self._roles("roles")],
                    [*await self._bindings("clusterrolebindings"), *await self._bindings("rolebindings")],
                )
                self._until = began + AGE_SECONDS
            except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady, _Unknown) as error:
                self._known, self._problem = None, str(error) or "the API server does not answer"
                self._until = clock() + FAILED_SECONDS
            return self._known

    async def _roles(self, resource: str) -> list[Role]:
        found: list[Role] = []
        after = ""
        while True:
            page = await self._page(resource, after, _Roles)
            found += page.items or ()
            after = _next(page.metadata, len(found), resource)
            if not after:
                return found

    async def _bindings(self, resource: str) -> list[Binding]:
        found: list[Binding] = []
        after = ""
        while True:
            page = await self._page(resource, after, _Bindings)
            found += page.items or ()
            after = _next(page.metadata, len(found), resource)
            if not after:
                return found

    async def _page(self, resource: str, after: str, form: type[_Page]) -> _Page:
        path = f"/apis/{_GROUP}/v1/{resource}?limit={PAGE}" + (f"&continue={quote(after)}" if after else "")
        status, _, answer = await self._cluster.call("GET", path)
        if status in (401, 403):
            raise _Unknown(
                f"the gate's account may not list {resource}.{_GROUP} ({status}); `narrowgate clusters manifests` "
                "prints the role that lets it"
            )
        if status != 200:
            raise _Unknown(f"the API server answers {status} to who lists {resource}.{_GROUP}")
        try:
            page = msgspec.json.decode(answer, type=form)
        except msgspec.MsgspecError:
            raise _Unknown(f"the API server's list of {resource}.{_GROUP} cannot be read") from None
        if not page.kind.endswith("List"):
            raise _Unknown(f"the API server's list of {resource}.{_GROUP} is no list")
        return page


def _next(metadata: _Metadata, found: int, resource: str) -> str:
    if found > OBJECTS_LIMIT:
        raise _Unknown(f"there are more than {OBJECTS_LIMIT} {resource}.{_GROUP}")
    return metadata.next_page
