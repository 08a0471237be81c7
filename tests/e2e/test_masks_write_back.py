"""Reading, editing and writing back through the gate, by an agent for whom secrets are masked, with a real kubectl.

Whatever the edit: the secret in the cluster is unchanged afterwards, the rest of the edit has taken place; or the
refusal names the field, and nothing has changed.
"""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster, Gate
from tests.e2e.kubectl import Kubectl, Ran

SECRET = "planted-5d0c1c6e9f4b4d0f"
OTHER = "planted-0a47be11c2d94f55"
KEY = base64.b64encode(SECRET.encode()).decode()
OTHER_KEY = base64.b64encode(OTHER.encode()).decode()
UNMASKED_RULES = ALLOW_ALL_RULES[:2]


@pytest.fixture(scope="module")
def masked_gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    gate = Gate(tmp_path_factory.mktemp("write-back-gate"), [entry])
    gate.agent("masked", UNMASKED_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture(scope="module")
def agent(masked_gate: Gate) -> Agent:
    return masked_gate.agent("masked", UNMASKED_RULES)


@pytest.fixture(scope="module")
def place(new_namespace: Callable[[str], str]) -> str:
    return new_namespace("write-back")


@pytest.fixture(scope="module")
def kubectl(agent: Agent, kubectl_of: Callable[[Agent], Kubectl], place: str) -> Kubectl:
    """As the agent."""
    return kubectl_of(agent).within(place)


@pytest.fixture(scope="module")
def cluster_itself(direct: Kubectl, place: str) -> Kubectl:
    """Past the gate."""
    return direct.within(place)


@pytest.fixture
def objects(cluster_itself: Kubectl, cluster: Cluster) -> None:
    """The objects as they are before each edit."""
    container = {
        "name": "main",
        "image": cluster.image,
        "command": ["/bin/sh", "-c", "sleep 3600", "--", "--password", SECRET],
        "env": [{"name": "DB_PASSWORD", "value": SECRET}, {"name": "PLAIN", "value": "stays"}],
    }
    template = {"metadata": {"labels": {"app": "edited"}}, "spec": {"containers": [container]}}
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "edited"},
            "data": {"key": KEY, "other": OTHER_KEY},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "edited"},
            "data": {"password": SECRET, "app.yaml": f"db:\n  password: {SECRET}\n  host: db\n", "plain": "stays"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "edited"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "edited"}}, "template": template},
        },
    ]
    cluster_itself("delete", "secret,configmap,deployment", "edited", "--ignore-not-found", "--wait=true")
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()
    cluster_itself.must("apply", "-f", "-", stdin=document)


class Edits:
    """What an agent does with kubectl."""

    def __init__(self, kubectl: Kubectl, direct: Kubectl, folder: Path) -> None:
        self.kubectl = kubectl
        self.direct = direct
        self.folder = folder

    def edited(self, what: str, *changes: tuple[str, str], options: tuple[str, ...] = ()) -> Ran:
        """`kubectl edit` with an editor that replaces text."""
        script = self.folder / "editor"
        lines = ["#!/usr/bin/env python3", "import sys", "text = open(sys.argv[1]).read()"]
        lines += [f"assert {old!r} in text; text = text.replace({old!r}, {new!r})" for old, new in changes]
        script.write_text("\n".join([*lines, "open(sys.argv[1], 'w').write(text)"]))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return self.kubectl.using({"EDITOR": str(script)})("edit", what, "edited", *options)

    def read(self, what: str) -> dict[str, Any]:
        """As the agent is shown it."""
        document: dict[str, Any] = json.loads(self.kubectl.must("get", what, "edited", "-o", "json"))
        return document

    def sent(self, command: tuple[str, ...], document: Any) -> Ran:
        """A document given to a command of kubectl."""
        return self.kubectl(*command, "-f", "-", stdin=json.dumps(document).encode())

    def there(self, what: str) -> dict[str, Any]:
        """As it is."""
        document: dict[str, Any] = json.loads(self.direct.must("get", what, "edited", "-o", "json"))
        return document

    def patched(self, what: str, kind: str, patch: Any, *options: str) -> Ran:
        return self.kubectl("patch", what, "edited", f"--type={kind}", "-p", json.dumps(patch), *options)


