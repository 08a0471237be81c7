"""The shorter way to say of a string that it stays says so of none that the reference would change."""

from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.core.masking.built_in import LAST_APPLIED, built_in_rules
from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.plan import Place
from narrowgate.core.masking.resource_plan import HeldMask, plan_for
from narrowgate.core.masking.secret_parts import Known

VALUES = ValueMasker(b"0" * 32)
KNOWN_SECRET = "Zq7mPx2vLw9Rt4Ys"
KNOWN = KnownValues([Known(KNOWN_SECRET.encode(), KNOWN_SECRET.encode())])
PLAN = plan_for("", "configmaps", tuple(HeldMask(rule) for rule in built_in_rules("", "configmaps")))

words = st.sampled_from(
    [
        "", " ", "\n", "\t", "\u00a0", "\u2003", "\ufeff", "\x1c", "\x00", "\\", '"', "/", "{", "[", "}", "=", ":", "ä",
        "password=", "password: ", "token", "hunter2hunter2", "name: DB_PASSWORD", "value: x", "true", "8080",
        "https://u:geheim@db/x", "Bearer abcdefghijklmnopqrstuvwxyz", "AKIAIOSFODNN7EXAMPLE", KNOWN_SECRET,
        KNOWN_SECRET[:10], "[masked:a/b:00000000]", "-----BEGIN RSA PRIVATE KEY-----", "app.kubernetes.io/name",
        '{"password":"geheim"}', '["x"]', "x" * 30, "y" * 1_000,
    ]
)  # fmt: skip
plain = st.lists(words, max_size=5).map("".join)


@st.composite
def texts(draw: st.DrawFn) -> str:
    text = draw(plain | st.text(max_size=40))
    for _ in range(draw(st.integers(0, 2))):
        text = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return text


def place(*keys: str) -> Place:
    assert PLAN is not None
    found = PLAN.objects
    for key in keys:
        assert found is not None
        found = found.child(key)
    assert found is not None
    return found


PLACES = {
    "value": place("data", "a"),
    "named like a secret": place("data", "password"),
    "encoded": place("binaryData", "a"),
    "annotation": place("metadata", "annotations", "a"),
    "copy": place("metadata", "annotations", LAST_APPLIED),
    "message": place("status", "message"),
}


def written(text: str) -> list[bytes]:
    """How a server may write it."""
    found = [json.dumps(text).encode(), json.dumps(text).replace("/", "\\/").encode()]
    return [*found, json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")]


@pytest.mark.parametrize("known", [NOTHING_KNOWN, KNOWN], ids=["nothing known", "known values"])
@settings(max_examples=400, deadline=None)
@given(text=texts(), where=st.sampled_from(sorted(PLACES)))
def test_a_string_that_is_said_to_stay_stays(known: KnownValues, text: str, where: str) -> None:
    assert PLAN is not None
    masker = ObjectMasker(PLAN, VALUES, {}, known)
    for one in written(text):
        if masker.leaves(one, PLACES[where]):
            value: Any = orjson.loads(one)
            assert masker.mask(value, PLACES[where]) is value
            assert not masker.counts


@pytest.mark.parametrize("text", ["true", "8080", "http://web.team.svc:8080/v1", "app.kubernetes.io/name", "ff" * 31])
def test_it_says_so_of_the_usual_ones(text: str) -> None:
    assert PLAN is not None
    masker = ObjectMasker(PLAN, VALUES, {}, KNOWN)
    assert masker.leaves(json.dumps(text).encode(), PLACES["value"])
    assert masker.leaves(json.dumps(text).encode(), PLACES["annotation"])


@pytest.mark.parametrize("where", ["named like a secret", "encoded", "copy"])
def test_it_says_so_of_none_where_more_is_hidden_than_what_is_found_in_text(where: str) -> None:
    assert PLAN is not None
    assert not ObjectMasker(PLAN, VALUES, {}).leaves(b'"true"', PLACES[where])
