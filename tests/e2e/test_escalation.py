"""Attempts of an agent to get more than it has by what it may create, each refused, and each leaves nothing behind.

The agent of most of them may write every kind that makes pods, run them as any ServiceAccount, scale them, get into
them, and write roles, bindings and Secrets: what it lacks is what the account `strong` has, namely to read Secrets.
The control group is the same agent with what ordinary work needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.workloads import pod as running_pod
from tests.e2e.workloads import yaml_of

JSON = "application/json"
YAML = "application/yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

KINDS = (
    "pods,podtemplates,replicationcontrollers,replicasets,deployments,daemonsets,statefulsets,jobs,cronjobs,secrets,"
    "roles,rolebindings"
)
READY_SECONDS = 60
SETTLE_SECONDS = 30.0

Body = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where the attempts are made."""

    gate: Gate
    direct: Kubectl
    namespace: str
    image: str
    crd: str
    """The group of a custom resource of this run."""

    def path(self, group: str, resource: str, name: str = "") -> str:
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        return f"{root}/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    def spec(self, account: str, **more: Any) -> Body:
        found = {"containers": [{"name": "main", "image": self.image, "command": ["sleep", "60"]}], **more}
        return {**found, "serviceAccountName": account} if account else found

    def state(self) -> dict[str, str]:
        """Everything in the namespace that an attempt could have made or changed, by kind and name."""
        here = self.direct.within(self.namespace)
        listed = json.loads(here.must("get", f"{KINDS},widgets.{self.crd}", "-o", "json"))
        return {
            f"{item['kind']}/{item['metadata']['name']}": json.dumps(
                [item.get("spec"), item.get("template"), item.get("rules"), item.get("roleRef"), item.get("data")],
                sort_keys=True,
            )
            for item in listed["items"]
        }


WRITE = "get create update patch"
MAKERS = "deployments replicasets statefulsets daemonsets controllerrevisions deployments/scale statefulsets/scale"


def builder_rules(place: Place) -> list[Mapping[str, Any]]:
    here = place.namespace
    return [
        allow("core", WRITE, "pods podtemplates replicationcontrollers pods/ephemeralcontainers", here),
        allow("into", "create", "pods/exec pods/attach pods/portforward", here, mountedSecrets="mask"),
        {key: value for key, value in allow("kubelet", "create", "nodes/proxy", "").items() if key != "namespaces"},
        allow("apps", WRITE, MAKERS, here, groups=["apps"]),
        allow("batch", WRITE, "jobs cronjobs", here, groups=["batch"]),
        allow("custom", WRITE, "widgets", here, groups=[place.crd]),
        allow("accounts", "use", "serviceaccounts", here),
        allow("secrets", "create", "secrets", here),
        allow("rights", WRITE, "roles rolebindings", here, groups=["rbac.authorization.k8s.io"]),
    ]


@pytest.fixture(scope="module")
def place(
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
    run_id: str,
) -> Iterator[Place]:
    """A namespace with a strong account, what runs as it, and a gate of its own that has read no roles yet."""
    namespace = new_namespace("escal")
    here, group = direct.within(namespace), f"escal-{run_id}.narrowgate.test"
    direct.must("apply", "-f", "-", stdin=yaml_of(custom_definition(group)))
    direct.must("wait", "--for=condition=Established", f"crd/widgets.{group}", f"--timeout={READY_SECONDS}s")
    for account in ("strong", "weak"):
        here.must("create", "serviceaccount", account)
    here.must("create", "secret", "generic", "hidden", "--from-literal=key=c2VjcmV0")
    here.must("create", "role", "strong", "--verb=get,list", "--resource=secrets")
    here.must("create", "rolebinding", "strong", "--role=strong", f"--serviceaccount={namespace}:strong")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("gate-escalation"), [entry])
    made = Place(gate, direct, namespace, cluster.image, group)
    here.must("apply", "-f", "-", stdin=yaml_of(running_pod("strong-pod", cluster.image, serviceAccountName="strong")))
    here.must("apply", "-f", "-", stdin=yaml_of(running_pod("weak-pod", cluster.image, serviceAccountName="weak")))
    rooted = running_pod("rooted-pod", cluster.image, hostPID=True, automountServiceAccountToken=False)
    here.must("apply", "-f", "-", stdin=yaml_of(rooted))
    for account in ("strong", "weak"):
        objects = [deployment(f"{account}-deploy", made.spec(account)), cron_job(f"{account}-cron", made.spec(account))]
        here.must("apply", "-f", "-", stdin=yaml_of(*objects))
        here.must("wait", "--for=create", "replicaset", "-l", f"app={account}-deploy", f"--timeout={READY_SECONDS}s")
    for name in ("strong-pod", "weak-pod", "rooted-pod"):
        here.must("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={READY_SECONDS}s")
    gate.start()
    yield made
    gate.stop()
    direct("delete", "crd", f"widgets.{group}", "--wait=false")


