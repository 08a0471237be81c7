"""Bodies on the way through a gate: kept before they go on, kept before they leave, or neither happens."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.recorded_sessions import read
from tests.unit.proxy.loopback import (
    JSON,
    POD,
    PODS,
    SECRETS,
    InProcess,
    Kept,
    Message,
    Peer,
    Script,
    api_server,
    gate,
    ok,
    request,
    run,
    until,
)
from tests.unit.wire.protobuf_by_hand import envelope, field, metadata

from narrowgate.core.audit import OBJECT_LIMIT, Level
from narrowgate.core.body_levels import BodyLevels, BodyRule
from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.recording import BodyData, Noted
from narrowgate.core.stream_events import Direction
from narrowgate.proxy.kept_bodies import BODY_LIMIT, encoded
from narrowgate.proxy.recordings import Recorder
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.spool import Spool

ALL = BodyRule(level=Level.REQUEST_RESPONSE)
PROTOBUF = "application/vnd.kubernetes.protobuf"
REVIEWS = ResourceType(
    group="authentication.k8s.io", version="v1", resource="selfsubjectreviews", kind="", namespaced=False,
    verbs=("create",), subresources={},
)  # fmt: skip


def answering(body: bytes, headers: bytes = b"") -> Callable[[Script, Peer, int], Awaitable[None]]:
    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            await peer.send(ok(body, headers=headers))

    return play


class Seen:
    """What a client was answered, the cluster was asked, and the record says."""

    def __init__(self, answers: list[Message], asked: list[Message], events: list[dict[str, Any]], spool: Path) -> None:
        self.answers = answers
        self.asked = asked
        self.events = events
        self._spool = spool

    def of(self, stage: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["stage"] == stage]

    def recorded(self) -> list[object]:
        (path,) = self._spool.rglob("*.recording")
        return [entry.what for entry in read(path)[1:]]


def through(
    folder: Path,
    play: Callable[[Script, Peer, int], Awaitable[None]],
    *requests: bytes,
    rules: tuple[BodyRule, ...] = (ALL,),
    before: Callable[[InProcess], None] = lambda _: None,
) -> Seen:
    async def main() -> Seen:
        spool = folder / "spool"
        recorder = Recorder(Spool.open(spool, "w0", ()), FolderStore(folder / "kept"), lambda _: None)
        kept = Kept(BodyLevels(rules), recorder)
        async with api_server(folder, play) as server, gate(folder, server, kept=kept) as made:
            before(made)
            client = await made.client()
            found = []
            for each in requests:
                await client.send(each)
                found.append(await client.message())
            await client.close()
            await made.finished()
            seen = Seen(found, server.received, [], spool)
        await recorder.close()
        seen.events = made.events()
        return seen

    return run(main())


def test_what_is_sent_and_answered_is_in_the_record_in_its_order(tmp_path: Path) -> None:
    answer = b'{"kind":"Pod","metadata":{"name":"p","uid":"1"},\n "spec":{}}'
    seen = through(tmp_path, answering(answer), request("POST", PODS, POD, JSON))
    assert (seen.answers[0].status, seen.answers[0].body) == (200, answer)
    stages = [event["stage"] for event in seen.events]
    assert stages == ["RequestReceived", "RequestReceived", "ResponseStarted", "ResponseComplete"]
    assert seen.events[1]["requestObject"] == json.loads(POD)
    assert seen.events[2]["responseObject"] == json.loads(answer)
    assert {event["level"] for event in seen.events} == {"RequestResponse"}


def test_an_answer_is_asked_for_in_a_form_that_can_be_kept(tmp_path: Path) -> None:
    accepts = f"Accept: {PROTOBUF},application/json", "Accept-Encoding: gzip"
    seen = through(tmp_path, answering(b"{}"), request("GET", PODS + "/p", b"", *accepts))
    assert seen.asked[0].fields["accept"] == "application/json"
    assert "accept-encoding" not in seen.asked[0].fields


def test_at_level_request_answers_pass_as_they_come(tmp_path: Path) -> None:
    rules = (BodyRule(level=Level.REQUEST),)
    accepts = f"Accept: {PROTOBUF},application/json"
    seen = through(tmp_path, answering(b"not json"), request("POST", PODS, POD, JSON, accepts), rules=rules)
    assert seen.answers[0].body == b"not json"
    assert seen.of("ResponseStarted") == []
    assert [event.get("requestObject") for event in seen.events] == [None, json.loads(POD), None]


def test_an_answer_that_cannot_be_read_is_not_passed_on(tmp_path: Path) -> None:
    seen = through(tmp_path, answering(b"planted, and no JSON"), request("GET", PODS + "/p"))
    assert seen.answers[0].status == 502
    assert b"planted" not in seen.answers[0].body
    assert seen.events[-1]["annotations"]["narrowgate.dev/decision"] == "error"


def test_secrets_are_shown_and_not_kept(tmp_path: Path) -> None:
    rules = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: all, effect: allow, verbs: ["*"], apiGroups: [""], resources: [secrets], namespaces: [ci]}
    - {id: as-it-is, effect: reveal, apiGroups: ["*"], resources: ["*"], approval: none}
"""
    answer = b'{"kind":"Secret","data":{"a":"cGxhbnRlZA=="}}'

    async def main() -> tuple[Message, list[dict[str, Any]]]:
        kept = Kept(BodyLevels((ALL,)), recorder_in(tmp_path))
        async with api_server(tmp_path, answering(answer)) as server, gate(tmp_path, server, kept=kept) as made:
            await made.change_policy(rules)
            client = await made.client()
            await client.send(request("GET", SECRETS + "/s"))
            found = await client.message()
            await client.close()
            await made.finished()
        await kept_recorder(kept).close()
        return found, made.events()

    found, events = run(main())
    assert found.body == answer
    said = [event["annotations"].get("narrowgate.dev/response-object") for event in events]
    assert "left out: it is a credential" in said
    assert "cGxhbnRlZA" not in json.dumps(events)


