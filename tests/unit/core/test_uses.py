from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.writes import RBAC, facts, info_of

from narrowgate.core.malformed import Malformed
from narrowgate.core.pod_uses import POD_FIELDS
from narrowgate.core.uses import (
    JSON_PATCH,
    USES_LIMIT,
    is_unseen,
    may_use,
    uses_of,
    uses_of_patch,
)

SPEC = {"serviceAccountName": "deployer", "containers": [{"name": "c", "image": "i"}]}
DEPLOYER = {"use serviceaccounts/deployer -n ci"}
MERGE_PATCHES = [
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]

TEMPLATES = {
    "pods": {"spec": SPEC},
    "podtemplates": {"template": {"spec": SPEC}},
    "replicationcontrollers": {"spec": {"template": {"spec": SPEC}}},
    "deployments.apps": {"spec": {"template": {"spec": SPEC}}},
    "replicasets.apps": {"spec": {"template": {"spec": SPEC}}},
    "statefulsets.apps": {"spec": {"template": {"spec": SPEC}}},
    "daemonsets.apps": {"spec": {"template": {"spec": SPEC}}},
    "jobs.batch": {"spec": {"template": {"spec": SPEC}}},
    "cronjobs.batch": {"spec": {"jobTemplate": {"spec": {"template": {"spec": SPEC}}}}},
    "rollouts.argoproj.io": {"spec": {"template": {"spec": SPEC}}},
    "workflows.argoproj.io": SPEC,
    "tests.example.com": {"spec": {"deeply": [{"hidden": {"podSpec": SPEC}}]}},
}


@pytest.mark.parametrize("resource", TEMPLATES)
def test_every_kind_with_a_pod_template_uses_what_the_template_names(resource: str):
    assert facts(uses_of(info_of("create", resource), TEMPLATES[resource])) == DEPLOYER


@pytest.mark.parametrize("resource", TEMPLATES)
@pytest.mark.parametrize("form", MERGE_PATCHES)
def test_a_patch_uses_what_it_shows(resource: str, form: str):
    assert facts(uses_of_patch(info_of("patch", resource, "web"), form, TEMPLATES[resource])) == DEPLOYER


@pytest.mark.parametrize(
    "resource", ["pods/status", "deployments.apps/scale", "deployments.apps/status", "pods/binding"]
)
def test_subresources_without_a_template_use_nothing(resource: str):
    assert not may_use(info_of("update", resource, "web"))
    assert uses_of(info_of("update", resource, "web"), {"spec": {**SPEC, "template": {"spec": SPEC}}}) == ()


def test_ephemeral_containers_use_what_they_name():
    patch = {"spec": {"ephemeralContainers": [{"name": "d", "securityContext": {"privileged": True}}]}}
    uses = uses_of_patch(info_of("patch", "pods/ephemeralcontainers", "web"), MERGE_PATCHES[1], patch)
    assert facts(uses) == {"use hostaccess.narrowgate.dev/privileged -n ci"}


def test_a_node_is_chosen_by_creating_a_pod_and_kept_by_updating_it():
    pod = {"spec": {"nodeName": "node-1"}}
    chosen = {"use hostaccess.narrowgate.dev/nodeName -n ci"}
    assert facts(uses_of(info_of("create", "pods"), pod)) == chosen
    assert facts(uses_of_patch(info_of("patch", "pods", "p"), MERGE_PATCHES[2], pod)) == chosen
    assert uses_of(info_of("update", "pods", "p"), pod) == ()


def test_each_thing_is_used_once():
    env = [{"name": n, "valueFrom": {"secretKeyRef": {"name": "s", "key": n}}} for n in "ab"]
    assert len(uses_of(info_of("create", "pods"), {"spec": {"containers": [{"env": env}]}})) == 1