@pytest.fixture(scope="module")
def builder(place: Place) -> Agent:
    """May write everything that makes pods, and read no Secret."""
    agent = place.gate.agent("builder", builder_rules(place))
    # The gate knows the custom resource as soon as somebody asks for it.
    path = place.path(f"{place.crd}/v1", "widgets", "none")
    place.gate.wait_until(lambda: agent.request("GET", path).status == 404, "the gate knows the custom resource")
    return agent


@pytest.fixture(scope="module")
def before(place: Place) -> dict[str, str]:
    return place.state()


def custom_definition(group: str) -> Body:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def an_object(version: str, kind: str, name: str, **more: Any) -> Body:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"app": name}}, **more}


def templated(name: str, spec: Body) -> Body:
    return {"selector": {"matchLabels": {"app": name}}, "template": template(name, spec)}


def template(name: str, spec: Body) -> Body:
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def deployment(name: str, spec: Body, replicas: int = 0) -> Body:
    return an_object("apps/v1", "Deployment", name, spec={"replicas": replicas, **templated(name, spec)})


def cron_job(name: str, spec: Body) -> Body:
    job = {"template": template(name, {"restartPolicy": "Never", **spec})}
    return an_object(
        "batch/v1", "CronJob", name, spec={"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}
    )


def pod(spec: Body, name: str = "new", **metadata: Any) -> Body:
    made = an_object("v1", "Pod", name, spec={"terminationGracePeriodSeconds": 0, **spec})
    made["metadata"].update(metadata)
    return made


Attempt = Callable[[Place], tuple[str, str, str, Any]]
"""Method, path, content type and document."""


def created(spec: Callable[[Place], Body], query: str = "", **metadata: Any) -> Attempt:
    return lambda place: ("POST", place.path("v1", "pods") + query, JSON, pod(spec(place), **metadata))


def patched(name: str, form: str, patch: Callable[[Place], Any], query: str = "") -> Attempt:
    return lambda place: ("PATCH", place.path("apps/v1", "deployments", name) + query, form, patch(place))


def of_template(**fields: Any) -> Body:
    return {"spec": {"template": {"spec": fields}}}


def as_volume(**source: Any) -> Attempt:
    return created(lambda place: place.spec("weak", volumes=[{"name": "v", **source}]))


def with_env(**fields: Any) -> Attempt:
    return created(lambda place: place.spec("weak", containers=[{"name": "main", "image": place.image, **fields}]))


def entering(subresource: str, name: str = "strong-pod") -> Attempt:
    return lambda place: ("POST", place.path("v1", "pods", f"{name}/{subresource}"), JSON, None)


TEMPLATED: Mapping[str, tuple[str, str, Callable[[Body], Body]]] = {
    "PodTemplate": ("v1", "podtemplates", lambda spec: {"template": template("new", spec)}),
    "ReplicationController": (
        "v1",
        "replicationcontrollers",
        lambda spec: {"spec": {"replicas": 0, "selector": {"app": "new"}, "template": template("new", spec)}},
    ),
    "ReplicaSet": ("apps/v1", "replicasets", lambda spec: {"spec": {"replicas": 0, **templated("new", spec)}}),
    "Deployment": ("apps/v1", "deployments", lambda spec: {"spec": {"replicas": 0, **templated("new", spec)}}),
    "DaemonSet": ("apps/v1", "daemonsets", lambda spec: {"spec": templated("new", spec)}),
    "StatefulSet": (
        "apps/v1",
        "statefulsets",
        lambda spec: {"spec": {"replicas": 0, "serviceName": "new", **templated("new", spec)}},
    ),
    "ControllerRevision": (
        "apps/v1",
        "controllerrevisions",
        # As the controllers write them: anything else is laid over what is there.
        lambda spec: {"revision": 9, "data": {"spec": {"template": {"$patch": "replace", **template("new", spec)}}}},
    ),
    "Job": (
        "batch/v1",
        "jobs",
        lambda spec: {"spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", **spec}}}},
    ),
    "CronJob": ("batch/v1", "cronjobs", lambda spec: {"spec": cron_job("new", spec)["spec"]}),
}


