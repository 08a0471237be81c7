"""A write that is sent on with no token for its pods."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from narrowgate.core.body import APPLY, JSON, MERGE_PATCH, PROTOBUF, YAML
from narrowgate.core.malformed import Malformed
from narrowgate.core.mending import mended_body
from narrowgate.core.uses import JSON_PATCH

POD = ("spec",)
TEMPLATE = ("spec", "template", "spec")


@pytest.mark.parametrize(
    ("form", "body", "mends", "sent"),
    [
        (JSON, {"spec": {"a": 1}}, POD, {"spec": {"a": 1, "automountServiceAccountToken": False}}),
        (
            JSON,
            {"spec": {"automountServiceAccountToken": True}},
            POD,
            {"spec": {"automountServiceAccountToken": False}},
        ),
        (
            MERGE_PATCH,
            {"spec": {"replicas": 1}},
            TEMPLATE,
            {"spec": {"replicas": 1, "template": {"spec": {"automountServiceAccountToken": False}}}},
        ),
        (
            JSON_PATCH,
            [{"op": "test", "path": "/a", "value": 1}],
            TEMPLATE,
            [
                {"op": "test", "path": "/a", "value": 1},
                {"op": "add", "path": "/spec/template/spec/automountServiceAccountToken", "value": False},
            ],
        ),
    ],
)
def test_a_body_says_it_in_its_own_form(form: str, body: Any, mends: tuple[str, ...], sent: Any) -> None:
    assert orjson.loads(mended_body(form, orjson.dumps(body), [mends])) == sent


WORKER = ("spec", "workers", "[1]", "template", "spec")
WORKERS = {"spec": {"workers": [{"template": {"spec": {}}}, {"template": {"spec": {"a": 1}}}]}}


@pytest.mark.parametrize("form", [JSON, YAML, MERGE_PATCH])
def test_a_pod_in_a_list_is_mended_where_the_whole_list_is_sent(form: str) -> None:
    workers = orjson.loads(mended_body(form, orjson.dumps(WORKERS), [WORKER]))["spec"]["workers"]
    assert [worker["template"]["spec"] for worker in workers] == [{}, {"a": 1, "automountServiceAccountToken": False}]


def test_a_pod_in_a_list_is_mended_by_its_place_in_what_comes_of_a_json_patch() -> None:
    (added,) = orjson.loads(mended_body(JSON_PATCH, b"[]", [WORKER]))
    assert added["path"] == "/spec/workers/1/template/spec/automountServiceAccountToken"


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (APPLY, WORKERS),
        (MERGE_PATCH, {"spec": {"replicas": 1}}),
        (MERGE_PATCH, {"spec": {"workers": [{}]}}),
        (MERGE_PATCH, {"spec": {"workers": {"[1]": {"template": {"spec": {}}}}}}),
    ],
)
def test_where_a_list_is_merged_or_not_shown_nothing_is_guessed(form: str, body: Any) -> None:
    with pytest.raises(Malformed) as refused:
        mended_body(form, orjson.dumps(body), [WORKER])
    assert refused.value.code == 422


@pytest.mark.parametrize("form", [YAML, APPLY])
def test_yaml_goes_on_as_json_which_it_is_as_well(form: str) -> None:
    assert orjson.loads(mended_body(form, b"spec: {a: 1}", [POD])) == {
        "spec": {"a": 1, "automountServiceAccountToken": False}
    }


@pytest.mark.parametrize(("form", "body"), [(PROTOBUF, b"k8s"), (JSON, b'{"spec": 1}'), (JSON, b'{"spec": null}')])
def test_what_cannot_be_written_into_is_refused(form: str, body: bytes) -> None:
    with pytest.raises(Malformed):
        mended_body(form, body, [TEMPLATE])
