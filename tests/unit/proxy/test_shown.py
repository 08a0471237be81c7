"""What the cluster shows of the object that a held request is about: by its sender's rights, or not at all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.proxy.loopback import JSON, POD, PODS, SECRETS, Peer, Script, ok, request, run
from tests.unit.proxy.test_waiting import NEVER, World, world

POLICY = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: write, effect: allow, verbs: [get, update, patch, delete], apiGroups: [""], resources: [pods],
       namespaces: [ci], pods: {strongerAccounts: allow}}
    - {id: asked, effect: approve, verbs: [update, patch, delete], apiGroups: [""], resources: [pods, secrets],
       namespaces: [ci], approval: {from: [{group: sre, count: 2}], within: 5m}, pods: {strongerAccounts: allow}}
    - {id: read-asked, effect: approve, verbs: [get], apiGroups: [""], resources: [pods], namespaces: [ci],
       names: [guarded], approval: {from: [{group: sre, count: 2}], within: 5m}}
"""
MERGE = "Content-Type: application/merge-patch+json"
NOW_THERE = json.dumps({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"image": "old"}}).encode()
WOULD_BE = json.dumps({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"image": "new"}}).encode()
PATCH = b'{"spec":{"image":"new"}}'
Answers = tuple[bytes, bytes]
"""To reading the object, and to writing it."""


def refusal(code: int, message: str) -> bytes:
    body = json.dumps({"kind": "Status", "message": message}).encode()
    return b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (code, len(body), body)


PLAIN = ok(NOW_THERE), ok(WOULD_BE)


def shown(folder: Path, sent: bytes, answers: Answers = PLAIN) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The lines that people see of a request, and all that the cluster was asked meanwhile."""

    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            message = await script.take(peer)
            await peer.send(answers[message.start[0] != "GET"])

    lines: list[tuple[str, ...]] = []
    asked: list[tuple[str, ...]] = []

    async def main() -> None:
        async with world(folder, hold_seconds=NEVER, play=play) as made:
            await made.made.change_policy(POLICY)
            assert (await made.send(sent)).status == 403
            lines.append((await made.asked()).about.summary)
            asked.extend(one.start[:2] for one in made.server.received)

    run(main())
    return lines[0], asked


@pytest.mark.parametrize(
    ("sent", "method"),
    [
        (request("PATCH", f"{PODS}/p", PATCH, MERGE), "PATCH"),
        (request("PUT", f"{PODS}/p", POD, JSON), "PUT"),
    ],
)
def test_a_write_is_tried_without_effect_and_shown_against_what_is_there(
    sent: bytes, method: str, tmp_path: Path
) -> None:
    lines, asked = shown(tmp_path, sent)
    assert lines == ('- spec.image: "old"', '+ spec.image: "new"')
    assert asked == [("GET", f"{PODS}/p"), (method, f"{PODS}/p?dryRun=All")]


def test_what_is_to_be_deleted_is_looked_at_and_nothing_is_tried(tmp_path: Path) -> None:
    lines, asked = shown(tmp_path, request("DELETE", f"{PODS}/p"))
    assert lines == ('deletes Pod "p"',)
    assert asked == [("GET", f"{PODS}/p")]


@pytest.mark.parametrize("path", [f"{SECRETS}/key", f"{PODS}/guarded"])
def test_what_its_sender_may_not_get_nobody_fetches(path: str, tmp_path: Path) -> None:
    lines, asked = shown(tmp_path, request("PATCH", path, PATCH, MERGE))
    assert lines[0] == "what is there now is not shown: agent:ci may not get it"
    assert asked == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ((refusal(403, "no"), b""), "the cluster answers 403 to reading it"),
        ((ok(b"[not json"), b""), "the cluster did not show it"),
        ((refusal(404, "no"), ok(WOULD_BE)), "there is no such object now"),
        ((ok(NOW_THERE), refusal(422, "spec.image: Invalid")), "dry run of it fails: spec.image: Invalid"),
        ((ok(NOW_THERE), ok(b"[not json")), "it did not answer"),
    ],
)
def test_whatever_is_in_the_way_is_said_and_people_are_asked_all_the_same(
    answers: Answers, told: str, tmp_path: Path
) -> None:
    lines, _ = shown(tmp_path, request("PATCH", f"{PODS}/p", PATCH, MERGE), answers)
    assert told in lines[0]
    assert '    "image": "new"' in lines


def test_a_question_that_stands_is_not_looked_up_again(tmp_path: Path) -> None:
    async def scene(made: World) -> None:
        await made.made.change_policy(POLICY)
        sent = request("DELETE", f"{PODS}/p")
        for _ in range(3):
            assert (await made.send(sent)).status == 403
        assert len(made.server.received) == 1

    _in_world(tmp_path, scene)


def _in_world(folder: Path, scene: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world(folder, hold_seconds=NEVER) as made:
            await scene(made)

    run(main())


def pod_with(password: str) -> bytes:
    env = [{"name": "DB_PASSWORD", "value": password}]
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "ci"},
            "spec": {"containers": [{"name": "main", "env": env}]},
        }
    ).encode()


def test_of_what_is_masked_its_sender_sees_what_it_has_written_itself_and_no_more(tmp_path: Path) -> None:
    patch = json.dumps({"spec": {"containers": [{"name": "main", "env": [{"name": "DB_PASSWORD", "value": "mine"}]}]}})
    lines, _ = shown(
        tmp_path,
        request("PATCH", f"{PODS}/p", patch.encode(), "Content-Type: application/strategic-merge-patch+json"),
        (ok(pod_with("hunter2")), ok(pod_with("mine"))),
    )
    assert "hunter2" not in "".join(lines)
    assert [line for line in lines if "[masked:narrowgate/env:" in line and line.startswith("-")]
    assert [line for line in lines if '"mine"' in line and line.startswith("+")]


def test_a_complaint_of_the_cluster_does_not_repeat_what_is_masked(tmp_path: Path) -> None:
    said = 'Pod "p" is invalid: spec.containers[0].env[0].value: Invalid value: "hunter2": too weak'
    lines, _ = shown(
        tmp_path, request("PATCH", f"{PODS}/p", PATCH, MERGE), (ok(pod_with("hunter2")), refusal(422, said))
    )
    assert "a dry run of it fails" in lines[0]
    assert "hunter2" not in "".join(lines)
