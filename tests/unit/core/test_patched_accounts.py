"""Which accounts pods may run as after a patch that nobody has tried out."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deciding import asks

from narrowgate.core.body import APPLY, MERGE_PATCH
from narrowgate.core.patched_accounts import accounts_after, changes_pods
from narrowgate.core.uses import JSON_PATCH

INFO = asks("patch", "deployments", "w", namespace="ci", group="apps").info


def with_spec(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


OLD = with_spec(serviceAccountName="old", containers=[])
RESTART = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"
NAME = "/spec/template/spec/serviceAccountName"


@pytest.mark.parametrize(
    ("form", "patch", "names"),
    [
        (MERGE_PATCH, {"spec": {"replicas": 2}}, {"old"}),
        (MERGE_PATCH, with_spec(serviceAccountName="new"), {"old", "new"}),
        (MERGE_PATCH, with_spec(serviceAccountName=None), {"old", "default"}),
        (APPLY, with_spec(serviceAccountName="new"), {"old", "new", "default"}),
        (JSON_PATCH, [{"op": "replace", "path": NAME, "value": "new"}], {"old", "new", "default"}),
        (JSON_PATCH, [{"op": "remove", "path": NAME}], {"old", "default"}),
    ],
)
def test_they_are_those_of_before_those_of_the_patch_and_default(form: str, patch: Any, names: set[str]) -> None:
    assert set(accounts_after(INFO, form, patch, OLD)) == names


def test_what_an_apply_creates_runs_as_it_says() -> None:
    assert accounts_after(INFO, APPLY, with_spec(serviceAccountName="new"), None) == ("new",)
    assert accounts_after(INFO, APPLY, with_spec(containers=[{}]), None) == ("default",)


@pytest.mark.parametrize(
    ("form", "patch", "changes"),
    [
        (MERGE_PATCH, {"metadata": {"labels": {"a": "b"}}}, False),
        (APPLY, {"metadata": {"labels": {"a": "b"}}}, True),
        (JSON_PATCH, [{"op": "add", "path": "/metadata/labels/a", "value": "b"}], False),
        (JSON_PATCH, [{"op": "add", "path": RESTART, "value": "now"}], False),
        (JSON_PATCH, [{"op": "add", "path": f"{RESTART}/a", "value": "now"}], True),
        (JSON_PATCH, [{"op": "add", "path": "/spec/template/metadata/labels", "value": {}}], True),
        (JSON_PATCH, [{"op": "add", "path": "/spec/replicas", "value": 2}], True),
        (JSON_PATCH, [{"op": "move", "path": "/metadata/labels/a", "from": "/spec/replicas"}], True),
        (JSON_PATCH, [{"op": "remove", "path": "/spec/template/metadataX/a"}], True),
        (JSON_PATCH, {}, True),
    ],
)
def test_only_what_shows_that_it_changes_nothing_changes_nothing(form: str, patch: Any, changes: bool) -> None:
    assert changes_pods(INFO, form, patch) is changes
