from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.built_in import LAST_APPLIED, UNREADABLE
from narrowgate.core.masking.known_values import KnownValues
from narrowgate.core.masking.masked_value import MASKED, ValueMasker
from narrowgate.core.masking.objects import ObjectMasker, mask_document
from narrowgate.core.masking.patterns import TEXT_RULES
from narrowgate.core.masking.plan import (
    EMBEDDED_LIMIT,
    Action,
    Anywhere,
    Arguments,
    Embedded,
    Encoded,
    Entry,
    Every,
    Forget,
    Hide,
    Key,
    Plan,
    Prose,
    Root,
    Scan,
    Step,
    compile_plan,
)
from narrowgate.core.masking.secret_parts import Known

VALUES = ValueMasker(b"k" * 32)
HIDE = Hide("team/it")
TEXT = Hide("team/it", strings_only=True)


def plan(*entries: tuple[tuple[Step, ...], Action], root: Root = Root.OBJECT) -> Plan:
    compiled = compile_plan((Entry(root, steps, action) for steps, action in entries), TEXT_RULES)
    assert compiled is not None
    return compiled


def masked(document: Any, compiled: Plan) -> Any:
    """The masked document with each masked value written as its rule's name, and its base64 as that in brackets."""
    return named(mask_document(document, always(compiled), VALUES, {}))


def always(compiled: Plan | None) -> Callable[[str | None, str | None], Plan | None]:
    return lambda *_where: compiled


def named(value: Any) -> Any:
    match value:
        case dict():
            return {key: named(below) for key, below in value.items()}
        case list():
            return [named(below) for below in value]
        case str():
            return MASKED.sub(lambda found: f"<{found[0].split(':')[1].split('/')[1]}>", value)
        case _:
            return value


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_hiding_an_object_keeps_its_keys_and_the_lengths_of_its_lists() -> None:
    document = {"x": {"a": "1", "b": [1, 2.5, True, None], "c": {}}, "y": 1}
    assert masked(document, plan(((Key("x"),), HIDE))) == {
        "x": {"a": "<it>", "b": ["<it>", "<it>", "<it>", None], "c": {}}, "y": 1,
    }  # fmt: skip


def test_hiding_strings_leaves_objects_and_masks_numbers() -> None:
    one = plan(((Key("x"),), TEXT))
    assert masked({"x": "a"}, one) == {"x": "<it>"}
    assert masked({"x": 7}, one) == {"x": "<it>"}
    assert masked({"x": ["a", {"b": "c"}]}, one) == {"x": ["<it>", {"b": "c"}]}
    assert masked({"x": {"secretKeyRef": {"name": "n"}}}, one) == {"x": {"secretKeyRef": {"name": "n"}}}
    assert masked({"x": True}, one) == {"x": True}


def test_what_is_not_masked_is_the_very_same_object() -> None:
    document = {"x": {"y": "password=1"}, "z": [1]}
    masker = ObjectMasker(plan(((Key("x"), Key("other")), HIDE)), VALUES, {})
    place = masker.plan.objects
    assert place is not None
    assert masker.mask(document, place) is document


def test_base64_is_masked_as_base64() -> None:
    one = plan(((Key("data"),), HIDE), ((Key("data"), Every()), Encoded()))
    after = mask_document({"data": {"a": b64("x")}}, always(one), VALUES, {})
    assert base64.b64decode(after["data"]["a"]).decode() == VALUES.of("team/it", b"x")


def test_text_in_base64_is_scanned_as_what_it_stands_for() -> None:
    one = plan(((Key("b"),), Scan()), ((Key("b"),), Encoded()))
    after = mask_document({"b": b64("\xff a password=x\n")}, always(one), VALUES, {})
    assert named(base64.b64decode(after["b"]).decode()) == "\xff a password=<named-secret>\n"
    plain = {"b": b64("nothing")}
    assert mask_document(plain, always(one), VALUES, {}) is plain


def test_a_text_that_is_another_in_base64_is_looked_at_as_that() -> None:
    one = plan(((Key("b"),), Scan()))
    after = mask_document({"b": b64("user: me\ntoken: x y\n")}, always(one), VALUES, {})
    assert named(base64.b64decode(after["b"]).decode()) == "user: me\ntoken: <named-secret>\n"
    for text in (b64("nothing in here at all"), "x" * 24, base64.b64encode(b"\xff" * 30).decode()):
        document = {"b": text}
        assert mask_document(document, always(one), VALUES, {}) is document