def in_kind(kind: str, account: str = "strong", query: str = "") -> Attempt:
    version, resource, made = TEMPLATED[kind]

    def attempt(place: Place) -> tuple[str, str, str, Any]:
        document = an_object(version, kind, "new", **made(place.spec(account)))
        return "POST", place.path(version, resource) + query, JSON, document

    return attempt


def custom(**fields: Callable[[Place], Any]) -> Attempt:
    def attempt(place: Place) -> tuple[str, str, str, Any]:
        spec = {key: value(place) for key, value in fields.items()}
        document = an_object(f"{place.crd}/v1", "Widget", "new", spec=spec)
        return "POST", place.path(f"{place.crd}/v1", "widgets"), JSON, document

    return attempt


def scaled(form: str, **scale: Any) -> Attempt:
    method = "PUT" if form == JSON else "PATCH"

    def attempt(place: Place) -> tuple[str, str, str, Any]:
        document = {"spec": {"replicas": 1}, **scale}
        if form == JSON:
            metadata = {"name": "strong-deploy", "namespace": place.namespace}
            document = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, **document}
        return method, place.path("apps/v1", "deployments", "strong-deploy/scale"), form, document

    return attempt


def bound(kind: str, name: str) -> Attempt:
    def attempt(place: Place) -> tuple[str, str, str, Any]:
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": "weak", "namespace": place.namespace}
        document = an_object(
            f"{group}/v1",
            "RoleBinding",
            "new",
            roleRef={"apiGroup": group, "kind": kind, "name": name},
            subjects=[subject],
        )
        return "POST", place.path(f"{group}/v1", "rolebindings"), JSON, document

    return attempt


def cluster_wide(group: str, resource: str, kind: str, method: str = "POST", **fields: Any) -> Attempt:
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    form = JSON if method != "PATCH" else MERGE
    return lambda _place: (method, f"{root}/{resource}", form, an_object(group, kind, "ng-escalation", **fields))


def bare(place: Place) -> Body:
    return template("new", place.spec(""))


def a_revision(data: Body) -> Body:
    return an_object("apps/v1", "ControllerRevision", "new", revision=9, data=data)


def revision(data: Callable[[Place], Body]) -> Attempt:
    return lambda place: ("POST", place.path("apps/v1", "controllerrevisions"), JSON, a_revision(data(place)))


STRONG = "service account .*/strong may also"
LAID_OVER = "laid over what is there"
NO_RULE = "no rule allows|holds nothing"

