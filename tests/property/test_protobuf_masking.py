"""Masks over protobuf say what masks over JSON say, however it is cut; and what is odd is refused.

The objects are those of `test_masking` that have a protobuf form, each with a secret at every place that is masked, and
random ones of random kinds. Each is written as both, masked as both, and what is read of the one must be the other.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_masked_answer import AllHold, secrets
from tests.property.test_masking import SHAPES, plan_of, writings
from tests.property.test_protobuf_object import enveloped, objects, sized, varint

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import Where
from narrowgate.core.masking.field_paths import FieldPathInvalid, parse_field_path
from narrowgate.core.masking.plan import Entry, Hide, Plan, Root, compile_plan
from narrowgate.core.masking.resource_plan import HeldMask
from narrowgate.wire.answer import Form, Masks
from narrowgate.wire.kubernetes_kinds import ANSWERS, KINDS, MESSAGES
from narrowgate.wire.masked_answer import masked_answer
from narrowgate.wire.protobuf import located, read_envelope
from narrowgate.wire.protobuf_answer import protobuf_answer
from narrowgate.wire.protobuf_mask import NotInProtobuf
from narrowgate.wire.protobuf_object import read_object, read_part
from narrowgate.wire.unreadable import Unreadable

BOUNDED = settings(max_examples=40, deadline=None)

WITHOUT_A_FORM = {
    "secret_of_odd_types",
    "secret_in_a_row",
    "custom_resource",
    "secrets_listed",
    "secret_watched",
    "refusal_in_a_watch",
}
"""What no typed message can hold; lists and watches are made of the others here."""

NUMBERS = {"int32", "int64", "bool"}
TEXTS = {"string", "bytes", "quantity", "intorstring", "raw", "fields"}
"""Types that have room for a masked value."""


# --- writing JSON as protobuf, by the fields of its kind


KIND_OF = {
    ("storage.k8s.io", "storageclasses"): ("storage.k8s.io/v1", "StorageClass"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    ),
}
"""What some of the shapes do not say rightly."""


def shape(name: str, secret: str) -> tuple[Plan, dict[str, Any]]:
    """The plan for a shape's resource, and the object with its secrets."""
    group, resource, document = SHAPES[name](secret)
    plan = plan_of(group, resource)
    assert plan is not None
    version, kind = KIND_OF.get((group, resource), (document["apiVersion"], document["kind"]))
    return plan, document | {"apiVersion": version, "kind": kind}


def message_of(document: dict[str, Any]) -> str:
    name = f"{document['apiVersion']}/{document['kind']}"
    return KINDS.get(name) or ANSWERS[name]


def written(message: str, value: dict[str, Any]) -> bytes:
    """A message as the API server writes it: strings that are empty are there as well."""
    parts = []
    for number, key, form, of in MESSAGES[message]:
        if not key:
            parts.append(sized(number, written(of, value)))
        elif key not in value:
            if of == "string" and form in ("one", "filled"):
                parts.append(sized(number, b""))
        elif form == "map":
            parts += [sized(number, sized(1, k.encode()) + field(2, of, v)) for k, v in value[key].items()]
        elif form == "list":
            parts += [field(number, of, one) for one in value[key]]
        else:
            parts.append(field(number, of, value[key]))
    return b"".join(parts)


def field(number: int, of: str, value: Any) -> bytes:
    if of in NUMBERS:
        return varint(number << 3) + varint(int(value))
    if of == "double":
        return varint(number << 3 | 1) + struct.pack("<d", value)
    return sized(number, content(of, value))


def content(of: str, value: Any) -> bytes:
    match of:
        case "string":
            return str(value).encode()
        case "bytes":
            return base64.b64decode(value)
        case "quantity":
            return sized(1, value.encode())
        case "intorstring":
            return varint(8) + varint(1) + sized(3, value.encode())
        case "raw" | "fields":
            return sized(1, orjson.dumps(value))
    return written(of, value)


