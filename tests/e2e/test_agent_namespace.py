"""A namespace made from the bundle, on a real cluster: clients in its pods find the gate, unmodified and unasked.

The pod is the template that the bundle itself prints, with the image of the test cluster; the namespace is held to the
`restricted` level. It has kubectl copied into it and nothing else: no kubeconfig, no option, no variable of the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client
from kubernetes.config.incluster_config import InClusterConfigLoader
from tests.e2e.agent_place import Place, agent_place
from tests.e2e.gate import REPOSITORY, Cluster
from tests.e2e.kubectl import Kubectl, Ran
from tests.e2e.tasks import terminal
from tests.e2e.workloads import yaml_of

POD_SECONDS = 120.0
MOUNTED = "/var/run/secrets/kubernetes.io/serviceaccount"
COPIED = "/scratch/kubectl"


@pytest.fixture(scope="module")
def place(cluster: Cluster, direct: Kubectl, run_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with agent_place(cluster, direct, run_id, tmp_path_factory.mktemp("bundle")) as one:
        yield one


class AgentPod:
    """A pod of the template, with kubectl copied into it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.namespace = place.namespace("agents")
        self.direct = place.direct.within(self.namespace)
        self.direct.must("apply", "-f", "-", stdin=yaml_of(place.pod(self.namespace)))
        self.direct.must("wait", "--for=condition=Ready", "pod/agent", f"--timeout={POD_SECONDS:.0f}s")
        self.direct.must("cp", str(place.cluster.kubectl), f"{self.namespace}/agent:{COPIED}")
        self.sh(f"chmod +x {COPIED}")
        place.gate.wait_until(lambda: self.kubectl("get", "configmaps").code == 0, "the policy is in force")

    def sh(self, script: str) -> str:
        return self.direct.must("exec", "agent", "--", "sh", "-c", script)

    def kubectl(self, *arguments: str, without: str = "") -> Ran:
        """Kubectl in the pod, as a program of the image would start it; `without` a variable, if one is named."""
        environment = ["env", *(["-u", without] if without else []), "HOME=/scratch"]
        return self.direct("exec", "agent", "--", *environment, COPIED, *arguments)


@pytest.fixture(scope="module")
def agent(place: Place) -> AgentPod:
    return AgentPod(place)


def test_the_api_server_takes_the_bundle_again_and_says_nothing_against_it(place: Place, agent: AgentPod) -> None:
    again = place.direct("apply", "--server-side", "-f", "-", stdin=place.bundle(agent.namespace).out.encode())
    assert (again.code, again.text.count("serverside-applied")) == (0, 6), again.text
    assert "Warning" not in again.text
    dry = place.direct("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
                       stdin=place.bundle(agent.namespace, "--level", "baseline").out.encode())  # fmt: skip
    assert dry.code == 0, dry.text


@pytest.mark.parametrize("without", ["", "KUBECONFIG"])
def test_kubectl_without_a_word_works_through_the_gate_and_within_its_rules(
    place: Place, agent: AgentPod, without: str
) -> None:
    # By the kubeconfig, and by nothing but what every pod has: variables and a mounted folder.
    done = agent.kubectl("get", "configmaps", "-o", "name", without=without)
    assert (done.code, "configmap/narrowgate" in done.text) == (0, True), done.text
    refused = agent.kubectl("get", "secrets", without=without)
    assert refused.code == 1
    assert f'service account "{agent.namespace}/agent" may not list secrets' in refused.text
    event = place.gate.wait_for_event(f"/api/v1/namespaces/{agent.namespace}/secrets")
    assert event["user"]["username"] == f"serviceaccount:{agent.namespace}/agent"


def test_the_python_client_takes_the_same_folder_for_its_cluster(agent: AgentPod, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("token", "ca.crt", "namespace")}
    for name, path in files.items():
        path.write_text(agent.sh(f"cat {MOUNTED}/{name}"))
    variables = dict(line.split("=", 1) for line in agent.sh("env").splitlines() if "=" in line)
    configuration = client.Configuration()
    loader = InClusterConfigLoader(str(files["token"]), str(files["ca.crt"]), environ=variables)
    loader.load_and_set(configuration)
    with client.ApiClient(configuration) as connection:
        listed = client.CoreV1Api(connection).list_namespaced_config_map(files["namespace"].read_text())
    assert "narrowgate" in [one.metadata.name for one in listed.items]


