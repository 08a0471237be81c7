"""Writes with masked values between a client and an API server: put back, bound to a version, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.proxy.loopback import (
    JSON,
    PODS,
    InProcess,
    Message,
    Peer,
    Script,
    api_server,
    gate,
    ok,
    request,
    run,
)

from narrowgate.core.masking.masked_value import ValueMasker

TOKEN = ValueMasker(bytes(32)).of("narrowgate/env", b"hunter2")
POD = f"{PODS}/p"
MERGE = "Content-Type: application/merge-patch+json"
JSON_PATCH = "Content-Type: application/json-patch+json"
APPLY = "Content-Type: application/apply-patch+yaml"
PROTOBUF = "Content-Type: application/vnd.kubernetes.protobuf"
RULES = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: pods, effect: allow, verbs: [%s], apiGroups: [""], resources: [pods], namespaces: [ci],
       pods: {strongerAccounts: allow}}
"""
READS_TOO = RULES % "get, create, update, patch, delete"
WRITES_ONLY = RULES % "create, update, patch, delete"
ASKS = (
    READS_TOO
    + """
    - {id: asked, effect: approve, verbs: [update, patch], apiGroups: [""], resources: [pods], namespaces: [ci],
       approval: {from: [{group: sre, count: 1}], within: 5m}}
"""
)
DENIES_ON_SECRET = (
    READS_TOO
    + """
    - {id: never, effect: deny, verbs: [update, patch], apiGroups: [""], resources: [pods], namespaces: [ci],
       when: 'object.spec.containers.exists(c, c.env.exists(e, e.value == "hunter2"))'}
"""
)

MASKS_MORE = """
  masks:
    - {id: images, apiGroups: [""], resources: [pods], fields: ["spec.containers[*].image"]}
"""


def pod(value: str, **metadata: str) -> dict[str, Any]:
    env = [{"name": "DB_PASSWORD", "value": value}, {"name": "PLAIN", "value": "x"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ci", **metadata},
        "spec": {"containers": [{"name": "main", "env": env}]},
    }


THERE = pod("hunter2", resourceVersion="7")


def sent(folder: Path, message: bytes, policy: str = READS_TOO, there: bytes | None = None) -> tuple[Message, Script]:
    """The answer to a request, and what reached the API server."""
    answers: list[Message] = []
    scripts: list[Script] = []

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            arrived = await script.take(peer)
            await peer.send(
                (there or ok(json.dumps(THERE).encode())) if arrived.method == "GET" else ok(b'{"kind":"Pod"}')
            )

    async def main() -> None:
        async with api_server(folder, play) as script, gate(folder, script, hold_seconds=0.0) as made:
            await made.change_policy(policy)
            peer = await made.client()
            await peer.send(message)
            answers.append(await peer.message())
            await require_unrecorded(made)
            await peer.close()
            scripts.append(script)

    run(main())
    return answers[0], scripts[0]


async def require_unrecorded(made: InProcess) -> None:
    await made.finished()
    assert "hunter2" not in json.dumps(made.events())


def body_of(value: Any) -> bytes:
    return json.dumps(value).encode()


def refused(answer: Message) -> tuple[int, str, list[str]]:
    status = json.loads(answer.body)
    assert "hunter2" not in answer.body.decode()
    causes = status.get("details", {}).get("causes", [])
    return status["code"], status["reason"], [cause.get("field", "") for cause in causes]


ENV = "spec.containers[0].env[0].value"


def test_an_update_goes_with_what_it_was_shown_and_the_version_that_was_read(tmp_path: Path) -> None:
    answer, server = sent(tmp_path, request("PUT", POD, body_of(pod(TOKEN)), JSON))
    assert answer.status == 200
    assert [one.method for one in server.received] == ["GET", "PUT"]
    assert json.loads(server.received[1].body) == THERE


def test_a_merge_patch_goes_with_it_too(tmp_path: Path) -> None:
    patch = {"spec": {"containers": [{"name": "main", "env": [{"name": "DB_PASSWORD", "value": TOKEN}]}]}}
    _, server = sent(tmp_path, request("PATCH", POD, body_of(patch), MERGE))
    forwarded = json.loads(server.received[-1].body)
    assert forwarded["spec"]["containers"][0]["env"][0]["value"] == "hunter2"
    assert forwarded["metadata"] == {"resourceVersion": "7"}


def test_what_is_applied_as_yaml_goes_as_json(tmp_path: Path) -> None:
    manifest = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
        f'spec: {{containers: [{{name: main, env: [{{name: DB_PASSWORD, value: "{TOKEN}"}}]}}]}}\n'
    )
    _, server = sent(tmp_path, request("PATCH", f"{POD}?fieldManager=ci", manifest.encode(), APPLY))
    forwarded = server.received[-1]
    assert forwarded.fields["content-type"] == "application/apply-patch+yaml"
    assert json.loads(forwarded.body)["spec"]["containers"][0]["env"] == [{"name": "DB_PASSWORD", "value": "hunter2"}]


