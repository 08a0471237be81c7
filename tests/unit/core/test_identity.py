"""Who asks, as values."""

from __future__ import annotations

import pytest

from narrowgate.core.identity import Identity, Kind, chain_of


def identity(kind: Kind, name: str) -> Identity:
    return Identity(kind=kind, name=name, proven_by="test", credential="c")


def test_a_chain_is_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        chain_of()


def test_a_chain_keeps_its_order_root_first() -> None:
    alice, ci = identity(Kind.PERSON, "alice"), identity(Kind.AGENT, "ci")
    assert chain_of(alice, ci) == (alice, ci)


@pytest.mark.parametrize(
    ("kind", "name", "written"),
    [
        (Kind.AGENT, "ci", "agent:ci"),
        (Kind.PERSON, "alice", "person:alice"),
        (Kind.WORKLOAD, "ci/runner", "serviceaccount:ci/runner"),
    ],
)
def test_an_identity_is_written_with_its_kind(kind: Kind, name: str, written: str) -> None:
    assert str(identity(kind, name)) == written