ROOT = "/spec/template/spec"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (f"{ROOT}/volumes/0/secret/secretName", "s", "use|get secrets/s -n ci"),
        (f"{ROOT}/volumes/-", {"name": "v", "secret": {"secretName": "s"}}, "use|get secrets/s -n ci"),
        (f"{ROOT}/volumes/-1/secret", {"secretName": "s"}, "use|get secrets/s -n ci"),
        (f"{ROOT}/volumes/+0/projected/sources/00/secret/name", "s", "use|get secrets/s -n ci"),
        (f"{ROOT}/containers/0/env/3/valueFrom/secretKeyRef/name", "s", "use|get secrets/s -n ci"),
        (f"{ROOT}/containers/0/env/3/valueFrom", {"secretKeyRef": {"name": "s"}}, "use|get secrets/s -n ci"),
        (f"{ROOT}/containers/0/envFrom", [{"secretRef": {"name": "s"}}], "use|get secrets/s -n ci"),
        (f"{ROOT}/containers/0/envFrom/-/secretRef/name", "s", "use|get secrets/s -n ci"),
        (f"{ROOT}/imagePullSecrets/0/name", "s", "use|get secrets/s -n ci"),
        (f"{ROOT}/serviceAccountName", "a", "use serviceaccounts/a -n ci"),
        (f"{ROOT}/serviceAccount", "a", "use serviceaccounts/a -n ci"),
        (f"{ROOT}/hostPID", True, "use hostaccess.narrowgate.dev/hostPID -n ci"),
        (f"{ROOT}/containers/0/securityContext/privileged", True, "use hostaccess.narrowgate.dev/privileged -n ci"),
        (f"{ROOT}/containers/0/securityContext/capabilities/add/-", "NET_ADMIN",
         "use hostaccess.narrowgate.dev/capabilities -n ci"),
        (f"{ROOT}/volumes/0/hostPath/path", "/", "use hostaccess.narrowgate.dev/hostPath -n ci"),
        ("/spec/template", {"spec": {"hostIPC": True}}, "use hostaccess.narrowgate.dev/hostIPC -n ci"),
        ("/spec", {"template": {"spec": {"hostIPC": True}}}, "use hostaccess.narrowgate.dev/hostIPC -n ci"),
        ("", {"spec": {"template": {"spec": {"hostIPC": True}}}}, "use hostaccess.narrowgate.dev/hostIPC -n ci"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("op", ["add", "replace"])
def test_a_json_patch_uses_what_each_operation_writes(path: str, value: Any, expected: str, op: str):
    patch = [{"op": "test", "path": "/metadata/uid", "value": "1"}, {"op": op, "path": path, "value": value}]
    assert facts(uses_of_patch(info_of("patch", "deployments.apps", "web"), JSON_PATCH, patch)) == {expected}


@pytest.mark.parametrize("op", ["move", "copy"])
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/spec",
        "/spec/template",
        ROOT,
        f"{ROOT}/volumes/0/secret",
        f"{ROOT}/serviceAccountName",
        f"{ROOT}/containers/-",
    ],
)
def test_a_json_patch_cannot_bring_unseen_values_into_a_template(op: str, path: str):
    patch = [{"op": op, "from": "/metadata/annotations/x", "path": path}]
    with pytest.raises(Malformed, match="write it as a merge patch") as caught:
        uses_of_patch(info_of("patch", "deployments.apps", "web"), JSON_PATCH, patch)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("deployments.apps", "/metadata/labels/a"),
        ("deployments.apps", "/spec/replicas"),
        ("deployments.apps", "/spec/templates"),
        ("configmaps", "/data/b"),
        ("rollouts.argoproj.io", "/metadata/labels/a"),
        ("deployments.apps/status", "/status/x"),
    ],
)
def test_a_json_patch_may_move_what_is_no_use(resource: str, path: str):
    patch = [{"op": "move", "from": "/metadata/labels/b", "path": path}]
    assert uses_of_patch(info_of("patch", resource, "web"), JSON_PATCH, patch) == ()


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("secrets", "/metadata/annotations/kubernetes.io~1service-account.name"),
        ("secrets", "/type"),
        (f"rolebindings.{RBAC}", "/roleRef/name"),
        ("persistentvolumes", "/spec/local"),
        ("rollouts.argoproj.io", "/spec/x"),
        ("rollouts.argoproj.io", "/anything"),
    ],
)
def test_unseen_values_are_refused_wherever_they_would_count(resource: str, path: str):
    patch = [{"op": "copy", "from": "/metadata/labels/b", "path": path}]
    with pytest.raises(Malformed, match="cannot judge"):
        uses_of_patch(info_of("patch", resource, "web"), JSON_PATCH, patch)


def test_a_patch_that_takes_away_uses_nothing():
    info = info_of("patch", "deployments.apps", "web")
    merge = {"spec": {"template": {"spec": {"serviceAccountName": None, "volumes": None, "hostPID": None}}}}
    assert uses_of_patch(info, MERGE_PATCHES[0], merge) == ()
    removal = [{"op": "remove", "path": f"{ROOT}/volumes/0"}]
    assert uses_of_patch(info, JSON_PATCH, removal) == ()


