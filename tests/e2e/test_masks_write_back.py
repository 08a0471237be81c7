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
