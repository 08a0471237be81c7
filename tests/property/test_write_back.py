"""Laws of writing back: nothing masked is stored, nothing is shown that was masked, and what was read can be sent.

Objects with a secret in every place are edited at random, as documents, as merges and as JSON patches. Whatever is
taken must be free of masked values, and its sender must not read the secret in it afterwards.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_masking import SHAPES, masked, writings

from narrowgate.core.masking.patched import (
    Lists,
    Patched,
    apply_merge,
    apply_operations,
    merge_may_show,
    operations_may_show,
)
from narrowgate.core.masking.write_back import There, first_difference, masked_values, put_back

OBJECTS = ("secret_copied", "pod", "deployment", "cron_job", "custom_resource", "config_map", "controller_revision")
SECRET = "Zq7plantedSecretOf29Characters"

Path = tuple[str | int, ...]


def places(name: str) -> tuple[str, str, There]:
    group, resource, now = SHAPES[name](SECRET)
    return group, resource, There(masked(group, resource, now), now)


def paths(document: Any, here: Path = ()) -> Iterator[Path]:
    """Every place in a document, but the whole of it."""
    below = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in below:
        yield (*here, key)
        yield from paths(value, (*here, key))


def at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


NEW_NAMES = ("LABEL", "name", "kind", "value", "plain", "annotations", "data")
NEW_VALUES = ("LABEL", "Other", SECRET, 5, None, {"name": "LABEL"}, ["--label"])

edit = st.tuples(st.sampled_from(["delete", "copy", "swap", "rename", "set"]), *[st.integers(0, 10_000)] * 3)


def edited(document: Any, edits: list[tuple[str, int, int, int]]) -> Any:
    """A copy of a document, changed at random places."""
    document = copy.deepcopy(document)
    for what, one, two, three in edits:
        known = list(paths(document))
        if not known:
            break
        source, target = known[one % len(known)], known[two % len(known)]
        parent, key = at(document, target[:-1]), target[-1]
        match what:
            case "delete":
                del parent[key]
            case "copy":
                parent[key] = copy.deepcopy(at(document, source))
            case "swap":
                mine, theirs = copy.deepcopy(at(document, source)), copy.deepcopy(parent[key])
                if source != target[: len(source)] and target != source[: len(target)]:
                    at(document, source[:-1])[source[-1]], parent[key] = theirs, mine
            case "rename" if isinstance(parent, dict):
                parent[NEW_NAMES[three % len(NEW_NAMES)]] = parent.pop(key)
            case _:
                parent[key] = copy.deepcopy(NEW_VALUES[three % len(NEW_VALUES)])
    return document


def require_lawful(sent: str, group: str, resource: str, stored: Any) -> None:
    """What is stored holds nothing masked, and its sender reads no secret in it that it did not write."""
    assert not list(masked_values(stored))
    if SECRET not in sent:
        read = orjson.dumps(masked(group, resource, stored))
        assert [writing for writing in writings(SECRET) if writing in read] == []


def is_taken(group: str, resource: str, result: There) -> bool:
    """What the gate asks before it sends anything (`proxy/write_back.py`)."""
    one, other = masked(group, resource, result.shown), masked(group, resource, result.now)
    return first_difference(one, other) is None


@pytest.mark.parametrize("name", OBJECTS)
def test_what_was_read_can_be_sent(name: str) -> None:
    group, resource, there = places(name)
    back = put_back(there.shown, there)
    assert back.left == ()
    assert back.document == there.now
    assert is_taken(group, resource, There(there.shown, back.document))


@pytest.mark.parametrize("name", OBJECTS)
@given(edits=st.lists(edit, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_an_update_stores_and_shows_nothing_that_it_must_not(name: str, edits: list[Any]) -> None:
    group, resource, there = places(name)
    sent = edited(there.shown, edits)
    back = put_back(sent, there)
    if not back.left and is_taken(group, resource, There(sent, back.document)):
        require_lawful(json.dumps(sent), group, resource, back.document)


@pytest.mark.parametrize("name", OBJECTS)
@given(edits=st.lists(edit, min_size=1, max_size=3), kept=st.lists(st.integers(0, 10_000), max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_merge_stores_and_shows_nothing_that_it_must_not(name: str, edits: list[Any], kept: list[int]) -> None:
    group, resource, there = places(name)
    whole = edited(there.shown, edits)
    chosen = [list(paths(whole))[one % max(1, len(list(paths(whole))))] for one in kept] if whole else []
    for whole_lists in (True, False):
        patch = only(whole, chosen)
        require_patch_lawful(patch, apply_merge(patch, there, whole_lists=whole_lists), group, resource, there)


def only(document: dict[str, Any], chosen: list[Path]) -> dict[str, Any]:
    """A partial object with what leads to these places."""
    patch: dict[str, Any] = {}
    for path in chosen:
        keys = [key for key in path if isinstance(key, str)][
            : next((i for i, key in enumerate(path) if key != str(key)), 99)
        ]
        here = patch
        for depth, key in enumerate(keys):
            value = at(document, tuple(keys[: depth + 1]))
            if depth == len(keys) - 1 or not isinstance(value, dict):
                here[key] = copy.deepcopy(value)
                break
            here = here.setdefault(key, {})
            if not isinstance(here, dict):
                break
    return patch


operation = st.tuples(
    st.sampled_from(["add", "replace", "remove", "move", "copy", "test"]), *[st.integers(0, 10_000)] * 4
)


@pytest.mark.parametrize("name", OBJECTS)
@given(drawn=st.lists(operation, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_json_patch_stores_and_shows_nothing_that_it_must_not(name: str, drawn: list[Any]) -> None:
    group, resource, there = places(name)
    known = list(paths(there.shown))
    operations = []
    for verb, one, two, three, four in drawn:
        path, source = known[one % len(known)], known[two % len(known)]
        values = (at(there.shown, source), *NEW_VALUES)
        where = path if four % 3 else (*path[:-1], NEW_NAMES[four % len(NEW_NAMES)])
        made = {"op": verb, "path": pointer(where)}
        if verb in ("add", "replace", "test"):
            made["value"] = copy.deepcopy(values[three % len(values)])
        if verb in ("move", "copy"):
            made["from"] = pointer(source)
        operations.append(made)
    require_patch_lawful(operations, apply_operations(operations, there), group, resource, there)


def pointer(path: Path) -> str:
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def require_patch_lawful(patch: Any, patched: Patched, group: str, resource: str, there: There) -> None:
    is_merge = isinstance(patch, dict)
    looked_at = merge_may_show(patch, Lists.ANY) if is_merge else operations_may_show(patch)
    if not looked_at and not list(masked_values(patch)):
        # Nobody looks at it: then it must be lawful whatever it is.
        assert is_taken(group, resource, patched.result) or patched.problem
        assert not patched.problem or "leads to" in patched.problem
        return
    if patched.problem or patched.left or not is_taken(group, resource, patched.result):
        return
    assert not list(masked_values(patched.patch))
    if patched.result.now != there.now:
        require_lawful(json.dumps(patch), group, resource, patched.result.now)
