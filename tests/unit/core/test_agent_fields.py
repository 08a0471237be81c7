"""What may be written into an agent's record."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from narrowgate.core.agent import AgentKey, AgentRecord
from narrowgate.core.agent_fields import (
    MOST_HANDED_TO,
    SMALL_ORDER_KEYS,
    key_problem,
    labels_problem,
    record_problem,
)

AGENT = AgentRecord(
    name="ci-bot",
    owner="person:alice",
    purpose="restarts pods",
    cluster="prod",
    credential_id="",
    credential_hash=b"",
    created_at=0.0,
    expires_at=0.0,
)
KEY = AgentKey(id="a", public=bytes(range(32)), added_at=0.0)


def test_a_whole_record_without_fault_can_be_kept() -> None:
    full = msgspec.structs.replace(
        AGENT,
        groups=("bots",),
        labels=(("team", "sre"), ("corp.example/tier", "1"), ("empty", "")),
        ends_at=1_800_000_000.0,
        keys=(KEY,),
        certificate_names=("spiffe://corp.example/ns/ci/sa/bot", "cn:ci bot"),
    )
    assert record_problem(full) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "Ci"}, 'name "Ci" has other characters'),
        ({"owner": "alice"}, "owner is not written person:NAME"),
        ({"purpose": " "}, "purpose: write one line"),
        ({"purpose": "a\nb"}, "purpose: write one line"),
        ({"purpose": "x" * 501}, "purpose: write one line"),
        ({"groups": ("system:masters",)}, 'group "system:masters"'),
        ({"labels": (("a", "b"),) * 2}, "a label is there twice"),
        ({"labels": tuple((f"k{number}", "") for number in range(33))}, "33 labels are more than 32"),
        ({"ends_at": float("nan")}, "the end date"),
        ({"ends_at": 1e30}, "the end date"),
        ({"ends_at": -1.0}, "the end date"),
        ({"keys": (KEY, KEY)}, "a key is there twice"),
        ({"keys": tuple(AgentKey(id="", public=bytes([n] * 32), added_at=0.0) for n in range(9))}, "9 keys are more"),
        ({"keys": (AgentKey(id="", public=b"short", added_at=0.0),)}, "has 32 bytes, this one 5"),
        ({"certificate_names": ("cn:a", "cn:a")}, "a certificate name is there twice"),
        ({"certificate_names": ("dns:a",)}, 'certificate name "dns:a" is written neither'),
    ],
)
def test_each_fault_is_named_with_its_field(change: dict[str, Any], says: str) -> None:
    assert says in record_problem(msgspec.structs.replace(AGENT, **change))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "x"),
        ("-a", "x"),
        ("a b", "x"),
        ("a" * 64, "x"),
        ("a", "x" * 64),
        ("a", "-x"),
        ("a", "x y"),
        ("a", "ä"),
        ("A.corp/x", "x"),
        ("/x", "x"),
        ("a/b/c", "x"),
        ("a" * 254 + "/x", "x"),
        ("corp/", "x"),
        ("a\n", "x"),
        ("a", "x\n"),
    ],
)
def test_a_label_that_kubernetes_would_not_take_is_refused(key: str, value: str) -> None:
    assert labels_problem(((key, value),))


# The curve of RFC 8032, section 5.1, in its textbook form: what the list must be, worked out another way.
P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int]


def plus(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P) % P,
    )


def point(public: bytes) -> Point:
    y = int.from_bytes(public, "little") & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0, "not on the curve"
    return x, y % P


@pytest.mark.parametrize("public", sorted(SMALL_ORDER_KEYS), ids=bytes.hex)
def test_every_point_on_the_list_is_of_small_order_and_no_key(public: bytes) -> None:
    found = point(public)
    for _ in range(3):
        found = plus(found, found)
    assert found == (0, 1)
    assert "small order" in key_problem(public)


def test_the_list_has_all_spellings_of_all_eight_points() -> None:
    by_height: dict[int, int] = {}
    for public in SMALL_ORDER_KEYS:
        by_height[point(public)[1]] = by_height.get(point(public)[1], 0) + 1
    # Two signs for each height; those of y = 0 and y = 1 can be written as P + y too.
    assert sorted(by_height.values()) == [2, 2, 2, 4, 4]


def test_a_secret_is_handed_to_so_many_people_and_no_more() -> None:
    names = tuple(f"person:p{number}" for number in range(MOST_HANDED_TO))
    assert record_problem(msgspec.structs.replace(AGENT, handed_to=names)) == ""
    more = record_problem(msgspec.structs.replace(AGENT, handed_to=(*names, "person:one-more")))
    assert "64 people were handed" in more
    assert "then rotate its credential without keeping the old one" in more
