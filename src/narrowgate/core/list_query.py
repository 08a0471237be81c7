"""What is asked of the cluster for a list or watch of which only a part will be shown: the target, rewritten.

Such a list is asked for whole. Pages would say how much of each is hidden, and a `continue` token is a place in the
list that its sender could choose, and so look for hidden names. Servers may answer a `limit` with more than it asks for
(k8s.io/apimachinery/pkg/apis/meta/v1/types.go, `ListOptions.Limit`), and whoever sends a token that has expired lists
anew without one (`ListOptions.Continue`; client-go's pager does).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.target import Target

_SPECIAL: Final = re.compile(r"[\\,=]")
"""What stands for something else in a field selector (k8s.io/apimachinery/pkg/fields, `EscapeValue`)."""

_PAGING: Final = frozenset({"limit", "continue"})


class ListExpired(Malformed):
    """A list cannot go on where its sender says: 410, and it is to be asked for from its beginning."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=410)


def whole_list(target: Target, info: RequestInfo) -> Target:
    """The target of a list, or watch, in one piece, each of whose objects says its name. Raises ListExpired.

    Rows of a Table without objects (`includeObject=None`) could not be told apart: their metadata is asked for.
    """
    if info.verb == "list" and target.first("continue"):
        raise ListExpired("this list is reduced to what you may see, and comes whole: list again without continue")
    kept = (pair for pair in target.query if pair[0] not in _PAGING)
    query = tuple(("includeObject", "Metadata") if pair == ("includeObject", "None") else pair for pair in kept)
    return msgspec.structs.replace(target, query=query)


def in_namespace(target: Target, namespace: str) -> Target:
    """The target of a list over all namespaces, for one of them."""
    *before, resource = target.segments
    segments = (*before, "namespaces", namespace, resource)
    return Target(segments, "/" + "/".join(segments), target.query)


def of_name(target: Target, name: str) -> Target:
    """The target of a list, for the object of one name; a field selector that it has holds besides."""
    wanted = "metadata.name=" + _SPECIAL.sub(r"\\\g<0>", name)
    selector = target.first("fieldSelector")
    # In front: what stands at the end of the other may be an escape that goes on.
    return _with(target, {"fieldSelector": f"{wanted},{selector}" if selector else wanted})


def part_of_list(target: Target, info: RequestInfo, namespace: str | None, name: str | None) -> Target:
    """The target of a list or watch, narrowed to a namespace and a name where there is one. Raises ListExpired."""
    target = whole_list(target, info)
    if namespace is not None:
        target = in_namespace(target, namespace)
    return of_name(target, name) if name is not None else target


def at_version(target: Target, resource_version: str) -> Target:
    """The target of a list, as it was at one version (`ListOptions.ResourceVersionMatch`)."""
    return _with(target, {"resourceVersion": resource_version, "resourceVersionMatch": "Exact"})


def _with(target: Target, parameters: Mapping[str, str]) -> Target:
    kept = tuple(pair for pair in target.query if pair[0] not in parameters)
    return msgspec.structs.replace(target, query=(*kept, *parameters.items()))
