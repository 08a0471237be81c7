"""Answers in protobuf on the data path of a gate: masked, or said to need JSON before anything has left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.proxy.loopback import PODS
from tests.unit.proxy.test_masking import PLANTED, answered, broken, chunk, message
from tests.unit.wire.protobuf_by_hand import envelope, event, field, metadata

PROTOBUF = "application/vnd.kubernetes.protobuf"
POD = metadata("p") + field(2, field(2, field(1, "c") + field(7, field(1, "DB_PASSWORD") + field(2, PLANTED))))
LISTED = envelope(field(1, b"") + field(2, POD) * 3, "PodList")
EVENT = event("ADDED", envelope(POD, "Pod"))
UNKNOWN = envelope(field(1, b"") + field(2, POD) + field(2, POD + field(99, "new")), "PodList")


def head(more: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {PROTOBUF}{more}\r\n".encode()


def at_once(body: bytes, more: str = "") -> list[bytes]:
    return [head(more) + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)]


def in_chunks(*parts: bytes, more: str = "", status: str = "200 OK") -> list[bytes]:
    return [head(more, status) + b"Transfer-Encoding: chunked\r\n\r\n", *map(chunk, parts), b"0\r\n\r\n"]


@pytest.mark.parametrize("answer", [at_once(LISTED), in_chunks(LISTED[:99], LISTED[99:])])
def test_what_leaves_is_masked_counted_and_told(answer: list[bytes], tmp_path: Path) -> None:
    got, recorded = answered(tmp_path, answer, PODS, message)
    assert got.status == 200
    assert PLANTED.encode() not in got.body
    assert got.body.count(b"[masked:narrowgate/env:") == 3
    assert got.fields["warning"] == '299 narrowgate "masked 3 values by narrowgate/env"'
    assert recorded["annotations"]["narrowgate.dev/masked"] == "narrowgate/env=3"


def test_events_of_a_watch_are_masked_as_they_come(tmp_path: Path) -> None:
    answer = in_chunks(EVENT + EVENT[:20], EVENT[20:], more=";stream=watch")
    got, _ = answered(tmp_path, answer, f"{PODS}?watch=1", message)
    assert got.fields["content-type"] == f"{PROTOBUF};stream=watch"
    assert PLANTED.encode() not in got.body
    assert got.body.count(b"[masked:narrowgate/env:") == 2


@pytest.mark.parametrize("answer", [at_once(UNKNOWN), in_chunks(UNKNOWN[:99], UNKNOWN[99:])])
def test_what_only_json_could_show_is_said_to_need_it(answer: list[bytes], tmp_path: Path) -> None:
    got, recorded = answered(tmp_path, answer, PODS, message)
    assert got.status == 406
    assert (
        "field 99 of core.v1.Pod is not known to this gate. Accept application/json" in json.loads(got.body)["message"]
    )
    assert PLANTED not in got.body.decode() + json.dumps(recorded)


def test_what_turns_odd_in_a_watch_is_broken_off(tmp_path: Path) -> None:
    odd = event("ADDED", envelope(POD + field(99, "new"), "Pod"))
    got, recorded = answered(tmp_path, in_chunks(EVENT, odd, more=";stream=watch")[:-1], f"{PODS}?watch=1", broken)
    assert got.count(b"[masked:narrowgate/env:") == 1
    assert PLANTED.encode() not in got
    assert recorded["annotations"]["narrowgate.dev/decision"] == "error"


@pytest.mark.parametrize("form", [PROTOBUF, "application/json"])
def test_a_watch_that_is_refused_is_answered_with_its_status(form: str, tmp_path: Path) -> None:
    said = b'{"kind":"Status","apiVersion":"v1","message":"no","code":400}\n'
    body = said if form == "application/json" else envelope(field(3, "no"), "Status")
    answer = [part.replace(PROTOBUF.encode(), form.encode()) for part in in_chunks(body, status="400 Bad Request")]
    got, _ = answered(tmp_path, answer, f"{PODS}?watch=1", message)
    assert (got.status, got.body) == (400, body)