def test_a_json_patch_goes_with_it_too(tmp_path: Path) -> None:
    operations = [{"op": "replace", "path": "/spec/containers/0/env/0/value", "value": TOKEN}]
    _, server = sent(tmp_path, request("PATCH", POD, body_of(operations), JSON_PATCH))
    assert json.loads(server.received[-1].body) == [
        {"op": "replace", "path": "/spec/containers/0/env/0/value", "value": "hunter2"},
        {"op": "add", "path": "/metadata/resourceVersion", "value": "7"},
    ]


@pytest.mark.parametrize(
    ("message", "policy", "fields"),
    [
        (request("POST", PODS, body_of(pod(TOKEN)), JSON), READS_TOO, [ENV]),
        (request("PUT", POD, body_of(pod(TOKEN)), JSON), WRITES_ONLY, [ENV]),
        (request("PUT", POD, body_of(pod("x", note=TOKEN)), JSON), READS_TOO, ["metadata.note"]),
        (request("PUT", POD, body_of(pod(TOKEN.replace("env", "other"))), JSON), ASKS, [ENV]),
        (request("PATCH", POD, body_of({"spec": {"x": TOKEN}}), MERGE), ASKS, ["spec.x"]),
        (
            request("PATCH", POD, body_of([{"op": "copy", "from": "/spec", "path": "/status"}]), JSON_PATCH),
            READS_TOO,
            ["spec"],
        ),
        (
            request("PATCH", POD, body_of([{"op": "copy", "from": "/spec", "path": "/status"}]), JSON_PATCH),
            WRITES_ONLY,
            ["spec"],
        ),
        (
            request(
                "PATCH",
                POD,
                body_of([{"op": "replace", "path": "/spec/containers/0/env/0/name", "value": "LABEL"}]),
                JSON_PATCH,
            ),
            READS_TOO,
            [ENV],
        ),
        (request("DELETE", POD, body_of({"kind": "DeleteOptions", "x": TOKEN}), JSON), READS_TOO, ["x"]),
        (request("PUT", f"{POD}?fieldManager=%5Bmasked%3Aa%2Fb%3A00000000%5D", body_of(pod("x")), JSON), READS_TOO,
         ["the parameter fieldManager"]),
    ],
)  # fmt: skip
def test_what_cannot_be_put_back_is_refused_by_its_field(
    message: bytes, policy: str, fields: list[str], tmp_path: Path
) -> None:
    answer, server = sent(tmp_path, message, policy)
    assert refused(answer) == (422, "Invalid", fields)
    assert {one.method for one in server.received} <= {"GET"}


def test_another_version_is_a_conflict(tmp_path: Path) -> None:
    for name, message in {
        "put": request("PUT", POD, body_of(pod(TOKEN, resourceVersion="6")), JSON),
        "patch": request(
            "PATCH",
            POD,
            body_of(
                [
                    {"op": "add", "path": "/metadata/resourceVersion", "value": "6"},
                    {"op": "replace", "path": "/spec/containers/0/env/0/value", "value": TOKEN},
                ]
            ),
            JSON_PATCH,
        ),
    }.items():
        (folder := tmp_path / name).mkdir()
        answer, _ = sent(folder, message)
        assert refused(answer)[:2] == (409, "Conflict")


def test_an_object_that_is_not_there_has_nothing_to_put_back(tmp_path: Path) -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"
    answer, _ = sent(tmp_path, request("PUT", POD, body_of(pod(TOKEN)), JSON), there=missing)
    assert refused(answer) == (422, "Invalid", [ENV])


