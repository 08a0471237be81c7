"""Where an object holds what pods are made of."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deciding import asks

from narrowgate.core.intent import Intent
from narrowgate.core.pod_templates import (
    RESTARTED,
    enters_pod,
    has_token,
    is_laid_over,
    makes_pods,
    runs_the_same,
    templates_of,
    touches_metadata_alone,
    with_debug_containers,
)

SPEC = {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "runner"}
DEPLOYMENT = asks("patch", "deployments", "w", namespace="ci", group="apps").info
WIDGET = asks("create", "widgets", "w", namespace="ci", group="example.com").info


@pytest.mark.parametrize(
    ("resource", "group", "written"),
    [
        ("pods", "", {"spec": SPEC}),
        ("podtemplates", "", {"template": {"spec": SPEC}}),
        ("deployments", "apps", {"spec": {"template": {"spec": SPEC}}}),
        ("controllerrevisions", "apps", {"data": {"spec": {"template": {"spec": SPEC}}}}),
        ("cronjobs", "batch", {"spec": {"jobTemplate": {"spec": {"template": {"spec": SPEC}}}}}),
        ("widgets", "example.com", {"spec": {"deep": [{"er": SPEC}]}}),
    ],
)
def test_a_template_is_found_where_its_kind_keeps_it(resource: str, group: str, written: Any) -> None:
    (found,) = templates_of(asks("create", resource, "w", namespace="ci", group=group).info, written)
    assert found.accounts == ("runner",)


def test_in_a_custom_resource_whatever_looks_like_a_pod_is_one() -> None:
    by_key = templates_of(WIDGET, {"spec": {"groups": {"[0]": {"containers": [{}]}}}})
    assert [template.steps for template in by_key] == [()]
    written = {"spec": {"serviceAccountName": "a", "steps": [{"serviceAccount": "b"}, {"containers": [{}]}, {"x": 1}]}}
    found = {(template.at, template.accounts, template.steps) for template in templates_of(WIDGET, written)}
    assert found == {
        ("spec", ("a",), ("spec",)),
        ("spec.steps[0]", ("b",), ()),
        ("spec.steps[1]", ("default",), ()),
    }


@pytest.mark.parametrize("written", [None, "text", {}, {"spec": None}, {"spec": {"template": []}}])
def test_where_nothing_is_nothing_is_found(written: Any) -> None:
    assert templates_of(DEPLOYMENT, written) == ()
    assert templates_of(asks("create", "configmaps", "c", namespace="ci").info, {"spec": SPEC}) == ()


@pytest.mark.parametrize(
    ("what", "makes"),
    [
        (asks("create", "pods", namespace="ci"), True),
        (asks("get", "pods", "w", namespace="ci"), False),
        (asks("delete", "pods", "w", namespace="ci"), False),
        (asks("patch", "pods/status", "w", namespace="ci"), False),
        (asks("update", "deployments/scale", "w", namespace="ci", group="apps"), True),
        (asks("update", "deployments/status", "w", namespace="ci", group="apps"), False),
        (asks("patch", "widgets/scale", "w", namespace="ci", group="example.com"), True),
        (asks("create", "widgets", "w", namespace="ci", group="example.com"), True),
        (asks("create", "configmaps", namespace="ci"), False),
    ],
)
def test_what_makes_pods(what: Intent, makes: bool) -> None:
    assert makes_pods(what.info) is makes


@pytest.mark.parametrize(
    ("what", "enters"),
    [
        (asks("create", "pods/exec", "w", namespace="ci"), True),
        (asks("create", "pods/portforward", "w", namespace="ci"), True),
        (asks("update", "pods/ephemeralcontainers", "w", namespace="ci"), True),
        (asks("get", "pods/ephemeralcontainers", "w", namespace="ci"), False),
        (asks("get", "pods/log", "w", namespace="ci"), False),
        (asks("create", "nodes/proxy", "n", namespaced=False), True),
        (asks("get", "nodes/proxy", "n", namespaced=False), False),
        (asks("create", "pods/proxy", "w", namespace="ci"), False),
    ],
)
def test_what_enters_a_pod(what: Intent, enters: bool) -> None:
    assert enters_pod(what.info) is enters


REVISION = asks("create", "controllerrevisions", "w", namespace="ci", group="apps").info


@pytest.mark.parametrize(
    ("data", "laid_over"),
    [
        ({"spec": {"template": {"$patch": "replace", "spec": SPEC}}}, False),
        ({"spec": {"template": {"spec": SPEC}}}, True),
        ({"spec": {"template": {"$patch": "merge", "spec": SPEC}}}, True),
        ({"spec": {"template": {"$patch": "replace", "spec": SPEC}, "volumeClaimTemplates": []}}, True),
        ({"spec": {"template": {"$patch": "replace"}}, "metadata": {"namespace": "kube-system"}}, True),
        ({}, True),
        (None, True),
    ],
)
def test_a_revision_is_laid_over_what_is_there_unless_it_replaces_all_of_it(data: Any, laid_over: bool) -> None:
    assert is_laid_over(REVISION, {"data": data}) is laid_over
    assert not is_laid_over(DEPLOYMENT, {"data": data})


def test_a_pod_holds_a_token_where_one_is_projected() -> None:
    token = {"projected": {"sources": [{"configMap": {}}, {"serviceAccountToken": {"path": "token"}}]}}
    assert has_token({"spec": {"volumes": [{"emptyDir": {}}, token]}})
    assert has_token({"spec": {"volumes": [{"projected": {"sources": [{"podCertificate": {"signerName": "s"}}]}}]}})
    assert not has_token({"spec": {"volumes": [{"emptyDir": {}}], "serviceAccountName": "a"}})
    assert not has_token(None)


def test_labels_notes_and_restarts_run_the_same() -> None:
    old = {"metadata": {"a": 1}, "status": {}, "spec": {"replicas": 1, "template": {"metadata": {}, "spec": SPEC}}}
    noted = {"annotations": {RESTARTED: "now"}, "creationTimestamp": None}
    restarted = {"spec": {"replicas": 1, "template": {"metadata": noted, "spec": SPEC}}}
    assert runs_the_same(DEPLOYMENT, old, restarted)
    assert runs_the_same(DEPLOYMENT, restarted, old)
    for metadata in ({"annotations": {"sidecar.istio.io/proxyImage": "evil"}}, {"labels": {"a": "b"}}):
        assert not runs_the_same(
            DEPLOYMENT, old, {"spec": {"replicas": 1, "template": {"metadata": metadata, "spec": SPEC}}}
        )
    pod = asks("update", "pods", "w", namespace="ci").info
    assert runs_the_same(pod, {"metadata": {"labels": {"a": "b"}}, "spec": SPEC}, {"metadata": {}, "spec": SPEC})
    assert not runs_the_same(DEPLOYMENT, old, {"spec": {**restarted["spec"], "replicas": 2}})
    assert not runs_the_same(DEPLOYMENT, old, {"spec": {"replicas": 1, "template": {"spec": {**SPEC, "x": 1}}}})
    assert not runs_the_same(WIDGET, {}, {})


@pytest.mark.parametrize(
    ("patch", "alone"),
    [
        ({"metadata": {"labels": {"a": "b"}}}, True),
        ({"spec": {"template": {"metadata": {"annotations": {RESTARTED: "now"}}}}}, True),
        ({"spec": {"template": {"metadata": {"annotations": {RESTARTED: {"a": "b"}}}}}}, False),
        ({"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/proxyImage": "evil"}}}}}, False),
        ({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}, False),
        ({"spec": {"template": {"metadata": {"$patch": "replace", "annotations": {RESTARTED: "now"}}}}}, False),
        ({"spec": {"template": {"metadata": None}}}, False),
        ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}}, True),
        ({"spec": {"replicas": 2}}, False),
        ({"spec": {"template": {"spec": {"hostname": "x"}}}}, False),
        ({"spec": {"template": {"$patch": "replace", "metadata": {}}}}, False),
        ({"spec": {"template": None}}, False),
        ({"spec": {}}, False),
        ({}, False),
        ([], False),
    ],
)
def test_a_patch_is_harmless_only_where_it_shows_that_it_is(patch: Any, alone: bool) -> None:
    assert touches_metadata_alone(DEPLOYMENT, patch) is alone
    assert not touches_metadata_alone(WIDGET, patch)


def test_a_debug_container_is_all_that_is_taken_from_what_is_written() -> None:
    old = {"metadata": {"annotations": {"a": "b"}}, "spec": {**SPEC, "hostPID": True}}
    written = {"spec": {"hostPID": False, "ephemeralContainers": [{"name": "d", "image": "busybox"}]}}
    made = with_debug_containers(old, written)
    assert made.spec["hostPID"] is True
    assert made.images == ("i", "busybox")
    assert made.annotations == {"a": "b"}
