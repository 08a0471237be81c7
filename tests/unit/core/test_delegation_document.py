"""A delegation as programs read it."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.delegation import Delegation
from narrowgate.core.delegation_document import DelegationState, delegation_document, delegation_state

NOW = 1_700_000_000.0
AWAY = Delegation(
    id="d1",
    person="alice",
    delegate="bob",
    groups=("security", "sre"),
    made_at=NOW,
    begins_at=NOW + 10,
    ends_at=NOW + 20,
    comment="holiday",
)


def test_everything_but_nothing_secret_is_in_the_document() -> None:
    document = delegation_document(AWAY, frozenset({"sre", "other"}), NOW + 10)
    assert msgspec.json.decode(msgspec.json.encode(document)) == {
        "id": "d1",
        "person": "alice",
        "to": "bob",
        "groups": ["security", "sre"],
        "state": "inForce",
        "from": "2023-11-14T22:13:30Z",
        "until": "2023-11-14T22:13:40Z",
        "comment": "holiday",
        "madeAt": "2023-11-14T22:13:20Z",
        "endedAt": None,
        "endedBy": "",
        "countsFor": ["sre"],
    }


@pytest.mark.parametrize(
    ("now", "state"),
    [(NOW, DelegationState.AHEAD), (NOW + 19, DelegationState.IN_FORCE), (NOW + 20, DelegationState.OVER)],
)
def test_its_state_is_where_time_has_brought_it(now: float, state: DelegationState) -> None:
    assert delegation_state(AWAY, now) is state
    assert (delegation_document(AWAY, frozenset({"sre"}), now).counts_for == ("sre",)) == (
        state is DelegationState.IN_FORCE
    )


def test_what_was_taken_back_is_told_so_and_counts_for_nothing() -> None:
    ended = msgspec.structs.replace(AWAY, ended_at=NOW + 12, ended_by="person:root")
    document = delegation_document(ended, frozenset({"sre"}), NOW + 13)
    assert (document.state, document.ended_by, document.counts_for) == (DelegationState.ENDED, "person:root", ())
