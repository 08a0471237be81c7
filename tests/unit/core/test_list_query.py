"""What is asked of the cluster for a list that is shown in part."""

from __future__ import annotations

import pytest

from narrowgate.core.list_query import ListExpired, at_version, in_namespace, of_name, part_of_list, whole_list
from narrowgate.core.request_info import request_info
from narrowgate.core.target import Target, parse_target, rebuild


def whole(raw: bytes) -> bytes:
    target = parse_target(raw)
    return rebuild(whole_list(target, request_info("GET", target)))


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b"/api/v1/pods", b"/api/v1/pods"),
        (b"/api/v1/pods?limit=500", b"/api/v1/pods"),
        (b"/api/v1/pods?limit=500&continue=", b"/api/v1/pods"),
        (b"/api/v1/pods?labelSelector=a&limit=1&pretty=true", b"/api/v1/pods?labelSelector=a&pretty=true"),
        (b"/api/v1/pods?includeObject=None", b"/api/v1/pods?includeObject=Metadata"),
        (b"/api/v1/pods?includeObject=Object", b"/api/v1/pods?includeObject=Object"),
        (b"/api/v1/pods?resourceVersion=0&limit=500", b"/api/v1/pods?resourceVersion=0"),
        (
            b"/api/v1/pods?watch=true&timeoutSeconds=5&resourceVersion=7&continue=x",
            b"/api/v1/pods?watch=true&timeoutSeconds=5&resourceVersion=7",
        ),
    ],
)
def test_a_list_is_asked_for_whole_and_with_names(asked: bytes, sent: bytes) -> None:
    assert whole(asked) == sent


@pytest.mark.parametrize("asked", [b"/api/v1/pods?continue=abc", b"/api/v1/namespaces/ci/pods?limit=5&continue=abc"])
def test_a_next_part_of_a_list_that_has_none_is_gone(asked: bytes) -> None:
    with pytest.raises(ListExpired) as refused:
        whole(asked)
    assert refused.value.code == 410
    assert "list again without continue" in refused.value.message


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b"/api/v1/pods?limit=5", b"/api/v1/namespaces/ci/pods?limit=5"),
        (b"/apis/apps/v1/deployments", b"/apis/apps/v1/namespaces/ci/deployments"),
        (b"/api/v1/watch/pods", b"/api/v1/watch/namespaces/ci/pods"),
    ],
)
def test_one_namespace_of_a_list_is_that_of_its_path(asked: bytes, sent: bytes) -> None:
    narrowed = in_namespace(parse_target(asked), "ci")
    assert rebuild(narrowed) == sent
    assert narrowed == parse_target(sent)
    assert request_info("GET", narrowed).namespace == "ci"


@pytest.mark.parametrize(
    ("asked", "name", "selector"),
    [
        (b"/api/v1/nodes", "n1", "metadata.name=n1"),
        (b"/api/v1/pods?fieldSelector=status.phase%3DRunning", "a", "metadata.name=a,status.phase=Running"),
        (b"/api/v1/pods?fieldSelector=status.phase%3D%5C", "a", "metadata.name=a,status.phase=\\"),
        (b"/api/v1/pods", "a,metadata.name=b", r"metadata.name=a\,metadata.name\=b"),
        (b"/api/v1/pods", "a\\", "metadata.name=a\\\\"),
    ],
)
def test_one_name_of_a_list_is_that_of_a_field_selector(asked: bytes, name: str, selector: str) -> None:
    narrowed = of_name(parse_target(asked), name)
    assert narrowed.first("fieldSelector") == selector
    assert [key for key, _ in narrowed.query].count("fieldSelector") == 1


def test_a_name_is_read_back_as_it_was_meant() -> None:
    for name in ("a", "system:node", "a,b=c", "a\\,b"):
        narrowed = of_name(Target(("api", "v1", "nodes"), "/api/v1/nodes"), name)
        assert request_info("GET", narrowed).name == name


def test_a_version_replaces_what_was_asked_for() -> None:
    asked = parse_target(b"/api/v1/pods?resourceVersion=0&resourceVersionMatch=NotOlderThan&labelSelector=a")
    assert rebuild(at_version(asked, "17")) == (
        b"/api/v1/pods?labelSelector=a&resourceVersion=17&resourceVersionMatch=Exact"
    )


@pytest.mark.parametrize(
    ("namespace", "name", "sent"),
    [
        (None, None, b"/api/v1/pods?labelSelector=a"),
        ("ci", None, b"/api/v1/namespaces/ci/pods?labelSelector=a"),
        (None, "web", b"/api/v1/pods?labelSelector=a&fieldSelector=metadata.name%3Dweb"),
        ("ci", "web", b"/api/v1/namespaces/ci/pods?labelSelector=a&fieldSelector=metadata.name%3Dweb"),
    ],
)
def test_a_part_of_a_list_is_asked_for_as_the_whole_was(namespace: str | None, name: str | None, sent: bytes) -> None:
    target = parse_target(b"/api/v1/pods?limit=500&labelSelector=a")
    assert rebuild(part_of_list(target, request_info("GET", target), namespace, name)) == sent
