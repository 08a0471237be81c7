from __future__ import annotations

import pytest

from narrowgate.core.masking.field_paths import FieldPathInvalid, parse_field_path
from narrowgate.core.masking.plan import Anywhere, Every, Key, KeyGlob


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("data", (Key("data"),)),
        ("data.dsn", (Key("data"), Key("dsn"))),
        ("data.*password*", (Key("data"), KeyGlob("*password*"))),
        ("data.*", (Key("data"), Every())),
        ("spec.containers[*].env[*].value",
         (Key("spec"), Key("containers"), Every(), Key("env"), Every(), Key("value"))),
        ('metadata.annotations["example.com/key"]', (Key("metadata"), Key("annotations"), Key("example.com/key"))),
        (r'data["a\"b[*]"].c', (Key("data"), Key('a"b[*]'), Key("c"))),
        ("spec.**.password", (Key("spec"), Anywhere(), Key("password"))),
        ("**.password", (Anywhere(), Key("password"))),
        ("spec.matrix[*][*]", (Key("spec"), Key("matrix"), Every(), Every())),
        ("data.tls-key", (Key("data"), Key("tls-key"))),
    ],
)  # fmt: skip
def test_a_path_is_read(path: str, steps: tuple[object, ...]) -> None:
    assert parse_field_path(path) == steps


@pytest.mark.parametrize(
    ("path", "message", "suggestion"),
    [
        ("", "is empty", "data.password"),
        (".data", "does not begin with a key", "data.password"),
        ("$.data", "does not begin with a key", "data.password"),
        ("data..x", "dot with no key", "between dots"),
        ("data.", "dot with no key", "between dots"),
        ("data.[*]", "dot before a bracket", "containers"),
        ("data[*]x", "no dot before", "between dots"),
        ("data[0]", "index", "every element"),
        ("data[a.b]", "is no step", "for a key"),
        ("data[*", "is no step", "every element"),
        ('data["x', "is no step", "for a key"),
        ("data]", "no dot before", "between dots"),
        ('data."x"', "cannot be read", "quote"),
        ("data. x", "spaces", "leave them out"),
        ("data.a**b", "step of its own", "one"),
        ("data.*a*b*c*d*", "more than 4 stars", "leave some out"),
        ("*", "begins with every key", "spec"),
        ("[*].x", "begins with every key", "spec"),
        ("spec.**", "ends with", "below"),
        ("metadata", "tells objects apart", "another"),
        ("metadata.name", "tells objects apart", "another"),
        ("kind", "tells objects apart", "another"),
        ("a" * 2000, "1024 characters", "above"),
        (".".join("a" * 50), "40 steps", "above"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused_with_what_to_write(path: str, message: str, suggestion: str) -> None:
    with pytest.raises(FieldPathInvalid, match=message) as refused:
        parse_field_path(path)
    assert suggestion in refused.value.suggestion
