from __future__ import annotations

import json
import re
from typing import Any

import pytest

from narrowgate.core.audit import (
    TARGET_LIMIT,
    USER_AGENT_LIMIT,
    ActsOn,
    Asked,
    Failed,
    KeptObject,
    Level,
    Outcome,
    Permitted,
    RequestEvents,
    Verdict,
    redact,
    timestamp,
)
from narrowgate.core.decision import Allow, Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo

ALICE = Identity(kind=Kind.PERSON, name="alice", groups=("sre",), proven_by="jwt", credential="")
BOT = Identity(
    kind=Kind.AGENT,
    name="bot",
    groups=("agents",),
    owner="person:alice",
    proven_by="agent-credential",
    credential="c0ffee",
)
ALLOW = Allow(rule=RuleRef("ci", "read", 3), covers=())


def intent(**fields: Any) -> Intent:
    known = {"is_resource_request": True, "path": "/", "verb": "get", "api_version": "v1", "resource": "pods"}
    return Intent(cluster="prod", info=RequestInfo(**{**known, **fields}))


def asked(**fields: Any) -> Asked:
    known: dict[str, Any] = {
        "audit_id": "a-1",
        "method": "GET",
        "target": b"/api/v1/namespaces/ci/pods/web",
        "received_at": 1_700_000_000.25,
        "source_ip": "10.0.0.1",
        "user_agent": "kubectl/v1.33.0",
        "chain": chain_of(ALICE, BOT),
        "intent": intent(namespace="ci", name="web"),
    }
    return Asked(**{**known, **fields})


def finished(request: Asked, verdict: Verdict = ALLOW, **outcome: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"code": 200, "at": 1_700_000_001.5}
    entry = RequestEvents(request).finished(verdict, Outcome(**{**known, **outcome}))
    assert b"\n" not in entry
    event: dict[str, Any] = json.loads(entry)
    return event


def test_a_finished_request_reads_as_the_api_server_would_write_it() -> None:
    assert finished(asked(), bytes_out=12) == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "a-1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/ci/pods/web",
        "verb": "get",
        "user": {
            "username": "agent:bot",
            "groups": ["agents"],
            "extra": {
                "narrowgate.dev/proven-by": ["agent-credential"],
                "narrowgate.dev/owner": ["person:alice"],
            },
        },
        "sourceIPs": ["10.0.0.1"],
        "userAgent": "kubectl/v1.33.0",
        "objectRef": {"resource": "pods", "namespace": "ci", "name": "web", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "2023-11-14T22:13:20.250000Z",
        "stageTimestamp": "2023-11-14T22:13:21.500000Z",
        "annotations": {
            "narrowgate.dev/cluster": "prod",
            "narrowgate.dev/chain": '["person:alice","agent:bot"]',
            "narrowgate.dev/credential": "c0ffee",
            "narrowgate.dev/decision": "allow",
            "narrowgate.dev/rule": "ci/read",
            "narrowgate.dev/revision": "3",
            "narrowgate.dev/bytes": "12",
        },
    }


def test_a_received_request_has_no_answer_yet() -> None:
    event = json.loads(RequestEvents(asked()).received())
    assert event["stage"] == "RequestReceived"
    assert event["stageTimestamp"] == event["requestReceivedTimestamp"]
    assert "responseStatus" not in event
    assert "narrowgate.dev/decision" not in event["annotations"]


def test_a_received_request_carries_the_decision_once_it_is_known() -> None:
    event = json.loads(RequestEvents(asked()).received(ALLOW))
    assert event["annotations"]["narrowgate.dev/rule"] == "ci/read"


def test_the_approval_that_a_decision_is_about_is_named() -> None:
    held = NeedsApproval(rule=RuleRef("p", "r"), message="ask sre", approval="q1")
    passed = Allow(rule=RuleRef("p", "r"), covers=(), approval="q1")
    for verdict in (held, passed):
        event = json.loads(RequestEvents(asked()).received(verdict))
        assert event["annotations"]["narrowgate.dev/approval"] == "q1"
    assert "narrowgate.dev/approval" not in json.loads(RequestEvents(asked()).received(ALLOW))["annotations"]


def test_a_long_running_request_is_told_apart_when_it_starts_and_when_the_gate_breaks() -> None:
    events = RequestEvents(asked())
    assert json.loads(events.started(ALLOW, 101, 1.0))["stage"] == "ResponseStarted"
    assert json.loads(events.panicked(Failed(message="x"), Outcome(code=500, at=1.0)))["stage"] == "Panic"