@pytest.fixture
def edits(objects: None, kubectl: Kubectl, cluster_itself: Kubectl, tmp_path: Path) -> Edits:
    return Edits(kubectl, cluster_itself, tmp_path)


def require_whole(edits: Edits) -> None:
    """Every planted secret is where it was, and nothing masked anywhere."""
    secret, config, deployment = (edits.there(what) for what in ("secret", "configmap", "deployment"))
    assert secret["data"]["key"] == KEY
    assert config["data"]["password"] == SECRET
    assert f"  password: {SECRET}\n" in config["data"]["app.yaml"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["env"][0] == {"name": "DB_PASSWORD", "value": SECRET}
    assert container["command"][-2:] == ["--password", SECRET]
    for document in (secret, config, deployment):
        assert "masked:" not in json.dumps(document)
        assert "W21hc2tlZD" not in json.dumps(document)


def label(document: dict[str, Any]) -> dict[str, Any]:
    document["metadata"].setdefault("labels", {})["edited"] = "yes"
    return document


def less_version(document: dict[str, Any]) -> dict[str, Any]:
    for key in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
        document["metadata"].pop(key, None)
    document.pop("status", None)
    return document


def applied_as_yaml(edits: Edits, what: str, *options: str) -> Ran:
    shown = edits.kubectl.must("get", what, "edited", "-o", "yaml").encode()
    assert b"masked:" in shown or b"W21hc2tlZD" in shown
    return edits.kubectl(
        "apply",
        *options,
        "-f",
        "-",
        stdin=shown.replace(b"  name: edited\n", b"  name: edited\n  labels: {edited: 'yes'}\n"),
    )


LABELLED: dict[str, Callable[[Edits, str], Ran]] = {
    "edit": lambda edits, what: edits.edited(what, ("  name: edited\n", "  name: edited\n  labels: {edited: 'yes'}\n")),
    "edit and save the configuration": lambda edits, what: edits.edited(
        what, ("  name: edited\n", "  name: edited\n  labels: {edited: 'yes'}\n"), options=("--save-config",)
    ),
    "get and apply": applied_as_yaml,
    "get and apply on the server": lambda edits, what: applied_as_yaml(
        edits, what, "--server-side", "--force-conflicts"
    ),
    "get and replace": lambda edits, what: edits.sent(("replace",), label(edits.read(what))),
    "get and replace less its version": lambda edits, what: edits.sent(
        ("replace",), label(less_version(edits.read(what)))
    ),
    "merge patch of all": lambda edits, what: edits.patched(what, "merge", label(less_version(edits.read(what)))),
    "strategic patch of all": lambda edits, what: edits.patched(
        what, "strategic", label(less_version(edits.read(what)))
    ),
    "label": lambda edits, what: edits.kubectl("label", what, "edited", "edited=yes"),
    "patch": lambda edits, what: edits.patched(what, "merge", {"metadata": {"labels": {"edited": "yes"}}}),
    "JSON patch": lambda edits, what: edits.patched(
        what, "json", [{"op": "add", "path": "/metadata/labels", "value": {"edited": "yes"}}]
    ),
}


@pytest.mark.parametrize("what", ["secret", "configmap", "deployment"])
@pytest.mark.parametrize("edit", LABELLED)
def test_an_edit_leaves_every_secret_as_it_was(edits: Edits, edit: str, what: str) -> None:
    ran = LABELLED[edit](edits, what)
    assert ran.code == 0, ran.text
    assert edits.there(what)["metadata"]["labels"]["edited"] == "yes"
    require_whole(edits)
    assert SECRET not in ran.text


def container_of(edits: Edits) -> dict[str, Any]:
    container: dict[str, Any] = edits.there("deployment")["spec"]["template"]["spec"]["containers"][0]
    return container


def test_one_key_of_a_secret_goes_and_the_others_stay(edits: Edits) -> None:
    secret = edits.read("secret")
    del secret["data"]["other"]
    assert edits.sent(("replace",), secret).code == 0
    assert edits.there("secret")["data"] == {"key": KEY}
    require_whole(edits)


def test_a_key_is_added_beside_masked_ones(edits: Edits) -> None:
    assert edits.edited("secret", ("\ndata:\n", "\ndata:\n  added: bmV3\n")).code == 0
    assert edits.there("secret")["data"] == {"key": KEY, "other": OTHER_KEY, "added": "bmV3"}


def test_a_new_value_takes_the_place_of_one_masked_key(edits: Edits) -> None:
    secret = edits.read("secret")
    secret["data"]["other"] = "bmV3"
    assert edits.sent(("replace",), secret).code == 0
    assert edits.there("secret")["data"] == {"key": KEY, "other": "bmV3"}


def test_a_manifest_that_never_had_the_value_is_applied(edits: Edits, agent: Agent, place: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edited"}, "data": {"added": "bmV3"}}
    # kubectl itself would take over what it has applied before, and so away.
    answer = agent.request(
        "PATCH",
        f"/api/v1/namespaces/{place}/secrets/edited?fieldManager=other",
        {"Content-Type": "application/apply-patch+yaml"},
        json.dumps(secret).encode(),
    )
    assert answer.status == 200, answer.message
    assert edits.there("secret")["data"] == {"key": KEY, "other": OTHER_KEY, "added": "bmV3"}


def test_text_around_a_masked_line_is_edited(edits: Edits) -> None:
    assert edits.edited("configmap", ("      host: db", "      host: other\n      port: 5432")).code == 0
    assert edits.there("configmap")["data"]["app.yaml"] == f"db:\n  password: {SECRET}\n  host: other\n  port: 5432\n"


def test_the_text_form_of_a_masked_secret_is_put_back_too(edits: Edits) -> None:
    shown = {key: base64.b64decode(value).decode() for key, value in edits.read("secret")["data"].items()}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edited"}, "stringData": shown}
    ran = edits.sent(("apply",), manifest)
    assert ran.code == 0, ran.text
    require_whole(edits)


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        (("set", "env", "deployment/edited", "PLAIN=new"), {"name": "PLAIN", "value": "new"}),
        (("set", "env", "deployment/edited", "DB_PASSWORD=new"), {"name": "DB_PASSWORD", "value": "new"}),
    ],
)
def test_environment_variables_are_set(edits: Edits, arguments: tuple[str, ...], result: dict[str, str]) -> None:
    ran = edits.kubectl(*arguments)
    assert ran.code == 0, ran.text
    assert result in container_of(edits)["env"]
    assert len(container_of(edits)["env"]) == 2
    assert container_of(edits)["command"][-1] == SECRET


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "image", "deployment/edited", "main=registry.example/other:1"),
        ("scale", "deployment/edited", "--replicas=0"),
        ("rollout", "restart", "deployment/edited"),
        ("annotate", "deployment/edited", "why=because"),
        ("set", "resources", "deployment/edited", "--limits=cpu=100m"),
        ("autoscale", "deployment/edited", "--max=2", "--dry-run=server"),
        ("set", "serviceaccount", "deployment/edited", "default"),
        ("edit", "deployment", "edited", "--subresource=status"),
    ],
)
def test_commands_that_know_nothing_of_secrets_work_as_ever(edits: Edits, arguments: tuple[str, ...]) -> None:
    ran = edits.kubectl.using({"EDITOR": "sed -i s/observedGeneration/observedGeneration/"})(*arguments)
    assert ran.code == 0, ran.text
    require_whole(edits)


