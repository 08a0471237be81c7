"""Whether a registered agent may come, however it proves itself."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from narrowgate.core.agent import AgentRecord, refusal_of

NOW = 1_700_000_000.0
AGENT = AgentRecord(
    name="ci-bot",
    owner="group:sre",
    purpose="restarts pods",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=0.0,
    expires_at=0.0,
)


def test_an_agent_comes_until_it_ends_whatever_its_credential_does() -> None:
    assert refusal_of(AGENT, NOW) == ""
    assert refusal_of(msgspec.structs.replace(AGENT, ends_at=NOW + 1), NOW) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paused": True, "paused_because": "it is loose"}, 'agent "ci-bot" is paused; ask its owner (group:sre)'),
        ({"ends_at": NOW}, "ended on 2023-11-14 22:13 UTC; ask its owner (group:sre)"),
        ({"ends_at": 0.0}, "ended on 1970-01-01"),
        ({"name": "system:masters"}, "reserved for Kubernetes itself; its owner (group:sre) must remove it"),
        ({"name": "a\nb"}, "invisible"),
        ({"groups": ("system:masters",)}, 'group "system:masters" begins'),
    ],
)
def test_who_may_not_come_is_told_why_and_what_to_do(change: dict[str, Any], says: str) -> None:
    refusal = refusal_of(msgspec.structs.replace(AGENT, **change), NOW)
    assert says in refusal
    assert "loose" not in refusal


def test_a_time_that_is_no_number_is_after_every_end() -> None:
    assert refusal_of(msgspec.structs.replace(AGENT, ends_at=NOW), math.nan)
