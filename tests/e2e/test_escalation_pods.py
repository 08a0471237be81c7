"""Further attempts of an agent to get more by the pods that it makes: by what kubelets, controllers and patches make of
a template, rather than by what it says first. Each is refused, and each leaves nothing behind.

The agent may write every kind that makes pods, and lacks what the account `strong` has, namely to read Secrets. In a
second namespace it is the account `default` that has it: whoever leaves the name out, or takes it away, gets that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.rules import allow
from tests.e2e.test_escalation import (
    APPLY,
    JSON,
    JSON_PATCH,
    MERGE,
    NO_RULE,
    READY_SECONDS,
    SPEC,
    STRATEGIC,
    STRONG,
    TEMPLATED,
    YAML,
    Attempt,
    Body,
    Place,
    an_object,
    as_volume,
    builder_rules,
    created,
    cron_job,
    custom_definition,
    deployment,
    matches,
    of_template,
    patched,
    pod,
    sent,
    template,
    templated,
    with_env,
)
from tests.e2e.workloads import pod as running_pod
from tests.e2e.workloads import yaml_of

UNCONFINED = {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
OF_POD = "pods/resize pods/status"


def job(name: str, spec: Body, **more: Any) -> Body:
    return an_object("batch/v1", "Job", name, spec={"template": {"spec": {"restartPolicy": "Never", **spec}}, **more})


def stateful_set(name: str, spec: Body, *claims: Body) -> Body:
    of_it = {"replicas": 0, "serviceName": name, "volumeClaimTemplates": list(claims), **templated(name, spec)}
    return an_object("apps/v1", "StatefulSet", name, spec=of_it)


def claim(name: str, **more: Any) -> Body:
    return {"metadata": {"name": name}, "spec": {**CLAIM, **more}}


def with_notes(made: Body) -> Body:
    made["spec"]["template"]["metadata"]["annotations"] = {"sidecar.istio.io/proxyImage": "evil:1"}
    return made


def scaled_definition(group: str) -> Body:
    """Of a kind whose number of pods is not where Deployments have it."""
    made = custom_definition(group)
    made["metadata"]["name"] = f"gangs.{group}"
    made["spec"]["names"] = {"plural": "gangs", "singular": "gang", "kind": "Gang"}
    at = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
    made["spec"]["versions"][0]["subresources"] = {"scale": at}
    return made


def wide_definition(group: str) -> Body:
    made = custom_definition(group)
    names = {"plural": "fleets", "singular": "fleet", "kind": "Fleet"}
    made["metadata"]["name"] = f"fleets.{group}"
    made["spec"].update(scope="Cluster", names=names)
    return made


@pytest.fixture(scope="module")
def place(
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
    run_id: str,
) -> Iterator[Place]:
    """A namespace with a strong account and what runs as it, and a gate of its own."""
    namespace, group = new_namespace("escpods"), f"escpods-{run_id}.narrowgate.test"
    here = direct.within(namespace)
    for definition in (custom_definition(group), wide_definition(group), scaled_definition(group)):
        direct.must("apply", "-f", "-", stdin=yaml_of(definition))
        name = definition["metadata"]["name"]
        direct.must("wait", "--for=condition=Established", f"crd/{name}", f"--timeout={READY_SECONDS}s")
    for account in ("strong", "weak"):
        here.must("create", "serviceaccount", account)
    here.must("create", "secret", "generic", "hidden", "--from-literal=key=c2VjcmV0")
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("gate-escalation-pods"), [entry])
    made = Place(gate, direct, namespace, cluster.image, group)
    make_strong(here, namespace, "strong")
    strong, weak = made.spec("strong"), made.spec("weak")
    objects = [
        *(running_pod(f"{name}-pod", cluster.image, serviceAccountName=name) for name in ("strong", "weak")),
        deployment("strong-deploy", strong),
        deployment("weak-deploy", weak),
        cron_job("weak-cron", weak),
        job("strong-job", strong, suspend=True),
    ]
    here.must("apply", "-f", "-", stdin=yaml_of(*objects))
    widget = an_object(f"{group}/v1", "Widget", "weak-widget", spec={"pod": weak, "runAs": {"user": "weak"}})
    gang = an_object(f"{group}/v1", "Gang", "strong-gang", spec={"size": 0, "pod": strong})
    here.must("apply", "-f", "-", stdin=yaml_of(widget, gang))
    for name in ("strong", "weak"):
        here.must("wait", "--for=create", "replicaset", "-l", f"app={name}-deploy", f"--timeout={READY_SECONDS}s")
        here.must("wait", "--for=condition=Ready", f"pod/{name}-pod", f"--timeout={READY_SECONDS}s")
    gate.start()
    yield made
    gate.stop()
    direct("delete", "crd", f"widgets.{group}", f"fleets.{group}", f"gangs.{group}", "--wait=false")


@pytest.fixture(scope="module")
def elsewhere(place: Place, new_namespace: Callable[[str], str]) -> Place:
    """A namespace whose `default` account is the strong one."""
    namespace = new_namespace("escdefault")
    here = place.direct.within(namespace)
    here.must("create", "serviceaccount", "weak")
    make_strong(here, namespace, "default")
    here.must("apply", "-f", "-", stdin=yaml_of(deployment("weak-deploy", place.spec("weak"))))
    here.must("wait", "--for=create", "replicaset", "-l", "app=weak-deploy", f"--timeout={READY_SECONDS}s")
    return replace(place, namespace=namespace)


def make_strong(here: Kubectl, namespace: str, account: str) -> None:
    here.must("create", "role", "strong", "--verb=get,list", "--resource=secrets")
    here.must("create", "rolebinding", "strong", "--role=strong", f"--serviceaccount={namespace}:{account}")


def known(place: Place, agent: Agent) -> Agent:
    """The agent, once the gate knows the custom resources: it does as soon as somebody asks for them."""
    path = place.path(f"{place.crd}/v1", "widgets", "none")
    place.gate.wait_until(lambda: agent.request("GET", path).status == 404, "the gate knows the custom resource")
    return agent


@pytest.fixture(scope="module")
def builder(place: Place, elsewhere: Place) -> Agent:
    """May write everything that makes pods, in both namespaces, and read no Secret and no claim."""
    rules = [
        *builder_rules(place),
        *({**rule, "id": f"{rule['id']}-there"} for rule in builder_rules(elsewhere)),
        allow("claims", "create", "persistentvolumeclaims", place.namespace),
        allow("accounts-write", "create patch", "serviceaccounts", place.namespace),
        allow("parts", "update patch", OF_POD, place.namespace),
        allow("gangs", "get update patch", "gangs gangs/scale", place.namespace, groups=[place.crd]),
        allow("fleets", "get create", "fleets", "*", groups=[place.crd]),
        allow("accounts-anywhere", "use", "serviceaccounts", "*"),
    ]
    return known(place, place.gate.agent("builder", rules))


@pytest.fixture(scope="module")
def before(place: Place, elsewhere: Place, builder: Agent) -> list[dict[str, str]]:
    return [place.state(), elsewhere.state()]


def of_kind(kind: str, **fields: Any) -> Attempt:
    """One of a kind, of the weak account, with more in its pods."""
    version, resource, made = TEMPLATED[kind]

    def attempt(place: Place) -> tuple[str, str, str, Any]:
        document = an_object(version, kind, "new", **made({**place.spec("weak"), **fields}))
        return "POST", place.path(version, resource), JSON, document

    return attempt


def posted(version: str, resource: str, made: Callable[[Place], Any], form: str = JSON) -> Attempt:
    return lambda place: ("POST", place.path(version, resource), form, made(place))


def patched_at(version: str, resource: str, name: str, form: str, patch: Any) -> Attempt:
    return lambda place: ("PATCH", place.path(version, resource, name), form, patch)


def operation(op: str, path: str, **more: Any) -> list[Body]:
    return [{"op": op, "path": path, **more}]


def widget(name: str = "new", **spec: Any) -> Callable[[Place], Body]:
    return lambda place: an_object(f"{place.crd}/v1", "Widget", name, spec=spec)


def noted(place: Place) -> Body:
    made = template("new", place.spec("weak"))
    made["metadata"]["annotations"] = UNCONFINED
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "new"}}, "template": made}
    return an_object("apps/v1", "Deployment", "new", spec=spec)


def raw_pod(place: Place) -> bytes:
    """The account twice: parsers do not agree on which of two counts."""
    text = json.dumps(pod(place.spec("weak")))
    return text.replace(
        '"serviceAccountName": "weak"', '"serviceAccountName": "weak", "serviceAccountName": "strong"', 1
    ).encode()


def begun_with(**source: Any) -> Body:
    return {"ephemeral": {"volumeClaimTemplate": {"spec": {**CLAIM, "dataSource": source}}}}


def in_store(name: str) -> Body:
    return {"csi": {"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": name}}}


def debug_container(**fields: Any) -> Body:
    return {"name": "debug", "image": "i", **fields}


HIDDEN = [{"secretRef": {"name": "hidden"}}]
PRIVILEGED = {"privileged": True}
VOLUMES: Mapping[str, tuple[Body, str]] = {
    "a Secret of a driver": ({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "hidden"}}}, "hidden"),
    "what a store of secrets has": (in_store("vault"), "secretproviderclasses"),
    "the content of a claim": (begun_with(kind="PersistentVolumeClaim", name="of-others"), "of-others"),
    "the content of a snapshot": (
        begun_with(apiGroup="snapshot.storage.k8s.io", kind="VolumeSnapshot", name="of-others"),
        "of-others",
    ),
    "a claim": ({"persistentVolumeClaim": {"claimName": "of-others"}}, "of-others"),
    "a Secret for a disk": ({"azureFile": {"secretName": "hidden", "shareName": "s"}}, "hidden"),
}

PARTS: Mapping[str, tuple[Attempt, str]] = {
    **{name: (as_volume(**volume), says) for name, (volume, says) in VOLUMES.items()},
    "a Secret in a container that starts first": (
        created(
            lambda place: place.spec(
                "weak",
                initContainers=[
                    {
                        "name": "side",
                        "image": place.image,
                        "restartPolicy": "Always",
                        "envFrom": [{"secretRef": {"name": "hidden"}}],
                    }
                ],
            )
        ),
        "hidden",
    ),
    "a privileged container that starts first": (
        created(
            lambda place: place.spec(
                "weak",
                initContainers=[{"name": "i", "image": place.image, "securityContext": {"privileged": True}}],
            )
        ),
        "privileged",
    ),
    "a process on a Windows node": (
        created(lambda place: place.spec("weak", securityContext={"windowsOptions": {"hostProcess": True}})),
        "hostProcess",
    ),
    "an unmasked /proc": (with_env(securityContext={"procMount": "Unmasked"}), "unconfined"),
    "a setting of the kernel": (
        created(lambda place: place.spec("weak", securityContext={"sysctls": [{"name": "kernel.msgmax"}]})),
        "sysctls",
    ),
    "no profile of AppArmor, by the old annotation": (
        created(lambda place: place.spec("weak"), annotations=UNCONFINED),
        "unconfined",
    ),
    "the same in a template": (posted("apps/v1", "deployments", noted), "unconfined"),
    "the same by a patch of annotations alone": (
        patched("weak-deploy", STRATEGIC, lambda _: {"spec": {"template": {"metadata": {"annotations": UNCONFINED}}}}),
        "unconfined",
    ),
    "the same by a JSON patch": (
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda _: operation("add", "/spec/template/metadata/annotations", value=UNCONFINED),
        ),
        "unconfined",
    ),
    "a port of the node in a kind with templates": (
        of_kind("DaemonSet", containers=[{"name": "m", "image": "i", "ports": [{"hostPort": 1, "containerPort": 1}]}]),
        "hostPort",
    ),
    "a device that others have claimed": (
        created(lambda place: place.spec("weak", resourceClaims=[{"name": "d", "resourceClaimName": "of-others"}])),
        "of-others",
    ),
    "the claim of another set": (
        posted("apps/v1", "statefulsets", lambda place: stateful_set("db", place.spec("weak"), claim("data"))),
        "persistentvolumeclaims",
    ),
    "the content of a claim for each pod of a set": (
        posted(
            "apps/v1",
            "statefulsets",
            lambda place: stateful_set(
                "db", place.spec("weak"), claim("d", dataSource={"kind": "PersistentVolumeClaim", "name": "of-others"})
            ),
        ),
        "persistentvolumeclaims",
    ),
    "a Secret that all pods of an account pull with": (
        posted(
            "v1",
            "serviceaccounts",
            lambda _: an_object("v1", "ServiceAccount", "new", imagePullSecrets=[{"name": "hidden"}]),
        ),
        "hidden",
    ),
    "the same by a patch of the account": (
        patched_at("v1", "serviceaccounts", "weak", MERGE, {"imagePullSecrets": [{"name": "hidden"}]}),
        "hidden",
    ),
    "a Secret in a debug container": (
        patched_at(
            "v1",
            "pods",
            "weak-pod/ephemeralcontainers",
            STRATEGIC,
            {"spec": {"ephemeralContainers": [debug_container(envFrom=HIDDEN)]}},
        ),
        "hidden",
    ),
    "a privileged debug container, by a JSON patch": (
        patched_at(
            "v1",
            "pods",
            "weak-pod/ephemeralcontainers",
            JSON_PATCH,
            operation("add", "/spec/ephemeralContainers/-", value=debug_container(securityContext=PRIVILEGED)),
        ),
        "privileged",
    ),
}

PATCHES: Mapping[str, tuple[Attempt, str]] = {
    "a Secret, where keys are said to be kept": (
        patched(
            "weak-deploy",
            STRATEGIC,
            lambda _: of_template(
                volumes=[{"$retainKeys": ["name", "secret"], "name": "v", "secret": {"secretName": "hidden"}}]
            ),
        ),
        "hidden",
    ),
    "another account, where all else is deleted": (
        patched(
            "weak-deploy",
            STRATEGIC,
            lambda place: {
                "spec": {
                    "$patch": "replace",
                    "selector": {"matchLabels": {"app": "weak-deploy"}},
                    "template": template("weak-deploy", place.spec("strong")),
                }
            },
        ),
        STRONG,
    ),
    "the securityContext of another container": (
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda _: operation(
                "copy", f"{SPEC}/containers/0/securityContext", **{"from": f"{SPEC}/containers/1/securityContext"}
            ),
        ),
        "moves or copies",
    ),
    "a whole object moved into place": (
        patched("weak-deploy", JSON_PATCH, lambda _: operation("move", "", **{"from": "/metadata/annotations"})),
        "moves or copies|not an object",
    ),
    "a privileged container put at the end": (
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda _: operation("add", f"{SPEC}/containers/-", value=debug_container(securityContext=PRIVILEGED)),
        ),
        "privileged",
    ),
    "one word of a container": (
        patched(
            "weak-deploy",
            JSON_PATCH,
            lambda _: operation("add", f"{SPEC}/containers/0/securityContext/privileged", value=True),
        ),
        "privileged",
    ),
    "the old field of a Deployment": (
        patched("weak-deploy", MERGE, lambda _: of_template(serviceAccountName=None, serviceAccount="strong")),
        STRONG,
    ),
    "a sidecar of its own in what runs strong, by an annotation": (
        patched(
            "strong-deploy",
            STRATEGIC,
            lambda _: {"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/proxyImage": "evil:1"}}}}},
        ),
        STRONG,
    ),
    "the same by a label, in a JSON patch": (
        patched(
            "strong-deploy",
            JSON_PATCH,
            lambda _: operation("add", "/spec/template/metadata/labels/inject", value="mine"),
        ),
        STRONG,
    ),
    "the same, the whole put": (
        lambda place: (
            "PUT",
            place.path("apps/v1", "deployments", "strong-deploy"),
            JSON,
            with_notes(deployment("strong-deploy", place.spec("strong"))),
        ),
        STRONG,
    ),
    "more of a custom resource that says elsewhere how many": (
        lambda place: (
            "PATCH",
            place.path(f"{place.crd}/v1", "gangs", "strong-gang/scale"),
            MERGE,
            {"spec": {"replicas": 1}},
        ),
        STRONG,
    ),
    "a CronJob, by merging": (
        patched_at(
            "batch/v1",
            "cronjobs",
            "weak-cron",
            MERGE,
            {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"serviceAccountName": "strong"}}}}}},
        ),
        STRONG,
    ),
    "a CronJob, by one word": (
        patched_at(
            "batch/v1",
            "cronjobs",
            "weak-cron",
            JSON_PATCH,
            operation("replace", "/spec/jobTemplate/spec/template/spec/serviceAccountName", value="strong"),
        ),
        STRONG,
    ),
    "a CronJob applied by force": (
        lambda place: (
            "PATCH",
            place.path("batch/v1", "cronjobs", "weak-cron") + "?fieldManager=ng&force=true",
            APPLY,
            cron_job("weak-cron", place.spec("strong")),
        ),
        STRONG,
    ),
    "a Job of a strong account let go": (
        patched_at("batch/v1", "jobs", "strong-job", MERGE, {"spec": {"suspend": False}}),
        STRONG,
    ),
    "the same by one word": (
        patched_at("batch/v1", "jobs", "strong-job", JSON_PATCH, operation("replace", "/spec/suspend", value=False)),
        STRONG,
    ),
    "another image in a pod of a strong account": (
        patched_at("v1", "pods", "strong-pod", STRATEGIC, {"spec": {"containers": [{"name": "main", "image": "e:1"}]}}),
        STRONG,
    ),
    "a ReplicaSet that takes strong pods for its own, and replaces them": (
        posted(
            "apps/v1",
            "replicasets",
            lambda place: an_object(
                "apps/v1",
                "ReplicaSet",
                "new",
                spec={
                    "replicas": 1,
                    "selector": {"matchLabels": {"app": "strong-pod"}},
                    "template": template("strong-pod", place.spec("strong")),
                },
            ),
        ),
        STRONG,
    ),
    "an account named twice": (posted("v1", "pods", raw_pod), "twice|duplicate|more than once"),
    "an account behind an alias": (
        posted(
            "v1",
            "pods",
            lambda place: (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: new, labels: {a: &a strong}}\n"
                f"spec: {{serviceAccountName: *a, containers: [{{name: c, image: {place.image}}}]}}\n"
            ).encode(),
            YAML,
        ),
        "alias|anchor|strong",
    ),
    "two documents at once": (
        posted(
            "v1",
            "pods",
            lambda place: yaml_of(pod(place.spec("weak"), "one"), pod(place.spec("strong"), "two")),
            YAML,
        ),
        "document|object",
    ),
    "a custom resource of several pods, the last of them strong": (
        posted(
            "CRD",
            "widgets",
            lambda place: widget(
                head={"template": {"spec": place.spec("weak")}},
                workers=[{"template": {"spec": place.spec(name)}} for name in ("weak", "strong")],
            )(place),
        ),
        STRONG,
    ),
    "a word of a custom resource": (
        patched_at(
            "CRD",
            "widgets",
            "weak-widget",
            JSON_PATCH,
            operation("replace", "/spec/pod/serviceAccountName", value="strong"),
        ),
        STRONG,
    ),
    "a custom resource that is nowhere, and may run anywhere": (
        lambda place: (
            "POST",
            f"/apis/{place.crd}/v1/fleets",
            JSON,
            an_object(f"{place.crd}/v1", "Fleet", f"{place.namespace}", spec={"serviceAccountName": "strong"}),
        ),
        "no namespace",
    ),
}

UNRULED: Mapping[str, Attempt] = {
    "an eviction": posted(
        "v1",
        "pods/strong-pod/eviction",
        lambda _: {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "strong-pod"}},
    ),
    "a binding": posted(
        "v1",
        "bindings",
        lambda _: {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "weak-pod"}, "target": {"name": "any"}},
    ),
    "a class of devices": lambda _: (
        "POST",
        "/apis/resource.k8s.io/v1/deviceclasses",
        JSON,
        an_object("resource.k8s.io/v1", "DeviceClass", "ng-escalation", spec={}),
    ),
    "a way to the HTTP server of a pod": lambda place: (
        "GET",
        place.path("v1", "pods", "strong-pod:8001/proxy/api/v1/secrets"),
        JSON,
        None,
    ),
}

ATTEMPTS: Mapping[str, tuple[Attempt, str]] = {
    **PARTS,
    **PATCHES,
    **{name: (attempt, NO_RULE) for name, attempt in UNRULED.items()},
}


def tried(agent: Agent, place: Place, attempt: Attempt) -> Any:
    method, path, form, document = attempt(place)
    path = path.replace("/api/CRD/", f"/apis/{place.crd}/v1/")
    if isinstance(document, bytes):
        return agent.request(method, path, {"Content-Type": form}, document)
    return sent(agent, (method, path, form, document))


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_agent_gets_no_more_by_what_becomes_of_a_pod(
    place: Place, elsewhere: Place, builder: Agent, before: list[dict[str, str]], attempt: str
) -> None:
    make, says = ATTEMPTS[attempt]
    refused = tried(builder, place, make)
    assert refused.status in (400, 403), refused.body[:500]
    assert matches(says, refused.message), refused.message
    assert [place.state(), elsewhere.state()] == before


UNNAMED: Mapping[str, Attempt] = {
    "a pod of no account": created(lambda place: place.spec("")),
    "a custom resource with containers alone": posted(
        "CRD", "widgets", lambda place: widget(template={"spec": place.spec("")})(place)
    ),
    "the name taken away by merging": patched(
        "weak-deploy", MERGE, lambda _: of_template(serviceAccountName=None, serviceAccount=None)
    ),
    "the name taken away by a strategic patch": patched(
        "weak-deploy", STRATEGIC, lambda _: of_template(serviceAccountName=None, serviceAccount=None)
    ),
    "the name among what is not kept": patched(
        "weak-deploy", STRATEGIC, lambda _: of_template(**{"$retainKeys": ["containers"]})
    ),
    "a template in the place of another": patched(
        "weak-deploy",
        STRATEGIC,
        lambda place: {"spec": {"template": {"$patch": "replace", **template("weak-deploy", place.spec(""))}}},
    ),
    "the name removed": patched(
        "weak-deploy",
        JSON_PATCH,
        lambda _: [*operation("remove", f"{SPEC}/serviceAccountName"), *operation("remove", f"{SPEC}/serviceAccount")],
    ),
    "all of it replaced": patched(
        "weak-deploy",
        JSON_PATCH,
        lambda place: operation("replace", "", value=deployment("weak-deploy", place.spec(""))),
    ),
    "the name left out of what is applied by whoever applied it": patched(
        "weak-deploy",
        APPLY,
        lambda place: deployment("weak-deploy", place.spec("")),
        "?fieldManager=kubectl&force=true",
    ),
    "the whole put": lambda place: (
        "PUT",
        place.path("apps/v1", "deployments", "weak-deploy"),
        JSON,
        deployment("weak-deploy", place.spec("")),
    ),
}


@pytest.mark.parametrize("attempt", UNNAMED)
def test_who_names_no_account_has_the_default_one(
    place: Place, elsewhere: Place, builder: Agent, before: list[dict[str, str]], attempt: str
) -> None:
    refused = tried(builder, elsewhere, UNNAMED[attempt])
    assert refused.status == 403, refused.body[:500]
    assert f"service account {elsewhere.namespace}/default may also get secrets" in refused.message
    assert [place.state(), elsewhere.state()] == before


@pytest.mark.parametrize(
    ("subresource", "patch"),
    [
        ("resize", {"spec": {"serviceAccountName": "strong", "containers": [{"name": "main", "image": "e:1"}]}}),
        ("status", {"spec": {"serviceAccountName": "strong", "nodeName": "other"}}),
    ],
)
def test_a_part_of_a_pod_that_may_be_written_changes_no_other(
    place: Place, elsewhere: Place, builder: Agent, before: list[dict[str, str]], subresource: str, patch: Body
) -> None:
    path = place.path("v1", "pods", f"strong-pod/{subresource}")
    sent(builder, ("PATCH", path, STRATEGIC, patch))
    assert [place.state(), elsewhere.state()] == before


def test_who_asks_why_is_told_in_the_words_of_the_refusal(place: Place, builder: Agent) -> None:
    file = place.gate.folder / "strong.yaml"
    file.write_bytes(yaml_of(deployment("new", place.spec("strong"))))
    made = deployment("new", place.spec("strong"))
    refused = sent(builder, ("POST", place.path("apps/v1", "deployments"), JSON, made))
    words = ("policy", "explain", "--as", "agent:builder", "-n", place.namespace)
    told = place.gate.command(*words, "create", "deployments.apps/new", "-f", str(file), "--look")
    assert told.code == 1, told.text
    reason = refused.message.partition(": agent ")[2].partition(": ")[2].partition("; rule ")[0]
    assert reason.startswith(f"service account {place.namespace}/strong may also get secrets")
    assert f"refuses: {reason}" in told.out
    entered = place.gate.command(*words, "create", "pods/strong-pod", "--subresource", "exec", "--look")
    assert f"service account {place.namespace}/strong may also get secrets" in entered.out, entered.text
    plain = place.gate.command(*words, "create", "pods/weak-pod", "--subresource", "exec", "--look")
    assert (plain.code, "not looked at" in plain.out) == (0, False), plain.text


@pytest.fixture(scope="module")
def mended(place: Place, builder: Agent) -> Agent:
    """May write what makes pods, which are given no token whatever it says."""
    here, pods = place.namespace, {"automountToken": "mend"}
    rules = [
        allow("core", "get create update patch", "pods", here, pods=pods),
        allow("apps", "get create update patch", "deployments", here, groups=["apps"], pods=pods),
        allow("batch", "get create update patch", "cronjobs", here, groups=["batch"], pods=pods),
        allow("accounts", "use", "serviceaccounts", here),
    ]
    return place.gate.agent("mended", rules)


def with_token(place: Place) -> Body:
    return {**place.spec("weak"), "automountServiceAccountToken": True}


IMAGE = {"name": "main", "image": "other:1"}
MENDED: Mapping[str, Attempt] = {
    "a pod in YAML": lambda place: (
        "POST",
        place.path("v1", "pods") + "?dryRun=All",
        YAML,
        yaml_of(pod(with_token(place))),
    ),
    "a Deployment put": lambda place: (
        "PUT",
        place.path("apps/v1", "deployments", "weak-deploy") + "?dryRun=All",
        JSON,
        deployment("weak-deploy", with_token(place)),
    ),
    "one merged": patched(
        "weak-deploy", MERGE, lambda _: of_template(automountServiceAccountToken=True), "?dryRun=All"
    ),
    "one of which a merge shows no template": patched(
        "weak-deploy", MERGE, lambda _: {"spec": {"replicas": 0}}, "?dryRun=All"
    ),
    "a strategic patch": patched("weak-deploy", STRATEGIC, lambda _: of_template(containers=[IMAGE]), "?dryRun=All"),
    "one that replaces": patched(
        "weak-deploy",
        STRATEGIC,
        lambda place: {"spec": {"template": {"spec": {"$patch": "replace", **with_token(place)}}}},
        "?dryRun=All",
    ),
    "a JSON patch that writes it": patched(
        "weak-deploy",
        JSON_PATCH,
        lambda _: operation("add", f"{SPEC}/automountServiceAccountToken", value=True),
        "?dryRun=All",
    ),
    "an apply": patched(
        "weak-deploy",
        APPLY,
        lambda place: deployment("weak-deploy", with_token(place)),
        "?fieldManager=ng&force=true&dryRun=All",
    ),
    "a CronJob": lambda place: (
        "PATCH",
        place.path("batch/v1", "cronjobs", "weak-cron") + "?dryRun=All",
        MERGE,
        {"spec": {"schedule": "0 1 1 1 *"}},
    ),
}


@pytest.mark.parametrize("write", MENDED)
def test_no_form_of_a_write_gives_the_token_that_a_rule_takes_away(place: Place, mended: Agent, write: str) -> None:
    answer = tried(mended, place, MENDED[write])
    assert answer.status in (200, 201), answer.body[:500]
    spec = answer.json()["spec"]
    while "containers" not in spec:
        spec = (spec.get("jobTemplate") or spec["template"])["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert "automountServiceAccountToken: false was set" in answer.header("warning")


def test_a_patch_that_keeps_other_fields_alone_brings_no_token_back(place: Place, mended: Agent) -> None:
    patch = of_template(**{"$retainKeys": ["containers"], "containers": [{"name": "main", "image": place.image}]})
    path = place.path("apps/v1", "deployments", "weak-deploy") + "?dryRun=All"
    answer = sent(mended, ("PATCH", path, STRATEGIC, patch))
    assert answer.status != 200, answer.body[:500]


def test_kubectl_says_what_was_changed(place: Place, mended: Agent, kubectl_of: Callable[[Agent], Kubectl]) -> None:
    here = kubectl_of(mended).within(place.namespace)
    ran = here("set", "image", "deployment/weak-deploy", "main=other:1", "--dry-run=server")
    assert ran.code == 0, ran.text
    assert "Warning: automountServiceAccountToken: false was set in the pods" in ran.text
