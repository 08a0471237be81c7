"""What of an event becomes an entry, and by what it is found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from narrowgate.core.audit_entry import AuditEntry, entry_of, facts_of, read_event

EVENT: dict[str, Any] = {
    "auditID": "a",
    "stage": "ResponseComplete",
    "verb": "create",
    "requestURI": "/x",
    "user": {"username": "agent:ci", "extra": {"narrowgate.dev/owner": ["person:alice"]}},
    "sourceIPs": ["1.1.1.1", "10.0.0.1"],
    "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "db", "apiGroup": ""},
    "responseStatus": {"code": 101},
    "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
    "stageTimestamp": "2026-01-01T00:00:05.000000Z",
    "annotations": {
        "narrowgate.dev/cluster": "dev",
        "narrowgate.dev/chain": '["person:alice","agent:ci"]',
        "narrowgate.dev/decision": "allow",
        "narrowgate.dev/rule": "ci/exec",
        "narrowgate.dev/task": "t1",
        "narrowgate.dev/approval": "q1",
        "narrowgate.dev/noticed": "two places",
    },
}


def entry(**changed: Any) -> AuditEntry:
    return entry_of(read_event(json.dumps(EVENT | changed).encode()), "w0", 1, 7)


def test_an_entry_is_found_by_everything_that_it_says() -> None:
    assert facts_of(entry()) == {
        "wagent:ci", "wperson:alice", "kagent", "operson:alice", "cdev", "nprod", "rpods", "sexec", "mdb", "vcreate",
        "dallow", "dapproved", "tt1", "qq1", "i10.0.0.1", "pci", "pci/exec", "x101", "x1xx", "z",
    }  # fmt: skip


def test_what_is_not_said_is_no_fact() -> None:
    bare = entry(user={}, objectRef={}, responseStatus={}, annotations={}, sourceIPs=[])
    assert facts_of(bare) == {"vcreate"}


def test_a_question_that_people_have_not_answered_is_no_approval() -> None:
    asked = EVENT["annotations"] | {"narrowgate.dev/decision": "needs-approval"}
    assert {fact for fact in facts_of(entry(annotations=asked)) if fact[0] == "d"} == {"dneeds-approval"}


@pytest.mark.parametrize(("stage", "ended"), [("RequestReceived", ""), ("ResponseStarted", ""), ("Panic", "5")])
def test_only_an_ended_request_has_an_end(stage: str, ended: str) -> None:
    assert entry(stage=stage).finished_at[18:19] == ended


@pytest.mark.parametrize(
    "changed",
    [
        {"auditID": 1},
        {"responseStatus": {"code": 1000}},
        {"annotations": {"narrowgate.dev/chain": "[1]"}},
        {"annotations": {"narrowgate.dev/chain": "{"}},
        {"stage": None},
    ],
)
def test_what_is_no_event_of_ours_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Expected|malformed"):
        entry(**changed)


def test_where_a_pod_ran_is_told_as_its_cluster_vouched_for_it_and_of_nobody_else() -> None:
    extra = {"narrowgate.dev/pod-uid": ["u1"], "narrowgate.dev/node": ["n1"]}
    pod = entry(user={"username": "serviceaccount:ci/runner", "extra": extra})
    claims_it = entry(user={"username": "person:mallory", "extra": extra})
    assert (pod.pod_uid, pod.node) == ("u1", "n1")
    assert (claims_it.pod_uid, claims_it.node) == ("", "")


def test_a_recording_is_told_by_its_name() -> None:
    named = entry(annotations=EVENT["annotations"] | {"narrowgate.dev/recording": "2026-01-01/a.1"})
    assert (named.recording, entry().recording) == ("2026-01-01/a.1", "")
