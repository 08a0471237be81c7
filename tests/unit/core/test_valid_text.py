"""What callers bring along can always be written."""

from __future__ import annotations

import json

import orjson

from narrowgate.core.valid_text import with_valid_text


def test_lone_surrogates_are_replaced_wherever_they_are() -> None:
    odd = {"a\udc80": ["\ud800", ("x", {"y": "\udfff"})], "n": [1, 2.5, None, True]}
    made = with_valid_text(odd)
    assert json.loads(orjson.dumps(made)) == {"a?": ["?", ["x", {"y": "?"}]], "n": [1, 2.5, None, True]}


def test_ordinary_values_stay_as_they_are() -> None:
    ordinary = {"ü": ["𝔘", {"": ""}]}
    assert with_valid_text(ordinary) == ordinary
