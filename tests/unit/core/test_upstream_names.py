"""Names in the cluster: never one that means something there already, never one that could end a header."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.upstream_names import (
    MAX_GROUPS,
    impersonation_headers,
    upstream_extra,
    upstream_groups,
    upstream_user,
)


def identity(name: str, *groups: str, kind: Kind = Kind.AGENT) -> Identity:
    return Identity(kind=kind, name=name, groups=groups, proven_by="test", credential="c")


def test_each_kind_has_names_of_its_own() -> None:
    users = {upstream_user(identity("x", kind=kind)) for kind in Kind}
    assert users == {"narrowgate:agent:x", "narrowgate:person:x", "narrowgate:serviceaccount:x"}


def test_no_group_can_be_one_of_the_clusters_own() -> None:
    assert upstream_groups(identity("x", "system:masters", "night")) == (
        "narrowgate:agents",
        "narrowgate:group:system:masters",
        "narrowgate:group:night",
    )


def test_the_headers_name_the_sender_and_carry_the_chain() -> None:
    headers = impersonation_headers(chain_of(identity("alice", kind=Kind.PERSON), identity("ci", "night")), "r1")
    assert headers == [
        (b"impersonate-user", b"narrowgate:agent:ci"),
        (b"impersonate-group", b"narrowgate:agents"),
        (b"impersonate-group", b"narrowgate:group:night"),
        (b"impersonate-extra-narrowgate.dev%2fchain", b"person:alice"),
        (b"impersonate-extra-narrowgate.dev%2fchain", b"agent:ci"),
        (b"impersonate-extra-narrowgate.dev%2frequest", b"r1"),
    ]


POD = (("issuer", "https://x"), ("node", "n-1"), ("pod", "web"), ("pod-uid", "u-1"), ("serviceaccount-uid", "s-1"))


def test_where_a_workload_runs_goes_along_and_nothing_else_of_its_claims() -> None:
    workload = msgspec.structs.replace(identity("ci/x", kind=Kind.WORKLOAD), claims=POD)
    assert upstream_extra(chain_of(workload), "r1") == (
        ("narrowgate.dev/chain", "serviceaccount:ci/x"),
        ("narrowgate.dev/request", "r1"),
        ("narrowgate.dev/node", "n-1"),
        ("narrowgate.dev/pod", "web"),
        ("narrowgate.dev/pod-uid", "u-1"),
    )


def test_nobody_else_can_claim_to_be_a_pod() -> None:
    for kind in (Kind.AGENT, Kind.PERSON):
        claiming = msgspec.structs.replace(identity("x", kind=kind), claims=POD)
        assert {key for key, _ in upstream_extra(chain_of(claiming), "r1")} == {
            "narrowgate.dev/chain",
            "narrowgate.dev/request",
        }


@pytest.mark.parametrize("name", ["a\r\nimpersonate-group: system:masters", "a\0", "a ", "a\tb", "a\x7f"])
def test_a_name_that_could_end_a_header_is_never_sent(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        impersonation_headers(chain_of(identity(name)), "r1")


def test_groups_beyond_the_limit_are_refused_rather_than_left_out() -> None:
    most = [f"g{number}" for number in range(MAX_GROUPS)]
    assert len(impersonation_headers(chain_of(identity("x", *most[1:])), "r1")) == MAX_GROUPS + 3
    with pytest.raises(ValueError, match="groups"):
        impersonation_headers(chain_of(identity("x", *most)), "r1")
