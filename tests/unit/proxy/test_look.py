"""What binds a write to the version of the object that was looked at, and the targets that are asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.target import parse_target
from narrowgate.proxy.look import APPLY, JSON_PATCH, dry_target, object_target, pinned

OLD = {"metadata": {"name": "a", "resourceVersion": "7"}}
MERGE = "application/merge-patch+json"


@pytest.mark.parametrize(
    ("form", "body", "bound"),
    [
        (MERGE, {"data": {}}, {"data": {}, "metadata": {"resourceVersion": "7"}}),
        (MERGE, {"metadata": {"resourceVersion": ""}}, {"metadata": {"resourceVersion": "7"}}),
        ("application/json", {"metadata": {"resourceVersion": "7"}}, {"metadata": {"resourceVersion": "7"}}),
        (APPLY, {"kind": "A"}, {"kind": "A", "metadata": {"resourceVersion": "7"}}),
        (
            JSON_PATCH,
            [{"op": "remove", "path": "/a"}],
            [{"op": "remove", "path": "/a"}, {"op": "add", "path": "/metadata/resourceVersion", "value": "7"}],
        ),
    ],
)
def test_a_write_is_bound_to_the_version_that_was_seen(form: str, body: Any, bound: Any) -> None:
    assert json.loads(pinned(form, json.dumps(body).encode(), OLD)) == bound


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (MERGE, {"metadata": {"resourceVersion": "6"}}),
        (JSON_PATCH, [{"op": "add", "path": "/metadata/resourceVersion", "value": "6"}]),
        (JSON_PATCH, [{"op": "test", "path": "/metadata/resourceVersion", "value": "6"}]),
    ],
)
def test_a_write_that_means_another_version_is_a_conflict(form: str, body: Any) -> None:
    with pytest.raises(Malformed, match="the object has been modified") as raised:
        pinned(form, json.dumps(body).encode(), OLD)
    assert raised.value.code == 409


def test_an_applied_manifest_may_be_yaml() -> None:
    assert json.loads(pinned(APPLY, b"kind: A\n", OLD)) == {"kind": "A", "metadata": {"resourceVersion": "7"}}


def test_what_has_no_place_for_a_version_is_refused() -> None:
    with pytest.raises(Malformed, match="metadata in the body is not an object"):
        pinned(MERGE, b'{"metadata": []}', OLD)


def test_the_object_is_asked_for_plainly_and_tried_without_effect() -> None:
    target = parse_target(b"/api/v1/namespaces/ci/pods/p/status?fieldManager=x&dryRun=")
    assert object_target(target).query == ()
    assert object_target(target).path == target.path
    assert dry_target(target).query == (("fieldManager", "x"), ("dryRun", "All"))