def test_a_rollout_is_undone_where_its_secrets_are_the_same(edits: Edits) -> None:
    edits.kubectl.must("set", "env", "deployment/edited", "PLAIN=new")
    edits.direct.must("rollout", "status", "deployment/edited", "--timeout=60s")
    ran = edits.kubectl("rollout", "undo", "deployment/edited")
    assert ran.code == 0, ran.text
    assert {"name": "PLAIN", "value": "stays"} in container_of(edits)["env"]
    require_whole(edits)


# --- what must not pass: the refusal names the field, and nothing is changed


def template(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": f"/spec/template/spec/containers/0/{path}", "value": value}


def shown_env(edits: Edits) -> str:
    env = edits.read("deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    return str(env[0]["value"])


def main_with(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", **fields}]}}}}


ATTACKS: dict[str, tuple[Callable[[Edits], Ran], str]] = {
    "to another key": (
        lambda edits: edits.patched("secret", "merge", {"data": {"copy": edits.read("secret")["data"]["key"]}}),
        "data.copy",
    ),
    "to the key of another value": (
        lambda edits: edits.patched("secret", "merge", {"data": {"other": edits.read("secret")["data"]["key"]}}),
        "data.other",
    ),
    "as an annotation": (
        lambda edits: edits.kubectl(
            "annotate", "secret", "edited", f"note={base64.b64decode(edits.read('secret')['data']['key']).decode()}"
        ),
        "metadata.annotations.note",
    ),
    "in base64 of its own": (
        lambda edits: edits.patched(
            "configmap", "merge", {"data": {"note": base64.b64encode(f"x {shown_env(edits)}".encode()).decode()}}
        ),
        "data.note",
    ),
    "under another name": (
        lambda edits: edits.sent(
            ("create",),
            less_version(edits.read("secret")) | {"metadata": {"name": "copied"}},
        ),
        "data.key",
    ),
    "of another object": (
        lambda edits: edits.patched("configmap", "merge", {"data": {"password": "[masked:narrowgate/env:00000000]"}}),
        "data.password",
    ),
    "in an argument that is shown": (
        lambda edits: edits.patched(
            "deployment", "json", [template("command", ["/bin/sh", "-c", "echo", "--label", shown_env(edits)])]
        ),
        "spec.template.spec.containers[0].command[4]",
    ),
    "behind a flag of no secret": (
        lambda edits: edits.patched("deployment", "json", [template("command/4", "--label")]),
        "spec.template.spec.containers[0].command[5]",
    ),
    "its flag taken away": (
        lambda edits: edits.patched(
            "deployment", "json", [{"op": "remove", "path": "/spec/template/spec/containers/0/command/4"}]
        ),
        "spec.template.spec.containers[0].command[4]",
    ),
    "its flag taken away by a directive": (
        lambda edits: edits.patched(
            "deployment", "strategic", main_with(**{"$deleteFromPrimitiveList/command": ["--password"]})
        ),
        "command",
    ),
    "moved behind another flag by a directive": (
        lambda edits: edits.patched(
            "deployment", "strategic", main_with(**{"$setElementOrder/command": ["--password", "/bin/sh", "-c"]})
        ),
        "command",
    ),
    "its variable renamed": (
        lambda edits: edits.patched("deployment", "json", [template("env/0/name", "LABEL")]),
        "spec.template.spec.containers[0].env[0].value",
    ),
    "its variable renamed and sent": (
        lambda edits: edits.patched(
            "deployment", "strategic", main_with(env=[{"name": "LABEL", "value": shown_env(edits)}])
        ),
        "spec.template.spec.containers[0].env[0].value",
    ),
    "copied": (
        lambda edits: edits.patched(
            "configmap", "json", [{"op": "copy", "from": "/data/password", "path": "/data/note"}]
        ),
        "data.password",
    ),
    "moved with all of its keys": (
        lambda edits: edits.patched(
            "configmap", "json", [{"op": "move", "from": "/data", "path": "/metadata/annotations"}]
        ),
        "data: it is masked, and operation 0 takes it elsewhere",
    ),
    "guessed rightly": (
        lambda edits: edits.patched("configmap", "json", [{"op": "test", "path": "/data/password", "value": SECRET}]),
        "data.password",
    ),
    "guessed wrongly": (
        lambda edits: edits.patched("configmap", "json", [{"op": "test", "path": "/data/password", "value": "x"}]),
        "data.password",
    ),
    "as the manager of a field": (
        lambda edits: edits.kubectl(
            "apply",
            "--server-side",
            "--field-manager=[masked:narrowgate/env:00000000]",
            "-f",
            "-",
            stdin=b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"edited"}}',
        ),
        "the parameter fieldManager",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_secret_is_neither_moved_nor_shown_nor_guessed(edits: Edits, attack: str) -> None:
    attempt, field = ATTACKS[attack]
    before = {what: edits.there(what)["metadata"]["resourceVersion"] for what in ("secret", "configmap")}
    ran = attempt(edits)
    assert ran.code == 1, ran.text
    assert field in ran.text
    assert SECRET not in ran.text.replace("value: " + SECRET, "")
    assert before == {what: edits.there(what)["metadata"]["resourceVersion"] for what in before}
    require_whole(edits)


def test_an_object_that_changed_meanwhile_is_a_conflict(edits: Edits) -> None:
    secret = edits.read("secret")
    edits.direct.must("label", "secret", "edited", "moved=on")
    ran = edits.sent(("replace",), secret)
    assert ran.code == 1
    assert "the object has been modified" in ran.text
    require_whole(edits)


def test_the_refusal_is_a_status_with_the_field(edits: Edits, agent: Agent, place: str) -> None:
    body = json.dumps({"data": {"copy": edits.read("secret")["data"]["key"]}}).encode()
    answer = agent.request(
        "PATCH",
        f"/api/v1/namespaces/{place}/secrets/edited",
        {"Content-Type": "application/merge-patch+json"},
        body,
    )
    status = answer.json()
    assert (answer.status, status["reason"], status["details"]["name"]) == (422, "Invalid", "edited")
    assert [cause["field"] for cause in status["details"]["causes"]] == ["data.copy"]
    assert "never stored" in status["message"]


def test_who_may_not_get_an_object_has_nothing_put_back(edits: Edits, masked_gate: Gate, place: str) -> None:
    rule = {**UNMASKED_RULES[0], "id": "write", "verbs": ["list", "update", "patch"]}
    writer = masked_gate.agent("write-back-writer", [rule])
    target = f"/api/v1/namespaces/{place}/secrets"
    masked_gate.wait_until(lambda: writer.request("GET", target).status == 200, "the writer's policy")
    (secret,) = (one for one in writer.request("GET", target).json()["items"] if one["metadata"]["name"] == "edited")
    secret |= {"apiVersion": "v1", "kind": "Secret"}
    answer = writer.request(
        "PUT", f"{target}/edited", {"Content-Type": "application/json"}, json.dumps(secret).encode()
    )
    assert answer.status == 422
    assert "may not get the object" in answer.message
    require_whole(edits)


def test_the_record_holds_nothing_that_was_put_back(edits: Edits, masked_gate: Gate) -> None:
    assert edits.sent(("replace",), label(edits.read("secret"))).code == 0
    journal = masked_gate.journal_text()
    assert KEY not in journal
    assert f"/{edits.there('secret')['metadata']['name']}" in journal


def test_a_dry_run_of_a_copy_is_refused_and_a_difference_shows_none(edits: Edits) -> None:
    shown = edits.read("deployment")
    copied = less_version(shown | {"metadata": {"name": "copied"}})
    ran = edits.sent(("create", "--dry-run=server"), copied)
    assert (ran.code, SECRET in ran.text) == (1, False)
    assert "spec.template.spec.containers[0].env[0].value" in ran.text
    same = edits.sent(("diff",), less_version(edits.read("deployment")))
    assert same.code == 0, same.text
    assert SECRET not in same.text


def test_a_custom_resource_is_edited_and_its_parts_keep_their_kind(
    edits: Edits, direct: Kubectl, agent: Agent, place: str, run_id: str
) -> None:
    group = f"ng-{run_id}.example.com"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "edited"},
        "spec": {
            "manifest": {"kind": "Secret", "data": {"any": KEY}},
            "parameters": [{"id": 1, "name": "DB_PASSWORD", "value": SECRET}],
            "size": 1,
        },
    }
    try:
        direct.must("create", "-f", "-", stdin=json.dumps(definition).encode())
        direct.must("wait", "--for=condition=Established", f"crd/widgets.{group}", "--timeout=60s")
        edits.direct.must("create", "-f", "-", stdin=json.dumps(widget).encode())
        target = f"/apis/{group}/v1/namespaces/{place}/widgets/edited"

        def patch(kind: str, document: Any) -> int:
            headers = {"Content-Type": f"application/{kind}"}
            query = "?fieldManager=other&force=true" if "apply" in kind else ""
            return agent.request("PATCH", target + query, headers, json.dumps(document).encode()).status

        shown = agent.request("GET", target).json()
        assert KEY not in json.dumps(shown)
        assert SECRET not in json.dumps(shown)
        assert patch("merge-patch+json", {"spec": shown["spec"] | {"size": 2}}) == 200
        assert patch("merge-patch+json", {"spec": {"manifest": {"kind": "Other"}}}) == 422
        other = {key: widget[key] for key in ("apiVersion", "kind", "metadata")}
        assert patch("apply-patch+yaml", other | {"spec": {"manifest": {"kind": "Other"}}}) == 422
        assert patch("apply-patch+yaml", other | {"spec": {"parameters": [{"id": 1, "name": "LABEL"}]}}) == 422
        there = edits.there(f"widgets.{group}")
        assert there["spec"] == widget["spec"] | {"size": 2}
    finally:
        direct("delete", "crd", f"widgets.{group}", "--wait=false")