def recorder_in(folder: Path) -> Recorder:
    return Recorder(Spool.open(folder / "spool", "w0", ()), FolderStore(folder / "kept"), lambda _: None)


def kept_recorder(kept: Kept) -> Recorder:
    assert kept.recorder is not None
    return kept.recorder


def test_what_is_too_large_for_an_entry_is_a_recording(tmp_path: Path) -> None:
    sent = json.loads(POD) | {"metadata": {"name": "p", "namespace": "ci", "labels": {"a": "x" * OBJECT_LIMIT}}}
    answer = json.dumps({"kind": "Pod", "metadata": {"name": "y" * OBJECT_LIMIT}}).encode()
    seen = through(tmp_path, answering(answer), request("POST", PODS, json.dumps(sent).encode(), JSON))
    assert seen.answers[0].body == answer
    assert not any({"requestObject", "responseObject"} & event.keys() for event in seen.events)
    recorded = seen.recorded()
    bodies = dict.fromkeys(Direction, b"")
    for what in recorded:
        if isinstance(what, BodyData):
            bodies[what.direction] += what.data
    assert json.loads(bodies[Direction.TO_POD]) == sent
    assert json.loads(bodies[Direction.FROM_POD]) == json.loads(answer)
    names = {event["annotations"].get("narrowgate.dev/recording") for event in seen.events} - {None}
    assert len(names) == 1


def test_of_what_is_longer_than_the_limit_the_beginning_is_kept_and_all_of_it_passes(tmp_path: Path) -> None:
    items = ",".join(json.dumps({"metadata": {"name": f"p{number}"}, "x": "z" * 10_000}) for number in range(500))
    answer = ('{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[' + items + "]}").encode()
    assert len(answer) > BODY_LIMIT

    async def in_chunks(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(answer), 65_536):
            part = answer[at : at + 65_536]
            await peer.send(b"%x\r\n%b\r\n" % (len(part), part))
        await peer.send(b"0\r\n\r\n")

    seen = through(tmp_path, in_chunks, request("GET", PODS))
    assert seen.answers[0].body == answer
    recorded = seen.recorded()
    data = b"".join(what.data for what in recorded if isinstance(what, BodyData))
    assert answer.startswith(data)
    assert BODY_LIMIT // 2 < len(data) <= BODY_LIMIT
    assert any(isinstance(what, Noted) and "is not kept" in what.text for what in recorded)
    assert seen.events[-1]["annotations"]["narrowgate.dev/decision"] == "allow"


PLANTED = "planted-77"
IN_PROTOBUF = metadata("p") + field(2, field(2, field(1, "c") + field(7, field(1, "DB_PASSWORD") + field(2, PLANTED))))


def in_protobuf(body: bytes) -> Callable[[Script, Peer, int], Awaitable[None]]:
    async def play(script: Script, peer: Peer, _: int) -> None:
        while True:
            await script.take(peer)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {len(body)}\r\n\r\n"
            await peer.send(head.encode() + body)

    return play


def test_objects_in_protobuf_are_kept_as_json_both_ways(tmp_path: Path) -> None:
    whole = envelope(IN_PROTOBUF, "Pod")
    sent = request("POST", PODS, whole, f"Content-Type: {PROTOBUF}", f"Accept: {PROTOBUF}")
    seen = through(tmp_path, in_protobuf(whole), sent)
    # Nothing is masked for this agent: it gets what came, byte for byte.
    assert seen.answers[0].body == whole
    for name in ("requestObject", "responseObject"):
        (kept,) = [event[name] for event in seen.events if name in event]
        (variable,) = kept["spec"]["containers"][0]["env"]
        assert variable["value"].startswith("[masked:narrowgate/env:")
    assert PLANTED not in json.dumps(seen.events)


