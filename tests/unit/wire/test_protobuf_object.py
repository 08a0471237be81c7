"""Objects in protobuf as the JSON they stand for, and everything that is refused because it has two readings."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.plan import Entry, Every, Hide, Key, Place, Root, SecretlyNamed, compile_plan
from narrowgate.wire.protobuf import MAGIC, BrokenProtobuf
from narrowgate.wire.protobuf_object import FIELDS_IN_ALL, MAX_DEPTH, UnknownField, read_object, read_part


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def field(number: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def envelope(raw: bytes, kind: str = "Pod", version: str = "v1") -> bytes:
    return MAGIC + field(1, field(1, version) + field(2, kind)) + field(2, raw)


def read(raw: bytes, kind: str = "Pod", version: str = "v1") -> dict[str, Any]:
    found = read_object(envelope(raw, kind, version))
    assert (found.pop("apiVersion"), found.pop("kind")) == (version, kind)
    return found


def container(raw: bytes) -> dict[str, Any]:
    """One container of a Pod: its spec is field 2, the containers field 2 of that."""
    found: dict[str, Any] = read(field(2, field(2, raw)))["spec"]["containers"][0]
    return found


def deployment_spec(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = read(field(2, raw), "Deployment", "apps/v1")["spec"]
    return found


def test_text_lists_and_messages_are_what_json_has() -> None:
    raw = field(1, "web") + field(2, "nginx") + field(3, "sh") + field(3, "-c") + field(6, number(3, 8080))
    assert container(raw) == {
        "name": "web",
        "image": "nginx",
        "command": ["sh", "-c"],
        "ports": [{"containerPort": 8080}],
    }


def test_maps_hold_their_entries_and_an_empty_value_is_empty() -> None:
    labels = field(11, field(1, "a") + field(2, "1")) + field(11, field(1, "b"))
    assert read(field(1, labels))["metadata"]["labels"] == {"a": "1", "b": ""}


def test_bytes_are_base64() -> None:
    data = field(2, field(1, "key") + field(2, b"\x00\xff"))
    assert read(data, "Secret")["data"] == {"key": "AP8="}


def test_a_quantity_is_its_text() -> None:
    limits = field(8, field(1, field(1, "cpu") + field(2, field(1, "500m"))))
    assert container(limits)["resources"] == {"limits": {"cpu": "500m"}}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (number(1, 0) + number(2, 80), 80),
        (number(1, 1) + number(2, 80) + field(3, "http"), "http"),
        (number(1, 1), ""),
        (b"", 0),
    ],
)
def test_a_number_or_text_is_what_its_kind_says(raw: bytes, value: int | str) -> None:
    probe = field(10, field(1, field(2, field(2, raw))))
    assert container(probe)["livenessProbe"] == {"httpGet": {"port": value}}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", None),
        (number(1, 0), "1970-01-01T00:00:00Z"),
        (number(1, 1_700_000_000), "2023-11-14T22:13:20Z"),
        (number(1, 1_700_000_000) + number(2, 999_999_999), "2023-11-14T22:13:20Z"),
        (number(1, -62_135_596_800), "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_rfc_3339_without_what_its_reader_drops(raw: bytes, value: str | None) -> None:
    assert read(field(1, field(8, raw)))["metadata"]["creationTimestamp"] == value


def test_a_micro_time_has_six_digits() -> None:
    spec = field(2, field(4, number(1, 1_700_000_000) + number(2, 123_456_789)))
    found = read(spec, "Lease", "coordination.k8s.io/v1")
    assert found["spec"]["renewTime"] == "2023-11-14T22:13:20.123456Z"


def test_negative_numbers_are_negative() -> None:
    assert deployment_spec(number(1, -1)) == {"replicas": -1}


def test_a_fixed_point_number_is_read() -> None:
    schema = field(1, varint(9 << 3 | 1) + struct.pack("<d", 1.5))
    versions = field(7, field(1, "v1") + field(4, schema))
    found = read(field(2, versions), "CustomResourceDefinition", "apiextensions.k8s.io/v1")
    assert found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == {"maximum": 1.5}


def test_embedded_json_is_read_as_json() -> None:
    found = read(field(2, field(1, b'{"a":[1]}')) + number(3, 4), "ControllerRevision", "apps/v1")
    assert found == {"data": {"a": [1]}, "revision": 4}


# --- what a Go reader would take otherwise, or not at all


@pytest.mark.parametrize("value", [1 << 31, (1 << 32) + 5, -(1 << 32) + 100, -(1 << 31) - 1, (1 << 64) - (1 << 33)])
def test_a_number_that_the_api_server_would_cut_to_32_bits_is_refused(value: int) -> None:
    with pytest.raises(BrokenProtobuf, match="32 bits"):
        deployment_spec(number(1, value))


@pytest.mark.parametrize("value", [(1 << 31) - 1, -(1 << 31), 0])
def test_every_number_of_32_bits_is_read(value: int) -> None:
    assert deployment_spec(number(1, value)) == {"replicas": value}


def test_a_number_of_64_bits_keeps_all_of_them() -> None:
    assert read(field(2, number(5, 1 << 40)))["spec"] == {"activeDeadlineSeconds": 1 << 40}


BROKEN = {
    "no magic": b"k8t\x00" + envelope(b"")[4:],
    "nothing": b"",
    "cut in a number": envelope(field(2, number(5, 300)))[:-1],
    "a field longer than what is there": MAGIC + varint(2 << 3 | 2) + varint(99) + b"x",
    "metadata twice": envelope(field(1, field(1, "a")) + field(1, field(1, "b"))),
    "spec twice": envelope(field(2, b"") + field(2, b"")),
    "a name twice": envelope(field(1, field(1, "a") + field(1, "b"))),
    "an object twice": envelope(b"") + field(2, b""),
    "a type twice": MAGIC + field(1, field(1, "v1") + field(2, "Pod") + field(2, "Secret")) + field(2, b""),
    "an encoding": envelope(b"") + field(3, "gzip"),
    "another content type": envelope(b"") + field(4, "application/json"),
    "a label twice": envelope(field(1, field(11, field(1, "a")) + field(11, field(1, "a")))),
    "three parts of a label": envelope(field(1, field(11, field(1, "a") + field(2, "b") + field(3, "c")))),
    "two values of a label": envelope(field(1, field(11, field(1, "a") + field(2, "b") + field(2, "c")))),
    "text that is a number": envelope(field(1, number(1, 5))),
    "a number that is text": envelope(field(2, field(5, "5"))),
    "a message that is a number": envelope(number(2, 5)),
    "text that is not UTF-8": envelope(field(1, field(1, b"\xff"))),
    "a packed list of numbers": envelope(field(2, field(14, field(4, b"\x01\x02")))),
    "a group": envelope(varint(2 << 3 | 3) + varint(2 << 3 | 4)),
    "wire type 7": envelope(varint(2 << 3 | 7)),
    "field number 0": envelope(varint(2)),
    "a field number beyond 29 bits": envelope(varint((1 << 29) << 3 | 2) + b"\x00"),
    "a number beyond 64 bits": envelope(field(2, varint(5 << 3) + b"\xff" * 9 + b"\x7f")),
    "a number of eleven bytes": envelope(field(2, varint(5 << 3) + b"\x80" * 10 + b"\x01")),
    "a time beyond the calendar": envelope(field(1, field(8, number(1, 1 << 60)))),
    "too many nanoseconds": envelope(field(1, field(8, number(1, 1) + number(2, 1_000_000_000)))),
    "too few nanoseconds": envelope(field(1, field(8, number(1, 1) + number(2, -1)))),
    "a time with a third field": envelope(field(1, field(8, number(3, 1)))),
    "a quantity twice": envelope(
        field(2, field(2, field(8, field(1, field(1, "cpu") + field(2, field(1, "1") + field(1, "2"))))))
    ),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_can_be_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenProtobuf) as refusal:
        read_object(data)
    assert refusal.value.code == 400


UNKNOWN = {
    "a kind": envelope(b"", "Gadget"),
    "a version": envelope(b"", "Pod", "v9"),
    "a group": envelope(b"", "Pod", "apps/v1"),
    "no kind": MAGIC + field(2, b""),
    "a field": envelope(field(99, b"")),
    "a field far within": envelope(field(2, field(2, field(999, b"x")))),
    "a field that is a number": envelope(field(2, number(999, 1))),
    "embedded text that is not JSON": envelope(field(2, field(1, b"{")), "ControllerRevision", "apps/v1"),
}


@pytest.mark.parametrize("data", UNKNOWN.values(), ids=UNKNOWN)
def test_what_has_no_name_here_is_sent_back_for_json(data: bytes) -> None:
    with pytest.raises(UnknownField, match="application/json") as refusal:
        read_object(data)
    assert refusal.value.code == 415


def test_nesting_has_an_end() -> None:
    schema = b""
    for _ in range(2 * MAX_DEPTH):
        schema = field(17, schema)  # `not`, a schema within a schema
    data = envelope(
        field(2, field(7, field(4, field(1, schema)))), "CustomResourceDefinition", "apiextensions.k8s.io/v1"
    )
    with pytest.raises(Malformed):
        read_object(data)


def test_the_work_that_one_object_can_make_has_an_end() -> None:
    containers = field(2, field(3, "") * 40_000) * (FIELDS_IN_ALL // 40_000 + 1)
    with pytest.raises(BrokenProtobuf, match="fields"):
        read_object(envelope(field(2, containers)))


def place(*entries: Entry) -> Place:
    """Where a plan that says this of objects begins."""
    plan = compile_plan(entries)
    assert plan is not None
    assert plan.objects is not None
    return plan.objects


HIDE = Hide("a/b")
ALL = place(Entry(Root.OBJECT, (), HIDE))


def test_what_json_leaves_out_where_it_is_empty_is_left_out() -> None:
    raw = field(1, field(1, "") + field(8, b"")) + field(2, field(2, field(1, "") + field(2, "") + number(16, 0)))
    assert read_part("core.v1.Pod", raw, ALL) == {
        "metadata": {"creationTimestamp": None},
        "spec": {"containers": [{"name": ""}]},
    }
    replicas = field(2, number(1, 0) + number(7, 0))
    assert read_part("apps.v1.Deployment", replicas, ALL) == {"spec": {"replicas": 0}}


def test_what_no_mask_looks_at_is_not_read() -> None:
    only = place(Entry(Root.OBJECT, (Key("data"), Key("k")), HIDE))
    raw = field(1, b"\xff") + field(2, field(1, "k") + field(2, "v")) + field(2, field(1, "x") + field(2, b"\xff"))
    assert read_part("core.v1.ConfigMap", raw, only) == {"data": {"k": "v"}}
    with pytest.raises(UnknownField):
        read_part("core.v1.ConfigMap", raw + field(99, ""), only)
    with pytest.raises(BrokenProtobuf, match="wrong type"):
        read_part("core.v1.ConfigMap", raw + field(4, "planted"), only)


def test_where_a_name_tells_what_is_masked_all_of_its_object_is_read() -> None:
    named = Entry(
        Root.OBJECT, (Key("spec"), Key("containers"), Every(), Key("env"), Every(), SecretlyNamed(), Key("value")), HIDE
    )
    variable = field(7, field(2, "v") + field(1, "n"))
    found = read_part("core.v1.Pod", field(2, field(2, field(1, "c") + variable)), place(named))
    assert found == {"spec": {"containers": [{"env": [{"value": "v", "name": "n"}]}]}}


def test_json_within_is_read_as_strictly_as_any() -> None:
    for raw in (b'{"a": 1, "a": 2}', b"\xff", b"k8s\x00"):
        with pytest.raises(UnknownField):
            read_part("apps.v1.ControllerRevision", field(2, field(1, raw)), ALL)