def test_with_its_values_put_back_a_write_is_judged_again_and_not_told_why(tmp_path: Path) -> None:
    answer, server = sent(tmp_path, request("PUT", POD, body_of(pod(TOKEN)), JSON), DENIES_ON_SECRET)
    assert refused(answer)[0] == 403
    assert "PUT" not in {one.method for one in server.received}


def test_people_are_asked_about_the_write_as_it_was_sent(tmp_path: Path) -> None:
    answer, server = sent(tmp_path, request("PUT", POD, body_of(pod(TOKEN)), JSON), ASKS)
    assert refused(answer)[0] == 403
    assert "NarrowgateApproval" in answer.body.decode()
    assert not [one for one in server.received if one.method == "PUT" and "dryRun" not in one.target]


@pytest.mark.parametrize("guess", ["hunter2", "wrong"])
def test_no_dry_run_answers_what_the_patch_must_not_ask(guess: str, tmp_path: Path) -> None:
    looks = DENIES_ON_SECRET.replace("hunter2", "never")
    operations = [{"op": "test", "path": "/spec/containers/0/env/0/value", "value": guess}]
    answer, server = sent(tmp_path, request("PATCH", POD, body_of(operations), JSON_PATCH), looks)
    assert json.loads(answer.body)["code"] == 422
    assert "it is masked, and operation 0 tests it" in json.loads(answer.body)["message"]
    assert {one.method for one in server.received} == {"GET"}


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        (request("PUT", POD, body_of(pod("new")), JSON), ["PUT"]),
        (request("PATCH", POD, body_of({"metadata": {"labels": {"a": "b"}}}), MERGE), ["PATCH"]),
        (
            request("PATCH", POD, body_of([{"op": "add", "path": "/metadata/labels", "value": {}}]), JSON_PATCH),
            ["PATCH"],
        ),
        (
            request("PATCH", POD, body_of([{"op": "remove", "path": "/spec/containers/0"}]), JSON_PATCH),
            ["GET", "PATCH"],
        ),
    ],
)
def test_nothing_is_read_for_writes_that_could_show_nothing(message: bytes, asked: list[str], tmp_path: Path) -> None:
    answer, server = sent(tmp_path, message)
    assert answer.status == 200
    assert [one.method for one in server.received] == asked


@pytest.mark.parametrize(
    "escaped", [lambda text: text.replace("[", "\\u005b"), lambda text: text.replace("m", "\\u006d")]
)
def test_escapes_hide_nothing(escaped: Callable[[str], str], tmp_path: Path) -> None:
    body = json.dumps(pod("x", note="NOTE")).replace("NOTE", escaped(TOKEN)).encode()
    answer, _ = sent(tmp_path, request("PUT", POD, body, JSON))
    assert refused(answer) == (422, "Invalid", ["metadata.note"])


def test_a_protobuf_body_is_to_come_as_json(tmp_path: Path) -> None:
    # A Pod named "p" with the annotation "a" (core/v1 Pod: metadata 1; ObjectMeta: name 1, annotations 12).
    annotation = field(1, b"a") + field(2, TOKEN.encode())
    metadata = field(1, b"p") + field(12, annotation)
    envelope = field(1, field(1, b"v1") + field(2, b"Pod")) + field(2, field(1, metadata))
    answer, _ = sent(tmp_path, request("PUT", POD, b"k8s\0" + envelope, PROTOBUF))
    status = json.loads(answer.body)
    assert (status["code"], "send application/json" in status["message"]) == (415, True)


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.mark.parametrize("now", [RULES % "get", READS_TOO + MASKS_MORE])
def test_what_is_not_allowed_or_masked_so_any_more_once_the_object_is_read_is_not_sent(
    now: str, tmp_path: Path
) -> None:
    gates: list[InProcess] = []

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            arrived = await script.take(peer)
            if arrived.method == "GET":
                await gates[0].change_policy(now)
            await peer.send(ok(json.dumps(THERE).encode()))

    async def main() -> None:
        async with api_server(tmp_path, play) as script, gate(tmp_path, script) as made:
            gates.append(made)
            await made.change_policy(READS_TOO)
            peer = await made.client()
            await peer.send(request("PUT", POD, body_of(pod(TOKEN)), JSON))
            assert refused(await peer.message())[0] == 403
            assert [one.method for one in script.received] == ["GET"]
            await peer.close()

    run(main())