@pytest.mark.parametrize(
    ("verdict", "word", "code", "reason"),
    [
        (Deny(message="no rule", rule=RuleRef("p", "r")), "deny", 403, "Forbidden"),
        (NeedsApproval(rule=RuleRef("p", "r"), message="ask sre"), "needs-approval", 403, "Forbidden"),
        (Malformed("two slashes"), "malformed", 400, "BadRequest"),
        (Failed(message="no route"), "error", 503, "ServiceUnavailable"),
    ],
)
def test_what_was_not_allowed_says_why(verdict: Verdict, word: str, code: int, reason: str) -> None:
    event = finished(asked(), verdict, code=code)
    message = event["annotations"]["narrowgate.dev/reason"]
    assert event["annotations"]["narrowgate.dev/decision"] == word
    assert event["responseStatus"] == {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def test_what_the_api_server_refused_is_a_failure_of_an_allowed_request() -> None:
    event = finished(asked(), code=404)
    assert event["responseStatus"] == {"metadata": {}, "status": "Failure", "code": 404}
    assert event["annotations"]["narrowgate.dev/decision"] == "allow"


def test_nobody_and_nothing_understood_is_still_an_event() -> None:
    event = finished(asked(chain=None, intent=None, method="TRACE", target=b"/\xff//"), Malformed("no"), code=405)
    assert event["user"] == {"username": "system:anonymous", "groups": ["system:unauthenticated"]}
    assert event["verb"] == "trace"
    assert event["requestURI"] == "/\ufffd//"
    assert "objectRef" not in event


def test_what_ended_a_request_from_our_side_is_said() -> None:
    event = finished(asked(), ended_because="the grant ended", masked=("a", "b"), task="t-1")
    said = {key.removeprefix("narrowgate.dev/"): value for key, value in event["annotations"].items()}
    expected = {"ended": "the grant ended", "masked": "a,b", "task": "t-1"}
    assert {key: said.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("target", "recorded"),
    [
        (b"/api?access_token=hush&limit=5", "/api?access_token=[redacted]&limit=5"),
        (b"/api?limit=5&TOKEN=hush", "/api?limit=5&TOKEN=[redacted]"),
        (b"/api?%61ccess%5Ftoken=hush", "/api?%61ccess%5Ftoken=[redacted]"),
        (b"/api?x=1;client_secret=hush", "/api?x=1;client_secret=[redacted]"),
        (b"/api#id_token=hush", "/api#id_token=[redacted]"),
        (b"/api?X-Amz-Signature=hush", "/api?X-Amz-Signature=[redacted]"),
        (b"/x?Password=hush&user=me", "/x?Password=[redacted]&user=me"),
        (b"https://me:hush@host/api", "https://[redacted]host/api"),
        (b"/api/ng1_abcdefgh_hushhushhush", "/api/[redacted]"),
        (b"/api?q=eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodXNoIn0.c2ln", "/api?q=[redacted]"),
    ],
)
def test_credentials_in_a_target_are_taken_out(target: bytes, recorded: str) -> None:
    assert finished(asked(target=target))["requestURI"] == recorded


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/pods?limit=500&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0",
        "/api/v1/pods?labelSelector=app%3Dweb%2Ctier%21%3Ddb&resourceVersion=12",
        "/api/v1/namespaces/ci/serviceaccounts/bot/token",
        "/api/v1/namespaces/ci/pods/web/exec?command=sh&command=-c&command=ls&stdin=true",
        "/api/v1/pods?fieldSelector=metadata.name%3Dtoken",
    ],
)
def test_what_is_no_credential_is_recorded_as_it_came(target: str) -> None:
    assert finished(asked(target=target.encode()))["requestURI"] == target


def test_credentials_in_a_user_agent_and_in_messages_are_taken_out() -> None:
    event = finished(
        asked(user_agent="curl ng1_abcdefgh_hushhushhush"), Deny(message="see ?token=hush and ng1_abcdefgh_hush")
    )
    assert "hush" not in json.dumps(event)
    assert redact("nothing here") == "nothing here"


def test_long_values_are_cut_and_say_so() -> None:
    event = finished(asked(target=b"/" + b"x" * 20_000, user_agent="u" * 3000))
    assert event["requestURI"][:TARGET_LIMIT] == "/" + "x" * (TARGET_LIMIT - 1)
    assert event["requestURI"].endswith("...[cut, 20001 characters]")
    assert event["userAgent"] == "u" * USER_AGENT_LIMIT + "...[cut, 3000 characters]"


def test_a_secret_at_the_cut_is_not_left_half() -> None:
    target = b"/" + b"x" * (TARGET_LIMIT - 20) + b"?access_token=" + b"hush" * 10
    assert "hush" not in finished(asked(target=target))["requestURI"]


def test_text_that_is_no_unicode_does_not_stop_an_event() -> None:
    event = finished(asked(user_agent="\ud800bad", source_ip="\udfff", method="\ud801"), Deny(message="\ud802no"))
    assert event["userAgent"] == "?bad"
    assert event["annotations"]["narrowgate.dev/reason"] == "?no"


