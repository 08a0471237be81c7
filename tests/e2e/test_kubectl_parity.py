"""What kubectl changes through a gate that allows everything, and what it says about it, is what it does without.

A scenario is a list of kubectl calls. It runs directly in one namespace and through the gate in its twin; exit codes
and outputs of every call are then compared, so that a scenario asserts by showing what it made (`get -o yaml`).
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl, normal
from tests.e2e.workloads import configmap, container, deployment, pod, pod_spec, service, yaml_of

IMAGE = "IMAGE"
"""Stands for the cluster's image in the documents below, which are made before the cluster is known."""


@dataclass(frozen=True)
class Step:
    """One call as typed, and what it reads. `{ns}` is the side's namespace, `{wide}` names its cluster-wide objects."""

    call: str
    stdin: str = ""


@dataclass(frozen=True)
class Scenario:
    name: str
    steps: tuple[Step, ...]


def do(call: str, *documents: dict[str, Any]) -> Step:
    return Step(call, yaml_of(*documents).decode() if documents else "")


def scenario(name: str, *steps: str | Step) -> Scenario:
    return Scenario(name, tuple(Step(step) if isinstance(step, str) else step for step in steps))


def node(name: str) -> dict[str, Any]:
    """A node without a machine: what cordon, taint and drain do to it disturbs nobody."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"unschedulable": False}}


def crd(group: str) -> dict[str, Any]:
    names = {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["gd"]}
    properties = {"spec": {"type": "object", "properties": {"size": {"type": "integer", "description": "How big."}}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def gadget(group: str, size: int) -> dict[str, Any]:
    metadata = {"name": "one"}
    return {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": metadata, "spec": {"size": size}}


def applied_by(name: str, colour: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"colour": colour}}


def job_spec(script: str) -> dict[str, Any]:
    return {"template": {"spec": {**pod_spec(IMAGE, script), "restartPolicy": "Never"}}, "backoffLimit": 0}


JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": job_spec("echo done")}
CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "nightly"},
    "spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": job_spec("echo from cron")}},
}
STATEFUL_SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db"},
    "spec": {
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod_spec(IMAGE)},
    },
}
BROKEN_DEPLOYMENT = {**deployment("broken", IMAGE), "spec": {"replicas": "many"}}
CONTAINERLESS_POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "none"}, "spec": {"containers": []}}
# One certificate request in PEM, base64 of it; nothing is ever signed from it.
CSR = Path(__file__).with_name("request.csr.b64")
PRUNED = {**applied_by("kept", "red"), "metadata": {"name": "kept", "labels": {"prune": "yes"}}}
VARIABLE = '{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"A","value":"1"}]}]}}}}'
ON_THE_NODES_NETWORK = '{"spec":{"hostNetwork":true}}'
NO_PULL = "--image={image} --image-pull-policy=Never"
HELPER_ENDED = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0"
ROLLED = deployment("rolled", IMAGE)
DRAINED = pod("drained", IMAGE, nodeName="{wide}")

SCENARIOS = (
    scenario(
        "create, one of each",
        "create configmap cm --from-literal=a=1 --from-literal=b=2",
        "create configmap cm --from-literal=a=1",
        "create secret generic s --from-literal=password=hunter2",
        "create serviceaccount sa",
        "create role r --verb=get,list --resource=pods,pods/log",
        "create rolebinding rb --role=r --serviceaccount={ns}:sa",
        "create clusterrole {wide} --verb=get --resource=nodes",
        "create clusterrolebinding {wide} --clusterrole={wide} --serviceaccount={ns}:sa",
        "create quota q --hard=pods=50,configmaps=50",
        "create poddisruptionbudget p --selector=app=nobody --min-available=1",
        "create ingress i --rule=example.com/path=svc:80",
        "create service clusterip svc --tcp=80:8080",
        "create service nodeport np --tcp=81:8081",
        "create service externalname ext --external-name=example.com",
        "create priorityclass {wide} --value=7 --description=seven",
        "get configmap/cm secret/s serviceaccount/sa role/r rolebinding/rb pdb/p ingress/i service/svc -o yaml",
        "delete clusterrolebinding {wide}",
        "delete clusterrole {wide}",
        "delete priorityclass {wide}",
        "delete quota q",
        "create configmap dry --from-literal=a=1 --dry-run=server -o yaml",
        "create configmap dry --from-literal=a=1 --dry-run=client -o yaml",
        "get configmap dry",
    ),
    scenario(
        "create from documents, and what the server refuses",
        do("create -f -", configmap("doc-1", a="1"), configmap("doc-2", a="2")),
        do("create -f -", configmap("doc-1", a="1"), configmap("doc-3", a="3")),
        do("create -f -", BROKEN_DEPLOYMENT),
        do("create -f -", CONTAINERLESS_POD),
        do("create --validate=false -f -", CONTAINERLESS_POD),
        Step("create -f -", "kind: [unclosed"),
        Step("create -f -", '{"apiVersion":"nonsense.example.com/v1","kind":"Nonsense","metadata":{"name":"x"}}'),
        Step("create -f -", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"NOT A NAME"}}'),
        Step("create -f -", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default"}}'),
        Step("create -f -", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-"}}'),
        Step("create -f -", '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"odd"},"datta":{}}'),
        "get configmaps -o name -l app=config",
    ),
    scenario(
        "apply on the client's side",
        do("apply -f -", applied_by("client", "red")),
        do("apply -f -", applied_by("client", "red")),
        do("diff -f -", applied_by("client", "green")),
        do("apply -f -", applied_by("client", "green")),
        do("apply -f - --dry-run=server -o yaml", applied_by("client", "blue")),
        do("apply view-last-applied -f -", applied_by("client", "green")),
        "get configmap client -o yaml",
        do("apply --prune -l prune=yes -f -", PRUNED),
        "create configmap unmanaged --from-literal=a=1",
        do("apply -f -", applied_by("unmanaged", "red")),
        "get configmaps -o name --field-selector=metadata.name=kept",
    ),
    scenario(
        "apply on the server's side, conflicts included",
        do("apply --server-side --field-manager=one -f -", applied_by("server", "red")),
        do("apply --server-side --field-manager=two -f -", applied_by("server", "green")),
        do("apply --server-side --field-manager=two --force-conflicts -f -", applied_by("server", "green")),
        do("apply --server-side --field-manager=one -f -", applied_by("server", "red")),
        do("diff --server-side --field-manager=two -f -", applied_by("server", "blue")),
        "get configmap server -o yaml --show-managed-fields",
    ),
    scenario(
        "patch, three kinds and a subresource",
        do("create -f -", deployment("patched", IMAGE, replicas=0)),
        f"patch deployment patched -p '{VARIABLE}'",
        """patch deployment patched --type=merge -p '{"metadata":{"labels":{"kind":"merge"}}}'""",
        """patch deployment patched --type=json -p '[{"op":"add","path":"/metadata/labels/json","value":"yes"}]'""",
        """patch deployment patched --type=json -p '[{"op":"test","path":"/metadata/labels/json","value":"no"}]'""",
        """patch deployment patched --type=json -p '[{"op":"remove","path":"/nothing/there"}]'""",
        """patch deployment patched --type=merge --subresource=scale -p '{"spec":{"replicas":0}}'""",
        """patch deployment patched -p '{"metadata":{"labels":{"kind":"merge"}}}'""",
        """patch deployment absent -p '{}'""",
        """patch deployment patched -p '{"spec":{"replicas":-1}}'""",
        "get deployment patched -o yaml",
    ),
    scenario(
        "replace and its conflicts",
        "create configmap replaced --from-literal=a=1",
        do("replace -f -", configmap("replaced", a="2")),
        do("replace -f -", {**configmap("replaced", a="3"), "metadata": {"name": "replaced", "resourceVersion": "1"}}),
        do("replace --force -f -", configmap("replaced", a="4")),
        do("replace -f -", configmap("absent", a="1")),
        "get configmap replaced -o yaml",
    ),
    scenario(
        "edit",
        "create configmap edited --from-literal=colour=red",
        "edit configmap edited",
        "get configmap edited -o yaml",
    ),
    scenario(
        "delete, every way",
        "create configmap gone-1 --from-literal=a=1",
        "create configmap gone-2 --from-literal=a=1",
        "create configmap gone-3 --from-literal=a=1",
        "create configmap gone-4 --from-literal=a=1",
        "label configmap gone-3 gone-4 fate=gone",
        "delete configmap gone-1 --dry-run=server",
        "delete configmap gone-1",
        "delete configmap gone-1",
        "delete configmap gone-1 --ignore-not-found",
        "delete configmap gone-2 absent",
        "delete configmaps -l fate=gone",
        "delete configmaps -l fate=gone",
        "delete --raw /api/v1/namespaces/{ns}/configmaps/absent",
        do("create -f -", deployment("orphans", IMAGE, replicas=0)),
        "wait --for=jsonpath={.status.observedGeneration}=1 deployment/orphans --timeout=30s",
        "delete deployment orphans --cascade=orphan",
        "get replicasets -l app=orphans -o name",
        "delete replicasets -l app=orphans",
        do("create -f -", pod("killed", IMAGE)),
        "delete pod killed --grace-period=0 --force",
        "delete pods --all",
    ),
    scenario(
        "labels and annotations",
        "create configmap marked --from-literal=a=1",
        "label configmap marked colour=red",
        "label configmap marked colour=green",
        "label configmap marked colour=green --overwrite",
        "label configmap marked colour-",
        "label configmap marked colour-",
        "label configmap marked 'not a label'",
        "annotate configmap marked note='some words, with commas'",
        "annotate configmap marked note=other",
        "annotate configmap marked note-",
        "label configmap --all seen=yes --field-selector=metadata.name=marked",
        "get configmap marked -o yaml",
    ),
    scenario(
        "rollout, from first revision to undo",
        do("create -f -", ROLLED),
        "rollout status deployment/rolled --timeout=60s",
        "set env deployment/rolled A=1",
        "rollout status deployment/rolled --timeout=60s",
        "rollout restart deployment/rolled",
        "rollout status deployment/rolled --timeout=60s",
        "rollout history deployment/rolled",
        "rollout undo deployment/rolled --to-revision=1",
        "rollout status deployment/rolled --timeout=60s",
        "rollout history deployment/rolled",
        "rollout undo deployment/rolled --to-revision=99",
        "rollout pause deployment/rolled",
        "rollout pause deployment/rolled",
        "rollout resume deployment/rolled",
        "get deployment rolled -o jsonpath={.spec.template.spec.containers[0].env}",
        "delete deployment rolled --cascade=foreground --timeout=60s",
    ),
    scenario(
        "scale, autoscale, set and expose",
        do("create -f -", deployment("sized", IMAGE, replicas=0)),
        "scale deployment sized --replicas=1",
        "scale deployment sized --replicas=2 --current-replicas=7",
        "scale deployment absent --replicas=1",
        "wait --for=condition=Available deployment/sized --timeout=60s",
        "scale deployment sized --replicas=0",
        "autoscale deployment sized --min=1 --max=3 --cpu=80",
        "autoscale deployment sized --min=1 --max=3 --cpu=80",
        "get hpa sized -o jsonpath={.spec.maxReplicas}",
        "delete hpa sized",
        "set image deployment/sized main={image}",
        "set image deployment/sized nonsense={image}",
        "set resources deployment/sized --limits=cpu=200m,memory=64Mi",
        "set serviceaccount deployment/sized default",
        "expose deployment sized --port=80 --target-port=8080",
        "expose deployment sized --port=80",
        "set selector service sized app=other",
        "get service sized -o jsonpath={.spec.selector}{.spec.ports}",
        "get deployment sized -o jsonpath={.spec.template.spec.containers[0].resources}",
    ),
    scenario(
        "jobs, stateful sets, run",
        do("create -f -", JOB),
        "wait --for=condition=complete job/once --timeout=60s",
        "logs job/once",
        do("create -f -", CRON_JOB),
        "create job by-hand --from=cronjob/nightly",
        "wait --for=condition=complete job/by-hand --timeout=60s",
        "logs job/by-hand",
        "delete job once by-hand",
        do("create -f -", STATEFUL_SET),
        "rollout status statefulset/db --timeout=60s",
        "get pod db-0 -o jsonpath={.metadata.name}:{.status.phase}",
        "scale statefulset db --replicas=0",
        "wait --for=delete pod/db-0 --timeout=60s",
        f"run ran {NO_PULL} --restart=Never --overrides='{ON_THE_NODES_NETWORK}' -- echo ran",
        "wait --for=jsonpath={.status.phase}=Succeeded pod/ran --timeout=60s",
        "logs ran",
        "run ran --image={image} --restart=Never",
        "delete pod ran",
    ),
    scenario(
        "a node of no machine: cordon, taint, drain",
        do("create -f -", node("{wide}")),
        "cordon {wide}",
        "cordon {wide}",
        "uncordon {wide}",
        "taint node {wide} colour=red:NoSchedule",
        "taint node {wide} colour=green:NoSchedule",
        "taint node {wide} colour=green:NoSchedule --overwrite",
        "taint node {wide} colour-",
        "taint node {wide} colour-",
        "label node {wide} zone=here",
        do("create -f -", DRAINED),
        "drain {wide}",
        "drain {wide} --force --grace-period=0 --dry-run=server",
        "drain {wide} --force --grace-period=0 --timeout=60s",
        "get pod drained",
        "get node {wide} -o jsonpath={.spec.unschedulable}",
        "delete node {wide}",
        "cordon absent",
    ),
    scenario(
        "certificates and tokens",
        Step(
            "create -f -",
            '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"{wide}"},'
            '"spec":{"signerName":"example.com/none","usages":["client auth"],"request":"CSR-PEM"}}',
        ),
        "certificate approve {wide}",
        "certificate deny {wide}",
        "get csr {wide} -o jsonpath={.status.conditions[*].type}",
        "delete csr {wide}",
        "certificate approve absent",
        "create token default --duration=10m",
        "create token absent",
        "create token default --duration=1s",
    ),
    scenario(
        "a resource that did not exist a moment ago",
        "get gadgets.{wide}.example.com",
        do("create -f -", crd("{wide}.example.com")),
        "wait --for=condition=Established crd/gadgets.{wide}.example.com --timeout=30s",
        do("create -f -", gadget("{wide}.example.com", 1)),
        do("apply -f -", gadget("{wide}.example.com", 2)),
        "get gadgets.{wide}.example.com",
        "get gadget.{wide}.example.com one -o yaml",
        """patch gadgets.{wide}.example.com one --type=merge -p '{"spec":{"size":"big"}}'""",
        "explain gadgets.spec --api-version={wide}.example.com/v1",
        "delete gadgets.{wide}.example.com one",
        "delete crd gadgets.{wide}.example.com",
        "get gadgets.{wide}.example.com",
    ),
    scenario(
        "a namespace from beginning to end",
        "create namespace {wide}",
        "create configmap inside -n {wide} --from-literal=a=1",
        "get configmap inside -n {wide} -o yaml",
        "delete namespace {wide} --timeout=60s",
        "get namespace {wide}",
        "create configmap inside -n {wide} --from-literal=a=1",
    ),
    scenario(
        "debug, in the pod and beside it",
        do("create -f -", pod("sick", IMAGE)),
        "wait --for=condition=Ready pod/sick --timeout=60s",
        f"debug sick {NO_PULL} -c helper --profile=general -- sh -c 'echo from the helper'",
        f"wait --for={HELPER_ENDED} pod/sick --timeout=60s",
        "logs sick -c helper",
        f"debug sick {NO_PULL} --copy-to=healthy --container=main -- sh -c 'echo from the copy'",
        "wait --for=jsonpath={.status.containerStatuses[0].restartCount}=1 pod/healthy --timeout=60s",
        "logs healthy",
        "debug absent --image={image}",
        "delete pod sick healthy",
    ),
    scenario(
        "a pod that crashed tells why",
        do("create -f -", pod("crashing", IMAGE, "echo about to fail; exit 3")),
        "wait --for=jsonpath={.status.containerStatuses[0].restartCount}=1 pod/crashing --timeout=60s",
        "logs crashing --previous",
        "get pod crashing -o jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}",
        "delete pod crashing --now",
    ),
    scenario(
        "services, endpoints, events",
        do("create -f -", service("fronted", 8080)),
        do("create -f -", pod("fronted", IMAGE)),
        "wait --for=condition=Ready pod/fronted --timeout=60s",
        "get endpointslices -l kubernetes.io/service-name=fronted -o jsonpath={.items[*].ports[*].port}",
        "events --for=pod/fronted --types=Warning",
        "get events --field-selector=involvedObject.name=fronted,reason=Started -o jsonpath={.items[*].message}",
        "delete pod,service fronted",
    ),
    scenario(
        "containers beside each other share a log",
        do("create -f -", pod("double", IMAGE, "echo from main; sleep 1; exit 0", restartPolicy="Never",
                              initContainers=[container("before", IMAGE, "echo from before")])),
        "wait --for=jsonpath={.status.phase}=Succeeded pod/double --timeout=60s",
        "logs double",
        "logs double -c before",
        "delete pod double",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the twins: its kubectl, and the names that only it has."""

    kubectl: Kubectl
    namespace: str
    image: str
    csr: str

    @property
    def wide(self) -> str:
        """The name for objects that live in no namespace."""
        return f"{self.namespace}-wide"

    def run(self, step: Step) -> str:
        """The call, what it printed and its exit code, as one would paste it from a terminal."""
        # Replaced by name, not by str.format: JSON and jsonpath are full of braces.
        call = step.call.replace("{ns}", self.namespace).replace("{wide}", self.wide).replace("{image}", self.image)
        stdin = step.stdin.replace("{wide}", self.wide).replace(IMAGE, self.image).replace("CSR-PEM", self.csr)
        done = self.kubectl(*shlex.split(call), stdin=stdin.encode())
        names = (self.namespace, self.wide)
        out, err = normal(done.out, *names), normal(done.err, *names)
        return f"$ kubectl {step.call}\n{out}\n--- stderr, exit code {done.code}\n{err}"


