"""RFC 9396 `authorization_details` mean exactly the words that they stand for; anything else is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from narrowgate.core.authorization_details import TaskDetails, locations_of, words_of
from narrowgate.core.wanted import WantedRefused, read_wanted

LOOK: dict[str, Any] = {
    "type": "narrowgate_task",
    "actions": ["get", "list"],
    "datatypes": ["pods"],
    "namespaces": ["ci"],
}


def read(**other: Any) -> TaskDetails:
    return msgspec.convert(LOOK | other, TaskDetails)


def words(**other: Any) -> tuple[str, ...]:
    found = words_of([read(**other)])
    for number, one in enumerate(found):
        read_wanted(one, number)
    return found


def test_they_are_the_words_of_a_task() -> None:
    assert words() == ("get,list pods -n ci",)
    assert words(datatypes=["deployments.apps", "pods/log"]) == (
        "get,list deployments.apps -n ci",
        "get,list pods/log -n ci",
    )
    assert words(identifier="web", namespaces=["ci", "qa"]) == ("get,list pods/web -n ci,qa",)
    assert words(datatypes=["pods/exec"], actions=["create"], identifier="web") == ("create pods/exec/web -n ci",)
    assert words(datatypes=["nodes"], namespaces=[]) == ("get,list nodes",)


def test_places_are_told_together() -> None:
    assert locations_of([read(locations=["a", "b"]), read(), read(locations=["b"])]) == {"a", "b"}


@pytest.mark.parametrize(
    "other",
    [
        {"type": "payment_initiation"},
        {"actions": []},
        {"datatypes": []},
        {"actions": "get"},
        {"privileges": ["admin"]},
        {"resources": ["pods"]},
        {"identifier": None},
        {"datatypes": [""]},
        {"actions": ["get"] * 33},
    ],
)
def test_what_is_not_known_here_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(**other)


@pytest.mark.parametrize(
    "other",
    [
        {"datatypes": ["pods -n kube-system"], "namespaces": []},
        {"actions": ["get,delete"]},
        {"actions": ["get secrets -n x\n"]},
        {"namespaces": ["ci,kube-system"]},
        {"identifier": "web -n kube-system"},
        {"identifier": "exec/web"},
        {"datatypes": ["pods/web"]},
        {"datatypes": ["pods/exec/web"]},
    ],
)
def test_one_word_never_says_more_than_one_thing(other: dict[str, Any]) -> None:
    with pytest.raises(WantedRefused):
        words_of([read(**other)])


def test_nothing_is_filled_in() -> None:
    (unplaced,) = words_of([read(namespaces=[])])
    with pytest.raises(WantedRefused, match="names no namespace"):
        read_wanted(unplaced, 1)