ATTEMPTS: Mapping[str, tuple[Attempt, str]] = {
    "a pod of a stronger account": (created(lambda place: place.spec("strong")), STRONG),
    "the same tried out first": (created(lambda place: place.spec("strong"), "?dryRun=All"), STRONG),
    "the same by the old field": (created(lambda place: place.spec("", serviceAccount="strong")), STRONG),
    "the same with a name to be made up": (
        lambda place: (
            "POST",
            place.path("v1", "pods"),
            JSON,
            {**pod(place.spec("strong")), "metadata": {"generateName": "new-"}},
        ),
        STRONG,
    ),
    "the same without a token": (
        created(lambda place: place.spec("strong", automountServiceAccountToken=False)),
        STRONG,
    ),
    "the same in YAML": (
        lambda place: ("POST", place.path("v1", "pods"), YAML, pod(place.spec("strong"))),
        STRONG,
    ),
    **{f"a {kind} of it": (in_kind(kind), STRONG) for kind in TEMPLATED},
    "a revision that is laid over what runs as it": (
        revision(lambda place: {"spec": {"template": bare(place)}}),
        LAID_OVER,
    ),
    "a revision with more in it than pods": (
        revision(
            lambda place: {
                "spec": {"template": {"$patch": "replace", **bare(place)}},
                "metadata": {"namespace": "kube-system"},
            }
        ),
        LAID_OVER,
    ),
    "the same by an apply": (
        lambda place: (
            "PATCH",
            place.path("apps/v1", "controllerrevisions", "new") + "?fieldManager=ng",
            APPLY,
            a_revision({"spec": {"template": bare(place)}}),
        ),
        LAID_OVER,
    ),
    "a custom resource with a pod of it": (custom(template=lambda place: {"spec": place.spec("strong")}), STRONG),
    "a custom resource with pods of it in a list": (
        custom(steps=lambda place: [{"pod": place.spec("weak")}, {"pod": place.spec("strong")}]),
        STRONG,
    ),
    "a custom resource that names it": (custom(serviceAccountName=lambda _: "strong"), STRONG),
    "a Deployment replaced": (
        lambda place: (
            "PUT",
            place.path("apps/v1", "deployments", "weak-deploy"),
            JSON,
            deployment("weak-deploy", place.spec("strong")),
        ),
        STRONG,
    ),
    "a merge patch": (patched("weak-deploy", MERGE, lambda _: of_template(serviceAccountName="strong")), STRONG),
    "a strategic patch": (
        patched("weak-deploy", STRATEGIC, lambda _: of_template(serviceAccountName="strong")),
        STRONG,
    ),
    "a strategic patch that replaces": (
        patched(
            "weak-deploy",
            STRATEGIC,
            lambda place: {"spec": {"template": {"spec": {"$patch": "replace", **place.spec("strong")}}}},
        ),
        STRONG,
    ),
    "a JSON patch of the name": (
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda _: [{"op": "replace", "path": "/spec/template/spec/serviceAccountName", "value": "strong"}],
        ),
        STRONG,
    ),
    "a JSON patch of the whole, as rolling back sends it": (
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda place: [
                {"op": "replace", "path": "/spec/template", "value": template("weak-deploy", place.spec("strong"))}
            ],
        ),
        STRONG,
    ),
    "a JSON patch that copies the name": (
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda _: [
                {"op": "add", "path": "/metadata/labels/x", "value": "strong"},
                {"op": "copy", "from": "/metadata/labels/x", "path": "/spec/template/spec/serviceAccountName"},
            ],
        ),
        "moves or copies",
    ),
    "a server-side apply over another": (
        patched(
            "weak-deploy",
            APPLY,
            lambda place: deployment("weak-deploy", place.spec("strong")),
            "?fieldManager=ng&force=true",
        ),
        STRONG,
    ),
    "a server-side apply of a new one": (
        patched("new", APPLY, lambda place: deployment("new", place.spec("strong")), "?fieldManager=ng&force=true"),
        STRONG,
    ),
    "another command in what runs as it": (
        patched(
            "strong-deploy",
            STRATEGIC,
            lambda _: of_template(containers=[{"name": "main", "command": ["sh", "-c", "steal"]}]),
        ),
        STRONG,
    ),
    "another image in what runs as it": (
        patched(
            "strong-deploy",
            JSON_PATCH,
            lambda _: [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil:1"}],
        ),
        STRONG,
    ),
    "a template hidden behind a note": (
        patched(
            "strong-deploy",
            MERGE,
            lambda _: {"metadata": {"annotations": {"a": "b"}}, **of_template(hostname="x")},
        ),
        STRONG,
    ),
    "more of what runs as it, by its scale": (scaled(MERGE), STRONG),
    "more of what runs as it, by a Scale put": (scaled(JSON), STRONG),
    "more of what runs as it, by its replicas": (
        patched("strong-deploy", MERGE, lambda _: {"spec": {"replicas": 1}}),
        STRONG,
    ),
    "a CronJob of it woken up": (
        lambda place: (
            "PATCH",
            place.path("batch/v1", "cronjobs", "strong-cron"),
            MERGE,
            {"spec": {"suspend": False, "schedule": "* * * * *"}},
        ),
        STRONG,
    ),
    "a shell in a pod of it": (entering("exec?command=cat&container=main&stdout=true"), STRONG),
    "an attach to a pod of it": (entering("attach?container=main&stdout=true"), STRONG),
    "a port of a pod of it": (entering("portforward?ports=8001"), STRONG),
    "a shell in a pod that may be there a moment later": (
        entering("exec?command=cat&container=main&stdout=true", "not-yet"),
        "answers 404 to reading the pod",
    ),
    "a shell in a pod that sees the node's processes": (
        entering("exec?command=cat&container=main&stdout=true", "rooted-pod"),
        "hostPID.*pod rooted-pod",
    ),
    "a debug container in a pod that sees the node's processes": (
        lambda place: (
            "PATCH",
            place.path("v1", "pods", "rooted-pod/ephemeralcontainers"),
            STRATEGIC,
            {"spec": {"ephemeralContainers": [{"name": "debug", "image": place.image}]}},
        ),
        "hostPID.*pod rooted-pod",
    ),
    "a command by the kubelet of its node": (
        lambda place: ("POST", f"/api/v1/nodes/any/proxy/run/{place.namespace}/strong-pod/main?cmd=id", JSON, None),
        "any pod of its node",
    ),
    "a debug container in a pod of it": (
        lambda place: (
            "PATCH",
            place.path("v1", "pods", "strong-pod/ephemeralcontainers"),
            STRATEGIC,
            {"spec": {"ephemeralContainers": [{"name": "debug", "image": place.image}]}},
        ),
        STRONG,
    ),
    "a mirror pod": (
        created(lambda place: place.spec("weak"), annotations={"kubernetes.io/config.mirror": "static"}),
        "config.mirror",
    ),
    "a Secret as a volume": (as_volume(secret={"secretName": "hidden"}), "hidden"),
    "a Secret projected": (as_volume(projected={"sources": [{"secret": {"name": "hidden"}}]}), "hidden"),
    "a Secret in a variable": (
        with_env(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "key"}}}]),
        "hidden",
    ),
    "a Secret as the environment": (with_env(envFrom=[{"secretRef": {"name": "hidden"}}]), "hidden"),
    "a Secret to pull with": (
        created(lambda place: place.spec("weak", imagePullSecrets=[{"name": "hidden"}])),
        "hidden",
    ),
    "a folder of the node": (as_volume(hostPath={"path": "/"}), "hostPath"),
    "a privileged container": (with_env(securityContext={"privileged": True}), "privileged"),
    "a capability": (with_env(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "capabilities"),
    "the processes of the node": (created(lambda place: place.spec("weak", hostPID=True)), "hostPID"),
    "the network of the node": (created(lambda place: place.spec("weak", hostNetwork=True)), "hostNetwork"),
    "a node past the scheduler": (created(lambda place: place.spec("weak", nodeName="any")), "nodeName"),
    "a binding to what is there": (bound("Role", "strong"), "bind"),
    "a binding to a cluster's role": (bound("ClusterRole", "cluster-admin"), "bind"),
    "a role with more in it": (
        lambda place: (
            "POST",
            place.path("rbac.authorization.k8s.io/v1", "roles"),
            JSON,
            an_object(
                "rbac.authorization.k8s.io/v1",
                "Role",
                "new",
                rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
            ),
        ),
        "escalate",
    ),
    "a role with more in it by less": (
        lambda place: (
            "PATCH",
            place.path("rbac.authorization.k8s.io/v1", "roles", "strong"),
            JSON_PATCH,
            [{"op": "remove", "path": "/rules/0/resourceNames"}],
        ),
        "escalate",
    ),
    "a token of it": (
        lambda place: (
            "POST",
            place.path("v1", "serviceaccounts", "strong/token"),
            JSON,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["any"]}},
        ),
        NO_RULE,
    ),
    "a Secret that a token of it is written to": (
        lambda place: (
            "POST",
            place.path("v1", "secrets"),
            JSON,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/service-account-token",
                "metadata": {"name": "new", "annotations": {"kubernetes.io/service-account.name": "strong"}},
            },
        ),
        f"serviceaccounts/token|{STRONG}",
    ),
    "a definition of resources": (
        cluster_wide("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", spec={}),
        NO_RULE,
    ),
    "a webhook that changes what others write": (
        cluster_wide(
            "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"
        ),
        NO_RULE,
    ),
    "an API server of its own": (cluster_wide("apiregistration.k8s.io/v1", "apiservices", "APIService"), NO_RULE),
    "a certificate of its own": (
        cluster_wide("certificates.k8s.io/v1", "certificatesigningrequests", "CertificateSigningRequest", spec={}),
        NO_RULE,
    ),
    "a binding for the whole cluster": (
        cluster_wide("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding"),
        NO_RULE,
    ),
    "a node of its own": (cluster_wide("v1", "nodes", "Node"), NO_RULE),
    "a pod put on a node": (
        lambda place: (
            "POST",
            place.path("v1", "pods", "weak-pod/binding"),
            JSON,
            {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "weak-pod"}, "target": {"name": "any"}},
        ),
        NO_RULE,
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_agent_gets_no_more_than_it_has(place: Place, builder: Agent, before: dict[str, str], attempt: str) -> None:
    make, says = ATTEMPTS[attempt]
    refused = sent(builder, make(place))
    assert refused.status in (400, 403), refused.body[:500]
    assert matches(says, refused.message), refused.message
    assert place.state() == before


