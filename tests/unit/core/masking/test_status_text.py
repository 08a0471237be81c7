from __future__ import annotations

import time

import pytest

from narrowgate.core.masking.plan import Entry, Every, Hide, Key, Place, Root, Scan, SecretlyNamed, compile_plan
from narrowgate.core.masking.status_text import mask_repeated_values

PLAN = compile_plan(
    [
        Entry(Root.OBJECT, (Key("spec"), Key("env"), Every(), SecretlyNamed(), Key("value")), Hide("a/b")),
        Entry(Root.OBJECT, (Key("data"),), Hide("a/b")),
        Entry(Root.OBJECT, (Key("text"),), Scan()),
    ]
)


def masked(message: str, objects: Place | None = PLAN.objects if PLAN else None) -> str:
    return mask_repeated_values(message, objects, lambda _: "<hidden>")


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (
            'Pod "x" is invalid: spec.env[0].value: Invalid value: "hun\\"ter": too long',
            'Pod "x" is invalid: spec.env[0].value: Invalid value: "<hidden>": too long',
        ),
        (
            '[data[a.b]: Unsupported value: "x": supported values: "y"]',
            '[data[a.b]: Unsupported value: "<hidden>": supported values: "y"]',
        ),
        ('metadata.name: Invalid value: "Foo": no', 'metadata.name: Invalid value: "Foo": no'),
        (
            'metadata.name: Invalid value: "F": a, data[k]: Duplicate value: "x"',
            'metadata.name: Invalid value: "F": a, data[k]: Duplicate value: "<hidden>"',
        ),
        ('Invalid value: "x": no path', 'Invalid value: "<hidden>": no path'),
        ("data[k]: Invalid value: 4711: no", "data[k]: Invalid value: <hidden>: no"),
        ("spec: Invalid value: {a: b}: no, and more", "spec: Invalid value: <hidden>"),
        ("spec.replicas: Invalid value: -1: no", "spec.replicas: Invalid value: -1: no"),
        ('text: Invalid value: "scanned elsewhere": no', 'text: Invalid value: "scanned elsewhere": no'),
        ("spec: Forbidden: no\ncore.PodSpec{A: 1}", "spec: Forbidden: no\n<hidden>"),
        ('patch {"a":"b"} failed', "patch <hidden>"),
        (
            # As Kubernetes 1.36 says it, shortened.
            'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.tolerations`'
            '\n@@ -14,6 +14,11 @@\n   "Env": [\n+    {\n      "Value": "hunter2"\n',
            'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.tolerations`'
            "\n<hidden>",
        ),
        (
            r'patch: Invalid value: "{\"data\":{\"a\":\"aHVudGVyMg==\"}}": json: cannot unmarshal number',
            'patch: Invalid value: "<hidden>": json: cannot unmarshal number',
        ),
        ("expected string, got &value.valueUnstructured{Value:5}", "expected string, got &<hidden>"),
        ('metadata.labels: Invalid value: "' + "x" * 300 + '": no', 'metadata.labels: Invalid value: "<hidden>": no'),
        ('secrets "db" not found', 'secrets "db" not found'),
        ("data[k]: Invalid value: ", "data[k]: Invalid value: "),
    ],
)  # fmt: skip
def test_values_of_masked_fields_are_hidden_where_a_refusal_repeats_them(message: str, left: str) -> None:
    assert masked(message) == left


def test_a_message_about_nothing_that_is_masked_stays() -> None:
    message = 'data: Invalid value: "x", core.PodSpec{A: 1}'
    assert masked(message, None) == message


def test_a_message_of_any_length_is_read_once() -> None:
    message = "a" * 200_000 + ': Invalid value: "x", ' + "b.C" * 60_000
    assert "<hidden>" not in masked(message)


@pytest.mark.parametrize("part", ["a: Invalid value: ", 'a: Invalid value: "', "Forbidden:", "map[", "\n ", "x.Y"])
def test_a_message_made_to_be_read_for_ever_ends_within_seconds(part: str) -> None:
    message = part * (400_000 // len(part))
    began = time.process_time()
    masked(message)
    assert time.process_time() - began < 5


def test_a_path_without_end_is_one_that_is_masked() -> None:
    path = "spec.env" + "[0]" * 200 + ".value"
    assert masked(f'{path}: Invalid value: "x"') == f'{path}: Invalid value: "<hidden>"'
