"""Calls about policies: what is in force, what was, and what the gate would say to files."""

from __future__ import annotations

import pytest
from tests.unit.control.api.calling import PEOPLE, POLICY, Api, detail, document

AUTHOR = PEOPLE["policy-author"]


def revisions(api: Api, count: int) -> None:
    for number in range(1, count + 1):
        api.store.add_revision([("a.yaml", f"text {number}")], by="folder", at=float(number))


def test_the_newest_revision_is_what_is_in_force(api: Api) -> None:
    revisions(api, 2)
    shown = document(api.call("GET", "/policies", who=AUTHOR))
    assert (shown["number"], shown["files"]) == (2, [{"name": "a.yaml", "text": "text 2"}])
    assert document(api.call("GET", "/policies/revisions/1", who=AUTHOR))["files"][0]["text"] == "text 1"


@pytest.mark.parametrize("number", ["0", "3", "-1", "x", "1.0", "٢", "9" * 19, "9" * 40, "1e3"])
def test_a_revision_that_is_not_there_is_not_found(api: Api, number: str) -> None:
    revisions(api, 2)
    answer = api.call("GET", f"/policies/revisions/{number}", who=AUTHOR)
    assert (answer.status, "look at the list of revisions" in detail(answer)) == (404, True)


def test_revisions_come_newest_first_page_by_page(api: Api) -> None:
    revisions(api, 5)
    first = document(api.call("GET", "/policies/revisions?limit=3", who=AUTHOR))
    second = document(
        api.call("GET", f"/policies/revisions?limit=3&continue={first['metadata']['continue']}", who=AUTHOR)
    )
    assert [item["number"] for item in first["items"] + second["items"]] == [5, 4, 3, 2, 1]
    assert second["metadata"] == {"continue": ""}
    assert "files" not in first["items"][0]


def test_good_files_are_good_and_nothing_is_changed(api: Api) -> None:
    body = {"files": [{"name": "look.yaml", "text": POLICY}]}
    checked = document(api.call("POST", "/policies/check", body, who=AUTHOR))
    assert (checked["good"], checked["errors"]) == (True, [])
    assert api.store.changes() == ()
    assert api.store.revisions() == ()


def test_mistakes_are_told_with_file_and_line(api: Api) -> None:
    wrong = POLICY.replace("verbs: [get]", "verbs: [gett]")
    body = {"files": [{"name": "look.yaml", "text": wrong}, {"name": "other.yaml", "text": POLICY}]}
    checked = document(api.call("POST", "/policies/check", body, who=AUTHOR))
    assert (checked["good"], checked["warnings"]) == (False, [])
    assert (checked["errors"][0]["file"], checked["errors"][0]["line"]) == ("look.yaml", 8)


def test_files_are_checked_one_set_at_a_time(api: Api) -> None:
    body = {"files": [{"name": "look.yaml", "text": POLICY}]}
    with api.parts.checking:
        answer = api.call("POST", "/policies/check", body, who=AUTHOR)
    assert (answer.status, answer.header("retry-after"), "in a moment" in detail(answer)) == (503, "2", True)
    assert api.call("POST", "/policies/check", body, who=AUTHOR).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"files": []},
        {"files": [{"name": "", "text": "x"}]},
        {"files": [{"name": "a", "text": "x"}, {"name": "a", "text": "y"}]},
        {"files": [{"name": "a", "text": "x"}] * 257},
        {"files": [{"name": "a"}]},
        {"files": {"a": "x"}},
        {"files": [{"name": "a", "text": "x"}], "apply": True},
        {},
    ],
)
def test_what_is_no_set_of_files_is_refused(api: Api, body: object) -> None:
    assert api.call("POST", "/policies/check", body, who=AUTHOR).status == 422