def sent(agent: Agent, request: tuple[str, str, str, Any]) -> Any:
    method, path, form, document = request
    body = b"" if document is None else json.dumps(document).encode()
    return agent.request(method, path, {"Content-Type": form} if body else {}, body)


def matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def test_a_refusal_says_which_right_by_which_binding(place: Place, builder: Agent) -> None:
    message = sent(builder, created(lambda here: here.spec("strong"))(place)).message
    assert f"service account {place.namespace}/strong may also get secrets in {place.namespace}" in message
    assert f"(RoleBinding {place.namespace}/strong)" in message
    assert "agent:builder may not" in message


ORDINARY: Mapping[str, tuple[Attempt, int]] = {
    "a pod": (created(lambda place: place.spec("", automountServiceAccountToken=False), "?dryRun=All"), 201),
    "a pod of a weak account": (created(lambda place: place.spec("weak"), "?dryRun=All"), 201),
    **{f"a {kind}": (in_kind(kind, "weak", "?dryRun=All"), 201) for kind in TEMPLATED},
    "another image for what is weak": (
        patched(
            "weak-deploy",
            STRATEGIC,
            lambda _: of_template(containers=[{"name": "main", "image": "other:1"}]),
            "?dryRun=All",
        ),
        200,
    ),
    "an apply": (
        patched(
            "weak-deploy",
            APPLY,
            lambda place: deployment("weak-deploy", place.spec("weak")),
            "?fieldManager=ng&force=true&dryRun=All",
        ),
        200,
    ),
    "a note on what is strong": (
        patched("strong-deploy", MERGE, lambda _: {"metadata": {"annotations": {"a": "b"}}}, "?dryRun=All"),
        200,
    ),
    "a restart of what is strong": (
        patched(
            "strong-deploy",
            STRATEGIC,
            lambda _: {
                "spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}
            },
            "?dryRun=All",
        ),
        200,
    ),
    "more of what is weak": (
        lambda place: (
            "PATCH",
            place.path("apps/v1", "deployments", "weak-deploy/scale") + "?dryRun=All",
            MERGE,
            {"spec": {"replicas": 2}},
        ),
        200,
    ),
    "a debug container in what is weak": (
        lambda place: (
            "PATCH",
            place.path("v1", "pods", "weak-pod/ephemeralcontainers") + "?dryRun=All",
            STRATEGIC,
            {"spec": {"ephemeralContainers": [{"name": "debug", "image": place.image}]}},
        ),
        200,
    ),
    "no more of what is strong": (
        lambda place: (
            "PATCH",
            place.path("apps/v1", "deployments", "strong-deploy/scale") + "?dryRun=All",
            MERGE,
            {"spec": {"replicas": 0}},
        ),
        200,
    ),
}


