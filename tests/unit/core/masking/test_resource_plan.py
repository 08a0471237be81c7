from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from narrowgate.core.masking.built_in import BUILT_IN_RULES, SECRET_DATA
from narrowgate.core.masking.field_paths import FieldPathInvalid
from narrowgate.core.masking.masked_value import MASKED, ValueMasker
from narrowgate.core.masking.objects import mask_document
from narrowgate.core.masking.patterns import NAMED_SECRET
from narrowgate.core.masking.plan import Plan
from narrowgate.core.masking.resource_plan import HeldMask, plan_for

VALUES = ValueMasker(b"k" * 32)
DSN = HeldMask("team/dsn", ("spec.dsn", "spec.hosts[*].name", "spec.tags"))


def always(plan: Plan | None) -> Callable[[str | None, str | None], Plan | None]:
    return lambda *_where: plan


def masked(document: Any, *held: HeldMask, resource: tuple[str, str] = ("example.com", "widgets")) -> Any:
    return mask_document(document, always(plan_for(*resource, held)), VALUES, {})


def is_masked(value: Any) -> bool:
    return isinstance(value, str) and MASKED.fullmatch(value) is not None


def test_no_masks_are_no_plan() -> None:
    assert plan_for("", "secrets", ()) is None


def test_the_same_masks_are_the_same_plan() -> None:
    assert plan_for("", "secrets", (HeldMask(SECRET_DATA),)) is plan_for("", "secrets", (HeldMask(SECRET_DATA),))


def test_a_policy_mask_hides_its_fields_in_the_object_and_in_its_copy() -> None:
    last = '{"spec":{"dsn":"x","other":"y"}}'
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": last}
    after = masked({"metadata": {"annotations": annotations}, "spec": {"dsn": "x", "other": "y"}}, DSN)
    assert is_masked(after["spec"]["dsn"])
    assert after["spec"]["other"] == "y"
    assert '"x"' not in after["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]


def test_a_policy_mask_takes_the_keys_of_managed_fields_that_repeat_its_values() -> None:
    fields = {
        "f:spec": {
            "f:dsn": {},
            "f:hosts": {'k:{"name":"x"}': {"f:name": {}}},
            "f:ports": {'k:{"port":80}': {"f:port": {}}},
            "f:tags": {'v:"x"': {}},
        }
    }
    after = masked({"metadata": {"managedFields": [{"fieldsV1": fields}]}}, DSN)
    assert after["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"] == {
        "f:dsn": {}, "f:hosts": {}, "f:ports": {'k:{"port":80}': {"f:port": {}}}, "f:tags": {},
    }  # fmt: skip


def test_a_policy_mask_hides_columns_that_may_show_its_fields() -> None:
    columns = [{"name": name} for name in ("Name", "Status", "DSN", "Age")]
    table = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": columns}
    table |= {"rows": [{"cells": ["a", "b", "c", "d"]}]}
    custom = masked(table, DSN)["rows"][0]["cells"]
    known = masked(table, DSN, resource=("apps", "deployments"))["rows"][0]["cells"]
    assert [is_masked(cell) for cell in custom] == [False, True, True, False]
    assert [is_masked(cell) for cell in known] == [False, False, True, False]


def test_a_policy_mask_hides_its_fields_where_a_refusal_repeats_them() -> None:
    status = {"kind": "Status", "apiVersion": "v1", "message": 'spec.dsn: Invalid value: "Zq7": no'}
    assert "Zq7" not in masked(status, DSN)["message"]


def test_a_policy_mask_of_a_secret_is_base64_where_the_field_is() -> None:
    secret = {"data": {"password": "WnE3", "user": "bWU="}}
    after = masked(secret, HeldMask("team/pw", ("data.password",)), resource=("", "secrets"))
    assert after["data"]["user"] == "bWU="
    assert after["data"]["password"].startswith("W21hc2tlZDp0ZWFtL3B3O")


def test_what_is_revealed_is_not_masked_and_the_rest_still_is() -> None:
    held = tuple(HeldMask(rule) for rule in sorted(BUILT_IN_RULES) if rule != NAMED_SECRET)
    after = masked({"data": {"a": "b password=x", "b": "redis://u:Zq7@h"}}, *held, resource=("", "configmaps"))
    assert after["data"]["a"] == "b password=x"
    assert "Zq7" not in after["data"]["b"]


def test_an_unknown_mask_and_an_impossible_field_are_refused() -> None:
    with pytest.raises(LookupError, match="team/none"):
        plan_for("", "secrets", (HeldMask("team/none"),))
    with pytest.raises(FieldPathInvalid):
        plan_for("", "secrets", (HeldMask("team/odd", ("a..b",)),))


@pytest.mark.parametrize(
    ("group", "resource", "field", "hidden"),
    [
        ("example.com", "widgets/scale", "spec.size", {"spec.replicas", "status.selector"}),
        ("example.com", "widgets/scale", "status.picked", {"status.replicas", "status.selector"}),
        ("example.com", "widgets/scale", "**.pin", {"spec.replicas", "status.replicas", "status.selector"}),
        ("example.com", "widgets/scale", "metadata.annotations.x", set()),
        ("example.com", "widgets/status", "spec.size", set()),
        ("apps", "deployments/scale", "spec.selector.matchLabels", {"status.selector"}),
        ("apps", "deployments/scale", "spec.replicas", {"spec.replicas"}),
        ("apps", "deployments/scale", "spec.template", set()),
    ],
)
def test_a_scale_hides_what_it_may_repeat_of_a_masked_field(
    group: str, resource: str, field: str, hidden: set[str]
) -> None:
    plan = plan_for(group, resource, (HeldMask("team/it", (field,)),))
    assert plan is not None
    found = set()
    for path in ("spec.replicas", "status.replicas", "status.selector"):
        place = plan.objects
        for key in path.split("."):
            place = place.child(key) if place is not None else None
        if place is not None and place.hides is not None:
            found.add(path)
    assert found == hidden
