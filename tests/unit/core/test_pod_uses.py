from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.writes import facts

from narrowgate.core.pod_uses import HOST_ACCESS, pod_spec


def used(spec: dict[str, Any]) -> set[str]:
    return facts(pod_spec(spec, "spec", "ci"))


@pytest.mark.parametrize("field", ["serviceAccountName", "serviceAccount"])
def test_a_pod_uses_its_service_account_under_both_names(field: str):
    assert used({field: "deployer"}) == {"use serviceaccounts/deployer -n ci"}


def test_the_default_service_account_is_no_use():
    assert used({"serviceAccountName": "default", "serviceAccount": "default", "containers": [{"name": "c"}]}) == set()


@pytest.mark.parametrize(
    "volume",
    [
        {"secret": {"secretName": "s"}},
        {"projected": {"sources": [{"downwardAPI": {}}, {"secret": {"name": "s"}}]}},
        {"csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}},
        {"azureFile": {"secretName": "s", "shareName": "x"}},
        {"cephfs": {"secretRef": {"name": "s"}}},
        {"flexVolume": {"driver": "d", "secretRef": {"name": "s"}}},
        {"iscsi": {"secretRef": {"name": "s"}}},
        {"rbd": {"secretRef": {"name": "s"}}},
        {"scaleIO": {"secretRef": {"name": "s"}}},
        {"cinder": {"secretRef": {"name": "s"}}},
        {"storageos": {"secretRef": {"name": "s"}}},
        {"a kind of tomorrow": {"secretRef": {"name": "s"}}},
    ],
)
def test_each_kind_of_volume_uses_the_secret_it_names(volume: dict[str, Any]):
    assert used({"volumes": [{"name": "v", **volume}]}) == {"use|get secrets/s -n ci"}


def test_a_store_of_secrets_is_used_by_the_class_that_names_them():
    csi = {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": "vault"}}
    assert used({"volumes": [{"name": "v", "csi": csi}]}) == {
        "use|get secretproviderclasses.secrets-store.csi.x-k8s.io/vault -n ci"
    }
    assert used({"volumes": [{"name": "v", "csi": {**csi, "driver": "other"}}]}) == set()


def test_devices_are_used_by_their_claims():
    devices = [{"resourceClaimName": "gpu"}, {"resourceClaimTemplateName": "made"}, {"name": "neither"}]
    assert used({"resourceClaims": devices}) == {
        "use|get resourceclaims.resource.k8s.io/gpu -n ci",
        "use|get resourceclaimtemplates.resource.k8s.io/made -n ci",
    }


@pytest.mark.parametrize(
    "volume", [{"configMap": {"name": "m"}}, {"projected": {"sources": [{"configMap": {"name": "m"}}]}}]
)
def test_volumes_use_config_maps(volume: dict[str, Any]):
    assert used({"volumes": [{"name": "v", **volume}]}) == {"use|get configmaps/m -n ci"}


@pytest.mark.parametrize("kind", ["containers", "initContainers", "ephemeralContainers"])
def test_every_kind_of_container_uses_what_its_environment_names(kind: str):
    container = {
        "name": "c",
        "env": [
            {"name": "A", "value": "plain"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "m1", "key": "k"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "envFrom": [{"secretRef": {"name": "s2"}}, {"configMapRef": {"name": "m2"}}],
    }
    assert used({kind: [container]}) == {
        "use|get secrets/s1 -n ci",
        "use|get secrets/s2 -n ci",
        "use|get configmaps/m1 -n ci",
        "use|get configmaps/m2 -n ci",
    }


def test_pull_secrets_and_claims_are_used():
    spec = {
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "disk"}},
            {"name": "b", "ephemeral": {"volumeClaimTemplate": {"spec": {"dataSource": {
                "kind": "PersistentVolumeClaim", "name": "copied"}}}}},
        ],
    }  # fmt: skip
    assert used(spec) == {
        "use|get secrets/pull -n ci",
        "use|get persistentvolumeclaims/disk -n ci",
        "use|get persistentvolumeclaims/copied -n ci",
    }


def test_a_pod_as_the_api_server_completes_it_uses_nothing_more():
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    assert used({"volumes": [{"name": "kube-api-access-x", "projected": {"sources": sources}}]}) == set()


@pytest.mark.parametrize(("account", "name"), [({}, "default"), ({"serviceAccountName": "web"}, "web")])
@pytest.mark.parametrize(
    "source",
    [
        {"serviceAccountToken": {"audience": "vault", "path": "t"}},
        {"podCertificate": {"signerName": "corp.example.com/pods", "keyType": "ED25519"}},
    ],
)
def test_a_proof_for_somebody_else_uses_the_account_even_the_default_one(
    account: dict[str, Any], name: str, source: dict[str, Any]
):
    sources = [source]
    spec = {**account, "volumes": [{"name": "v", "projected": {"sources": sources}}]}
    assert used(spec) == {f"use serviceaccounts/{name} -n ci"}


HOST = {
    "hostPath": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
    "hostNetwork": {"hostNetwork": True},
    "hostPID": {"hostPID": True},
    "hostIPC": {"hostIPC": True},
    "nodeName": {"nodeName": "node-1"},
    "hostPort": {"containers": [{"ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]}]},
    "privileged": {"initContainers": [{"securityContext": {"privileged": True}}]},
    "capabilities": {"containers": [{"securityContext": {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}}]},
    "hostProcess": {"securityContext": {"windowsOptions": {"hostProcess": True}}},
    "sysctls": {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
    "unconfined": {"containers": [{"securityContext": {"seccompProfile": {"type": "Unconfined"}}}]},
}


def test_every_name_of_host_access_has_a_case_here():
    assert HOST.keys() == HOST_ACCESS.keys()


@pytest.mark.parametrize("name", HOST)
def test_what_is_taken_from_the_node_is_host_access(name: str):
    assert used(HOST[name]) == {f"use hostaccess.narrowgate.dev/{name} -n ci"}


@pytest.mark.parametrize(
    "context",
    [
        {"appArmorProfile": {"type": "Unconfined"}},
        {"procMount": "Unmasked"},
        {"seLinuxOptions": {"type": "spc_t"}},
        {"seLinuxOptions": {"user": "system_u"}},
    ],
)
def test_all_ways_out_of_confinement_have_one_name(context: dict[str, Any]):
    assert used({"containers": [{"securityContext": context}]}) == {"use hostaccess.narrowgate.dev/unconfined -n ci"}


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": False, "hostPID": None, "nodeName": ""},
        {
            "containers": [
                {"securityContext": {"privileged": False, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}}
            ]
        },
        {"securityContext": {"runAsUser": 0, "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}},
        {"containers": [{"securityContext": {"seLinuxOptions": {"level": "s0"}, "procMount": "Default"}}]},
        {"containers": [{"ports": [{"containerPort": 80, "hostPort": 0}]}]},
        {"volumes": [{"name": "v", "emptyDir": {}}]},
    ],
)
def test_what_the_baseline_profile_permits_is_no_host_access(spec: dict[str, Any]):
    assert used(spec) == set()


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": "x", "containers": {"name": "c"}, "imagePullSecrets": [1, None], "securityContext": 5},
        {"volumes": [{"secret": "s"}, {"secret": {"secretName": 5}}, {"projected": {"sources": {"a": 1}}}]},
        {"containers": [{"env": [{"valueFrom": []}], "envFrom": [None], "ports": 3, "securityContext": []}]},
        {"serviceAccountName": {"a": 1}},
    ],
)
def test_fields_of_the_wrong_type_are_passed_over(spec: dict[str, Any]):
    assert used(spec) == set()


def test_a_use_says_where_it_is_named():
    spec = {"volumes": [{"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}]}
    assert [use.because for use in pod_spec(spec, "spec.template.spec", "ci")] == [
        "spec.template.spec.volumes[1].secret.secretName"
    ]