@pytest.mark.parametrize("work", ORDINARY)
def test_ordinary_work_goes_on(place: Place, builder: Agent, work: str) -> None:
    make, status = ORDINARY[work]
    answer = sent(builder, make(place))
    assert answer.status == status, answer.body[:500]


def test_a_pod_of_a_weak_account_is_entered(
    place: Place, builder: Agent, kubectl_of: Callable[[Agent], Kubectl]
) -> None:
    ran = kubectl_of(builder).within(place.namespace)("exec", "weak-pod", "-c", "main", "--", "echo", "inside")
    assert ran.out.decode().strip() == "inside", ran.text


def test_a_rule_that_says_so_lets_pods_be_stronger(place: Place) -> None:
    generous = [
        {**rule, "pods": {"strongerAccounts": "allow"}} if rule["id"] in ("core", "into") else rule
        for rule in builder_rules(place)
    ]
    trusted = place.gate.agent("trusted", generous)
    answer = sent(trusted, created(lambda here: here.spec("strong"), "?dryRun=All")(place))
    assert answer.status == 201, answer.body[:500]


SPEC = "/spec/template/spec"
CONFINED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def narrow(place: Place) -> Agent:
    """May write pods and Deployments, of one account and one image, restricted, without a token."""
    registry = place.image.rpartition("/")[0] + "/*"
    pods = {
        "serviceAccounts": ["weak"],
        "automountToken": "mend",
        "tokenAudiences": ["narrowgate"],
        "level": "restricted",
        "images": [registry],
        "nodeChoice": "deny",
    }
    here = place.namespace
    rules = [
        allow("core", WRITE, "pods", here, pods=pods),
        allow("apps", WRITE, "deployments", here, groups=["apps"], pods=pods),
        allow("accounts", "use", "serviceaccounts", here),
    ]
    return place.gate.agent("narrow", rules)


