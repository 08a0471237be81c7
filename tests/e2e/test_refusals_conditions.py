"""Rules that look at the object that is written: at its image, its labels, what it was before, and what it uses.

The object is judged as it would be stored, whichever road (create, update, three kinds of patch, apply) leads there.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow, deny
from tests.e2e.workloads import configmap, deployment, pod, yaml_of

KubectlOf = Callable[[Agent], Kubectl]


def test_a_condition_on_the_image_holds_however_the_image_is_written(
    gate: Gate, cluster: Cluster, kubectl_of: KubectlOf, namespace: str
) -> None:
    rules = [
        allow("deploy", "*", "deployments", namespace, groups=["apps"]),
        {
            **allow("on-the-nodes-network", "use", "hostaccess", namespace, groups=["narrowgate.dev"]),
            "names": ["hostNetwork"],
        },
        deny(
            "only-our-image",
            "create update patch",
            "deployments",
            groups=["apps"],
            namespaces=[namespace],
            when='object.spec.template.spec.containers.exists(c, !c.image.startsWith("local/"))',
        ),
    ]
    kubectl = kubectl_of(gate.agent("deployer", rules)).within(namespace)
    good, bad = deployment("imaged", cluster.image, replicas=0), deployment("imaged", "evil/image:1", replicas=0)
    image = '{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"evil/image:1"}]}}}}'
    json_patch = '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil/image:1"}]'

    assert kubectl("create", "-f", "-", stdin=yaml_of(bad)).code == 1
    assert kubectl("create", "-f", "-", stdin=yaml_of(good)).code == 0
    refused = [
        kubectl("set", "image", "deployment/imaged", "main=evil/image:1"),
        kubectl("patch", "deployment", "imaged", "-p", image),
        kubectl("patch", "deployment", "imaged", "--type=json", "-p", json_patch),
        kubectl("apply", "-f", "-", stdin=yaml_of(bad)),
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml_of(bad)),
        kubectl("replace", "-f", "-", stdin=yaml_of(bad)),
        kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml_of({**bad, "metadata": {"name": "imaged-2"}})),
    ]

    for ran in refused:
        assert ran.code == 1
        assert b"only-our-image" in ran.err
    # What the condition does not mind passes, by the same roads.
    for call in (
        ("patch", "deployment", "imaged", "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}'),
        ("set", "env", "deployment/imaged", "A=1"),
        ("scale", "deployment", "imaged", "--replicas=0"),
    ):
        if call[0] != "scale":
            assert kubectl(*call).code == 0, call
    found = kubectl.must("get", "deployment", "imaged", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert found == cluster.image


def test_an_allow_with_a_condition_covers_only_the_objects_that_meet_it(
    gate: Gate, kubectl_of: KubectlOf, namespace: str
) -> None:
    mine = allow(
        "mine", "create update patch", "configmaps", namespace,
        when='has(object.metadata.labels) && object.metadata.labels.team == "a"',
    )  # fmt: skip
    rules = [allow("read", "get list", "configmaps", namespace), mine]
    kubectl = kubectl_of(gate.agent("team-a", rules)).within(namespace)

    def labelled(team: str, name: str) -> bytes:
        return yaml_of({**configmap(name, x="1"), "metadata": {"name": name, "labels": {"team": team}}})

    assert kubectl("create", "-f", "-", stdin=labelled("a", "of-a")).code == 0
    assert kubectl("create", "-f", "-", stdin=labelled("b", "of-b")).code == 1
    assert kubectl("create", "-f", "-", stdin=yaml_of(configmap("of-none", x="1"))).code == 1
    assert kubectl("patch", "configmap", "of-a", "--type=merge", "-p", '{"data":{"x":"2"}}').code == 0
    assert kubectl("label", "configmap", "of-a", "team=b", "--overwrite").code == 1
    assert kubectl("patch", "configmap", "cm-1", "--type=merge", "-p", '{"data":{"x":"2"}}').code == 1


def test_a_condition_may_look_at_the_object_as_it_was(
    gate: Gate, kubectl_of: KubectlOf, direct: Kubectl, namespace: str
) -> None:
    frozen = deny(
        "frozen", "update patch", "configmaps", namespaces=[namespace],
        when='has(oldObject.metadata.labels) && "frozen" in oldObject.metadata.labels',
    )  # fmt: skip
    rules = [allow("write", "get update patch", "configmaps", namespace), frozen]
    kubectl = kubectl_of(gate.agent("thaws", rules)).within(namespace)
    for name in ("soft", "hard"):
        direct.within(namespace).must("create", "configmap", name, "--from-literal=a=1")
    direct.within(namespace).must("label", "configmap", "hard", "frozen=yes")

    assert kubectl("label", "configmap", "soft", "b=c").code == 0
    unfreezing = kubectl("label", "configmap", "hard", "frozen-")

    assert unfreezing.code == 1
    assert b"frozen" in unfreezing.err


def test_a_workload_is_refused_for_a_secret_its_author_may_not_read(
    gate: Gate, cluster: Cluster, kubectl_of: KubectlOf, namespace: str
) -> None:
    rules = [
        allow("pods", "create get delete", "pods", namespace),
        {**allow("network", "use", "hostaccess", namespace, groups=["narrowgate.dev"]), "names": ["hostNetwork"]},
    ]
    kubectl = kubectl_of(gate.agent("podder", rules)).within(namespace)
    secret = pod("thief", cluster.image, volumes=[{"name": "v", "secret": {"secretName": "crown-jewels"}}])
    account = pod("puppet", cluster.image, serviceAccountName="strong")

    with_secret = kubectl("create", "-f", "-", stdin=yaml_of(secret))
    with_account = kubectl("create", "-f", "-", stdin=yaml_of(account))

    assert (with_secret.code, with_account.code) == (1, 1)
    assert b"crown-jewels" in with_secret.err
    assert b"volumes[0]" in with_secret.err
    assert b"strong" in with_account.err
    assert kubectl("create", "-f", "-", stdin=yaml_of(pod("honest", cluster.image))).code == 0
    kubectl("delete", "pod", "honest", "--wait=false")


def test_the_labels_by_which_a_namespace_lowers_its_guard_can_be_kept_from_those_who_label_it(
    gate: Gate, kubectl_of: KubectlOf, new_namespace: Callable[[str], str]
) -> None:
    # Whoever may label a namespace may switch its pod security off: an administrator in disguise.
    labelled = new_namespace("labelled")
    guard = deny(
        "keep-the-guard-up", "create update patch", "namespaces",
        when='has(object.metadata.labels) && object.metadata.labels.exists(k, k.startsWith("pod-security."))',
    )  # fmt: skip
    kubectl = kubectl_of(gate.agent("labels", [allow("label", "get patch", "namespaces", labelled), guard]))

    assert kubectl("label", "namespace", labelled, "team=a").code == 0
    lowered = kubectl("label", "namespace", labelled, "pod-security.kubernetes.io/enforce=privileged")

    assert lowered.code == 1
    assert b"keep-the-guard-up" in lowered.err
