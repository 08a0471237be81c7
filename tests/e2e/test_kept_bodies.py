"""Bodies of API calls, kept by level: what a real kubectl sent and was shown, masked, before it passed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.workloads import configmap, deployment, yaml_of

PLANTED = "planted-8f1c-hush"
"""In every place of every test where a secret stands: in no file of the gate may it be found."""
LARGE = 300_000
"""Bytes of an object beyond what an entry holds."""

NO_REPLICAS = 0


ALL_RULES = ({**ALLOW_ALL_RULES[0], "pods": {"strongerAccounts": "allow"}}, *ALLOW_ALL_RULES[1:])
"""Everything, shown as it is: what is kept is masked all the same."""


@pytest.fixture(scope="module")
def namespace(new_namespace: Callable[[str], str]) -> str:
    return new_namespace("bodies")


@pytest.fixture(scope="module")
def keeping(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate that keeps all of `whole`, what is sent of `half`, and of some less."""
    rules = [
        {"level": "None", "verbs": ["get"], "resources": [{"group": "", "resources": ["services"]}]},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["serviceaccounts"]}]},
        {"level": "Request", "users": ["agent:half"], "namespaces": [namespace]},
        {"level": "RequestResponse", "namespaces": [namespace]},
    ]
    gate = Gate(
        tmp_path_factory.mktemp("bodies-gate"),
        [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}],
        settings={"audit": {"bodies": rules}},
    )
    for name in ("whole", "half"):
        gate.agent(name, ALL_RULES)
    gate.start()
    yield gate
    gate.stop()


@pytest.fixture
def here(keeping: Gate, cluster: Cluster, namespace: str, tmp_path: Path) -> Kubectl:
    return caller(keeping, "whole", cluster, tmp_path).within(namespace)


def caller(gate: Gate, agent: str, cluster: Cluster, home: Path) -> Kubectl:
    return Kubectl(cluster.kubectl, gate.agent(agent, ALL_RULES).kubeconfig, home)


Entries = list[dict[str, Any]]
"""All entries of one request, in the order of the journal."""


def requests_to(
    gate: Gate, verb: str, resource: str, name: str = "", *, who: str = "whole", count: int = 1
) -> list[Entries]:
    """The requests of an agent to objects of this name, oldest first, once so many are over. A create has its name in
    what was sent alone, and may be looked for without.
    """
    found: list[Entries] = []

    def over() -> bool:
        by_request: dict[str, Entries] = {}
        for event in gate.events(f'"agent:{who}"'):
            by_request.setdefault(event["auditID"], []).append(event)
        found[:] = [entries for entries in by_request.values() if _is_about(entries, verb, resource, name)]
        return len(found) >= count

    gate.wait_until(over, f"{count} finished requests to {verb} {resource} {name}")
    return found


def _is_about(entries: Entries, verb: str, resource: str, name: str) -> bool:
    last = entries[-1]
    is_over = last["stage"] == "ResponseComplete" and last["verb"] == verb
    about = last.get("objectRef", {})
    named = about.get("name") or (sent_of(entries) or {}).get("metadata", {}).get("name", "")
    return is_over and about.get("resource") == resource and name in ("", named)


def sent_of(entries: Entries) -> Any:
    return next((event["requestObject"] for event in entries if "requestObject" in event), None)


def answered_of(entries: Entries) -> Any:
    return next((event["responseObject"] for event in entries if "responseObject" in event), None)


def said_of(entries: Entries, whose: str) -> str:
    """What the entries say of an object that is not in them."""
    annotation = f"narrowgate.dev/{whose}-object"
    return next((event["annotations"][annotation] for event in entries if annotation in event["annotations"]), "")


def holds_planted(gate: Gate) -> list[str]:
    """The files of the gate in which what was planted can be found, as it is or in base64."""
    plain = PLANTED.encode()
    forms = [plain, *(base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3))]
    files = [path for folder in ("trail", "spool", "recordings") for path in (gate.data_dir / folder).rglob("*")]
    return [str(path) for path in files if path.is_file() and any(form in path.read_bytes() for form in forms)]


def with_secrets(name: str, image: str) -> bytes:
    document = deployment(name, image, replicas=NO_REPLICAS)
    main = document["spec"]["template"]["spec"]["containers"][0]
    main["env"] = [{"name": "DB_PASSWORD", "value": PLANTED}, {"name": "PLACE", "value": "here"}]
    main["args"] = ["--password", PLANTED]
    return yaml_of(document)