def confined(place: Place, **more: Any) -> Body:
    container = {"name": "main", "image": place.image, "securityContext": CONFINED}
    return {"serviceAccountName": "weak", "containers": [container], **more}


def projected(**token: Any) -> list[Body]:
    return [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", **token}}]}}]


OUTSIDE: Mapping[str, tuple[Callable[[Place], Body], str]] = {
    "another account": (lambda place: {**confined(place), "serviceAccountName": "default"}, "service account default"),
    "no account": (lambda place: {"containers": confined(place)["containers"]}, "service account default"),
    "another image": (
        lambda place: {**confined(place), "containers": [{**confined(place)["containers"][0], "image": "evil.corp/a"}]},
        "evil.corp",
    ),
    "less confined": (
        lambda place: {**confined(place), "containers": [{"name": "main", "image": place.image}]},
        "is not restricted",
    ),
    "a token for the API server": (lambda place: confined(place, volumes=projected()), "the API server"),
    "a token for somebody else": (lambda place: confined(place, volumes=projected(audience="vault")), "vault"),
    "a node": (lambda place: confined(place, nodeSelector={"a": "b"}), "nodeSelector"),
    "a taint that it stands": (lambda place: confined(place, tolerations=[{"operator": "Exists"}]), "tolerations"),
}  # fmt: skip


@pytest.mark.parametrize("how", OUTSIDE)
def test_pods_are_as_the_rule_says_whoever_makes_them(place: Place, narrow: Agent, how: str) -> None:
    make, says = OUTSIDE[how]
    for attempt in (
        created(make, "?dryRun=All"),
        patched("weak-deploy", JSON_PATCH, lambda here: [{"op": "replace", "path": SPEC, "value": make(here)}]),
        patched("new", APPLY, lambda here: deployment("new", make(here)), "?fieldManager=ng&dryRun=All"),
    ):  # fmt: skip
        refused = sent(narrow, attempt(place))
        assert refused.status == 403, refused.body[:500]
        assert says in refused.message


def test_a_token_that_a_rule_takes_away_is_not_there_and_that_is_told(place: Place, narrow: Agent) -> None:
    for attempt in (
        created(confined, "?dryRun=All"),
        patched("new", APPLY, lambda here: deployment("new", confined(here)), "?fieldManager=ng&dryRun=All"),
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda here: [{"op": "replace", "path": SPEC, "value": confined(here)}],
            "?dryRun=All",
        ),
    ):
        answer = sent(narrow, attempt(place))
        assert answer.status in (200, 201), answer.body[:500]
        made = answer.json()["spec"]
        spec = made["template"]["spec"] if "template" in made else made
        assert spec["automountServiceAccountToken"] is False
        assert "automountServiceAccountToken: false was set" in answer.header("warning")
    event = place.gate.wait_for_event("narrowgate.dev/mended")
    assert "automountServiceAccountToken" in event["annotations"]["narrowgate.dev/mended"]


