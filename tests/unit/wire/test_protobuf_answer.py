"""Protobuf answers on their way: objects, lists, watches, refusals; cut anywhere, masked, reduced, or not passed on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.wire.protobuf_by_hand import (
    MASKED,
    Everywhere,
    InNamespace,
    config_map,
    entry,
    envelope,
    event,
    field,
    listed,
    metadata,
    number,
)

from narrowgate.core.masking.choosing import Where
from narrowgate.wire.answer import DOCUMENT_LIMIT, Form, Masks
from narrowgate.wire.json_items import ITEM_LIMIT
from narrowgate.wire.protobuf import MAGIC, varint
from narrowgate.wire.protobuf_answer import ENVELOPE_LIMIT, protobuf_answer
from narrowgate.wire.protobuf_mask import NotInProtobuf
from narrowgate.wire.unreadable import Unreadable

PLANTED = config_map()
HIDDEN = config_map(MASKED)
STATUS = field(1, b"") + field(2, "Failure") + field(3, "planted")


class Shown(Everywhere):
    """What this says leaves, masked."""

    def __init__(self, shows: Callable[[Where], bool]) -> None:
        super().__init__()
        self.shows = shows


class Nothing(Everywhere):
    """Nothing is masked."""

    def plan(self, _where: Where) -> None:
        return None


def only(*names: str) -> Shown:
    return Shown(lambda where: where.name in names)


def answered(form: Form, document: bytes, masks: Masks | None = None, cut: int = 1 << 20) -> bytes:
    """What leaves of a document that comes in parts of `cut` bytes."""
    answer = protobuf_answer(form, masks or Everywhere())
    parts = [answer.feed(document[at : at + cut]) for at in range(0, len(document), cut)]
    return b"".join((*parts, answer.finish()))


@pytest.mark.parametrize("cut", [1, 3, 1 << 20])
def test_an_object_a_list_and_a_watch_are_masked_however_they_are_cut(cut: int) -> None:
    assert answered(Form.OBJECT, envelope(PLANTED, "ConfigMap"), cut=cut) == envelope(HIDDEN, "ConfigMap")
    before = envelope(listed(PLANTED, metadata("b"), PLANTED), "ConfigMapList")
    after = envelope(listed(HIDDEN, metadata("b"), HIDDEN), "ConfigMapList")
    for form in (Form.LIST, Form.OBJECT):
        assert answered(form, before, cut=cut) == after
    events = event("ADDED", envelope(PLANTED, "ConfigMap")) + event("BOOKMARK", envelope(b"", "ConfigMap"))
    hidden = event("ADDED", envelope(HIDDEN, "ConfigMap")) + event("BOOKMARK", envelope(b"", "ConfigMap"))
    assert answered(Form.WATCH, events, cut=cut) == hidden


@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_whoever_is_refused_gets_the_status_whatever_was_asked(cut: int) -> None:
    masked = envelope(STATUS.replace(field(3, "planted"), field(3, MASKED)), "Status")
    for form in (Form.OBJECT, Form.LIST):
        assert answered(form, envelope(STATUS, "Status"), cut=cut) == masked
        assert answered(form, envelope(STATUS, "Status"), only("x"), cut=cut) == masked
    assert answered(Form.WATCH, event("ERROR", envelope(STATUS, "Status"))) == event("ERROR", masked)


def test_each_event_leaves_when_it_has_come_and_the_watch_stands_between_two() -> None:
    answer = protobuf_answer(Form.WATCH, Everywhere())
    one = event("MODIFIED", envelope(PLANTED, "ConfigMap"))
    assert answer.feed(one + one[:9]) == event("MODIFIED", envelope(HIDDEN, "ConfigMap"))
    assert answer.at_boundary
    assert answer.feed(one[9:]) == event("MODIFIED", envelope(HIDDEN, "ConfigMap"))


def test_of_a_document_nothing_leaves_before_its_end() -> None:
    answer = protobuf_answer(Form.LIST, Everywhere())
    assert answer.feed(envelope(listed(PLANTED, PLANTED), "ConfigMapList")) == b""
    assert not answer.at_boundary
    assert answer.finish() == envelope(listed(HIDDEN, HIDDEN), "ConfigMapList")
    assert answer.at_boundary


def test_masks_of_one_namespace_are_held_against_each_object() -> None:
    other = config_map(namespace="web")
    document = envelope(listed(PLANTED, other), "ConfigMapList")
    assert answered(Form.LIST, document, InNamespace("ci")) == envelope(listed(HIDDEN, other), "ConfigMapList")
    nameless = entry(2, "k", "planted")
    assert b"planted" not in answered(Form.OBJECT, envelope(nameless, "ConfigMap"), InNamespace("ci"))


def test_a_reduced_list_has_what_is_shown_and_does_not_count_the_rest() -> None:
    meta = field(2, "42") + field(3, "") + number(4, 7)
    document = envelope(listed(config_map(name="x"), PLANTED, config_map(name="y"), meta=meta), "ConfigMapList")
    left = envelope(listed(HIDDEN, meta=field(2, "42") + field(3, "")), "ConfigMapList")
    assert answered(Form.LIST, document, only("a")) == left
    nothing = envelope(listed(meta=field(2, "42") + field(3, "")), "ConfigMapList")
    assert answered(Form.LIST, document, only(), cut=2) == nothing


def test_a_list_that_is_not_reduced_keeps_how_many_follow() -> None:
    meta = field(2, "42") + field(3, "next") + number(4, 7)
    document = envelope(listed(metadata(), meta=meta), "ConfigMapList")
    assert answered(Form.LIST, document) == document


def test_events_about_hidden_objects_leave_nothing_behind() -> None:
    hidden = [event(kind, envelope(config_map(name="x"), "ConfigMap")) for kind in ("ADDED", "MODIFIED", "DELETED")]
    bookmark = event("BOOKMARK", envelope(field(1, field(6, "42")), "ConfigMap"))
    failed = event("ERROR", envelope(field(2, "Failure"), "Status"))
    shown = event("DELETED", envelope(metadata(), "ConfigMap"))
    stream = b"".join((*hidden, bookmark, shown, *hidden, failed))
    assert answered(Form.WATCH, stream, only("a"), cut=11) == bookmark + shown + failed


@pytest.mark.parametrize(
    ("form", "document"),
    [
        (Form.LIST, envelope(listed(entry(2, "k", "planted")), "ConfigMapList")),
        (Form.LIST, envelope(PLANTED, "ConfigMap")),
        (Form.LIST, envelope(listed(PLANTED, meta=field(3, "next")), "ConfigMapList")),
        (Form.LIST, envelope(listed(field(1, field(1, b"\xff"))), "ConfigMapList")),
        (Form.WATCH, event("ADDED", envelope(entry(2, "k", "planted"), "ConfigMap"))),
        (Form.WATCH, event("BOOKMARK", envelope(config_map(name="x"), "ConfigMap"))),
        (Form.WATCH, event("ERROR", envelope(PLANTED, "ConfigMap"))),
        (Form.WATCH, event("ADDED", envelope(STATUS, "Status"))),
    ],
)
def test_what_does_not_say_what_it_is_about_is_not_passed_on_where_something_is_hidden(
    form: Form, document: bytes
) -> None:
    with pytest.raises(Unreadable):
        answered(form, document, only("a"))


WHOLE = envelope(listed(PLANTED), "ConfigMapList")
ODD = {
    "nothing": b"",
    "JSON": b'{"kind":"ConfigMap","data":{"k":"planted"}}',
    "no type": MAGIC + field(2, PLANTED),
    "the type twice": MAGIC + field(1, field(1, "v1") + field(2, "ConfigMap")) * 2 + field(2, PLANTED),
    "the type behind the object": MAGIC + field(2, PLANTED) + field(1, field(1, "v1") + field(2, "ConfigMap")),
    "the kind twice": MAGIC + field(1, field(1, "v1") + field(2, "Pod") + field(2, "ConfigMap")) + field(2, PLANTED),
    "a kind that is no text": MAGIC + field(1, field(2, b"\xff")) + field(2, PLANTED),
    "more in the type": MAGIC + field(1, field(1, "v1") + field(2, "ConfigMap") + field(3, "x")) + field(2, PLANTED),
    "a long type": MAGIC + field(1, field(2, "x" * ENVELOPE_LIMIT)),
    "the object twice": envelope(PLANTED, "ConfigMap", behind=field(2, PLANTED)),
    "the list twice": envelope(listed(PLANTED), "ConfigMapList", behind=field(2, listed(PLANTED))),
    "compressed": envelope(PLANTED, "ConfigMap", behind=field(3, "gzip")),
    "of another type": envelope(PLANTED, "ConfigMap", behind=field(4, "application/json")),
    "something behind it": envelope(PLANTED, "ConfigMap", behind=field(9, "planted")),
    "much behind it": envelope(PLANTED, "ConfigMap", behind=b"\x1a\x00" * ENVELOPE_LIMIT),
    "a list's field that is none": envelope(listed(PLANTED) + field(3, "planted"), "ConfigMapList"),
    "a list's number": envelope(listed(PLANTED) + number(2, 1), "ConfigMapList"),
    "a list's metadata twice": envelope(listed(PLANTED) + field(1, b""), "ConfigMapList"),
    "more in a list's metadata": envelope(listed(meta=field(9, "planted")), "ConfigMapList"),
    "an item beyond the list": envelope(listed()[:-6] + b"\x12\x7f" + PLANTED[:20], "ConfigMapList"),
    "an endless number": envelope(b"\x12" + b"\xff" * 12, "ConfigMapList"),
    "cut short": WHOLE[:-9],
    "cut within an item": WHOLE[:60],
    "cut within its type": WHOLE[:9],
    "an unknown kind": envelope(PLANTED, "Widget", "example.com/v1"),
    "a list of unknown things": envelope(listed(PLANTED), "WidgetList", "example.com/v1"),
    "a field that nobody knows": envelope(PLANTED + field(99, "planted"), "ConfigMap"),
    "a group": envelope(PLANTED + b"\x9b\x06", "ConfigMap"),
    "invalid UTF-8": envelope(metadata() + entry(2, "k", b"planted\xff"), "ConfigMap"),
    "a key that is no text": envelope(metadata() + field(2, field(1, b"\xff") + field(2, "planted")), "ConfigMap"),
    "a key twice": envelope(PLANTED + entry(2, "k", "planted"), "ConfigMap"),
    "a value twice": envelope(field(2, field(1, "k") + field(2, "x") + field(2, "planted")), "ConfigMap"),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("form", [Form.OBJECT, Form.LIST])
@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_what_could_be_read_differently_is_not_passed_on(what: str, form: Form, cut: int) -> None:
    with pytest.raises(Unreadable) as refused:
        answered(form, ODD[what], cut=cut)
    assert "planted" not in str(refused.value)


INSIDE = envelope(PLANTED, "ConfigMap")


@pytest.mark.parametrize(
    "frames",
    [
        event("ADDED", INSIDE)[:-1],
        b"\xff\xff\xff\xff" + INSIDE,
        event("ADDED", b""),
        event("ADDED", PLANTED),
        event("NEVER", INSIDE),
        event("ADDED", envelope(listed(PLANTED), "ConfigMapList")),
        event("ADDED", INSIDE) + INSIDE,
        event("ADDED", envelope(PLANTED, "ConfigMap", behind=field(3, "gzip"))),
        (len(INSIDE)).to_bytes(4) + INSIDE,
        *(
            len(content).to_bytes(4) + content
            for content in (
                field(1, "ADDED") + field(2, field(1, INSIDE)) + field(3, "planted"),
                field(1, "ADDED") + field(2, field(1, INSIDE)) * 2,
                field(1, "ADDED") + field(2, field(1, INSIDE) + field(2, "planted")),
                field(2, field(1, INSIDE)),
                field(1, "ADDED") + number(2, 1),
                b"\x09ADDED\0\0\0" + field(2, field(1, INSIDE)),
            )
        ),
    ],
)
@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_frames_that_are_no_events_are_not_passed_on(frames: bytes, cut: int) -> None:
    with pytest.raises(Unreadable):
        answered(Form.WATCH, frames, cut=cut)


def test_what_only_json_could_show_is_said_at_the_end() -> None:
    answer = protobuf_answer(Form.LIST, Everywhere())
    document = envelope(listed(PLANTED + field(99, "x"), PLANTED), "ConfigMapList")
    assert answer.feed(document[:80]) + answer.feed(document[80:]) == b""
    with pytest.raises(NotInProtobuf, match=r"field 99 of core\.v1\.ConfigMap is not known to this gate"):
        answer.finish()


def test_without_a_mask_and_with_all_shown_it_stays_byte_for_byte() -> None:
    odd = metadata() + field(99, "unknown") + entry(2, "k", b"\xff")
    document = envelope(listed(odd, odd), "ConfigMapList")
    assert answered(Form.LIST, document, Nothing(), cut=4) == document
    assert answered(Form.WATCH, event("ADDED", envelope(odd, "ConfigMap")), Nothing()) == event(
        "ADDED", envelope(odd, "ConfigMap")
    )


def test_lengths_beyond_the_limits_are_refused_before_anything_is_held() -> None:
    head = MAGIC + field(1, field(1, "v1") + field(2, "ConfigMap"))
    with pytest.raises(Unreadable, match="more than"):
        protobuf_answer(Form.OBJECT, Everywhere()).feed(head + b"\x12" + varint(DOCUMENT_LIMIT + 1))
    listing = MAGIC + field(1, field(1, "v1") + field(2, "ConfigMapList")) + b"\x12" + varint(1 << 40)
    with pytest.raises(Unreadable, match="one of its items"):
        protobuf_answer(Form.LIST, Everywhere()).feed(listing + b"\x12" + varint(ITEM_LIMIT + 1))
    with pytest.raises(Unreadable, match="an event of the watch has more than"):
        protobuf_answer(Form.WATCH, Everywhere()).feed((DOCUMENT_LIMIT + 1).to_bytes(4))


def test_no_more_of_a_list_is_held_than_of_any_document() -> None:
    item = field(2, field(1, b"") + field(99, bytes(ITEM_LIMIT - 100)))
    answer = protobuf_answer(Form.LIST, Nothing())
    size = varint(3 * len(item))
    assert answer.feed(MAGIC + field(1, field(1, "v1") + field(2, "ConfigMapList")) + b"\x12" + size) == b""
    for _ in range(3):
        assert answer.feed(item) == b""
    with pytest.raises(NotInProtobuf, match=f"more than {DOCUMENT_LIMIT} bytes"):
        answer.finish()
