"""Selectors by what is masked: refused by the plan alone, whatever the value is."""

from __future__ import annotations

import pytest

from narrowgate.core.masking.built_in import BUILT_IN_RULES
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.resource_plan import HeldMask, plan_for
from narrowgate.core.masking.selected import masked_field, masked_label

WIDGETS = ("example.com", "widgets")
BUILT_IN = tuple(HeldMask(rule) for rule in sorted(BUILT_IN_RULES))
TOKEN = "ghp_" + "a1B2" * 9


def asked(selector: str, *fields: str, resource: tuple[str, str] = WIDGETS, built_in: bool = True) -> str:
    """The field that is refused where a policy masks these fields."""
    held = (*(BUILT_IN if built_in else ()), *([HeldMask("test/mask", fields)] if fields else []))
    plan = plan_for(*resource, held)
    assert plan is not None
    return masked_field(resource, plan.objects, selector, ObjectMasker(plan, ValueMasker(bytes(32)), {}).mask)


def asked_label(selector: str, *fields: str) -> str:
    plan = plan_for(*WIDGETS, (HeldMask("test/mask", fields),))
    assert plan is not None
    return masked_label(plan.objects, selector)


@pytest.mark.parametrize(
    ("selector", "field"),
    [
        ("spec.pin=1234", "spec.pin"),
        ("spec.pin==1234", "spec.pin"),
        ("spec.pin!=1234", "spec.pin"),
        ("spec.pin=", "spec.pin"),
        ("spec.colour=red,spec.pin=1234", "spec.pin"),
        ("metadata.name=a,spec.pin=1", "spec.pin"),
        ("spec.owner.name=x", "spec.owner.name"),
        ("spec.colour=red", ""),
        ("metadata.name=pin,metadata.namespace=ci", ""),
        ("", ""),
        (",", ""),
    ],
)
def test_a_field_that_a_policy_masks_is_not_selected_by(selector: str, field: str) -> None:
    assert asked(selector, "spec.pin", "spec.owner") == field


@pytest.mark.parametrize(
    ("selector", "field"),
    [
        ("spec.apiToken=x", "spec.apiToken"),
        ("spec.tokenTTL=1h", ""),
        ("spec.colour=red", ""),
        (f"spec.colour={TOKEN}", "spec.colour"),
        ("spec.note=password\\=hunter2", "spec.note"),
    ],
)
def test_the_gates_own_masks_hold_for_selectors_of_custom_resources(selector: str, field: str) -> None:
    assert asked(selector) == field


@pytest.mark.parametrize(
    "selector", ["spec['pin']=1", "$.spec.pin=1", ".spec.pin=1", "spec..pin=1", "spec.pin", ".".join(["a"] * 65) + "=1"]
)
def test_a_field_that_is_written_in_no_known_way_is_refused(selector: str) -> None:
    assert asked(selector, "spec.pin") != ""


@pytest.mark.parametrize(
    ("resource", "mask", "selector", "field"),
    [
        (("", "pods"), "spec.nodeName", "spec.nodeName=a", "spec.nodeName"),
        (("", "pods"), "status.podIPs[*].ip", "status.podIP=10.0.0.1", "status.podIP"),
        (("", "pods"), "spec.nodeName", "status.phase=Running", ""),
        (("", "events"), "source.component", "source=kubelet", "source"),
        (("events.k8s.io", "events"), "reportingController", "source=kubelet", "source"),
        (("batch", "jobs"), "status.succeeded", "status.successful=1", "status.successful"),
        (("", "secrets"), "type", "type=Opaque", "type"),
    ],
)
def test_a_selectable_field_of_kubernetes_counts_as_the_field_that_it_shows(
    resource: tuple[str, str], mask: str, selector: str, field: str
) -> None:
    assert asked(selector, mask, resource=resource, built_in=False) == field


def test_what_the_gate_masks_by_itself_leaves_kubernetes_own_selectors_alone() -> None:
    assert asked("type=Opaque", resource=("", "secrets")) == ""
    assert asked("involvedObject.name=a,reason=Failed,type=Warning", resource=("", "events")) == ""
    assert asked("spec.nodeName=a,status.phase=Running,spec.serviceAccountName=b", resource=("", "pods")) == ""


@pytest.mark.parametrize(
    ("selector", "label"),
    [
        ("level=5", "level"),
        ("level>5", "level"),
        ("level in (1, 2)", "level"),
        ("!level", "level"),
        ("level", "level"),
        ("app=a,level notin (1,2)", "level"),
        ("example.com/level==1", "example.com/level"),
        ("app=web,tier in (front, back)", ""),
    ],
)
def test_a_label_that_a_policy_masks_is_not_selected_by(selector: str, label: str) -> None:
    assert asked_label(selector, "metadata.labels.level", 'metadata.labels["example.com/level"]') == label


def test_masks_of_all_labels_hold_for_each_and_others_for_none() -> None:
    assert asked_label("app=web", "metadata.labels") == "app"
    assert asked_label("app=web", "metadata.labels.*") == "app"
    assert asked_label("app=web", "spec.pin") == ""
    assert masked_label(None, "app=web") == ""