CSR = (Path(__file__).parent / "request.csr.b64").read_text().strip()
CERTIFICATES = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def request_of(name: str, signer: str) -> Body:
    spec = {"request": CSR, "signerName": signer, "usages": ["client auth"]}
    return {**an_object("certificates.k8s.io/v1", "CertificateSigningRequest", name), "spec": spec}


def test_certificates_are_approved_by_whom_the_policies_give_their_signers(place: Place, run_id: str) -> None:
    group, name = "certificates.k8s.io", f"escal-{run_id}"
    asks = {**allow("asks", "get create", "certificatesigningrequests", "*", groups=[group])}
    says_yes = {**allow("yes", "update", "certificatesigningrequests/approval", "*", groups=[group])}
    signers = {**allow("signers", "approve", "signers", "*", groups=[group])}
    eager = place.gate.agent("eager", [asks, says_yes])
    node = request_of(f"node-{run_id}", "kubernetes.io/kube-apiserver-client-kubelet")
    refused = eager.request("POST", CERTIFICATES, {"Content-Type": JSON}, json.dumps(node).encode())
    assert (refused.status, matches("nodeclient|whomever it names", refused.message)) == (403, True), refused.message
    place.direct.must("create", "-f", "-", stdin=yaml_of(request_of(name, "example.com/none")))
    try:
        asked = json.loads(place.direct.must("get", "csr", name, "-o", "json"))
        condition = {"type": "Approved", "status": "True", "reason": "Eager", "message": "eager"}
        asked["status"] = {"conditions": [condition]}
        # What is written of the signer is not what counts.
        asked["spec"]["signerName"] = "example.com/harmless"
        body, path = json.dumps(asked).encode(), f"{CERTIFICATES}/{name}/approval"
        refused = eager.request("PUT", path, {"Content-Type": JSON}, body)
        assert (refused.status, "signers" in refused.message) == (403, True), refused.message
        meant = place.gate.agent("meant-to", [asks, says_yes, signers])
        approved = meant.request("PUT", path, {"Content-Type": JSON}, body)
        assert approved.status == 200, approved.message
    finally:
        place.direct("delete", "csr", name, "--wait=false")
