from __future__ import annotations

import pytest

from narrowgate.core.body import ObjectNames
from narrowgate.wire.protobuf import (
    FIELDS_LIMIT,
    MAGIC,
    BrokenProtobuf,
    fields,
    located,
    object_meta,
    read_envelope,
    read_names,
    read_varint,
    sized,
    varint,
)


def field(number: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return sized(number, value)


def enveloped(kind: str, raw: bytes, more: bytes = b"") -> bytes:
    return MAGIC + field(1, field(1, "v1") + field(2, kind)) + field(2, raw) + more


META = field(1, "web") + field(2, "web-") + field(3, "ci") + field(5, "uid-1") + varint(7 << 3) + varint(300)
POD = field(1, META) + field(2, b"spec")


def test_an_object_is_taken_out_of_its_envelope():
    envelope = read_envelope(enveloped("Pod", POD, field(3, "") + field(4, "application/vnd.kubernetes.protobuf")))
    assert (envelope.api_version, envelope.kind, envelope.raw) == ("v1", "Pod", POD)


def test_names_are_read_by_field_number():
    assert object_meta(POD) == ObjectNames(name="web", generate_name="web-", namespace="ci", uid="uid-1")
    assert read_names(enveloped("Pod", POD)) == ObjectNames("v1", "Pod", "web", "web-", "ci", "uid-1")


def test_what_is_absent_is_empty():
    assert read_names(MAGIC) == ObjectNames()
    assert object_meta(b"") == ObjectNames()


def test_delete_options_have_no_metadata():
    options = varint(1 << 3) + varint(30) + field(4, "Background")
    assert read_names(enveloped("DeleteOptions", options)) == ObjectNames(api_version="v1", kind="DeleteOptions")


def test_fields_are_walked_in_order_whatever_their_wire_type():
    message = (
        varint(1 << 3) + varint(1 << 63) + field(2, "x") + varint(3 << 3 | 1) + b"8" * 8 + varint(4 << 3 | 5) + b"4444"
    )
    assert [*fields(message)] == [(1, 0, 1 << 63), (2, 2, b"x"), (3, 1, b"8" * 8), (4, 5, b"4444")]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "does not begin"),
        (b'{"kind":"Pod"}', "does not begin"),
        (enveloped("Pod", POD, field(3, "gzip")), "encoding of its own"),
        (enveloped("Pod", POD, field(4, "application/json")), "encoding of its own"),
        (enveloped("Pod", POD, field(2, POD)), "field 2 is there twice"),
        (enveloped("Pod", POD, field(1, b"")), "field 1 is there twice"),
        (enveloped("Pod", field(1, META) + field(1, field(1, "other"))), "field 1 is there twice"),
        (enveloped("Pod", field(1, META + field(1, "other"))), "field 1 is there twice"),
        (enveloped("Pod", field(1, varint(1 << 3) + b"\x01")), "field 1 has the wrong type"),
        (enveloped("Pod", field(1, varint(1 << 3 | 1) + b"12345678")), "field 1 has the wrong type"),
        (enveloped("Pod", field(1, field(1, b"\xff"))), "not UTF-8"),
        (enveloped("Pod", varint((1 << 32 | 1) << 3 | 2) + varint(len(META)) + META), "is no field number"),
        (enveloped("Pod", varint(2) + b"\x00"), "0 is no field number"),
        (enveloped("Pod", varint(9 << 3 | 3)), "3 is no wire type"),
        (enveloped("Pod", varint(9 << 3 | 4)), "4 is no wire type"),
        (enveloped("Pod", POD)[:-1], "longer than what is there"),
        (enveloped("Pod", varint(9 << 3 | 1) + b"1234567"), "longer than what is there"),
        (enveloped("Pod", b"\x80"), "in the middle of a number"),
        (enveloped("Pod", b"\x80" * 10 + b"\x01"), "more than 64 bits"),
        (enveloped("Pod", varint(9 << 3) + b"\xff" * 9 + b"\x02"), "more than 64 bits"),
        (enveloped("ConfigMap", field(2, "") * (FIELDS_LIMIT + 1)), "more than"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes, problem: str):
    with pytest.raises(BrokenProtobuf, match=problem) as caught:
        read_names(data)
    assert caught.value.code == 400
    assert "send application/json" in caught.value.message


def test_as_many_fields_as_the_limit_are_read():
    assert read_names(enveloped("ConfigMap", field(1, META) + field(2, "") * (FIELDS_LIMIT - 1))).name == "web"


def test_numbers_may_be_longer_than_need_be_as_the_api_server_takes_them():
    assert object_meta(b"\x8a\x80\x00" + b"\x85\x00" + field(1, "abc")).name == "abc"


def test_fields_say_where_they_stand_and_what_is_written_is_read() -> None:
    message = b"\x08\x80\x01" + sized(2, b"ab") + b"\x19" + bytes(8)
    assert list(located(message)) == [(1, 0, 128, 0, 3), (2, 2, b"ab", 3, 7), (3, 1, bytes(8), 7, 16)]
    assert list(fields(message)) == [(1, 0, 128), (2, 2, b"ab"), (3, 1, bytes(8))]
    for value in (0, 127, 128, 300, (1 << 64) - 1):
        assert read_varint(b"x" + varint(value), 1) == (value, 1 + len(varint(value)))
    assert sized(16, b"") == b"\x82\x01\x00"