def as_json(message: str, value: dict[str, Any]) -> dict[str, Any]:
    """What encoding/json writes of a message that has all its fields."""
    found = dict(value)
    for _, key, form, of in MESSAGES[message]:
        if not key:
            found = as_json(of, found)
        elif key not in found:
            continue
        elif form == "filled" and not found[key]:
            del found[key]
        elif of in MESSAGES and form == "map":
            found[key] = {name: as_json(of, one) for name, one in found[key].items()}
        elif of in MESSAGES and form == "list":
            found[key] = [as_json(of, one) for one in found[key]]
        elif of in MESSAGES:
            found[key] = as_json(of, found[key])
    return found


def enveloped_message(document: dict[str, Any]) -> bytes:
    return enveloped(f"{document['apiVersion']}/{document['kind']}", written(message_of(document), document))


# --- masking both


def masked(masks: Masks, form: Form, data: bytes, sizes: list[int] | None = None) -> bytes:
    """What leaves of an answer in protobuf that comes in pieces of these sizes, the rest in one."""
    answer = protobuf_answer(form, masks)
    out, at = b"", 0
    for size in [*(sizes or []), len(data)]:
        if at < len(data):
            out += answer.feed(data[at : at + size])
            at += size
    return out + answer.finish()


def masked_json(plan: Plan, document: Any) -> tuple[Any, dict[str, int]]:
    masks = AllHold(plan)
    answer = masked_answer(Form.OBJECT, masks)
    found = answer.feed(orjson.dumps(document)) + answer.finish()
    return orjson.loads(found), masks.counts


def read(data: bytes) -> dict[str, Any]:
    """An object of any kind, or a Status, as encoding/json would write it."""
    envelope = read_envelope(data)
    head = {"apiVersion": envelope.api_version, "kind": envelope.kind}
    if envelope.kind in ("Status", "PartialObjectMetadata"):
        everything = compile_plan([Entry(Root.OBJECT, (), Hide("a/b"))])
        assert everything is not None
        assert everything.objects is not None
        return head | read_part(message_of(head), envelope.raw, everything.objects)
    return as_json(message_of(head), read_object(data))


def masked_or_refused(plan: Plan, data: bytes) -> bytes | str:
    """What leaves of it, or why nothing does."""
    try:
        return masked(AllHold(plan), Form.OBJECT, data)
    except Unreadable as refused:
        return str(refused)


PLANTED = sorted(set(SHAPES) - WITHOUT_A_FORM)


@pytest.mark.parametrize("name", PLANTED)
@BOUNDED
@given(secret=secrets, sizes=st.lists(st.integers(1, 90), max_size=30))
def test_no_planted_secret_remains_and_json_agrees(name: str, secret: str, sizes: list[int]) -> None:
    plan, document = shape(name, secret)
    data = enveloped_message(document)
    masks = AllHold(plan)

    left = masked(masks, Form.OBJECT, data, sizes)

    assert [form for form in writings(secret) if form in left] == []
    expected, counts = masked_json(plan, as_json(message_of(document), read(data)))
    assert read(left) == expected
    assert masks.counts == counts
    # What is masked already stays, byte for byte.
    assert masked(AllHold(plan), Form.OBJECT, left) == left


def framed(events: list[bytes]) -> bytes:
    frames = [sized(1, b"ADDED") + sized(2, sized(1, each)) for each in events]
    return b"".join(len(frame).to_bytes(4) + frame for frame in frames)


def listing(document: dict[str, Any], items: list[bytes]) -> bytes:
    raw = sized(1, b"") + b"".join(sized(2, item) for item in items)
    return enveloped(f"{document['apiVersion']}/{document['kind']}List", raw)


