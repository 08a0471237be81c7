"""Conditions: what they see, what they are refused for, and that no object can hurt."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from narrowgate.core.conditions import (
    MAX_CONDITION_CHARS,
    MAX_DEPTH,
    MAX_VALUES,
    MAX_WORK,
    SMALL_BYTES,
    Condition,
    ConditionInvalid,
    Facts,
    ObjectNeeds,
    Undecided,
    awkward,
    compile_condition,
)

REQUEST = {
    "request.verb": "create",
    "request.operation": "CREATE",
    "request.kind.group": "apps",
    "request.kind.version": "v1",
    "request.kind.kind": "Deployment",
    "request.resource.group": "apps",
    "request.resource.version": "v1",
    "request.resource.resource": "deployments",
    "request.subResource": "",
    "request.name": "web",
    "request.namespace": "ci",
    "request.userInfo.username": "ci",
    "request.userInfo.groups": ["builders"],
    "request.userInfo.extra": {"narrowgate.dev/kind": ["Agent"]},
}


def holds(text: str, body: Any = None, old: Any = None) -> bool | Undecided:
    return compile_condition(text).holds(Facts(REQUEST, body, old))


@pytest.mark.parametrize(
    ("text", "body", "expected"),
    [
        ("object.spec.replicas > 2", {"spec": {"replicas": 3}}, True),
        ("object.spec.replicas > 2", {"spec": {"replicas": 2}}, False),
        ("object.spec.replicas > 2.5", {"spec": {"replicas": 3}}, True),
        ("has(object.metadata.labels) && object.metadata.labels.tier == 'web'", {"metadata": {}}, False),
        (
            "has(object.metadata.labels) && object.metadata.labels.tier == 'web'",
            {"metadata": {"labels": {"tier": "web"}}},
            True,
        ),
        ("object.spec.containers.all(c, c.image.matches('^registry[.]corp/'))", {"spec": {"containers": []}}, True),
        ("object.spec.containers.exists(c, c.image == 'x')", {"spec": {"containers": [{"image": "x"}]}}, True),
        ("object.?spec.?paused.orValue(false)", {"spec": {}}, False),
        ("object.metadata.name.lowerAscii() == 'web'", {"metadata": {"name": "WEB"}}, True),
        ("object.metadata.name.split('-')[0] == 'web'", {"metadata": {"name": "web-1"}}, True),
        ("timestamp(object.t) < timestamp('2026-01-02T00:00:00Z')", {"t": "2026-01-01T00:00:00Z"}, True),
        ("object == null", None, True),
        ("oldObject == null && object != null", {}, True),
        ("request.kind.kind == 'Deployment' && request.resource.resource == 'deployments'", None, True),
        ("'builders' in request.userInfo.groups", None, True),
        ("request.userInfo.extra['narrowgate.dev/kind'] == ['Agent']", None, True),
        ("object.spec.deep || true", {}, True),
        ("// why\ntrue", None, True),
    ],
)
def test_a_condition_answers_as_in_kubernetes(text: str, body: Any, expected: bool) -> None:
    assert holds(text, body) is expected


@pytest.mark.parametrize(
    ("text", "body", "why"),
    [
        ("object.spec.replicas > 2", {}, "spec"),
        ("object.spec.replicas > 2", None, ""),
        ("object.flag", {"flag": "true"}, "true"),
        ("object.flag", {"flag": 1}, "1"),
        ("object.flag", {"flag": None}, ""),
        ("object.items.all(i, i > 0)", {"items": list(range(1, 20_000))}, "budget"),
        ("object.number == 1", {"number": 2**80}, "out of range"),
        ("object.text == 'x'", {"text": "\ud800"}, ""),
        ("timestamp(object.t) < timestamp('2026-01-02T00:00:00Z')", {"t": "yesterday"}, ""),
        ("object.spec['?'] == 1", {"spec": [1]}, ""),
    ],
)
def test_an_error_is_neither_true_nor_false(text: str, body: Any, why: str) -> None:
    answer = holds(text, body)
    assert isinstance(answer, Undecided)
    assert why in answer.why
    assert answer.why.strip()
    assert "\n" not in answer.why


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("object.spec ==", "syntax error: it ends before it is complete", 0),
        ("true &&\n  reqest.name == 'x'", 'unknown name "reqest.name"', 1),
        ("request.nmae == 'x'", 'unknown name "request.nmae": known are request.verb', 0),
        ("request == null", 'unknown name "request": name one of its fields', 0),
        ("request.dryRun", "a dry run is judged as the real thing", 0),
        ("has(request.name)", "instead of has()", 0),
        ("quantity(object.x) == quantity('1Gi')", "quantity library is not there", 0),
        ("request.name == 1", "found no matching overload", 0),
        ("request.userInfo.groups", "a condition answers true or false, this one is of type", 0),
        ("'true'", "a condition answers true or false", 0),
        ("", "the condition is empty", 0),
        (" \n ", "the condition is empty", 0),
        ("true || " * MAX_CONDITION_CHARS + "true", "at most", 0),
        ("(" * 2000 + "true" + ")" * 2000, "", 0),
    ],
)
def test_what_is_no_condition_is_refused_when_it_is_loaded(text: str, message: str, line: int) -> None:
    with pytest.raises(ConditionInvalid) as caught:
        compile_condition(text)
    assert message in caught.value.message
    assert caught.value.line == line
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("true", ObjectNeeds(False, False)),
        ("request.name == 'object'", ObjectNeeds(False, False)),
        ("has(object.spec)", ObjectNeeds(True, False)),
        ("oldObject.spec.x == 1", ObjectNeeds(False, True)),
        ("object.spec == oldObject.spec", ObjectNeeds(True, True)),
        ("['a'].exists(object, object == request.name)", ObjectNeeds(False, False)),
        ("['a'].exists(a, a == object.metadata.name)", ObjectNeeds(True, False)),
    ],
)
def test_a_condition_needs_the_objects_it_names(text: str, needs: ObjectNeeds) -> None:
    assert compile_condition(text).needs == needs


def test_an_object_that_is_lacking_leaves_undecided_only_what_looks_at_it() -> None:
    facts = Facts(REQUEST, {"a": 1}, None, "it came as protobuf", "it was not fetched")
    assert compile_condition("object == null || true").holds(facts) == Undecided("it came as protobuf")
    assert compile_condition("oldObject == null").holds(facts) == Undecided("it was not fetched")
    assert compile_condition("request.name == 'web'").holds(facts) is True


def nested(depth: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for _ in range(depth):
        body = {"a": body}
    return body


class TestBounds:
    LOOKS: Condition = compile_condition("has(object.a) || true")

    @pytest.mark.parametrize(
        "body",
        [
            nested(MAX_DEPTH),
            nested(50_000),
            {"a": [[]] * (MAX_VALUES + 1)},
            {"a": b"bytes"},
            {"a": {1: "one"}},
            {"a": {"b": {1, 2}}},
            {"a": object()},
            {"text": "x" * 1_000_000, "list": [0] * 1000},
        ],
        ids=["deep", "very deep", "many", "bytes", "keys", "set", "object", "long and large"],
    )
    def test_an_awkward_object_is_not_looked_at(self, body: Any) -> None:
        assert awkward(body)
        assert isinstance(self.LOOKS.holds(Facts(REQUEST, body)), Undecided)
        assert isinstance(self.LOOKS.holds(Facts(REQUEST, {}, body)), bool)

    @pytest.mark.parametrize(
        "body",
        [
            None,
            {},
            nested(MAX_DEPTH - 2),
            {"data": {"blob": "x" * 1_400_000}},
            {"items": [{"n": n, "f": 0.5, "b": True, "z": None} for n in range(5_000)]},
        ],
        ids=["none", "empty", "as deep as may be", "one large text", "a long list"],
    )
    def test_an_ordinary_object_is_looked_at(self, body: Any) -> None:
        assert awkward(body) == ""
        assert self.LOOKS.holds(Facts(REQUEST, body)) is True or body is None

    @pytest.mark.parametrize(
        "body",
        [
            {"data": {"mode": "safe\0anything"}},
            {"data": {"mode\0": "safe"}},
            {"data": [{"mode": ["safe\0"]}], "filling": "x" * SMALL_BYTES},
        ],
        ids=["a value", "a key", "in a large object"],
    )
    def test_a_text_that_the_evaluator_would_see_the_beginning_of_is_not_looked_at(self, body: Any) -> None:
        assert "NUL" in awkward(body)
        assert isinstance(holds('has(object.data) || object.data.mode == "safe"', body), Undecided)

    def test_a_text_about_a_nul_is_an_ordinary_one(self) -> None:
        body = {"data": {"mode": "\\u0000"}}
        assert awkward(body) == ""
        assert holds('object.data.mode == "\\\\u0000"', body) is True

    def test_what_is_small_enough_not_to_be_walked_through_is_within_the_bounds(self) -> None:
        assert (SMALL_BYTES // 2) * (SMALL_BYTES // 4) <= MAX_WORK
        assert SMALL_BYTES // 2 <= MAX_VALUES
        with pytest.raises(TypeError):
            orjson.dumps(nested(MAX_DEPTH + 1))

    def test_comprehensions_in_comprehensions_come_to_an_end(self) -> None:
        body = {"l": list(range(1_000))}
        assert isinstance(holds("object.l.all(a, object.l.all(b, object.l.all(c, a + b + c >= 0)))", body), Undecided)

    def test_a_pattern_does_not_backtrack(self) -> None:
        assert holds("object.t.matches('^(a+)+$')", {"t": "a" * 50_000 + "!"}) is False
