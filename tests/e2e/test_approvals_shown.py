"""What approvers see, on a real cluster: what would change of what is there, what goes, what runs; and no secret."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.e2e.dex import ALICE
from tests.e2e.gate import Agent, Cluster, Finished, Gate, environment, narrowgate
from tests.e2e.kubectl import CALL_SECONDS, Kubectl
from tests.e2e.person import PersonsTerminal
from tests.e2e.rules import allow
from tests.e2e.signing_in import sign_in_gate

ONE_DEVELOPER = {"from": [{"group": "corp:developers", "count": 1}], "within": "5m"}
HELD_SECONDS = 2
"""Long enough to be asked; these tests look at the question, and send the request again where it is to pass."""


class Watched(NamedTuple):
    """The gate, kubectl as the agent, and a person at their terminal."""

    gate: Gate
    agent: Agent
    kubectl: Kubectl
    person: PersonsTerminal

    def refused(self, *arguments: str) -> dict[str, Any]:
        """What the question about a command shows, which waits for people and is refused meanwhile."""
        before = {one["id"] for one in self.listed()}
        done = self.kubectl(*arguments)
        assert done.code != 0, done.text
        return self.newest(before)

    def newest(self, before: set[str]) -> dict[str, Any]:
        (new,) = [one for one in self.listed() if one["id"] not in before]
        return self.shown(new["id"])

    def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.person("approvals", "list", "-o", "json").out)
        return found

    def shown(self, approval: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.person("approvals", "show", approval, "-o", "json").out)
        return found


def held(identifier: str, verbs: str, resources: str, namespace: str, **more: Any) -> dict[str, Any]:
    return {**allow(identifier, verbs, resources, namespace), "effect": "approve", "approval": ONE_DEVELOPER, **more}


@pytest.fixture(scope="module")
def watched(
    cluster: Cluster, direct: Kubectl, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("shown")
    here = direct.within(namespace)
    here.must("create", "serviceaccount", "shown-strong")
    here.must("create", "role", "shown-strong", "--verb=get", "--resource=secrets")
    bound = f"--serviceaccount={namespace}:shown-strong"
    here.must("create", "rolebinding", "shown-strong", "--role=shown-strong", bound)
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    settings = {"workers": 2, "approvals": {"hold": f"{HELD_SECONDS}s"}}
    with sign_in_gate(folder, [entry], settings=settings) as running:
        person = PersonsTerminal(folder / "alice", running, ALICE)
        person.login()
        rules = [
            allow("see", "get list", "pods configmaps", namespace),
            allow("roll-out", "get list", "deployments deployments/scale", namespace) | {"apiGroups": ["apps"]},
            held("change", "create update patch delete", "configmaps", namespace),
            held("roll", "create update patch delete", "deployments", namespace, apiGroups=["apps"]),
            held("scale", "update patch", "deployments/scale", namespace, apiGroups=["apps"]),
            held("keys", "update patch delete create", "secrets", namespace),
            held("run", "create", "pods/exec", namespace),
            allow("sets", "get list", "statefulsets", namespace) | {"apiGroups": ["apps"]},
            held(
                "confine",
                "update patch",
                "statefulsets",
                namespace,
                apiGroups=["apps"],
                pods={"level": "restricted", "automountToken": "mend", "otherwise": "approve"},
            ),
            held("pods", "create", "pods", namespace, pods={"strongerAccounts": "approve"}),
            allow("accounts", "use", "serviceaccounts", namespace),
        ]
        agent = running.gate.agent("shown", rules)
        kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, folder).within(namespace)
        yield Watched(running.gate, agent, kubectl, person)


@pytest.fixture
def admin(direct: Kubectl, namespace: str) -> Kubectl:
    return direct.within(namespace)


@pytest.fixture
def web(admin: Kubectl, marker: str) -> str:
    """A deployment of two containers that nothing runs."""
    name = f"web-{marker.lower()}"
    admin.must("create", "deployment", name, "--image=nginx:1.26", "--image=vector:1", "--replicas=0")
    return name


def test_an_update_is_shown_as_the_fields_that_would_change(watched: Watched, web: str) -> None:
    shown = watched.refused("set", "image", f"deployment/{web}", "nginx=nginx:1.27")
    path = "spec.template.spec.containers[nginx].image"
    assert shown["summary"][:2] == [f'- {path}: "nginx:1.26"', f'+ {path}: "nginx:1.27"']
    assert not any("managedFields" in line or "resourceVersion" in line for line in shown["summary"])


def test_a_patch_of_a_subresource_is_shown_so_too(watched: Watched, web: str) -> None:
    shown = watched.refused("patch", f"deployment/{web}", "--subresource=scale", "-p", '{"spec":{"replicas":5}}',
                            "--type=merge")  # fmt: skip
    # A scale of none leaves its number out.
    assert shown["summary"] == ["+ spec.replicas: 5"] or shown["summary"] == [
        "- spec.replicas: 0",
        "+ spec.replicas: 5",
    ]


def test_an_apply_is_shown_with_what_it_would_take_away(watched: Watched, admin: Kubectl, marker: str) -> None:
    name = f"conf-{marker.lower()}"
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    was = document | {"data": {"a": "1", "b": "2", "app.conf": "x=1\ny=2\n"}}
    admin.must("apply", "--server-side", "--field-manager=kubectl", "-f", "-", stdin=json.dumps(was).encode())
    file = watched.person.shell.write(
        "apply.json", json.dumps(document | {"data": {"a": "3", "app.conf": "x=1\ny=9\n"}})
    )
    shown = watched.refused("apply", "--server-side", "--field-manager=kubectl", "-f", str(file))
    assert sorted(shown["summary"]) == sorted(
        [
            '- data.a: "1"',
            '+ data.a: "3"',
            '- data.b: "2"',
            '- data["app.conf"] line 2: y=2',
            '+ data["app.conf"] line 2: y=9',
        ]
    )


def test_a_delete_says_what_goes_and_how_old_it_is(watched: Watched, web: str) -> None:
    shown = watched.refused("delete", "deployment", web)
    assert shown["summary"][0] == f'deletes Deployment "{web}", less than a minute old'


def test_a_create_shows_the_object(watched: Watched, marker: str) -> None:
    shown = watched.refused("create", "configmap", f"new-{marker.lower()}", "--from-literal=a=b")
    assert '    "a": "b"' in shown["summary"]


def test_a_pod_is_shown_by_what_its_account_may_do(watched: Watched, namespace: str, marker: str) -> None:
    spec = {"serviceAccountName": "shown-strong", "containers": [{"name": "c", "image": "registry/a:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p-{marker.lower()}"}, "spec": spec}
    file = watched.person.shell.write("pod.json", json.dumps(pod))
    assert watched.refused("create", "-f", str(file))["summary"][:3] == [
        "pods by spec: runs as shown-strong; baseline; its account's token; images registry/a:1",
        f"service account {namespace}/shown-strong: may",
        f"    get secrets in {namespace} (RoleBinding {namespace}/shown-strong)",
    ]


def test_a_patch_is_asked_about_by_what_its_pods_would_be(watched: Watched, admin: Kubectl, marker: str) -> None:
    name = f"set-{marker.lower()}"
    spec = {"containers": [{"name": "c", "image": "registry/a:1"}], "automountServiceAccountToken": False}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    made = {"replicas": 0, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": template}
    document = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": made}
    admin.must("create", "-f", "-", stdin=json.dumps(document).encode())
    shown = watched.refused("set", "image", f"statefulset/{name}", "c=registry/a:2")
    assert shown["summary"][0].startswith("pods by spec.template.spec: runs as default; baseline; no token")
    assert '+ spec.template.spec.containers[c].image: "registry/a:2"' in shown["summary"]


def test_an_exec_shows_each_argument(watched: Watched) -> None:
    shown = watched.refused("exec", "clock", "--", "sh", "-c", "echo one; echo two")
    assert shown["summary"][0].startswith("container: ")
    assert shown["summary"][1:] == [
        "input: none",
        "argument 1: sh",
        "argument 2: -c",
        "argument 3: echo one; echo two",
    ]


def test_what_the_agent_may_not_get_is_shown_to_nobody(
    watched: Watched, admin: Kubectl, namespace: str, marker: str
) -> None:
    name = f"key-{marker.lower()}"
    admin.must("create", "secret", "generic", name, "--from-literal=word=hush", "--from-literal=other=hush2")
    patch = json.dumps({"data": {"word": base64.b64encode(b"hushed").decode()}})
    before = {one["id"] for one in watched.listed()}
    # kubectl reads what it patches, and would be refused that.
    merge = {"Content-Type": "application/merge-patch+json"}
    target = f"/api/v1/namespaces/{namespace}/secrets/{name}"
    assert watched.agent.request("PATCH", target, merge, patch.encode()).status == 403
    shown = watched.newest(before)
    assert shown["summary"][0] == "what is there now is not shown: agent:shown may not get it"
    everything = json.dumps(shown)
    for value in (b"hush", b"hush2", b"hushed"):
        assert value.decode() not in everything
        assert base64.b64encode(value).decode() not in everything
    assert "data.word" in shown["summary"]


def test_what_the_cluster_would_not_take_is_said_to_whoever_is_asked(watched: Watched, web: str) -> None:
    patch = '{"spec":{"replicas":-5}}'
    shown = watched.refused("patch", "deployment", web, "--type=merge", "-p", patch)
    assert "a dry run of it fails" in shown["summary"][0]
    assert "must be greater than or equal to 0" in shown["summary"][0]


def test_nothing_is_changed_by_looking(watched: Watched, admin: Kubectl, cluster: Cluster, web: str) -> None:
    before, since = admin.must("get", "deployment", web, "-o", "json"), cluster.audit_position()
    watched.refused("set", "image", f"deployment/{web}", "nginx=nginx:9")
    assert json.loads(admin.must("get", "deployment", web, "-o", "json"))["spec"] == json.loads(before)["spec"]
    writes = [one for one in cluster.audited(f"deployments/{web}", since) if one["verb"] == "patch"]
    assert writes
    assert all("dryRun=All" in one["requestURI"] for one in writes)


def answer(person: PersonsTerminal, said: str, *arguments: str) -> Finished:
    """What a person types at a command that asks."""
    done = subprocess.run(
        [narrowgate(), *arguments],
        cwd=person.shell.folder,
        env={**environment(), "HOME": str(person.shell.home)},
        input=said,
        capture_output=True,
        text=True,
        timeout=CALL_SECONDS,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def test_what_one_command_asks_is_shown_and_answered_together(watched: Watched, admin: Kubectl, marker: str) -> None:
    names = [f"many-{number}-{marker.lower()}" for number in range(3)]
    for name in names:
        admin.must("create", "configmap", name)
    # What is refused for now does not keep kubectl from sending the next.
    assert watched.kubectl("delete", "configmap", *names).code == 1
    mine = {one["name"]: one["id"] for one in watched.listed() if one["name"] in names}
    assert set(mine) == set(names)
    listed = watched.person("approvals", "list")
    assert "were asked together: narrowgate approvals approve" in listed.err

    unsaid = answer(watched.person, "n\n", "approvals", "approve", mine[names[0]], "--together")
    assert unsaid.code == 1
    assert {watched.shown(one)["state"] for one in mine.values()} == {"pending"}

    done = answer(watched.person, "y\n", "approvals", "approve", mine[names[0]], "--together")
    assert done.code == 0, done.text
    for name, approval in mine.items():
        assert f'object: deletes ConfigMap "{name}"' in done.out
        assert f"approval {approval} is approved" in done.out
    assert watched.kubectl.must("delete", "configmap", *names).count("deleted") == 3
