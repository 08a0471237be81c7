"""YAML as typed values: where things stand, and what is taken for what."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from narrowgate.config.document import LARGEST_FILE, Document, read_bytes, suggestion
from narrowgate.config.errors import ConfigError

TEXT = """\
a: 1
rows:
  - {b: two}
  -
    b: 2026-01-01
"""


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    b: str


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    a: int
    rows: list[Inner] = []


def test_every_value_has_its_line() -> None:
    document = Document(TEXT, "f.yaml")
    assert document.place(()) == "f.yaml:1"
    assert document.place(("a",)) == "f.yaml:1: a"
    assert document.place(("rows", 0, "b")) == "f.yaml:3: rows[0].b"
    assert document.place(("rows", 1, "b")) == "f.yaml:5: rows[1].b"


def test_what_is_missing_is_placed_where_it_should_be() -> None:
    assert Document(TEXT, "f.yaml").place(("rows", 1, "gone", "deeper")) == "f.yaml:5: rows[1].gone.deeper"


def test_a_date_stays_the_text_that_was_written() -> None:
    assert Document(TEXT, "f.yaml").as_shape(Shape) == Shape(1, [Inner("two"), Inner("2026-01-01")])


def test_unknown_keys_pass_only_where_the_shape_lets_them() -> None:
    class Open(msgspec.Struct):
        a: int

    assert Document(TEXT, "f.yaml").as_shape(Open) == Open(1)
    with pytest.raises(ConfigError, match=r"^f\.yaml:2: c: unknown key; known here: a, rows$"):
        Document("a: 1\nc: 2\n", "f.yaml").as_shape(Shape)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("Listen", ', did you mean "listen"?'),
        ("lisen", ', did you mean "listen"?'),
        ("zz", "; known here: listen, tls"),
    ],
)
def test_a_suggestion_is_the_nearest_word_or_all_of_them(word: str, says: str) -> None:
    assert suggestion(word, ["listen", "tls"]) == says


def test_a_device_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match=f"larger than {LARGEST_FILE} bytes"):
        read_bytes(Path("/dev/zero"), "the file")


def test_a_complaint_shows_control_characters_by_their_names() -> None:
    assert str(ConfigError("a\x1b[2Jb\nc")) == "a\\x1b[2Jb\\nc"
