"""What stands in an envelope, and around the objects of a list: told exactly, or not passed on."""

from __future__ import annotations

import pytest
from tests.unit.wire.protobuf_by_hand import Everywhere, config_map, envelope, field, number

from narrowgate.wire.kubernetes_kinds import ANSWERS, KINDS, MESSAGES
from narrowgate.wire.protobuf import MAGIC
from narrowgate.wire.protobuf_documents import (
    Kind,
    ProtobufDocuments,
    exactly,
    read_enclosed,
    require_no_encoding,
    type_of,
)
from narrowgate.wire.protobuf_object import UnknownField
from narrowgate.wire.unreadable import Unreadable


class Reduced(Everywhere):
    """Objects named `a` leave."""

    shows = staticmethod(lambda where: where.name == "a")


def test_every_kind_that_can_be_read_has_its_metadata_where_names_are_looked_for() -> None:
    without = {"meta.v1.DeleteOptions", "meta.v1.Status"}
    for message in {*KINDS.values(), *ANSWERS.values()} - without:
        assert (1, "metadata", "one", "meta.v1.ObjectMeta") in MESSAGES[message], message


def test_a_kind_says_what_its_message_is_and_whether_it_is_a_list() -> None:
    assert Kind("apps/v1", "Deployment").message == "apps.v1.Deployment"
    assert (Kind("v1", "PodList").message, Kind("v1", "PodList").is_list) == ("core.v1.Pod", True)
    assert Kind("meta.k8s.io/v1", "PartialObjectMetadataList").message == "meta.v1.PartialObjectMetadata"
    assert Kind("v1", "Status").is_status
    assert not Kind("example.com/v1", "Status").is_status
    for unknown in (
        Kind("v1", "List"),
        Kind("example.com/v1", "Widget"),
        Kind("", ""),
        Kind("v1", "PodListList"),
        Kind("v1", "StatusList"),
    ):
        with pytest.raises(UnknownField):
            _ = unknown.message


def test_an_envelope_is_taken_apart_and_put_together_again() -> None:
    found = read_enclosed(envelope(b"raw", "Pod"))
    assert (found.kind, found.raw, found.behind) == (Kind("v1", "Pod"), b"raw", b"\x1a\x00\x22\x00")
    assert found.before + b"\x03" + found.raw + found.behind == envelope(b"raw", "Pod")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        MAGIC,
        MAGIC + field(1, b""),
        MAGIC + field(2, b"raw") + field(1, b""),
        MAGIC + field(1, b"") + number(2, 1),
        MAGIC + field(1, b"") + field(2, b"raw") + field(2, b"raw"),
        envelope(b"raw", behind=b"\x1a"),
        envelope(b"raw", behind=field(3, "gzip")),
        envelope(b"raw", behind=number(3, 0)),
        envelope(b"raw", behind=b"\x1a\x00\x1a\x00"),
        envelope(b"raw", behind=field(5, "")),
    ],
)
def test_no_other_envelope_is_read(document: bytes) -> None:
    with pytest.raises(Unreadable):
        read_enclosed(document)


def test_the_content_type_of_an_envelope_may_be_said() -> None:
    require_no_encoding(field(4, "application/vnd.kubernetes.protobuf"))
    require_no_encoding(b"")


@pytest.mark.parametrize("written", [field(1, b"\xff"), field(1, "v1") * 2, number(1, 1), field(3, "x"), b"\x0a\x05x"])
def test_a_type_that_is_none_is_refused(written: bytes) -> None:
    with pytest.raises(Unreadable):
        type_of(written)


@pytest.mark.parametrize(
    "message", [b"", field(1, "a"), field(1, "a") * 2 + field(2, "b"), field(1, "a") + number(2, 1)]
)
def test_nothing_may_stand_beside_what_is_expected(message: bytes) -> None:
    assert exactly(field(2, "b") + field(1, "a"), (1, 2)) == [b"a", b"b"]
    with pytest.raises(Unreadable):
        exactly(message, (1, 2))


def test_where_objects_are_left_out_how_many_follow_is_not_told() -> None:
    meta = field(1, "") + field(2, "42") + field(3, "") + number(4, 3)
    assert ProtobufDocuments(Everywhere()).around(meta) == meta
    assert ProtobufDocuments(Reduced()).around(meta) == field(1, "") + field(2, "42") + field(3, "")
    for odd in (field(3, "next"), field(5, "x"), number(3, 1), field(4, "3")):
        with pytest.raises(Unreadable):
            ProtobufDocuments(Reduced()).around(odd)


def test_only_what_is_shown_is_an_item() -> None:
    documents = ProtobufDocuments(Reduced())
    assert documents.is_reduced
    assert documents.item(Kind("v1", "ConfigMapList"), config_map(name="x")) is None
    assert b"planted" not in (documents.item(Kind("v1", "ConfigMapList"), config_map()) or b"planted")
    documents.require_bookmark(field(1, field(6, "42")))
    documents.require_bookmark(config_map())
    with pytest.raises(Unreadable, match="bookmark"):
        documents.require_bookmark(config_map(name="x"))
    with pytest.raises(Unreadable, match="name"):
        documents.shows(b"")


def test_a_list_is_no_object() -> None:
    with pytest.raises(Unreadable, match="list"):
        ProtobufDocuments(Everywhere()).object(Kind("v1", "ConfigMapList"), b"")