def test_what_was_noticed_is_told_at_the_beginning_and_at_the_end() -> None:
    told = "the credential of agent ci is used from 10.0.0.1 and 10.0.0.2 at once"
    first = json.loads(RequestEvents(asked()).received(noticed=told))
    begun = json.loads(RequestEvents(asked()).started(ALLOW, 200, 1.0, told))
    for event in (first, begun, finished(asked(), noticed=told)):
        assert event["annotations"]["narrowgate.dev/noticed"] == told
    assert "narrowgate.dev/noticed" not in finished(asked())["annotations"]
    assert b"noticed" not in RequestEvents(asked()).received()


def test_what_was_sent_stands_in_the_entry_before_it_goes_on_and_what_is_answered_in_one_before_it_leaves() -> None:
    events = RequestEvents(asked(level=Level.REQUEST_RESPONSE))
    first = json.loads(events.received(ALLOW, sent=KeptObject(b'{"a":1}')))
    assert (first["stage"], first["level"], first["requestObject"]) == ("RequestReceived", "RequestResponse", {"a": 1})
    assert first["annotations"]["narrowgate.dev/decision"] == "allow"
    assert "narrowgate.dev/request-object" not in first["annotations"]
    second = json.loads(events.answered(ALLOW, 201, 1.0, KeptObject(b'{"b":2}')))
    assert (second["stage"], second["responseObject"]) == ("ResponseStarted", {"b": 2})
    assert second["responseStatus"]["code"] == 201


def test_an_object_that_is_elsewhere_or_nowhere_is_said_to_be() -> None:
    events = RequestEvents(asked(level=Level.REQUEST_RESPONSE))
    first = json.loads(events.received(ALLOW, sent=KeptObject(said="in the recording, 9 bytes"), recording="d/a"))
    assert "requestObject" not in first
    assert first["annotations"]["narrowgate.dev/request-object"] == "in the recording, 9 bytes"
    assert first["annotations"]["narrowgate.dev/recording"] == "d/a"
    second = json.loads(events.answered(ALLOW, 200, 1.0, KeptObject(said="left out: it is a credential")))
    assert "responseObject" not in second
    assert second["annotations"]["narrowgate.dev/response-object"] == "left out: it is a credential"


def test_the_last_entry_of_a_refused_request_may_have_its_body() -> None:
    event = finished(asked(level=Level.REQUEST), Deny(message="no"), code=403, sent=KeptObject(b'{"a":1}'))
    assert (event["stage"], event["requestObject"]) == ("ResponseComplete", {"a": 1})
    assert "requestObject" not in finished(asked(level=Level.REQUEST))


def test_an_entry_at_level_none_says_metadata() -> None:
    assert finished(asked(level=Level.NONE))["level"] == "Metadata"


@pytest.mark.parametrize("at", [0.0, 1_700_000_000.0, 1_700_000_000.000001, 1_699_999_999.999999, 4_102_444_800.5])
def test_times_always_have_six_decimals(at: float) -> None:
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", timestamp(at))


def test_what_is_done_in_an_emergency_is_marked_and_so_is_taking_it() -> None:
    alice = Identity(kind=Kind.PERSON, name="alice", proven_by="task-credential", credential="t", emergency=True)
    marked = finished(asked(chain=chain_of(alice)))
    assert marked["annotations"]["narrowgate.dev/emergency"] == "true"
    assert "narrowgate.dev/emergency" not in finished(asked())["annotations"]
    taking = ActsOn(verb="create", resource="emergencies", emergency=True)
    taken = finished(asked(intent=None, chain=chain_of(ALICE), acts_on=taking))
    assert taken["annotations"]["narrowgate.dev/emergency"] == "true"
    other = finished(asked(intent=None, chain=chain_of(ALICE), acts_on=ActsOn(verb="create", resource="tasks")))
    assert "narrowgate.dev/emergency" not in other["annotations"]


def test_whoever_answers_for_an_agent_answers_for_what_its_pods_do() -> None:
    pod = Identity(
        kind=Kind.WORKLOAD,
        name="ci/runner",
        proven_by="token",
        credential="",
    )
    assert finished(asked(chain=chain_of(BOT, pod)))["user"]["extra"]["narrowgate.dev/owner"] == ["person:alice"]
    assert "narrowgate.dev/owner" not in finished(asked(chain=chain_of(pod)))["user"]["extra"]


def test_what_the_gate_does_by_itself_names_the_gate_and_the_task_that_ended() -> None:
    told = asked(chain=None, ended_task="t7", source_ip="", user_agent="", cluster="prod")
    event = json.loads(RequestEvents(told).received(Permitted(because="task t7 is over")))
    assert event["user"] == {"username": "gate"}
    assert event["sourceIPs"] == []
    assert event["annotations"] == {
        "narrowgate.dev/cluster": "prod",
        "narrowgate.dev/task": "t7",
        "narrowgate.dev/decision": "allow",
        "narrowgate.dev/because": "task t7 is over",
    }
