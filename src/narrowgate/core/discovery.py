"""Which resources a cluster serves: a snapshot read from its discovery documents, without fetching anything.

Two kinds of documents are read: aggregated discovery (`apidiscovery.k8s.io/v2`, KEP-3352) and, for servers without it,
one APIResourceList for each group and version. Documents come from the API server, so unknown fields are passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import final

import msgspec


class DiscoveryUnreadable(ValueError):
    """A discovery document is not what it claims to be; the caller keeps the snapshot it has."""


class ResourceType(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of one group and version, with the subresources that discovery lists for it."""

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    """As discovery lists them, sorted; empty where only subresources are served."""
    subresources: dict[str, tuple[str, ...]] = {}
    """Subresource name to its verbs. Never changed after the snapshot is made."""
    singular: str = ""
    short_names: tuple[str, ...] = ()


@final
class Discovery:
    """An immutable snapshot of the resources of one cluster.

    Snapshots are equal when they list the same; equality and hash cost one string comparison, so a snapshot can be part
    of a cache key and a change of the cluster makes a new key.
    """

    __slots__ = ("_group_versions", "_types", "fingerprint")

    def __init__(self, types: Iterable[ResourceType]) -> None:
        by_key = {(t.group, t.version, t.resource): t for t in types}
        ordered = [by_key[key] for key in sorted(by_key)]
        self._types: Mapping[tuple[str, str, str], ResourceType] = MappingProxyType(by_key)
        self._group_versions = frozenset((t.group, t.version) for t in ordered)
        self.fingerprint = hashlib.sha256(msgspec.json.encode(ordered, order="sorted")).hexdigest()
        """SHA-256 over everything the snapshot lists, in hex."""

    def lookup(self, group: str, version: str, resource: str) -> ResourceType | None:
        """The resource as the cluster serves it, or None where discovery does not list it."""
        return self._types.get((group, version, resource))

    def serves(self, group: str, version: str) -> bool:
        """Whether any resource of this group and version is listed."""
        return (group, version) in self._group_versions

    def types(self) -> Iterable[ResourceType]:
        """All resources, in no particular order."""
        return self._types.values()

    def __len__(self) -> int:
        return len(self._types)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Discovery) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Discovery({len(self._types)} resources, {self.fingerprint[:12]})"


EMPTY = Discovery(())
"""What a gate knows of a cluster that it could not ask yet: nothing, so every resource is unknown."""


class _Kind(msgspec.Struct):
    kind: str = ""


class _Subresource(msgspec.Struct):
    subresource: str
    verbs: list[str] | None = None


class _Resource(msgspec.Struct, rename="camel"):
    resource: str
    scope: str
    verbs: list[str] | None = None
    response_kind: _Kind | None = None
    singular_resource: str = ""
    short_names: list[str] | None = None
    subresources: list[_Subresource] | None = None


class _Version(msgspec.Struct):
    version: str
    resources: list[_Resource] | None = None


class _Metadata(msgspec.Struct):
    name: str = ""


class _Group(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    versions: list[_Version] | None = None


class _GroupList(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    items: list[_Group]


class _LegacyResource(msgspec.Struct, rename="camel"):
    name: str
    namespaced: bool
    kind: str = ""
    singular_name: str = ""
    short_names: list[str] | None = None
    verbs: list[str] | None = None


class _LegacyList(msgspec.Struct, rename="camel"):
    kind: str
    group_version: str
    resources: list[_LegacyResource]


_AGGREGATED = msgspec.json.Decoder(_GroupList)
_LEGACY = msgspec.json.Decoder(_LegacyList)
_SCOPES = {"Namespaced": True, "Cluster": False}


def parse_aggregated(api: bytes, apis: bytes) -> Discovery:
    """Read the two `apidiscovery.k8s.io/v2` documents, of /api and of /apis.

    A version marked `Stale` (its aggregated server did not answer) stays known with what was last heard of it: the
    request fails upstream rather than turn into an unknown one. Raises DiscoveryUnreadable.
    """
    return Discovery(
        _aggregated_type(group.metadata.name, version.version, resource)
        for document, where in ((api, "/api"), (apis, "/apis"))
        for group in _aggregated_groups(document, where)
        for version in group.versions or ()
        for resource in version.resources or ()
    )


def parse_legacy(documents: Iterable[bytes]) -> Discovery:
    """Read APIResourceList documents, those of /api/v1 and of every /apis/<group>/<version>.

    Raises DiscoveryUnreadable.
    """
    types: list[ResourceType] = []
    for document in documents:
        try:
            listed = _LEGACY.decode(document)
        except msgspec.MsgspecError as error:
            raise DiscoveryUnreadable(f"a discovery document is no APIResourceList: {error}") from error
        if listed.kind != "APIResourceList":
            raise DiscoveryUnreadable(f"a discovery document is of kind {listed.kind!r}, not APIResourceList")
        types.extend(_legacy_types(listed))
    return Discovery(types)


def _aggregated_groups(document: bytes, where: str) -> list[_Group]:
    try:
        listed = _AGGREGATED.decode(document)
    except msgspec.MsgspecError as error:
        raise DiscoveryUnreadable(f"the document of {where} is no aggregated discovery: {error}") from error
    if listed.kind != "APIGroupDiscoveryList" or not listed.api_version.startswith("apidiscovery.k8s.io/"):
        raise DiscoveryUnreadable(
            f"the document of {where} is {listed.api_version} {listed.kind}, not an aggregated discovery: "
            "the server does not have it, ask for each group and version"
        )
    return listed.items


def _aggregated_type(group: str, version: str, resource: _Resource) -> ResourceType:
    if resource.scope not in _SCOPES:
        raise DiscoveryUnreadable(f"{resource.resource}.{version}.{group} has the unknown scope {resource.scope!r}")
    return ResourceType(
        group=group,
        version=version,
        resource=resource.resource,
        kind=resource.response_kind.kind if resource.response_kind else "",
        namespaced=_SCOPES[resource.scope],
        verbs=tuple(sorted(resource.verbs or ())),
        subresources={sub.subresource: tuple(sorted(sub.verbs or ())) for sub in resource.subresources or ()},
        singular=resource.singular_resource,
        short_names=tuple(resource.short_names or ()),
    )


def _legacy_types(listed: _LegacyList) -> Iterable[ResourceType]:
    group, _, version = listed.group_version.rpartition("/")
    subresources: dict[str, dict[str, tuple[str, ...]]] = {}
    parents: dict[str, _LegacyResource] = {}
    for entry in listed.resources:
        resource, slash, subresource = entry.name.partition("/")
        if slash:
            subresources.setdefault(resource, {})[subresource] = tuple(sorted(entry.verbs or ()))
            # A server may list pods/exec and no pods: then the subresource alone tells the scope.
            parents.setdefault(resource, msgspec.structs.replace(entry, name=resource, kind="", verbs=None))
        else:
            parents[resource] = entry
    for resource, entry in parents.items():
        yield ResourceType(
            group=group,
            version=version,
            resource=resource,
            kind=entry.kind,
            namespaced=entry.namespaced,
            verbs=tuple(sorted(entry.verbs or ())),
            subresources=subresources.get(resource, {}),
            singular=entry.singular_name,
            short_names=tuple(entry.short_names or ()),
        )
