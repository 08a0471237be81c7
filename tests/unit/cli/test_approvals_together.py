"""What one command has asked belongs together, and nothing else does; what is answered is what was shown."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.cli.approvals_together import MOST_TOGETHER, answerable, in_groups, together_with

ONE: dict[str, Any] = {
    "id": "q1",
    "state": "pending",
    "mayAnswer": True,
    "askedWith": "m",
    "cluster": "dev",
    "rules": ["ci/a", "ci/b"],
    "askedAt": "2026-11-21T08:00:30Z",
}


def other(identifier: str = "q2", **fields: Any) -> dict[str, Any]:
    return ONE | {"id": identifier} | fields


def ids(*groups: list[dict[str, Any]]) -> list[list[str]]:
    return [[one["id"] for one in group] for group in groups]


def test_what_the_same_credential_asked_by_the_same_rules_within_a_minute_belongs_together() -> None:
    before, after = other("q0", askedAt="2026-11-21T08:00:00Z"), other("q3", rules=["ci/b", "ci/a"])
    assert ids(together_with(ONE, [after, before, ONE])) == [["q0", "q1", "q3"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"askedWith": "n"},
        {"askedWith": ""},
        {"cluster": "prod"},
        {"rules": ["ci/a"]},
        {"rules": "ci/a"},
        {"askedAt": "2026-11-21T08:01:31Z"},
        {"askedAt": "2026-11-21T07:59:29Z"},
        {"askedAt": "yesterday"},
        {"state": "approved"},
        {"mayAnswer": False},
    ],
)
def test_what_differs_in_anything_is_not_answered_with_it(fields: dict[str, Any]) -> None:
    assert ids(together_with(ONE, [other(**fields)])) == [["q1"]]


def test_a_task_is_asked_about_alone() -> None:
    task = ONE | {"askedWith": ""}
    assert ids(together_with(task, [task | {"id": "t2"}])) == [["q1"]]
    assert ids(*in_groups([task, task | {"id": "t2"}])) == [["q1"], ["t2"]]


def test_of_more_than_are_answered_at_once_the_nearest_are() -> None:
    many = [other(f"n{number:02}", askedAt=f"2026-11-21T08:00:{number:02}Z") for number in range(60)]
    found = together_with(ONE, many)
    assert len(found) == MOST_TOGETHER
    assert {one["id"] for one in found} == {"q1"} | {f"n{number:02}" for number in range(18, 42)}


def test_a_list_is_put_in_groups_of_a_minute_at_most() -> None:
    asked = [other(f"n{number}", askedAt=f"2026-11-21T08:0{number // 2}:{number % 2 * 30:02}Z") for number in range(6)]
    assert ids(*in_groups([*asked, other("x", askedWith="n")])) == [["n0", "n1", "n2"], ["n3", "n4", "n5"], ["x"]]


def test_only_what_may_be_answered_is_counted() -> None:
    assert ids(answerable([ONE, other(mayAnswer=False), other("q3", state="denied")])) == [["q1"]]