def test_a_fragment_of_an_unknown_kind_is_read_without_its_containers():
    patch = [{"op": "replace", "path": "/spec/pod/volumes/0/secret/secretName", "value": "s"}]
    assert facts(uses_of_patch(info_of("patch", "things.example.com", "x"), JSON_PATCH, patch)) == {
        "use|get secrets/s -n ci"
    }


ANNOTATED = {"metadata": {"annotations": {"kubernetes.io/service-account.name": "deployer"}}}
MINTS = {"create serviceaccounts/token/deployer -n ci"}


def test_a_token_secret_mints_a_token():
    secret = {**ANNOTATED, "type": "kubernetes.io/service-account-token"}
    assert facts(uses_of(info_of("create", "secrets"), secret)) == MINTS


def test_the_annotation_alone_mints_nothing_but_may_in_a_patch():
    assert uses_of(info_of("create", "secrets"), {**ANNOTATED, "type": "Opaque"}) == ()
    assert facts(uses_of_patch(info_of("patch", "secrets", "s"), MERGE_PATCHES[0], ANNOTATED)) == MINTS


def test_volumes_of_the_node_are_host_access_and_name_secrets_of_any_namespace():
    info = info_of("create", "persistentvolumes", namespace="")
    assert facts(uses_of(info, {"spec": {"hostPath": {"path": "/"}}})) == {"use hostaccess.narrowgate.dev/hostPath"}
    assert facts(uses_of(info, {"spec": {"local": {"path": "/"}}})) == {"use hostaccess.narrowgate.dev/hostPath"}
    csi = {"driver": "d", "nodeStageSecretRef": {"name": "s", "namespace": "vault"}}
    assert facts(uses_of(info, {"spec": {"csi": csi}})) == {"use|get secrets/s -n vault"}
    azure = {"secretName": "s", "secretNamespace": "vault"}
    assert facts(uses_of(info, {"spec": {"azureFile": azure}})) == {"use|get secrets/s -n vault"}


def test_a_claim_uses_the_claim_it_copies():
    claim = {"spec": {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "data", "namespace": "prod"}}}
    assert facts(uses_of(info_of("create", "persistentvolumeclaims"), claim)) == {
        "use|get persistentvolumeclaims/data -n prod"
    }


def test_a_claim_uses_the_snapshot_that_it_begins_with():
    claim = {"spec": {"dataSource": {"kind": "VolumeSnapshot", "apiGroup": "snapshot.storage.k8s.io", "name": "s"}}}
    assert facts(uses_of(info_of("create", "persistentvolumeclaims"), claim)) == {
        "use|get volumesnapshots.snapshot.storage.k8s.io/s -n ci"
    }


def test_the_pods_of_a_set_use_whatever_claims_of_their_names_there_are():
    copied = {"metadata": {"name": "copy"}, "spec": {"dataSource": {"name": "other"}}}
    uses = uses_of(info_of("create", "statefulsets.apps"), {"spec": {"volumeClaimTemplates": [{}, copied]}})
    assert facts(uses) == {"use|get persistentvolumeclaims/ -n ci", "use|get persistentvolumeclaims/other -n ci"}
    assert not any(is_unseen(use) for use in uses)


def test_an_account_uses_the_secrets_that_its_pods_pull_with():
    account = {"imagePullSecrets": [{"name": "registry"}]}
    (use,) = uses_of(info_of("create", "serviceaccounts"), account)
    assert facts([use]) == {"use|get secrets/registry -n ci"}
    assert use.because == "imagePullSecrets[0].name"
    assert facts(uses_of_patch(info_of("patch", "serviceaccounts", "a"), MERGE_PATCHES[0], account)) == facts([use])


NOTED = {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "unconfined", "a": "b"}}}


@pytest.mark.parametrize(
    ("resource", "written"),
    [
        ("pods", NOTED),
        ("deployments.apps", {"spec": {"template": NOTED}}),
        ("cronjobs.batch", {"spec": {"jobTemplate": {"spec": {"template": NOTED}}}}),
        ("rollouts.argoproj.io", {"spec": {"template": NOTED}}),
    ],
)
def test_an_annotation_takes_the_confinement_of_a_container_away(resource: str, written: Any):
    unconfined = {"use hostaccess.narrowgate.dev/unconfined -n ci"}
    assert facts(uses_of(info_of("create", resource), written)) == unconfined
    assert facts(uses_of_patch(info_of("patch", resource, "web"), MERGE_PATCHES[0], written)) == unconfined