@pytest.mark.parametrize("begin", [b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ", b"BZh9"])
def test_an_archive_in_base64_is_hidden_whole(begin: bytes) -> None:
    one = plan(((Key("b"),), Scan()), ((Key("b"),), Encoded()))
    after = mask_document({"b": base64.b64encode(begin + b"xyz").decode()}, always(one), VALUES, {})
    assert named(base64.b64decode(after["b"]).decode()) == "<archive>"


def test_a_document_in_a_string_is_masked_and_keeps_its_line_end() -> None:
    one = plan(((Key("a"),), Embedded(Root.OBJECT)), ((Key("x"),), HIDE))
    assert masked({"a": '{"x": 1, "y": 2}\n'}, one) == {"a": '{"x":"<it>","y":2}\n'}
    assert masked({"a": '{"y": 2}\n'}, one) == {"a": '{"y": 2}\n'}


@pytest.mark.parametrize("text", ['{"x": 1', '{"x": 1, "x": 2}', '{"x": NaN}', "[" * 300 + "]" * 300, "text", ""])
def test_a_document_that_cannot_be_read_is_hidden_or_scanned(text: str) -> None:
    hiding = plan(((Key("a"),), Embedded(Root.OBJECT, UNREADABLE)), ((Key("x"),), HIDE))
    scanning = plan(((Key("a"),), Embedded(Root.OBJECT)), ((Key("x"),), HIDE))
    assert masked({"a": text}, hiding) == {"a": "<unreadable>"}
    assert masked({"a": text + " password=y"}, scanning) == {"a": text + " password=<named-secret>"}


def test_documents_in_documents_end_somewhere() -> None:
    one = plan(
        ((Key("metadata"), Key("annotations"), Key(LAST_APPLIED)), Embedded(Root.OBJECT, UNREADABLE)),
        ((Key("x"),), HIDE),
    )
    text = json.dumps({"x": "Zq7"})
    for _ in range(EMBEDDED_LIMIT + 2):
        text = json.dumps({"x": "Zq7", "metadata": {"annotations": {LAST_APPLIED: text}}})
    after = mask_document(json.loads(text), always(one), VALUES, {})
    assert "Zq7" not in json.dumps(after)
    assert "<unreadable>" in json.dumps(named(after))


def test_commands_are_masked_as_one() -> None:
    one = plan(((Key("args"),), Arguments("team/arg")))
    assert masked({"args": ["--password", "x", "a token=y"]}, one) == {
        "args": ["--password", "<arg>", "a token=<named-secret>"]
    }
    assert masked({"args": ["--password", ["a token=y"]]}, one) == {"args": ["--password", ["a token=<named-secret>"]]}
    assert masked({"args": "a token=y"}, one) == {"args": "a token=<named-secret>"}


def test_managed_fields_that_repeat_values_are_forgotten() -> None:
    one = plan(((Key("f:x"),), Forget("team/it")))
    assert masked({"f:x": {'v:"secret"': {}}, "f:y": {'v:"a"': {}}}, one) == {"f:x": {}, "f:y": {'v:"a"': {}}}


@pytest.mark.parametrize(
    "key",
    [
        'v:"a token=x"',
        r'v:"one\ntoken: x"',
        'k:{"name":"a","url":"https://u:hunter2@db/"}',
        "k:token=x, no JSON",
    ],
)
def test_managed_fields_are_forgotten_whose_keys_hold_what_is_found_in_texts(key: str) -> None:
    one = plan(((Key("f:x"), Anywhere()), Forget("team/it", texts=True)))
    counts: dict[str, int] = {}
    document = {"f:x": {"f:y": {key: {}, ".": {}}, "f:z": {'v:"plain"': {}, 'k:{"port":1}': {}}}}
    assert mask_document(document, always(one), VALUES, counts) == {"f:x": {"f:y": {}, "f:z": document["f:x"]["f:z"]}}
    assert list(counts)
    assert "team/it" not in counts


def test_what_was_masked_is_counted_by_rule() -> None:
    counts: dict[str, int] = {"team/it": 1}
    document = {"x": {"a": "1", "b": [2, None]}, "y": "a token=1 password=2"}
    mask_document(document, always(plan(((Key("x"),), HIDE), ((Key("y"),), Scan()))), VALUES, counts)
    assert counts == {"team/it": 3, "narrowgate/named-secret": 2}


def test_a_status_is_masked_as_one_and_so_is_one_in_a_watch() -> None:
    one = plan(((Key("message"),), Scan(Prose.STATUS)), root=Root.STATUS)
    status = {"kind": "Status", "apiVersion": "v1", "message": "a token=x"}
    left = status | {"message": "a token=<named-secret>"}
    assert masked(status, one) == left
    assert masked({"type": "ERROR", "object": status}, one) == {"type": "ERROR", "object": left}


def test_a_table_is_masked_by_columns_and_in_its_objects() -> None:
    compiled = compile_plan([Entry(Root.CELL, (Key("Password"),), HIDE), Entry(Root.OBJECT, (Key("x"),), HIDE)])
    assert compiled is not None
    table = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": [{"name": "Name"}, {"name": "Password"}, {"odd": 1}],
        "rows": [{"cells": ["a", "b", "c", "d"], "object": {"x": 1}}, {"cells": ["a", "b"], "object": None}, {}],
    }
    assert masked(table, compiled)["rows"] == [
        {"cells": ["a", "<it>", "c", "d"], "object": {"x": "<it>"}}, {"cells": ["a", "<it>"], "object": None}, {},
    ]  # fmt: skip


def test_each_item_of_a_list_is_masked_by_what_holds_where_it_is() -> None:
    one = plan(((Key("x"),), HIDE))
    items: list[Any] = [
        {"metadata": {"namespace": "masked", "name": "a"}, "x": 1},
        {"metadata": {"namespace": "other", "name": "a"}, "x": 1},
        {"metadata": {"namespace": 7}, "x": 1},
        {"x": 1},
        "odd",
    ]
    where: list[tuple[str | None, str | None]] = []

    def plan_of(namespace: str | None, name: str | None) -> Plan | None:
        where.append((namespace, name))
        return one if namespace in ("masked", None) else None

    after = mask_document({"kind": "ThingList", "items": items}, plan_of, VALUES, {})
    assert [named(item)["x"] if isinstance(item, dict) else item for item in after["items"]] == [
        "<it>",
        1,
        "<it>",
        "<it>",
        "odd",
    ]
    assert where == [("masked", "a"), ("other", "a"), (None, ""), (None, None), (None, None)]


@pytest.mark.parametrize("document", ["text", 1, None, [{}]])
def test_what_is_no_object_is_refused(document: Any) -> None:
    with pytest.raises(Malformed, match="not a JSON object"):
        mask_document(document, always(None), VALUES, {})


@pytest.mark.parametrize("odd", [b"bytes", {1, 2}, 1j])
def test_what_json_does_not_have_is_refused(odd: Any) -> None:
    for action in (HIDE, TEXT, Scan()):
        with pytest.raises(Malformed, match="nothing that JSON has"):
            mask_document({"x": odd}, always(plan(((Key("x"),), action))), VALUES, {})


def test_a_known_value_is_masked_as_a_key_of_json_in_a_text_and_in_base64() -> None:
    value = b"Zq7Xk29LmPw4"
    masker = ObjectMasker(
        plan(((Key("note"),), Embedded(Root.ANYTHING)), ((Key("bytes"),), Scan()), ((Key("bytes"),), Encoded())),
        VALUES,
        {},
        KnownValues([Known(value, value)]),
    )
    for key, text in (
        ("note", '{"Zq7Xk29LmPw4": 1}'),
        ("note", "see Zq7Xk29LmPw4"),
        ("bytes", base64.b64encode(b"\xff\xfe" + value + b"\n").decode()),
    ):
        root = masker.plan.objects
        assert root is not None
        shown = masker.mask({key: text}, root)[key]
        plain = base64.b64decode(shown) if key == "bytes" else shown.encode()
        assert value not in plain
        assert b"[masked:narrowgate/known-value:" in plain
        assert masker.mask({key: shown}, root)[key] == shown
