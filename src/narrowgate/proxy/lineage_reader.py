"""What the gate's own account sees of objects that pods are made from: metadata of one of them, or of all of a sort.

Nobody who cannot be asked makes an object one that is not there: then nobody knows, and the caller is told so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote

import msgspec

from narrowgate.authenticators.cluster_tokens import ClusterSilent
from narrowgate.core.discovery import ResourceType
from narrowgate.core.lineage import Owner, Sighted
from narrowgate.proxy.cluster import Cluster, ClusterNotReady
from narrowgate.proxy.upstream import UpstreamBroken, UpstreamUnreachable

METADATA: Final = b"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
"""Nothing but the metadata of an object (k8s.io/apimachinery/pkg/apis/meta/v1 PartialObjectMetadata)."""

METADATA_LIST: Final = b"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""The same of a list."""

PAGE: Final = 500
"""Objects of one page of a list, of which only metadata comes."""

MOST_SAID: Final = 200
"""Characters of what an owner reference says that are repeated: nobody looks at what its writer puts there."""

OK: Final = 200
NOT_FOUND: Final = 404
_REFUSED: Final = (401, 403)


class _Owner(msgspec.Struct):
    uid: str
    api_version: str = msgspec.field(default="", name="apiVersion")
    kind: str = ""
    name: str = ""


class Metadata(msgspec.Struct):
    """All that is read of an object (k8s.io/apimachinery/pkg/apis/meta/v1 ObjectMeta)."""

    uid: str = ""
    name: str = ""
    namespace: str = ""
    created_at: str = msgspec.field(default="", name="creationTimestamp")
    owners: list[_Owner] | None = msgspec.field(default=None, name="ownerReferences")


class _Object(msgspec.Struct):
    metadata: Metadata


class _Details(msgspec.Struct):
    name: str = ""


class _Status(msgspec.Struct):
    """All that is read of a refusal (k8s.io/apimachinery/pkg/apis/meta/v1 Status)."""

    details: _Details
    reason: str = ""


class _ListMetadata(msgspec.Struct):
    next_page: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[_Object] | None = None


_list = msgspec.json.Decoder(_List).decode
_object = msgspec.json.Decoder(_Object).decode
_status = msgspec.json.Decoder(_Status).decode


class LineageReader:
    """Asks clusters about objects. One per process."""

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        """`clusters` by name."""
        self._clusters = clusters

    def served(self, cluster: str, resource: str) -> ResourceType | None:
        """The kind of a resource as placements name it; None where the cluster does not serve it now.

        Raises ClusterSilent.
        """
        plural, _, group = resource.partition(".")
        try:
            types = self._clusters[cluster].known().types()
        except ClusterNotReady as error:
            raise ClusterSilent(str(error)) from None
        return next((of for of in types if (of.group, of.resource) == (group, plural)), None)

    async def type_of(self, cluster: str, owner: Owner) -> ResourceType:
        """The kind of an owner. Raises ClusterSilent, also where it is not served."""
        group, _, version = owner.api_version.rpartition("/")
        for _ in range(2):
            try:
                types = self._clusters[cluster].known().types()
            except ClusterNotReady as error:
                raise ClusterSilent(str(error)) from None
            served = [of for of in types if (of.group, of.kind) == (group, owner.kind)]
            for of in sorted(served, key=lambda one: one.version != version):
                return of
            await self._clusters[cluster].refresh_discovery()
        what = f"{owner.kind} ({owner.api_version})"[:MOST_SAID]
        raise ClusterSilent(
            f"nobody knows who had this pod made: its owner is a {what if what.isprintable() else ascii(what)}, which "
            "the cluster does not serve now"
        )

    async def read(self, cluster: str, path: str, resource: str) -> Sighted | None:
        """What is there now; None where nothing is. Raises ClusterSilent."""
        status, answer = await self._asked(cluster, path, resource, METADATA)
        if status == NOT_FOUND and is_missing(answer, path):
            return None
        if status != OK:
            raise ClusterSilent(f"nobody knows who had this pod made: the API server answers {status} to {path}")
        return sighted(answer, resource)

    async def listed(self, cluster: str, path: str, resource: str) -> list[Sighted]:
        """All that are there, whatever they are called. Raises ClusterSilent."""
        found: list[Sighted] = []
        after = ""
        while True:
            target = f"{path}?limit={PAGE}" + (f"&continue={quote(after)}" if after else "")
            status, answer = await self._asked(cluster, target, resource, METADATA_LIST)
            if status != OK:
                raise ClusterSilent(f"nobody knows who had this pod made: the API server answers {status} to {path}")
            try:
                page = _list(answer)
            except msgspec.MsgspecError as error:
                raise ClusterSilent(f"a list of {resource} cannot be read: {error}") from None
            seen = (seen_in(one.metadata, resource) for one in page.items or ())
            found += [one for one in seen if one is not None]
            after = page.metadata.next_page
            if not after:
                return found

    async def _asked(self, cluster: str, target: str, resource: str, accept: bytes) -> tuple[int, bytes]:
        try:
            status, _, answer = await self._clusters[cluster].call("GET", target, accept=accept)
        except (UpstreamUnreachable, UpstreamBroken, ClusterNotReady) as error:
            raise ClusterSilent(f"nobody knows who had this pod made: {error}") from None
        if status in _REFUSED:
            raise ClusterSilent(
                f"nobody knows who had this pod made: the gate's account may not {'list' if '?' in target else 'get'} "
                f"{resource} ({status}); its operator gives it that right (narrowgate clusters manifests)"
            )
        return status, answer


def path_of(of: ResourceType, namespace: str, name: str) -> str:
    """Where an object is served; without a name, where all of its sort are."""
    group = f"/apis/{of.group}/{of.version}" if of.group else f"/api/{of.version}"
    where = f"/namespaces/{quote(namespace)}" if of.namespaced else ""
    return f"{group}{where}/{of.resource}" + (f"/{quote(name)}" if name else "")


def is_missing(answer: bytes, path: str) -> bool:
    """Whether that 404 says of the object itself that it is not there.

    One for a path that is not served, because its version just went or its server is away, says nothing of the object.
    """
    try:
        status = _status(answer)
    except msgspec.MsgspecError:
        return False
    return (status.reason, quote(status.details.name)) == ("NotFound", path.rpartition("/")[2])


def sighted(document: bytes, resource: str) -> Sighted:
    """What the metadata of an object says. Raises ClusterSilent where it says too little."""
    try:
        seen = seen_in(_object(document).metadata, resource)
    except msgspec.MsgspecError as error:
        raise ClusterSilent(f"an object of the cluster ({resource}) cannot be read: {error}") from None
    if seen is None:
        raise ClusterSilent(f"an object of the cluster ({resource}) has no UID, or no date")
    return seen


def seen_in(metadata: Metadata, resource: str) -> Sighted | None:
    """The same of metadata that was read; None where it says too little."""
    try:
        created_at = datetime.fromisoformat(metadata.created_at).timestamp()
    except ValueError:
        return None
    if not metadata.uid or not metadata.name:
        return None
    return Sighted(
        uid=metadata.uid,
        resource=resource,
        namespace=metadata.namespace,
        name=metadata.name,
        created_at=created_at,
        owners=tuple(
            Owner(api_version=owner.api_version, kind=owner.kind, name=owner.name, uid=owner.uid)
            for owner in metadata.owners or ()
        ),
    )
