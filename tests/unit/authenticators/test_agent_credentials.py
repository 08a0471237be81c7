"""What agents' credentials mean beyond what every authenticator promises (tests/contract/test_authenticators.py)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.credential import new_credential
from narrowgate.authenticators.port import Answer, Presented, Rejected
from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind

MADE = new_credential()
RECORD = AgentRecord(
    name="ci-bot",
    owner="person:alice",
    purpose="restarts pods",
    cluster="prod",
    credential_id=MADE.id,
    credential_hash=MADE.hash,
    created_at=0.0,
    expires_at=1_800_000_000.0,
    groups=("bots",),
)


def ask(record: AgentRecord, text: str = MADE.text, now: float = 1_700_000_000.0) -> Answer:
    return asyncio.run(AgentCredentials.of([record]).authenticate(Presented(text), now))


def test_an_agent_is_its_record() -> None:
    assert ask(RECORD) == Identity(
        kind=Kind.AGENT,
        name="ci-bot",
        groups=("bots",),
        owner="person:alice",
        proven_by="agent-credential",
        credential=MADE.id,
        cluster="prod",
        expires_at=1_800_000_000.0,
    )


@pytest.mark.parametrize(
    ("record", "text", "now", "says"),
    [
        (
            RECORD,
            MADE.text,
            1_800_000_000.0,
            'agent "ci-bot" expired on 2027-01-15 08:00 UTC; its owner (person:alice)',
        ),
        (msgspec.structs.replace(RECORD, paused=True), MADE.text, 0.0, 'agent "ci-bot" is paused; ask its owner'),
        (RECORD, new_credential().text, 0.0, "not known to this gate: it was rotated or removed"),
        (RECORD, MADE.text[:-2], 0.0, "cut short"),
        (RECORD, "ng1_", 0.0, "cut short"),
        (msgspec.structs.replace(RECORD, name="system:x"), MADE.text, 0.0, "reserved for Kubernetes itself"),
        (msgspec.structs.replace(RECORD, groups=("system:masters",)), MADE.text, 0.0, 'group "system:masters" begins'),
    ],
)
def test_each_refusal_says_why_and_what_to_do(record: AgentRecord, text: str, now: float, says: str) -> None:
    answer = ask(record, text, now)
    assert isinstance(answer, Rejected)
    assert says in answer.reason
    assert ";" in answer.reason
    assert text not in answer.reason or text == "ng1_"
