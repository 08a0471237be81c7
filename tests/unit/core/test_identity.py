"""Who asks, as values."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.identity import Identity, Kind, chain_behind, chain_of


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


def test_a_chain_has_those_it_acts_on_behalf_of_before_its_sender() -> None:
    root, between = identity(Kind.AGENT, "root"), identity(Kind.AGENT, "root/helper")
    sender = msgspec.structs.replace(identity(Kind.WORKLOAD, "ci/runner"), on_behalf_of=(root, between))
    assert chain_behind(sender) == (root, between, sender)
    assert chain_behind(root) == (root,)
