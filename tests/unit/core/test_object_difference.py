"""What a write would change, in lines: each change is there, nothing else is, and no value of a Secret."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from narrowgate.core.object_difference import LAST_APPLIED, MAX_TEXT, difference

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "labels": {"app": "web"},
        "annotations": {LAST_APPLIED: '{"spec":{"replicas":2}}'},
        "managedFields": [{"manager": "kubectl"}],
        "resourceVersion": "1",
    },
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {"name": "web", "image": "nginx:1.26", "args": ["-a", "-b", "-c"]},
                    {"name": "log", "image": "vector:1"},
                ]
            }
        },
    },
    "status": {"replicas": 2},
}
CONTAINERS = "spec.template.spec.containers"


def changed(**fields: Any) -> dict[str, Any]:
    """The deployment with other fields, by paths like `spec__replicas`."""
    made = copy.deepcopy(DEPLOYMENT)
    for path, value in fields.items():
        *above, last = path.split("__")
        place: Any = made
        for name in above:
            place = place[int(name)] if isinstance(place, list) else place[name]
        place[last] = value
    return made


def lines(new: Any, old: Any = DEPLOYMENT, **options: bool) -> list[str]:
    return list(difference(old, new, **options))


def test_nothing_that_changes_nothing_is_told() -> None:
    assert lines(copy.deepcopy(DEPLOYMENT)) == []


def test_a_value_is_told_as_it_is_and_as_it_would_be() -> None:
    assert lines(changed(spec__replicas=5)) == ["- spec.replicas: 2", "+ spec.replicas: 5"]


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (1, 1.0), ("1", 1), (None, ""), ({}, []), ("", {})])
def test_values_that_only_python_takes_for_the_same_are_told_apart(old: Any, new: Any) -> None:
    assert len(lines({"a": new}, {"a": old})) == 2


def test_items_with_names_are_told_by_them() -> None:
    new = changed(spec__template__spec__containers__0__image="nginx:1.27")
    assert lines(new) == [f'- {CONTAINERS}[web].image: "nginx:1.26"', f'+ {CONTAINERS}[web].image: "nginx:1.27"']
    more = changed()
    more["spec"]["template"]["spec"]["containers"].insert(0, {"name": "miner", "image": "x"})
    assert lines(more) == [f'+ {CONTAINERS}[miner].name: "miner"', f'+ {CONTAINERS}[miner].image: "x"']
    fewer = changed()
    del fewer["spec"]["template"]["spec"]["containers"][1]
    assert lines(fewer) == [f'- {CONTAINERS}[log].name: "log"', f'- {CONTAINERS}[log].image: "vector:1"']


def test_another_order_is_a_change() -> None:
    new = changed()
    new["spec"]["template"]["spec"]["containers"].reverse()
    assert lines(new) == [f"~ {CONTAINERS}: in another order"]


def test_items_without_names_are_told_by_what_is_in_them() -> None:
    new = changed(spec__template__spec__containers__0__args=["-a", "-x", "-b", "-c"])
    assert lines(new) == [f'+ {CONTAINERS}[web].args[1]: "-x"']
    gone = changed(spec__template__spec__containers__0__args=["-b", "-d"])
    assert lines(gone) == [
        f'- {CONTAINERS}[web].args[0]: "-a"',
        f'- {CONTAINERS}[web].args[2]: "-c"',
        f'+ {CONTAINERS}[web].args[1]: "-d"',
    ]


@pytest.mark.parametrize("twice", ["name", "port"])
def test_names_that_are_there_twice_are_no_names(twice: str) -> None:
    old = {"items": [{twice: "a", "v": 1}, {twice: "a", "v": 2}]}
    new = {"items": [{twice: "a", "v": 1}, {twice: "a", "v": 3}]}
    assert lines(new, old) == ["- items[1].v: 2", "+ items[1].v: 3"]


def test_long_lists_are_compared_place_by_place_and_no_change_is_lost() -> None:
    old = {"a": [str(number) for number in range(3000)]}
    new = {"a": [*old["a"][:1500], "x", *old["a"][1501:], "y"]}
    assert lines(new, old) == ['- a[1500]: "1500"', '+ a[1500]: "x"', '+ a[3000]: "y"']
    # Where all but a few are the same, they are found however long the lists are.
    more = {"a": [*old["a"][:1500], "x", *old["a"][1500:]]}
    assert lines(more, old) == ['+ a[1500]: "x"']


def test_what_takes_long_to_match_is_compared_place_by_place_instead() -> None:
    # Each of these takes a tenth of a second to match, and a thousand of them would take minutes.
    old = {f"a{number}": "\n".join(["x"] + ["a", "b"] * 99 + ["y"]) for number in range(1000)}
    new = {f"a{number}": "\n".join(["u"] + ["a"] * 198 + ["v"]) for number in range(1000)}
    found = lines(new, old)
    assert found[-1] == "+ a999 line 200: v"
    assert len(found) > 100_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("abcdef", "abXcdef"),
        ("abcdef", "abef"),
        ("aaaa", "aaa"),
        ("abcabc", "abc"),
        ("", "abc"),
        ("abc", ""),
        ("ab", "ba"),
    ],
)
def test_whatever_is_told_makes_the_one_of_the_other(old: str, new: str) -> None:
    gone, come = [], []
    for line in lines({"a": list(new)}, {"a": list(old)}):
        (gone if line.startswith("-") else come).append(line[-2])
    left = list(old)
    for letter in gone:
        if letter in left:
            left.remove(letter)
    assert sorted(left + [one for one in come if one.isalpha()]) == sorted(new)


def test_what_the_server_keeps_for_itself_is_left_out_and_the_copy_of_kubectl_is_one_line() -> None:
    new = changed(metadata__managedFields=[], metadata__resourceVersion="2", metadata__generation=3)
    assert lines(new) == []
    new["metadata"]["annotations"][LAST_APPLIED] = '{"spec":{"replicas":5}}'
    (line,) = lines(new)
    assert (LAST_APPLIED in line, "replicas" in line) == (True, False)


def test_labels_come_after_everything_else_and_hide_nothing() -> None:
    labels = {f"a{number}": "x" for number in range(500)}
    new = changed(spec__replicas=5, metadata__labels=labels)
    assert lines(new)[:2] == ["- spec.replicas: 2", "+ spec.replicas: 5"]
    assert '+ metadata.labels.a7: "x"' in lines(new)


def test_a_status_that_a_write_brings_along_is_said_and_shown_where_it_is_what_is_written() -> None:
    new = changed(status__replicas=9)
    assert lines(new) == ["~ status: it would be another one, too (not shown)"]
    assert lines(new, status=True) == ["- status.replicas: 2", "+ status.replicas: 9"]


def test_of_a_text_the_lines_that_differ_are_told() -> None:
    old = {"data": {"app.conf": "a=1\nb=2\nc=3"}}
    new = {"data": {"app.conf": "a=1\nb=evil\nc=3\nd=4"}}
    assert lines(new, old) == [
        '- data["app.conf"] line 2: b=2',
        '+ data["app.conf"] line 2: b=evil',
        '+ data["app.conf"] line 4: d=4',
    ]


def test_of_long_values_that_begin_alike_the_difference_is_in_sight() -> None:
    old, new = {"a": "x" * 5000 + "good" + "y" * 500}, {"a": "x" * 5000 + "evil" + "y" * 500}
    shown = lines(new, old)
    assert ("good" in shown[0], "evil" in shown[1]) == (True, True)
    assert all(len(line) < MAX_TEXT + 60 for line in shown)
    assert "(5506 characters)" in shown[1]
    cut = lines({"a": "x" * 5000 + "tail"}, {"a": "x" * 5000})
    assert "tail" in cut[1]


SECRET: dict[str, Any] = {
    "kind": "Secret",
    "metadata": {"labels": {"a": "hush1"}, "annotations": {LAST_APPLIED: "hush2", "n": "hush3"}},
    "data": {"password": "hush4", "gone": "hush5", "same": "hush6"},
}


def test_of_a_secret_names_alone_are_told() -> None:
    new = {
        "kind": "Secret",
        "metadata": {"labels": {"a": "hush7"}, "annotations": {LAST_APPLIED: "hush8", "n": "hush9"}},
        "data": {"password": "hush\nA", "same": "hush6", "token": "hush\nB"},
        "stringData": {"more": "hushC"},
        "type": {"odd": ["hushD", {"x": "hushE"}]},
    }
    shown = lines(new, SECRET, values=False)
    assert "hush" not in " ".join(shown)
    assert {
        "~ data.password: changed",
        "- data.gone: removed",
        "+ data.token: added",
        "~ metadata.labels.a: changed",
    } <= {*shown}
    assert not any("same" in line for line in shown)


def test_objects_that_are_none_break_nothing() -> None:
    assert lines({"a": 1}, None) == ["- : null", "+ a: 1"]
    assert lines({"metadata": "x", "status": 1}, {"metadata": []}) == [
        "~ status: it would be another one, too (not shown)"
    ]
    deep: Any = 1
    for _ in range(3000):
        deep = {"a": deep}
    assert lines({"a": deep}, {"a": 1})[-1] == "~ it is nested deeper than can be compared"


def test_no_length_of_a_name_hides_what_it_is_set_to() -> None:
    (line,) = lines({"data": {"k" * 5000 + ".end": "evil"}}, {"data": {}})
    assert ("evil" in line, ".end" in line, len(line) < 300) == (True, True, True)
