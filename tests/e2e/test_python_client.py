"""The official Python client works through the gate without knowing of it.

It is another implementation of everything that kubectl does: another HTTP library, WebSockets in version 4 of the
protocol, no SPDY, no protobuf.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

with warnings.catch_warnings():
    # The client's own dependencies warn at import; what it does afterwards is under the tests' strict rule.
    warnings.simplefilter("ignore")
    from kubernetes import client, config, stream, watch
    from kubernetes.client.exceptions import ApiException

from tests.e2e.gate import Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.workloads import SLEEP, configmap, deployment, pod, yaml_of

# The client leaves the sockets of its WebSockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

READY_SECONDS = 90
STREAM_SECONDS = 120


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    name = new_namespace("python")
    here = direct.within(name)
    clock = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"
    web = "mkdir -p /www; echo served > /www/index.html; httpd -p 127.0.0.1:28080 -h /www; " + SLEEP
    pods = (pod("shell", cluster.image), pod("clock", cluster.image, clock), pod("web", cluster.image, web))
    maps = (configmap(f"cm-{number}", number=str(number)) for number in range(5))
    here.must("apply", "-f", "-", stdin=yaml_of(*pods, *maps))
    here.must("wait", "--for=condition=Ready", "pod/shell", "pod/clock", "pod/web", f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture
def api(admin: Agent) -> Iterator[client.CoreV1Api]:
    with config.new_client_from_config(str(admin.kubeconfig)) as connection:
        yield client.CoreV1Api(connection)


def test_lists_come_page_by_page(api: client.CoreV1Api, namespace: str) -> None:
    names: list[str] = []
    page = api.list_namespaced_config_map(namespace, limit=2, label_selector="app=config")
    names += [item.metadata.name for item in page.items]
    while page.metadata._continue:
        page = api.list_namespaced_config_map(
            namespace, limit=2, label_selector="app=config", _continue=page.metadata._continue
        )
        names += [item.metadata.name for item in page.items]

    assert names == [f"cm-{number}" for number in range(5)]


def test_objects_are_created_changed_and_deleted(api: client.CoreV1Api, namespace: str) -> None:
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="made"), data={"a": "1"})

    created = api.create_namespaced_config_map(namespace, body)
    patched = api.patch_namespaced_config_map("made", namespace, {"data": {"b": "2"}})
    patched.data["a"] = "3"
    replaced = api.replace_namespaced_config_map("made", namespace, patched)
    api.delete_namespaced_config_map("made", namespace)

    assert created.data == {"a": "1"}
    assert replaced.data == {"a": "3", "b": "2"}
    with pytest.raises(ApiException) as gone:
        api.read_namespaced_config_map("made", namespace)
    assert gone.value.status == 404


def test_a_conflict_is_a_conflict(api: client.CoreV1Api, namespace: str) -> None:
    stale = api.read_namespaced_config_map("cm-1", namespace)
    api.patch_namespaced_config_map("cm-1", namespace, {"data": {"moved": "on"}})

    with pytest.raises(ApiException) as conflict:
        api.replace_namespaced_config_map("cm-1", namespace, stale)

    assert conflict.value.status == 409


def test_a_watch_sees_what_happens_and_ends_in_its_time(api: client.CoreV1Api, namespace: str) -> None:
    watcher = watch.Watch()
    version = api.list_namespaced_config_map(namespace).metadata.resource_version

    def act() -> None:
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="seen"))
        api.create_namespaced_config_map(namespace, body)
        api.patch_namespaced_config_map("seen", namespace, {"data": {"a": "1"}})
        api.delete_namespaced_config_map("seen", namespace)

    actor = threading.Thread(target=act)
    actor.start()
    events = watcher.stream(
        api.list_namespaced_config_map,
        namespace,
        resource_version=version,
        field_selector="metadata.name=seen",
        timeout_seconds=5,
    )
    seen = [event["type"] for event in events]
    actor.join()

    assert seen == ["ADDED", "MODIFIED", "DELETED"]


def test_logs_are_followed_line_by_line(api: client.CoreV1Api, namespace: str) -> None:
    watcher = watch.Watch()
    lines: list[str] = []
    for line in watcher.stream(api.read_namespaced_pod_log, "clock", namespace, tail_lines=1):
        lines.append(line)
        if len(lines) == 5:
            watcher.stop()

    numbers = [int(line.removeprefix("tick ")) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_exec_answers_with_output_error_and_exit_code(api: client.CoreV1Api, namespace: str) -> None:
    session = stream.stream(
        api.connect_get_namespaced_pod_exec,
        "shell",
        namespace,
        command=["sh", "-c", "read line; echo out $line; echo err >&2; exit 3"],
        stdin=True,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )
    session.write_stdin("hello\n")
    session.run_forever(timeout=STREAM_SECONDS)

    assert session.read_stdout() == "out hello\n"
    assert session.read_stderr() == "err\n"
    assert session.returncode == 3


def test_exec_carries_megabytes(api: client.CoreV1Api, namespace: str) -> None:
    output = stream.stream(
        api.connect_get_namespaced_pod_exec,
        "shell",
        namespace,
        command=["seq", "1", "200000"],
        stdin=False,
        stdout=True,
        stderr=True,
        tty=False,
    )

    expected = "".join(f"{number}\n" for number in range(1, 200001))
    assert hashlib.sha256(output.encode()).hexdigest() == hashlib.sha256(expected.encode()).hexdigest()


def test_a_port_is_forwarded_into_a_socket(api: client.CoreV1Api, namespace: str) -> None:
    forward = stream.portforward(api.connect_get_namespaced_pod_portforward, "web", namespace, ports="28080")
    connection = forward.socket(28080)
    connection.setblocking(True)
    connection.settimeout(STREAM_SECONDS)
    connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
    answer = b""
    while part := connection.recv(65536):
        answer += part
    connection.close()

    assert forward.error(28080) is None
    assert answer.startswith(b"HTTP/1.")
    assert answer.endswith(b"served\n")


def test_deployments_are_scaled(admin: Agent, direct: Kubectl, cluster: Cluster, namespace: str) -> None:
    direct.within(namespace).must("create", "-f", "-", stdin=yaml_of(deployment("scaled", cluster.image, replicas=0)))
    with config.new_client_from_config(str(admin.kubeconfig)) as connection:
        apps = client.AppsV1Api(connection)
        apps.patch_namespaced_deployment_scale("scaled", namespace, {"spec": {"replicas": 1}})

        assert apps.read_namespaced_deployment_scale("scaled", namespace).spec.replicas == 1
    direct.within(namespace).must("delete", "deployment", "scaled")


def test_custom_objects_and_discovery_work(admin: Agent) -> None:
    with config.new_client_from_config(str(admin.kubeconfig)) as connection:
        groups = {group.name for group in client.ApisApi(connection).get_api_versions().groups}
        version = client.VersionApi(connection).get_code()

    assert "apps" in groups
    assert version.git_version.startswith("v1.")


def test_a_refusal_reaches_the_program_as_a_forbidden_status(gate: Gate, namespace: str) -> None:
    rule = {
        "id": "read",
        "effect": "allow",
        "verbs": ["get"],
        "apiGroups": [""],
        "resources": ["pods"],
        "namespaces": [namespace],
    }
    agent = gate.agent("python-reader", [rule])
    with config.new_client_from_config(str(agent.kubeconfig)) as connection:
        core = client.CoreV1Api(connection)

        assert core.read_namespaced_pod("shell", namespace).metadata.name == "shell"
        with pytest.raises(ApiException) as refused:
            core.delete_namespaced_pod("shell", namespace)
        with pytest.raises(Exception, match="403"):
            stream.stream(core.connect_get_namespaced_pod_exec, "shell", namespace, command=["true"], stdout=True)

    assert refused.value.status == 403
    assert "python-reader" in refused.value.body
