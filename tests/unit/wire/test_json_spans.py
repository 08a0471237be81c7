"""Where values stand in a container's bytes."""

from __future__ import annotations

import pytest

from narrowgate.wire.json_spans import Unreadable, elements_begun, elements_of, members_of, spliced, values_of


def test_members_are_found_whatever_stands_between_them() -> None:
    text = b' { "a" : [1, {"b":2}] ,\n"c\\u0064":"}\\"" , "e":null,"f":-1.5e3}'
    found = {key: text[slice(*span)] for key, span in members_of(text).items()}
    assert found == {"a": b'[1, {"b":2}]', "cd": b'"}\\""', "e": b"null", "f": b"-1.5e3"}


def test_a_key_that_stands_twice_is_refused_however_it_is_spelled() -> None:
    with pytest.raises(Unreadable, match="twice"):
        members_of(b'{"a":1,"\\u0061":2}')


def test_elements_are_found_and_those_that_have_not_come_whole_are_not() -> None:
    text = b'[1, "a,]", {"x":[1]}, [] ]'
    assert [text[slice(*span)] for span in elements_of(text)] == [b"1", b'"a,]"', b'{"x":[1]}', b"[]"]
    assert [end for _, end in elements_begun(b'[{"a":1},{"b":"},{')] == [8]
    assert elements_of(b"[]") == []


def test_splicing_leaves_everything_else_as_it_is() -> None:
    assert spliced(b"{ 12 , 3 }", [((2, 4), b"yyy"), ((7, 8), b"x")]) == b"{ yyy , x }"
    assert spliced(b"same", []) == b"same"


@pytest.mark.parametrize(
    "container", [b"{}", b'{"a":1}', b'{"a":{"b":[1]},"\xc3\xa9":"x"}', b' { "a" : 1 ,\n"\\u0062" : "," } ']
)
def test_values_are_those_of_the_members_wherever_they_stand(container: bytes) -> None:
    spans = members_of(container.strip())
    values = {key: bytes(value) for key, value in values_of(container.strip()).items()}
    assert values == {key: container.strip()[slice(*span)] for key, span in spans.items()}


@pytest.mark.parametrize(
    "container", [b"[]", b"null", b'{"a":1', b'{"a":1,"a":2}', b'{"a":1,"\\u0061":1}', b'"a"', b""]
)
def test_values_of_what_is_no_object_or_says_something_twice_are_refused(container: bytes) -> None:
    with pytest.raises(Unreadable):
        values_of(container)
