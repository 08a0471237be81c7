"""What is read of a namespace, where API servers answer in pages, refuse, or say what no API server says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told

from narrowgate.cli.api_server import ApiServer
from narrowgate.cli.namespace_reader import WORKLOADS, NamespaceReader, NotRead
from narrowgate.core.account_rights import Account
from narrowgate.core.cluster import ClusterAccess
from narrowgate.core.egress import Target

PODS = "/api/v1/namespaces/ci/pods?limit=500"


def access(scripted: ScriptedGate) -> ClusterAccess:
    return ClusterAccess(
        name="dev",
        host="127.0.0.1",
        port=scripted.port,
        certificate_authority=scripted.authority_pem.encode(),
        token="abc",
    )


def listed(*items: Any, after: str = "") -> Any:
    return told({"metadata": {"continue": after}, "items": list(items)})


def pod(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"serviceAccountName": "runner"}, **more}


@pytest.fixture
def reader(scripted: ScriptedGate) -> Iterator[NamespaceReader]:
    with ApiServer(access(scripted)) as server:
        yield NamespaceReader(server, "ci")


def test_pods_come_page_by_page_and_those_that_have_ended_are_left_out(
    reader: NamespaceReader, scripted: ScriptedGate
) -> None:
    scripted.answers(PODS, listed(pod("one"), pod("done", status={"phase": "Succeeded"}), after="x/y"))
    scripted.answers(f"{PODS}&continue=x/y", listed(pod("two")))
    found = reader.pods()
    assert [(one.where, one.account, one.runs) for one in found] == [
        ("pod one", "runner", True),
        ("pod two", "runner", True),
    ]
    assert found[0].labels == {"a": "b"}


def test_what_makes_pods_is_read_where_its_kind_keeps_them_and_once(
    reader: NamespaceReader, scripted: ScriptedGate
) -> None:
    for group, resource in WORKLOADS:
        base = f"/apis/{group}/v1" if group else "/api/v1"
        scripted.answers(f"{base}/namespaces/ci/{resource}?limit=500", listed())
    template = {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"hostPID": True}}}
    web = {"metadata": {"name": "web"}, "spec": template}
    owned = {"metadata": {"name": "web-1", "ownerReferences": [{"controller": True}]}, "spec": template}
    nightly = {"metadata": {"name": "nightly"}, "spec": {"jobTemplate": {"spec": template}}}
    scripted.answers("/apis/apps/v1/namespaces/ci/deployments?limit=500", listed(web))
    scripted.answers("/apis/apps/v1/namespaces/ci/replicasets?limit=500", listed(owned))
    scripted.answers("/apis/batch/v1/namespaces/ci/cronjobs?limit=500", listed(nightly))
    found = reader.templates()
    assert [(one.where, one.labels, one.spec, one.account) for one in found] == [
        ("deployments web", {"a": "b"}, {"hostPID": True}, "default"),
        ("cronjobs nightly", {"a": "b"}, {"hostPID": True}, "default"),
    ]


@pytest.mark.parametrize("answer", [told({"message": "pods is forbidden"}, 403), told(b"no json"), told([])])
def test_what_cannot_be_read_is_told_by_its_name(reader: NamespaceReader, scripted: ScriptedGate, answer: Any) -> None:
    scripted.answers(PODS, answer)
    with pytest.raises(NotRead, match="pods: "):
        reader.pods()


def test_roles_and_bindings_become_rights(reader: NamespaceReader, scripted: ScriptedGate) -> None:
    base = "/apis/rbac.authorization.k8s.io/v1"
    role = {"metadata": {"name": "all"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}
    subject = {"kind": "ServiceAccount", "name": "runner", "namespace": "ci"}
    binding = {
        "metadata": {"name": "x", "namespace": "ci"},
        "roleRef": {"kind": "ClusterRole", "name": "all"},
        "subjects": [subject],
    }
    for name, items in {
        "clusterroles": [role],
        "roles": [],
        "clusterrolebindings": [],
        "rolebindings": [binding],
    }.items():
        scripted.answers(f"{base}/{name}?limit=500", listed(*items))
    (held,) = reader.rights().rights_of(Account("ci", "runner"))
    assert str(held) == "everything in ci (RoleBinding ci/x)"
    scripted.answers(f"{base}/roles?limit=500", listed({"metadata": {"name": 1}}))
    with pytest.raises(NotRead, match="roles and bindings"):
        reader.rights()


def test_targets_are_the_api_servers_what_lies_beside_them_and_the_nodes(
    reader: NamespaceReader, scripted: ScriptedGate
) -> None:
    scripted.answers("/api/v1/namespaces/default/services/kubernetes", told({"spec": {"clusterIPs": ["10.96.0.1"]}}))
    piece = {"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 6443}]}
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    scripted.answers(f"{slices}?limit=500&labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes", listed(piece))
    addresses = [{"type": "InternalIP", "address": "10.0.0.9"}, {"type": "Hostname", "address": "n1"}]
    other = {"addresses": [{"type": "ExternalIP", "address": "192.0.2.9"}], "daemonEndpoints": {
        "kubeletEndpoint": {"Port": 10999}}}  # fmt: skip
    scripted.answers("/api/v1/nodes?limit=500", listed({"status": {"addresses": addresses}}, {"status": other}))
    assert reader.targets() == [
        Target("the API server", "10.96.0.1", 443),
        Target("the API server", "10.0.0.1", 6443),
        Target("etcd", "10.0.0.1", 2379),
        Target("the kubelets", "10.0.0.9", 10250),
        Target("the kubelets", "192.0.2.9", 10999),
        Target("the cloud's metadata", "169.254.169.254", 80),
        Target("the cloud's metadata", "fd00:ec2::254", 80),
    ]


def test_volumes_are_those_of_the_namespaces_own_claims(reader: NamespaceReader, scripted: ScriptedGate) -> None:
    ours, others = ({"spec": {"claimRef": {"namespace": name, "name": "c"}}} for name in ("ci", "other"))
    scripted.answers("/api/v1/persistentvolumes?limit=500", listed(ours, others, {"spec": {}}))
    assert reader.volumes() == [ours]


def test_a_name_is_one_segment_of_the_path(scripted: ScriptedGate) -> None:
    with ApiServer(access(scripted)) as server, pytest.raises(NotRead, match=r"pod \.\./x"):
        NamespaceReader(server, "a/../b?c").pod("../x")
    assert scripted.calls[-1].path == "/api/v1/namespaces/a%2F..%2Fb%3Fc/pods/..%2Fx"