@pytest.mark.parametrize("name", [each for each in PLANTED if "refusal" not in each])
@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 400), max_size=40), names=st.lists(st.sampled_from("abc"), max_size=4))
def test_lists_and_watches_are_their_objects_one_by_one(name: str, sizes: list[int], names: list[str]) -> None:
    plan, document = shape(name, "hunter2-hunter2")
    each = [document | {"metadata": document.get("metadata", {}) | {"name": one}} for one in names]
    raws = [written(message_of(document), one) for one in each]

    class Shown(AllHold):
        shows: Callable[[Where], bool] | None = staticmethod(lambda where: where.name != "b")

    shown = [raw for one, raw in zip(names, raws, strict=True) if one != "b"]
    kind = f"{document['apiVersion']}/{document['kind']}"
    alone = [masked(AllHold(plan), Form.OBJECT, enveloped(kind, raw)) for raw in shown]
    left = masked(Shown(plan), Form.WATCH, framed([enveloped(kind, raw) for raw in raws]), sizes)
    assert left == framed(alone)
    if document["kind"] == "Secret" and names:
        # An object in a list does not say its kind, and a plan may look at that (a Secret in a Secret's copy).
        assert b"hunter2-hunter2" not in left
    found = read_envelope(masked(Shown(plan), Form.LIST, listing(document, raws), sizes)).raw
    items = [value for number, _, value, _, _ in located(found) if number == 2]
    assert items == [read_envelope(one).raw for one in alone]


# --- random objects of random kinds, under masks of policies


def paths_in(value: Any, path: str = "") -> Iterator[str]:
    """Paths of fields that a policy could mask."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from paths_in(
                below, f'{path}["{key}"]' if path and not key.isalnum() else f"{path}.{key}".lstrip(".")
            )
    elif isinstance(value, list):
        for below in value:
            yield from paths_in(below, f"{path}[*]")
    if path:
        yield path


def is_field_path(path: str) -> bool:
    try:
        return bool(parse_field_path(path))
    except FieldPathInvalid:
        return False


def has_room(before: Any, after: Any, of: str = "") -> bool:
    """Whether each value that is masked was a text before."""
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(has_room(before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(has_room, before, after))
    return before == after or isinstance(before, str)


@BOUNDED
@given(objects(), st.data())
def test_under_masks_of_policies_random_objects_are_what_json_has(made: Any, data: st.DataObject) -> None:
    kind, (fields, _) = made
    encoded = enveloped(kind, b"".join(raw for _, raw in fields))
    document = as_json(KINDS[kind], read_object(encoded))
    paths = sorted({path for path in paths_in(document) if is_field_path(path)})
    chosen = data.draw(st.lists(st.sampled_from(paths), max_size=3)) if paths else []
    plan = plan_of(
        "", data.draw(st.sampled_from(("pods", "secrets", "configmaps"))), HeldMask("p/m", tuple(chosen) or ("none",))
    )
    assert plan is not None
    expected, _ = masked_json(plan, document)
    try:
        left = masked(AllHold(plan), Form.OBJECT, encoded)
    except NotInProtobuf:
        # Bytes in a field that is no base64 to the plan are masked as text, which is no base64.
        assert not has_room(document, expected) or has_bytes(KINDS[kind])
        return
    assert as_json(KINDS[kind], read_object(left)) == expected
    if expected == document:
        assert left == encoded


def has_bytes(message: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a message has bytes anywhere."""
    if message in seen:
        return False
    return any(
        of == "bytes" or (of in MESSAGES and has_bytes(of, seen | {message})) for _, _, _, of in MESSAGES[message]
    )


# --- hostile bytes


@pytest.mark.parametrize("name", PLANTED)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_masked_as_what_it_became(name: str, data: st.DataObject) -> None:
    secret = "hunter2-hunter2"
    plan, document = shape(name, secret)
    whole = enveloped_message(document)
    raw = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from((b"", b"\x12", b"\x0a", b"\x13", b"\xff", b"\x0a\x00", whole[at : at + 40], b"\x1a\x03abc"))
        )
    left = masked_or_refused(plan, bytes(raw))
    if isinstance(left, str):
        assert secret not in left
        return
    place = plan.status if b"Status" in whole[:20] else plan.objects
    assert place is not None
    envelope = read_envelope(left)
    kind = {"apiVersion": envelope.api_version, "kind": envelope.kind}
    if envelope.kind == document["kind"]:
        looked_at = read_part(message_of(kind), envelope.raw, place)
        assert (
            read_part(message_of(kind), read_envelope(masked(AllHold(plan), Form.OBJECT, left)).raw, place) == looked_at
        )
    try:
        before = as_json(message_of(kind), read_object(bytes(raw)))
    except (Malformed, KeyError):
        return
    assert as_json(message_of(kind), read_object(left)) == masked_json(plan, before)[0]