def test_what_kubectl_applies_and_changes_is_kept_with_what_came_of_it(
    keeping: Gate, here: Kubectl, cluster: Cluster
) -> None:
    here.must("apply", "-f", "-", stdin=with_secrets("web", cluster.image))
    here.must("scale", "deployment/web", "--replicas=0")
    here.must("set", "image", "deployment/web", "main=elsewhere:2")
    (created,) = requests_to(keeping, "create", "deployments", "web")
    stages = [event["stage"] for event in created]
    assert stages == ["RequestReceived", "RequestReceived", "ResponseStarted", "ResponseComplete"]
    before, first, answered, last = created
    assert not {"requestObject", "responseObject"} & before.keys()
    assert {event["level"] for event in created} == {"RequestResponse"}
    assert first["annotations"]["narrowgate.dev/decision"] == "allow"
    sent = first["requestObject"]["spec"]["template"]["spec"]["containers"][0]
    assert sent["env"][1] == {"name": "PLACE", "value": "here"}
    assert re.fullmatch(r"\[masked:narrowgate/env:[0-9a-f]{8}\]", sent["env"][0]["value"])
    assert answered["responseObject"]["metadata"]["uid"]
    assert answered["responseStatus"]["code"] == 201
    assert not {"requestObject", "responseObject"} & last.keys()
    scaled, changed = requests_to(keeping, "patch", "deployments", "web", count=2)
    assert sent_of(scaled) == {"spec": {"replicas": 0}}
    assert answered_of(scaled)["kind"] == "Scale"
    (container,) = sent_of(changed)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "elsewhere:2"
    assert holds_planted(keeping) == []