def test_what_lies_in_the_pod_opens_nothing_at_the_api_server(agent: AgentPod, cluster: Cluster) -> None:
    token = agent.sh(f"cat {MOUNTED}/token")
    # The administrator's kubeconfig for the address and the CA; a token of one's own wins over nothing in an empty one.
    asked = (f"--server={cluster.server}", f"--certificate-authority={cluster.ca}", f"--token={token}")
    bare = Kubectl(cluster.kubectl, Path("/dev/null"), agent.direct.home)
    done = bare(*asked, "get", "configmaps", "-n", agent.namespace)
    assert done.code == 1
    assert "Unauthorized" in done.text or "provide credentials" in done.text
    kept = json.loads(agent.direct.must("get", "pod", "agent", "-o", "json"))["spec"]
    sources = [source for volume in kept["volumes"] for source in volume.get("projected", {}).get("sources", [])]
    audiences = [source["serviceAccountToken"]["audience"] for source in sources if "serviceAccountToken" in source]
    assert audiences == ["narrowgate"]


def test_a_workload_that_was_there_is_brought_to_the_gate_by_a_patch(place: Place, agent: AgentPod) -> None:
    labels = {"app": "older"}
    container = {"name": "web", "image": place.cluster.image, "env": [{"name": "MINE", "value": "kept"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "older"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }  # fmt: skip
    agent.direct.must("apply", "-f", "-", stdin=yaml_of(deployment))
    patch = place.bundle(agent.namespace, "--patch", "web").out
    agent.direct.must("patch", "deployment", "older", "--patch", patch)
    spec = json.loads(agent.direct.must("get", "deployment", "older", "-o", "json"))["spec"]["template"]["spec"]
    (web,) = spec["containers"]
    assert {"name": "MINE", "value": "kept"} in web["env"]
    assert [mount["mountPath"] for mount in web["volumeMounts"]] == [MOUNTED]
    assert (spec["automountServiceAccountToken"], spec["serviceAccountName"]) == (False, "agent")


def test_the_namespace_refuses_pods_that_share_the_node(agent: AgentPod, place: Place) -> None:
    spec = place.pod(agent.namespace)
    spec["metadata"]["name"] = "wide"
    spec["spec"]["hostNetwork"] = True
    refused = agent.direct("apply", "-f", "-", stdin=yaml_of(spec))
    assert (refused.code, "violates PodSecurity" in refused.text) == (1, True), refused.text


def test_pods_that_an_agent_makes_are_held_to_the_template_and_call_in_its_chain(
    place: Place, agent: AgentPod, tmp_path: Path
) -> None:
    example = (REPOSITORY / "examples" / "policies" / "pods-of-agents.yaml").read_text()
    names = {"clusters: [prod]": "clusters: [dev]", "namespaces: [agents]": f"namespaces: [{agent.namespace}]",
             "agents/agent": f"{agent.namespace}/agent"}  # fmt: skip
    for old, new in names.items():
        assert old in example
        example = example.replace(old, new)
    starter = terminal(place.gate, place.cluster, "starter", tmp_path)
    place.gate.write_policy_text("example.yaml", example)
    wanted = [f"{one} -n {agent.namespace}" for one in ("create,delete pods", "use serviceaccounts/agent")]
    asked = (
        "--cluster",
        "dev",
        "--reason",
        "work",
        "--for",
        "30m",
        *(part for one in wanted for part in ("--allow", one)),
    )
    place.gate.wait_until(lambda: starter("tasks", "request", "--dry-run", *asked).code == 0, "it is offered")
    _, kubectl = starter.request(*asked)
    made = place.pod(agent.namespace)
    made["metadata"]["name"] = "child"
    api_token = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}

    # What is not as the template is refused by name of the field, before there is a pod.
    for field, wrong, said in (
        ("volumes", [api_token], "projects a token for the API server"),
        ("hostPID", True, "hostPID"),
        ("serviceAccountName", "default", "account"),
    ):
        refused = kubectl.within(agent.namespace)(
            "create", "--validate=false", "-f", "-", stdin=yaml_of({**made, "spec": {**made["spec"], field: wrong}})
        )
        assert (refused.code, said in refused.text) == (1, True), refused.text

    created = kubectl.within(agent.namespace)("create", "--validate=false", "-f", "-", stdin=yaml_of(made))
    assert created.code == 0, created.text
    agent.direct.must("wait", "--for=condition=Ready", "pod/child", f"--timeout={POD_SECONDS:.0f}s")
    agent.direct.must("cp", str(place.cluster.kubectl), f"{agent.namespace}/child:{COPIED}")
    inside = (
        "exec",
        "child",
        "--",
        "env",
        "HOME=/scratch",
        "sh",
        "-c",
        f"chmod +x {COPIED} && {COPIED} get pods -o name",
    )
    place.gate.wait_until(lambda: agent.direct(*inside).code == 0, "the pod is placed, and may look")
    refused = agent.direct("exec", "child", "--", "env", "HOME=/scratch", COPIED, "get", "configmaps")
    # Its account may read them, and the agent who had it made may not.
    assert (refused.code, "starter" in refused.text) == (1, True), refused.text
