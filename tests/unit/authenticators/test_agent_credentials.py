"""What agents' credentials mean beyond what every authenticator promises (tests/contract/test_authenticators.py)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.credential import credential_hash, new_credential
from narrowgate.authenticators.port import Answer, Presented, Rejected
from narrowgate.core.agent import AgentRecord, OldCredential
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


def test_an_agent_whose_end_comes_before_its_credentials_ends_with_it() -> None:
    end = 1_750_000_000.0
    over = msgspec.structs.replace(RECORD, ends_at=end)
    before = ask(over, now=end - 1)
    assert isinstance(before, Identity)
    assert before.expires_at == end
    after = ask(over, now=end)
    assert isinstance(after, Rejected)
    assert 'agent "ci-bot" ended on 2025-06-15 15:06 UTC; ask its owner (person:alice)' in after.reason


def test_an_end_after_the_credentials_changes_nothing() -> None:
    assert ask(msgspec.structs.replace(RECORD, ends_at=RECORD.expires_at + 1)) == ask(RECORD)


def test_an_agent_without_a_credential_is_opened_by_none() -> None:
    bare = msgspec.structs.replace(RECORD, credential_id="", credential_hash=b"")
    assert isinstance(ask(bare), Rejected)
    empty = msgspec.structs.replace(RECORD, credential_id="", credential_hash=credential_hash(""))
    assert isinstance(ask(empty, "ng1_"), Rejected)


def test_the_credential_before_a_rotation_is_good_until_its_own_end() -> None:
    old = new_credential()
    both = msgspec.structs.replace(
        RECORD, old_credential=OldCredential(id=old.id, hash=old.hash, expires_at=1_700_000_600.0)
    )
    answer = ask(both, old.text)
    assert isinstance(answer, Identity)
    assert (answer.name, answer.credential, answer.expires_at) == ("ci-bot", old.id, 1_700_000_600.0)
    assert isinstance(ask(both, old.text, 1_700_000_600.0), Rejected)
    assert isinstance(ask(both, now=1_700_000_600.0), Identity)
    assert isinstance(ask(msgspec.structs.replace(both, paused=True), old.text), Rejected)


def test_an_old_credential_that_is_another_agents_opens_for_neither() -> None:
    taken = OldCredential(id=MADE.id, hash=MADE.hash, expires_at=1_800_000_000.0)
    other = msgspec.structs.replace(RECORD, name="other", credential_id="x", credential_hash=b"x", old_credential=taken)
    for records in ([RECORD, other], [other, RECORD]):
        answer = asyncio.run(AgentCredentials.of(records).authenticate(Presented(MADE.text), 1_700_000_000.0))
        assert isinstance(answer, Rejected)
        assert "two agents" in answer.reason