def test_what_no_json_stands_for_is_a_recording_masked_as_it_came(tmp_path: Path) -> None:
    listed = envelope(field(1, b"") + field(2, IN_PROTOBUF) * 2, "PodList")
    seen = through(tmp_path, in_protobuf(listed), request("GET", PODS, b"", f"Accept: {PROTOBUF}"))
    assert seen.answers[0].body == listed
    assert PLANTED not in json.dumps(seen.events)
    recorded = seen.recorded() if list((tmp_path / "spool").rglob("*.recording")) else []
    data = b"".join(what.data for what in recorded if isinstance(what, BodyData))
    assert PLANTED.encode() not in data
    kept = data or json.dumps(seen.of("ResponseStarted")[0]["responseObject"]).encode()
    assert kept.count(b"[masked:narrowgate/env:") == 2


def test_what_the_gate_answers_itself_is_kept_too(tmp_path: Path) -> None:
    target = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'

    def know(made: InProcess) -> None:
        made.cluster.discovery = Discovery((REVIEWS,))

    seen = through(tmp_path, answering(b"{}"), request("POST", target, review, JSON), before=know)
    assert seen.answers[0].status == 201
    assert seen.asked == []
    (kept,) = [event["responseObject"] for event in seen.events if "responseObject" in event]
    assert kept == json.loads(seen.answers[0].body)


def test_an_answer_without_a_body_has_none_to_keep(tmp_path: Path) -> None:
    async def main() -> list[dict[str, Any]]:
        kept = Kept(BodyLevels((ALL,)), recorder_in(tmp_path))
        async with api_server(tmp_path, answering(b"")) as server, gate(tmp_path, server, kept=kept) as made:
            client = await made.client()
            await client.send(request("HEAD", PODS + "/p"))
            assert (await client.message(bodiless=True)).status == 200
            await client.send(request("GET", PODS + "/p"))
            assert (await client.message()).body == b""
            await client.close()
            await until(lambda: len([e for e in made.events() if e["stage"] == "ResponseComplete"]) == 2)
        await kept_recorder(kept).close()
        return made.events()

    assert [event["stage"] for event in run(main())] == ["RequestReceived", "ResponseComplete"] * 2


def test_an_answer_that_breaks_off_while_it_is_held_becomes_a_status(tmp_path: Path) -> None:
    async def broken(script: Script, peer: Peer, _: int) -> None:
        await script.take(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        peer.cut()

    seen = through(tmp_path, broken, request("GET", PODS + "/p"))
    assert seen.answers[0].status == 502
    assert json.loads(seen.answers[0].body)["kind"] == "Status"
    assert seen.of("ResponseStarted") == []
    assert seen.events[-1]["annotations"]["narrowgate.dev/decision"] == "error"


def test_what_was_refused_is_kept_as_it_was_tried(tmp_path: Path) -> None:
    refused = POD.replace(b'"name":"p"', b'"name":"q"')
    seen = through(
        tmp_path,
        answering(b"{}"),
        request("POST", PODS.replace("/ci/", "/elsewhere/"), refused.replace(b'"ci"', b'"elsewhere"'), JSON),
    )
    assert seen.answers[0].status == 403
    assert seen.asked == []
    assert seen.events[-1]["requestObject"]["metadata"]["name"] == "q"


def test_a_read_at_level_none_leaves_nothing_and_a_write_its_entries(tmp_path: Path) -> None:
    rules = (BodyRule(level=Level.NONE),)
    seen = through(
        tmp_path, answering(b"{}"), request("GET", PODS + "/p"), request("POST", PODS, POD, JSON), rules=rules
    )
    assert [event["verb"] for event in seen.events] == ["create", "create"]
    assert {event["level"] for event in seen.events} == {"Metadata"}


def test_nothing_is_forwarded_whose_body_cannot_be_recorded(tmp_path: Path) -> None:
    large = json.loads(POD) | {"metadata": {"name": "p", "namespace": "ci", "labels": {"a": "x" * OBJECT_LIMIT}}}

    def without_folder(_: InProcess) -> None:
        for path in sorted((tmp_path / "spool").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()

    rules = (BodyRule(level=Level.REQUEST),)
    sent = request("POST", PODS, json.dumps(large).encode(), JSON)
    seen = through(
        tmp_path, answering(b"{}"), sent, request("POST", PODS, POD, JSON), rules=rules, before=without_folder
    )
    refused, served = seen.answers
    assert refused.status == 500
    assert b"cannot be recorded" in refused.body
    assert served.status == 200
    assert len(seen.asked) == 1


@pytest.mark.parametrize(
    ("document", "written"),
    [({"a": 2**70}, b'{"a":1180591620717411303424}'), ({"a": "\ud800"}, b'{"a":"?"}'), ("é", '"é"'.encode())],
)
def test_everything_can_be_written_down(document: Any, written: bytes) -> None:
    assert encoded(document) == written
