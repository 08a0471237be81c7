"""What programs read about an agent."""

from __future__ import annotations

import json

import msgspec
import pytest

from narrowgate.core.agent import AgentKey, AgentRecord, OldCredential
from narrowgate.core.agent_document import AgentState, agent_document, agent_state

AGENT = AgentRecord(
    name="ci-bot",
    owner="group:sre",
    purpose="restarts pods",
    cluster="prod",
    credential_id="abcdefghij",
    credential_hash=b"h" * 32,
    created_at=1_000.0,
    expires_at=5_000.0,
)
OLD = OldCredential(id="before", hash=b"o" * 32, expires_at=3_000.0)
KEY = AgentKey(id="thumb", public=b"p" * 32, added_at=2_000.0)


def changed(**fields: object) -> AgentRecord:
    return msgspec.structs.replace(AGENT, **fields)


def test_the_document_has_everything_but_secrets() -> None:
    agent = changed(
        labels=(("team", "web"),),
        keys=(KEY,),
        certificate_names=("cn:ci",),
        ends_at=9_000.0,
        old_credential=OLD,
        handed_to=("person:rae",),
    )
    assert json.loads(msgspec.json.encode(agent_document(agent, 3_000.0))) == {
        "name": "ci-bot",
        "owner": "group:sre",
        "purpose": "restarts pods",
        "cluster": "prod",
        "groups": [],
        "labels": {"team": "web"},
        "state": "active",
        "credentialId": "abcdefghij",
        "createdAt": "1970-01-01T00:16:40Z",
        "expiresAt": "1970-01-01T01:23:20Z",
        "endsAt": "1970-01-01T02:30:00Z",
        "keys": [{"id": "thumb", "addedAt": "1970-01-01T00:33:20Z"}],
        "certificateNames": ["cn:ci"],
        "pausedBecause": "",
        "oldCredential": None,
        "handedTo": ["person:rae"],
    }


def test_a_replaced_credential_is_shown_while_it_is_good_and_never_its_hash() -> None:
    old = OldCredential(id="older", hash=b"SECRET", expires_at=4_000.0)
    document = agent_document(changed(old_credential=old, paused=True, paused_because="it is loose"), 3_999.0)
    told = json.loads(msgspec.json.encode(document))
    assert told["oldCredential"] == {"credentialId": "older", "expiresAt": "1970-01-01T01:06:40Z"}
    assert told["pausedBecause"] == "it is loose"
    assert "SECRET" not in str(told)
    assert agent_document(changed(old_credential=old), 4_000.0).old_credential is None


def test_without_a_credential_nothing_expires() -> None:
    assert agent_document(changed(credential_id="", credential_hash=b""), 3_000.0).expires_at is None


@pytest.mark.parametrize(
    ("agent", "now", "state"),
    [
        (AGENT, 4_999.0, AgentState.ACTIVE),
        (AGENT, 5_000.0, AgentState.EXPIRED),
        (AGENT, float("nan"), AgentState.EXPIRED),
        (changed(paused=True), 4_999.0, AgentState.PAUSED),
        (changed(paused=True), 5_000.0, AgentState.EXPIRED),
        (changed(keys=(KEY,)), 6_000.0, AgentState.ACTIVE),
        (changed(certificate_names=("cn:ci",)), 6_000.0, AgentState.ACTIVE),
        (changed(credential_id="", credential_hash=b""), 6_000.0, AgentState.ACTIVE),
        (changed(ends_at=4_000.0), 3_999.0, AgentState.ACTIVE),
        (changed(ends_at=4_000.0, paused=True, keys=(KEY,)), 4_000.0, AgentState.ENDED),
    ],
)
def test_the_state_names_the_strongest_reason_against_it(agent: AgentRecord, now: float, state: AgentState) -> None:
    assert agent_state(agent, now) is state
