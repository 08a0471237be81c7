from __future__ import annotations

import json

import pytest

from narrowgate.core.documents import CONTAINERS_LIMIT, DEPTH_LIMIT, YAML_LIMIT, parse_json, parse_yaml
from narrowgate.core.malformed import Malformed


@pytest.mark.parametrize(
    "body",
    [b'{"a":1}', b'{"a":1}\n', b' { "a" : 1 } ', b'{"a":1,"b":{"a":1}}', b'{"a":"\\u003c"}', b"[]", b"1.0"],
)
def test_json_is_read_as_json(body: bytes):
    assert parse_json(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"a":1,"a":1}', 'the key "a" twice'),
        (b'{"a":1,"\\u0061":2}', 'the key "a" twice'),
        (b'{"x":[{"a":{"b":1,"b":2}}]}', 'the key "b" twice'),
        (b'{"a":100000.0,"b":1,"b":1e5}', 'the key "b" twice'),
        (b'{"a":1} {"a":2}', "not valid JSON"),
        (b'{"a":1}x', "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":Infinity}', "not valid JSON"),
        (b'{"a":1e400}', "not valid JSON"),
        (b'{"a":01}', "not valid JSON"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        ('{"a":1}'.encode("utf-16"), "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"", "not valid JSON"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(body: bytes, problem: str):
    with pytest.raises(Malformed, match=problem) as caught:
        parse_json(body)
    assert caught.value.code == 400


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_has_an_end(opening: bytes, closing: bytes):
    assert parse_json(opening * DEPTH_LIMIT + b"1" + closing * DEPTH_LIMIT)
    for depth in (DEPTH_LIMIT + 1, 1000, 100_000):
        with pytest.raises(Malformed):
            parse_json(opening * depth + b"1" + closing * depth)


def test_a_wide_document_is_not_a_deep_one():
    assert len(parse_json(b"[" + b",".join([b"{}"] * 1000) + b"]")) == 1000


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ('{"a": [1, "x"]}', {"a": [1, "x"]}),
        ("a: 1\nb: [x, 'y', \"z\"]\nc:\n- d: ~\n", {"a": 1, "b": ["x", "y", "z"], "c": [{"d": None}]}),
        ("a: true\nb: False\nc: 1.5\nd: 1e3\ne: -2\nf: 100m\ng: 10.0.0.1\nh: 2026-01-01\n",
         {"a": True, "b": False, "c": 1.5, "d": 1000.0, "e": -2, "f": "100m", "g": "10.0.0.1", "h": "2026-01-01"}),
        ("8080: x\n", {"8080": "x"}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("# a comment\n---\na: 'yes'\n", {"a": "yes"}),
    ],
)  # fmt: skip
def test_plain_yaml_is_read_as_yaml(body: str, value: object):
    assert parse_yaml(body.encode()) == value


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("a: &x 1\nb: *x\n", "anchor"),
        ("b: *x\n", "alias"),
        ("a: !!python/object:os.system x\n", "tag"),
        ("a: !!str 1\n", "tag"),
        ("a: 1\na: 2\n", "twice"),
        ("a: 1\n'a': 2\n", "twice"),
        ('{"a": 1, "a": 2}', "twice"),
        ("a: 1\n---\nb: 2\n", "2 YAML documents"),
        ("", "0 YAML documents"),
        ("<<: {a: 1}\n", "YAML key"),
        ("true: 1\n", "YAML key"),
        ("~: 1\n", "YAML key"),
        ("? [a]\n: 1\n", "twice|YAML key"),
        ("a: yes\n", "not the same to every reader"),
        ("a: On\n", "not the same to every reader"),
        ("a: y\n", "not the same to every reader"),
        ("a: 0x1f\n", "not the same to every reader"),
        ("a: 0o17\n", "not the same to every reader"),
        ("a: 017\n", "not the same to every reader"),
        ("a: 1_000\n", "not the same to every reader"),
        ("a: +1\n", "not the same to every reader"),
        ("a: .5\n", "not the same to every reader"),
        ("a: 1e400\n", "larger than numbers can be"),
        ("a: .inf\n", "not the same to every reader"),
        ("a: [1\n", "not valid YAML at line"),
        ("a: \x01\n", "not valid YAML"),
        ('{"a": "x\u2028y"}', "line breaks"),
        ('{"a": "x\u0085y"}', "line breaks"),
        ("[" * (DEPTH_LIMIT + 2), "nested deeper"),
    ],
)
def test_yaml_with_a_meaning_of_its_own_is_refused(body: str, problem: str):
    with pytest.raises(Malformed, match=problem) as caught:
        parse_yaml(body.encode())
    assert caught.value.code == 400


def test_a_document_of_more_parts_than_can_be_judged_is_refused():
    assert len(parse_json(b"[" + b",".join([b"[]"] * CONTAINERS_LIMIT) + b"]")) == CONTAINERS_LIMIT
    assert len(parse_json(b"[" + b",".join([b"1"] * (CONTAINERS_LIMIT + 1)) + b"]")) == CONTAINERS_LIMIT + 1
    with pytest.raises(Malformed) as caught:
        parse_json(b"[" + b",".join([b"[]"] * (CONTAINERS_LIMIT + 1)) + b"]")
    assert caught.value.code == 413


def test_yaml_that_is_not_utf8_is_refused():
    with pytest.raises(Malformed, match="not UTF-8"):
        parse_yaml("a: ü".encode("latin-1"))


def test_long_yaml_is_refused_and_json_of_the_same_length_is_not():
    text = "x" * YAML_LIMIT
    with pytest.raises(Malformed) as caught:
        parse_yaml(f"a: {text}\n".encode())
    assert caught.value.code == 413
    assert parse_yaml(f'{{"a":"{text}"}}'.encode()) == {"a": text}
