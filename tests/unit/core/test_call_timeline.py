"""Calls of a session told from the record: who, what and the decision, and what each write changed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from narrowgate.core.audit import Asked, KeptObject, Level, Outcome, RequestEvents, Verdict
from narrowgate.core.audit_entry import AuditEntry, entry_of, read_event
from narrowgate.core.call_timeline import MOST_LINES, Call, Changes, call_of, call_text, credential_of, summary
from narrowgate.core.decision import Allow, Deny, NeedsApproval, RuleRef
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo

ALICE = Identity(kind=Kind.PERSON, name="alice", proven_by="jwt", credential="")
CI = Identity(kind=Kind.AGENT, name="ci", proven_by="task-credential", credential="c0ffee", task="t1")
ALLOW = Allow(rule=RuleRef("ci", "write", 3), covers=())
BEGAN = 1_700_000_000.0


def call(
    verb: str = "update",
    *,
    sent: Any = None,
    answered: Any = None,
    verdict: Verdict = ALLOW,
    code: int = 200,
    recording: str = "",
    **about: Any,
) -> Call:
    fields = {"resource": "configmaps", "namespace": "ci", "name": "lamp", **about}
    info = RequestInfo(is_resource_request=True, path="/", verb=verb, api_version="v1", **fields)
    asked = Asked(
        audit_id="a-1", method="", target=b"/x", received_at=BEGAN, source_ip="", chain=chain_of(ALICE, CI),
        intent=Intent(cluster="prod", info=info), level=Level.REQUEST_RESPONSE,
    )  # fmt: skip
    events = RequestEvents(asked)
    told = [events.received()]
    if sent is not None:
        told.append(events.received(ALLOW, sent=KeptObject(json.dumps(sent).encode()), recording=recording))
    if answered is not None:
        told.append(events.answered(ALLOW, code, BEGAN, KeptObject(json.dumps(answered).encode())))
    told.append(events.finished(verdict, Outcome(code=code, at=BEGAN + 1, recording=recording)))
    return call_of(entry_of(read_event(told[-1]), "gate-0", 1, 1), told)


def lamp(state: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": "lamp", "namespace": "ci", "resourceVersion": str(len(state)), **more}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"state": state}}


def test_a_call_says_who_asked_what_and_what_was_decided() -> None:
    assert call_text(call(code=200)) == "agent:ci (for person:alice) update configmaps ci/lamp: 200 allow by ci/write"
    scaled = call(api_group="apps", resource="deployments", subresource="scale", name="web")
    assert "update deployments.apps/scale ci/web" in call_text(scaled)


@pytest.mark.parametrize(
    ("verdict", "code", "word", "is_denied"),
    [
        (Deny(message="no rule allows it"), 403, "DENIED ", True),
        (Malformed("the body is no JSON"), 400, "REFUSED ", True),
        (NeedsApproval(message="people are asked", rule=RuleRef("ci", "ask"), asks=()), 403, "ASKED PEOPLE ", False),
    ],
)
def test_what_was_not_let_through_says_so_in_a_word(verdict: Verdict, code: int, word: str, is_denied: bool) -> None:
    found = call(verdict=verdict, code=code)
    assert call_text(found).startswith(f"{word}agent:ci (for person:alice) update")
    assert found.is_denied is is_denied


def test_a_write_is_held_against_what_the_session_saw_last() -> None:
    changes = Changes()
    assert changes.lines(call("get", answered=lamp("off"))) == []
    assert changes.lines(call(sent=lamp("on"), answered=lamp("on"))) == ['- data.state: "off"', '+ data.state: "on"']
    assert changes.lines(call(sent=lamp("on"), answered=lamp("on"))) == ["~ nothing of it is another than before"]


def test_what_a_list_showed_counts_as_seen() -> None:
    items = [{name: value for name, value in lamp("off").items() if name not in ("kind", "apiVersion")}]
    changes = Changes()
    changes.lines(call("list", name="", answered={"kind": "ConfigMapList", "items": items}))
    assert changes.lines(call(answered=lamp("on"))) == ['- data.state: "off"', '+ data.state: "on"']


def test_of_what_was_not_seen_before_the_sent_is_told() -> None:
    created = call("create", name="", sent=lamp("on"), answered=lamp("on"), code=201)
    lines = Changes().lines(created)
    assert lines[0] == "it sent:"
    assert '+ data.state: "on"' in lines
    patched = Changes().lines(call("patch", sent=[{"op": "replace", "path": "/data/state", "value": "on"}]))
    assert patched == ["it sent:", '+ {"op": "replace", "path": "/data/state", "value": "on"}']


def test_what_was_denied_would_have_been_sent() -> None:
    tried = msgspec.structs.replace(call(verdict=Deny(message="no"), code=403), sent=lamp("on"))
    assert Changes().lines(tried)[0] == "it would have sent:"


def test_an_object_that_was_deleted_is_another_one_when_it_comes_again() -> None:
    changes = Changes()
    changes.lines(call("create", name="", sent=lamp("on"), answered=lamp("on"), code=201))
    assert changes.lines(call("delete", answered={"kind": "Status", "status": "Success"})) == []
    assert changes.lines(call("create", name="", sent=lamp("off"), answered=lamp("off"), code=201))[0] == "it sent:"


def test_a_refusal_of_the_cluster_is_nothing_that_the_object_is() -> None:
    changes = Changes()
    changes.lines(call("get", answered=lamp("off")))
    changes.lines(call("get", answered={"kind": "Status", "code": 404}, code=404))
    assert changes.lines(call(answered=lamp("on")))[0] == '- data.state: "off"'


def test_long_changes_are_cut_and_say_so() -> None:
    many = {"kind": "ConfigMap", "metadata": {"name": "lamp"}, "data": {f"k{number}": "v" for number in range(200)}}
    lines = Changes().lines(call("create", name="", sent=many, answered=many, code=201))
    assert len(lines) == MOST_LINES + 1
    assert lines[-1].endswith("more lines")


def test_bodies_that_are_elsewhere_or_nowhere_are_told() -> None:
    asked = Asked(
        audit_id="a-1", method="", target=b"/x", received_at=BEGAN, source_ip="", chain=chain_of(CI),
        intent=Intent(
            cluster="prod",
            info=RequestInfo(is_resource_request=True, path="/", verb="create", api_version="v1", resource="secrets"),
        ),
    )  # fmt: skip
    events = RequestEvents(asked)
    told = [
        events.received(ALLOW, sent=KeptObject(said="left out: it is a credential")),
        events.finished(ALLOW, Outcome(code=201, at=BEGAN)),
    ]
    found = call_of(entry_of(read_event(told[-1]), "gate-0", 1, 1), [b"no json", *told])
    assert Changes().lines(found) == ["(request body left out: it is a credential)"]
    assert credential_of(told) == "c0ffee"


def test_a_summary_counts() -> None:
    calls = [call("get"), call(), call(verdict=Deny(message="no"), code=403), call(recording="d/a")]
    told = " ".join(summary(calls))
    assert told.startswith("4 requests from 2023-11-14T22:13:20Z to ")
    assert "1 denied, 2 could change something" in told
    assert "1 recording belongs to it." in told
    assert summary([]) == ["The record has no request of it."]


def test_an_entry_that_is_not_over_says_so() -> None:
    known: AuditEntry = call().entry
    running = msgspec.structs.replace(call(), entry=msgspec.structs.replace(known, finished_at="", code=0))
    assert "not over" in call_text(running)