@pytest.mark.parametrize(
    ("kind", "patch", "kept"),
    [
        (
            "strategic",
            {
                "spec": {
                    "template": {
                        "spec": {"containers": [{"name": "main", "env": [{"name": "API_TOKEN", "value": PLANTED}]}]}
                    }
                }
            },
            None,
        ),
        ("merge", {"metadata": {"annotations": {"example.com/password": PLANTED, "example.com/team": "red"}}}, None),
        ("json", [{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value", "value": PLANTED}], None),
        ("json", [{"op": "replace", "path": "/spec/template/spec/containers/0/args/1", "value": PLANTED}], None),
        (
            "json",
            [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "elsewhere:3"}],
            [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "elsewhere:3"}],
        ),
    ],
    ids=["strategic", "merge", "json env", "json argument", "json image"],
)
def test_secrets_in_patches_are_not_kept_whatever_form_they_have(
    keeping: Gate, here: Kubectl, cluster: Cluster, request: pytest.FixtureRequest, kind: str, patch: Any, kept: Any
) -> None:
    name = "patched-" + request.node.callspec.id.replace(" ", "-")
    here.must("create", "-f", "-", stdin=with_secrets(name, cluster.image))
    here.must("patch", "deployment", name, "--type", kind, "-p", json.dumps(patch))
    (patched,) = requests_to(keeping, "patch", "deployments", name)
    assert sent_of(patched) == kept if kept is not None else sent_of(patched) not in (None, patch)
    assert answered_of(patched)["kind"] == "Deployment"
    assert holds_planted(keeping) == []


def test_secrets_themselves_are_never_kept(keeping: Gate, here: Kubectl) -> None:
    here.must("create", "secret", "generic", "hidden", f"--from-literal=password={PLANTED}")
    assert base64.b64encode(PLANTED.encode()).decode() in here.must("get", "secret", "hidden", "-o", "json")
    (created,) = requests_to(keeping, "create", "secrets")
    (read,) = requests_to(keeping, "get", "secrets", "hidden")
    left_out = "left out: it is a credential"
    assert [said_of(created, "request"), said_of(created, "response")] == [left_out, left_out]
    assert said_of(read, "response") == left_out
    assert holds_planted(keeping) == []


def test_a_large_object_is_a_recording_that_its_entries_name(keeping: Gate, here: Kubectl) -> None:
    document = configmap("large", text="0123456789" * (LARGE // 10), password=PLANTED)
    here.must("create", "-f", "-", stdin=yaml_of(document))
    assert len(here.must("get", "configmap", "large", "-o", "json")) > LARGE
    (created,) = [each for each in requests_to(keeping, "create", "configmaps") if said_of(each, "request")]
    assert not any({"requestObject", "responseObject"} & event.keys() for event in created)
    assert said_of(created, "request").startswith("in the recording, ")
    assert said_of(created, "response").startswith("in the recording, ")
    (name,) = {event["annotations"].get("narrowgate.dev/recording") for event in created} - {None}
    keeping.wait_until((keeping.data_dir / "recordings" / name).is_file, "the recording is kept")
    session = created[0]["auditID"]
    sent, got = (
        json.loads(keeping.command("sessions", "replay", session, "--raw", channel).out)
        for channel in ("stdin", "stdout")
    )
    assert sent["data"]["text"] == got["data"]["text"] == document["data"]["text"]
    assert sent["data"]["password"] == got["data"]["password"] != PLANTED
    shown = json.loads(keeping.command("sessions", "show", session, "-o", "json").out)
    assert (shown["kind"], shown["integrity"]["isWhole"]) == ("api", True)
    assert holds_planted(keeping) == []


def test_a_refused_write_is_kept_as_it_was_tried(
    keeping: Gate, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    rules = [{**ALLOW_ALL_RULES[0], "id": "look", "verbs": ["get", "list"]}, ALLOW_ALL_RULES[1]]
    agent = keeping.agent("reader", rules)
    kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, tmp_path).within(namespace)
    tried = kubectl("create", "-f", "-", stdin=yaml_of(configmap("never", team="red", password=PLANTED)))
    assert tried.code == 1
    (refused,) = requests_to(keeping, "create", "configmaps", who="reader")
    assert refused[-1]["annotations"]["narrowgate.dev/decision"] == "deny"
    assert refused[-1]["requestObject"]["data"]["team"] == "red"
    assert answered_of(refused) is None
    assert holds_planted(keeping) == []


def test_levels_keep_no_more_than_they_say(
    keeping: Gate, here: Kubectl, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    half = caller(keeping, "half", cluster, tmp_path / "half").within(namespace)
    half.must("create", "-f", "-", stdin=yaml_of(configmap("halved", a="b")))
    half.must("get", "configmap", "halved")
    (read,) = requests_to(keeping, "get", "configmaps", "halved", who="half")
    assert {event["level"] for event in read} == {"Request"}
    assert (sent_of(read), answered_of(read)) == (None, None)
    here.must("create", "serviceaccount", "named")
    (created,) = requests_to(keeping, "create", "serviceaccounts")
    assert {event["level"] for event in created} == {"Metadata"}
    assert (sent_of(created), answered_of(created)) == (None, None)
    here.must("create", "service", "clusterip", "unseen", "--tcp=80:80")
    here.must("get", "service", "unseen")
    assert here("get", "service", "nothing-here").code == 1
    # What comes later is in the journal by then, so what should not be there would be, too.
    here.must("get", "configmap", "halved")
    requests_to(keeping, "get", "configmaps", "halved")
    assert [event for event in keeping.events("/services/") if event["verb"] == "get"] == []


def test_answers_are_the_same_bytes_whatever_is_kept_of_them(
    keeping: Gate, here: Kubectl, direct: Kubectl, namespace: str
) -> None:
    here.must("create", "-f", "-", stdin=yaml_of(configmap("same", a="b")))
    for arguments in (("get", "configmap", "same", "-o", "json"), ("get", "configmaps"), ("get", "configmap", "none")):
        one, other = here(*arguments), direct.within(namespace)(*arguments)
        assert (one.code, one.err) == (other.code, other.err)
        if arguments[-1] == "json":
            assert json.loads(one.out) == json.loads(other.out)


def test_a_list_beyond_the_limit_passes_whole_and_its_beginning_is_kept(
    keeping: Gate, here: Kubectl, direct: Kubectl, namespace: str
) -> None:
    chunk = "0123456789abcdef" * 40_000
    for number in range(8):
        direct.within(namespace).must("create", "-f", "-", stdin=yaml_of(configmap(f"wide-{number}", text=chunk)))
    try:
        target = f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=app%3Dconfig"
        listed = json.loads(here.must("get", "--raw", target))
        assert sum(len(item["data"].get("text", "")) for item in listed["items"]) >= 8 * len(chunk)
        found = requests_to(keeping, "list", "configmaps")
        (read,) = [each for each in found if "labelSelector" in each[0]["requestURI"]]
        assert "is not kept" in said_of(read, "response")
        kept = keeping.command("sessions", "replay", read[0]["auditID"], "--raw", "stdout").out
        assert 1_000_000 < len(kept) <= 4 * 1024 * 1024
        assert kept.startswith('{"kind":"ConfigMapList"')
    finally:
        direct.within(namespace).must("delete", "configmap", *(f"wide-{number}" for number in range(8)))
