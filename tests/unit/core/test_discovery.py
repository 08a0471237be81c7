"""Discovery documents: both kinds tell the same, and what is no such document is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from narrowgate.core.discovery import (
    EMPTY,
    Discovery,
    DiscoveryUnreadable,
    ResourceType,
    parse_aggregated,
    parse_legacy,
)

PODS = {
    "resource": "pods",
    "responseKind": {"group": "", "version": "", "kind": "Pod"},
    "scope": "Namespaced",
    "singularResource": "pod",
    "verbs": ["list", "get"],
    "shortNames": ["po"],
    "categories": ["all"],
    "subresources": [
        {"subresource": "exec", "responseKind": {"kind": "PodExecOptions"}, "verbs": ["get", "create"]},
        {"subresource": "log", "responseKind": None, "verbs": ["get"]},
    ],
}


def group_list(*items: dict[str, Any]) -> bytes:
    document = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}
    return json.dumps(document).encode()


def core_group(*resources: dict[str, Any]) -> bytes:
    version = {"version": "v1", "freshness": "Current", "resources": resources}
    return group_list({"metadata": {"creationTimestamp": None}, "versions": [version]})


def resource_list(group_version: str, *resources: dict[str, Any]) -> bytes:
    return json.dumps(
        {"kind": "APIResourceList", "groupVersion": group_version, "resources": resources, "apiVersion": "v1"}
    ).encode()


def test_aggregated_discovery_is_looked_up_by_group_version_and_resource() -> None:
    widgets = {"resource": "widgets", "scope": "Cluster", "responseKind": {"kind": "Widget"}, "verbs": ["get"]}
    apis = group_list({"metadata": {"name": "example.com"}, "versions": [{"version": "v2", "resources": [widgets]}]})
    discovery = parse_aggregated(core_group(PODS), apis)

    assert len(discovery) == 2
    assert discovery.lookup("", "v1", "pods") == ResourceType(
        group="",
        version="v1",
        resource="pods",
        kind="Pod",
        namespaced=True,
        verbs=("get", "list"),
        subresources={"exec": ("create", "get"), "log": ("get",)},
        singular="pod",
        short_names=("po",),
    )
    found = discovery.lookup("example.com", "v2", "widgets")
    assert found is not None
    assert (found.kind, found.namespaced) == ("Widget", False)
    assert discovery.lookup("example.com", "v1", "widgets") is None
    assert discovery.lookup("", "v2", "widgets") is None
    assert discovery.serves("example.com", "v2")
    assert not discovery.serves("example.com", "v1")


def test_a_stale_version_stays_known() -> None:
    stale = {"version": "v1", "freshness": "Stale", "resources": [{**PODS, "resource": "nodes"}]}
    discovery = parse_aggregated(
        core_group(), group_list({"metadata": {"name": "metrics.k8s.io"}, "versions": [stale]})
    )
    assert discovery.lookup("metrics.k8s.io", "v1", "nodes") is not None


def test_a_parent_that_only_has_subresources_is_known_in_both_kinds_of_documents() -> None:
    parent = {
        "resource": "machines",
        "scope": "Namespaced",
        "singularResource": "",
        "verbs": [],
        "subresources": [{"subresource": "console", "verbs": ["get"]}],
    }
    apis = group_list({"metadata": {"name": "sub.example.com"}, "versions": [{"version": "v1", "resources": [parent]}]})
    legacy = resource_list(
        "sub.example.com/v1", {"name": "machines/console", "namespaced": True, "kind": "Console", "verbs": ["get"]}
    )
    assert parse_aggregated(group_list(), apis) == parse_legacy([legacy])


def test_legacy_documents_tell_the_same_as_the_aggregated_one() -> None:
    legacy = resource_list(
        "v1",
        {"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
        {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list"],
         "shortNames": ["po"]},
        {"name": "pods/exec", "singularName": "", "namespaced": True, "kind": "X", "verbs": ["create", "get"]},
    )  # fmt: skip
    assert parse_legacy([legacy]) == parse_aggregated(core_group(PODS), group_list())


def test_a_change_in_the_cluster_makes_another_snapshot_and_no_change_an_equal_one() -> None:
    before = parse_aggregated(core_group(PODS), group_list())
    same = parse_aggregated(core_group(PODS), group_list())
    changes = [
        {**PODS, "scope": "Cluster"},
        {**PODS, "resource": "podlets"},
        {**PODS, "verbs": ["get"]},
        {**PODS, "subresources": PODS["subresources"][:1]},  # type: ignore[index]
    ]
    assert before == same
    assert hash(before) == hash(same)
    for changed in changes:
        assert parse_aggregated(core_group(changed), group_list()) != before
    assert before != EMPTY


def test_nothing_is_known_before_discovery_was_read() -> None:
    assert len(EMPTY) == 0
    assert EMPTY.lookup("", "v1", "pods") is None
    assert Discovery(()) == EMPTY


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"kind":"APIVersions","versions":["v1"]}',
        b'{"kind":"APIGroupDiscoveryList","apiVersion":"v1","items":[]}',
        b'{"kind":"Status","apiVersion":"v1","items":[]}',
        b'{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[{"versions":[{}]}]}',
        core_group({**PODS, "scope": "Galaxy"}),
        core_group({"resource": "pods"}),
    ],
)
def test_what_is_no_aggregated_discovery_is_refused(document: bytes) -> None:
    with pytest.raises(DiscoveryUnreadable):
        parse_aggregated(document, group_list())
    with pytest.raises(DiscoveryUnreadable):
        parse_aggregated(group_list(), document)


@pytest.mark.parametrize(
    "document",
    [b"", b"{}", b'{"kind":"APIGroupList","groupVersion":"v1","resources":[]}', resource_list("v1", {"name": 1})],
)
def test_what_is_no_resource_list_is_refused(document: bytes) -> None:
    with pytest.raises(DiscoveryUnreadable):
        parse_legacy([document])