@pytest.fixture(scope="module")
def sides(
    cluster: Cluster, direct: Kubectl, through: Kubectl, new_namespace: Callable[[str], str]
) -> tuple[Side, Side]:
    # The editor of `kubectl edit` is a program: the same change on both sides.
    editor = {"EDITOR": "sed -i s/red/green/"}
    csr = CSR.read_text().strip()
    one, other = new_namespace("twin-a"), new_namespace("twin-b")
    return (
        Side(direct.within(one).using(editor), one, cluster.image, csr),
        Side(through.within(other).using(editor), other, cluster.image, csr),
    )


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.name)
def test_a_scenario_goes_the_same_way_through_the_gate(case: Scenario, sides: tuple[Side, Side]) -> None:
    # Both at once: the twins have nothing in common, and most of a scenario is waiting for pods.
    with ThreadPoolExecutor(max_workers=2) as pool:
        expected, found = pool.map(lambda side: "\n".join(side.run(step) for step in case.steps), sides)

    difference = "\n".join(
        difflib.unified_diff(expected.splitlines(), found.splitlines(), "direct", "gate", lineterm="", n=8)
    )
    assert found == expected, difference


# What no reader can make sense of, the gate refuses by itself, in words of its own; the answer is of the same sort.
UNREADABLE = {
    "an empty body": ("create --raw /api/v1/namespaces/{ns}/configmaps -f /dev/null", ""),
    "a patch that is no object": ("patch configmap unreadable -p '[1]'", ""),
    "half an object": ("create --raw /api/v1/namespaces/{ns}/configmaps -f -", '{"kind":'),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_body_nobody_can_read_is_refused_as_the_server_refuses_it(name: str, sides: tuple[Side, Side]) -> None:
    for side in sides:
        side.kubectl("create", "configmap", "unreadable")
    call, stdin = UNREADABLE[name]

    answers = [side.kubectl(*shlex.split(call.replace("{ns}", side.namespace)), stdin=stdin.encode()) for side in sides]

    assert [answer.code for answer in answers] == [1, 1]
    assert [b"(BadRequest)" in answer.err for answer in answers] == [True, True]