@pytest.mark.parametrize(
    ("resource", "namespace", "role", "expected"),
    [
        ("rolebindings", "ci", {"kind": "Role", "name": "edit"}, f"bind roles.{RBAC}/edit -n ci"),
        ("rolebindings", "ci", {"kind": "ClusterRole", "name": "edit"}, f"bind clusterroles.{RBAC}/edit -n ci"),
        ("clusterrolebindings", "", {"kind": "ClusterRole", "name": "edit"}, f"bind clusterroles.{RBAC}/edit"),
    ],
)
def test_a_binding_binds_its_role(resource: str, namespace: str, role: dict[str, str], expected: str):
    info = info_of("create", f"{resource}.{RBAC}", namespace=namespace)
    assert facts(uses_of(info, {"roleRef": role})) == {expected}


def test_a_patch_that_shows_no_role_may_bind_any():
    info = info_of("patch", f"rolebindings.{RBAC}", "b")
    uses = uses_of_patch(info, MERGE_PATCHES[1], {"subjects": [{"kind": "User", "name": "bot"}]})
    assert facts(uses) == {f"bind clusterroles.{RBAC}/ -n ci", f"bind roles.{RBAC}/ -n ci"}
    assert all(is_unseen(use) for use in uses)


def test_a_patch_that_shows_no_account_may_use_the_token_of_any():
    patch = [{"op": "add", "path": f"{ROOT}/volumes/0/projected/sources/-", "value": {
        "serviceAccountToken": {"audience": "vault", "path": "t"}}}]  # fmt: skip
    uses = uses_of_patch(info_of("patch", "deployments.apps", "web"), JSON_PATCH, patch)
    assert facts(uses) == {"use serviceaccounts/ -n ci"}
    assert all(is_unseen(use) for use in uses)


@pytest.mark.parametrize("resource", ["roles", "clusterroles"])
def test_writing_a_role_escalates(resource: str):
    info = info_of("patch", f"{resource}.{RBAC}", "admin")
    assert facts(uses_of_patch(info, MERGE_PATCHES[0], {"metadata": {"labels": {"a": "b"}}})) == {
        f"escalate {resource}.{RBAC}/admin -n ci"
    }


@pytest.mark.parametrize("path", ["/rules/0/resourceNames", "/aggregationRule/clusterRoleSelectors/0/matchLabels/a"])
def test_taking_away_from_a_role_can_make_it_more(path: str):
    patch = [{"op": "test", "path": "/metadata/name", "value": "admin"}, {"op": "remove", "path": path}]
    uses = uses_of_patch(info_of("patch", f"clusterroles.{RBAC}", "admin"), JSON_PATCH, patch)
    assert facts(uses) == {f"escalate clusterroles.{RBAC}/admin -n ci"}
    assert uses_of_patch(info_of("patch", f"clusterroles.{RBAC}", "admin"), JSON_PATCH, patch[:1]) == ()


@pytest.mark.parametrize("resource", ["configmaps", "services", "namespaces", f"rolebindings.{RBAC}/status"])
def test_other_built_in_kinds_use_nothing(resource: str):
    assert uses_of(info_of("create", resource), {"spec": SPEC, "data": {"serviceAccountName": "x"}}) == ()


def test_a_write_that_uses_too_much_to_judge_is_refused():
    volumes = [{"name": "v", "secret": {"secretName": f"s{n}"}} for n in range(USES_LIMIT + 2)]
    with pytest.raises(Malformed) as caught:
        uses_of(info_of("create", "pods"), {"spec": {"volumes": volumes}})
    assert caught.value.code == 413


@pytest.mark.parametrize("field", sorted(POD_FIELDS))
def test_every_field_that_is_looked_for_in_unknown_kinds_is_a_use_there(field: str):
    values: dict[str, Any] = {
        "env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}],
        "envFrom": [{"secretRef": {"name": "s"}}],
        "imagePullSecrets": [{"name": "s"}],
        "volumes": [{"secret": {"secretName": "s"}}],
        "ports": [{"hostPort": 80}],
        "resourceClaims": [{"resourceClaimName": "d"}],
        "securityContext": {"privileged": True},
        "serviceAccount": "a",
        "serviceAccountName": "a",
    }
    thing = {"spec": {"pods": [{"containers": [], field: values.get(field, True)}]}}
    uses = uses_of(info_of("create", "things.example.com"), thing)
    assert [use.because.startswith(f"spec.pods[0].{field}") for use in uses] == [True]
