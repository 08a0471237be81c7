"""`continue` tokens: opaque, of one list, and never a way to what one may not see."""

from __future__ import annotations

import base64
import json

import pytest
from tests.unit.control.api.calling import PEOPLE, Api, detail, document

LISTS = ("/agents", "/sign-ins", "/roles", "/policies/revisions", "/clusters", "/changes")


def token(**content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


NOT_OURS = (
    "x", "====", "%20", token(), token(list="agents"), token(behind="a"), token(list=1, behind="a"), "A" * 2000,
    token(list="another", behind="a"), token(list="agents", behind=1), token(list="agents", behind="a", person="x"),
)  # fmt: skip


def test_a_token_that_the_gate_did_not_make_for_this_list_is_refused(api: Api) -> None:
    for path in LISTS:
        for text in NOT_OURS:
            answer = api.call("GET", f"{path}?continue={text}")
            assert (path, text, answer.status, "begin" in detail(answer)) == (path, text, 400, True)


@pytest.mark.parametrize(
    ("path", "name", "behind"),
    [
        ("/changes", "changes", "x"),
        ("/changes", "changes", "9" * 40),
        ("/policies/revisions", "revisions", "-1"),
        ("/sign-ins", "sign-ins", "yesterday mia-1"),
    ],
)
def test_a_token_with_a_place_that_cannot_be_is_refused(api: Api, path: str, name: str, behind: str) -> None:
    assert api.call("GET", f"{path}?continue={token(list=name, behind=behind)}").status == 400


def test_a_token_shows_nobody_what_they_may_not_see(api: Api) -> None:
    api.agent("a-hers")
    for number in range(3):
        api.agent(f"b-sre-{number}", owner="group:sre")
    page = document(api.call("GET", "/agents?limit=1"))
    token_of_admin = page["metadata"]["continue"]
    assert document(api.call("GET", f"/agents?continue={token_of_admin}", who=PEOPLE["owner"]))["items"] == []


def test_an_empty_list_is_a_page(api: Api) -> None:
    for path in LISTS:
        page = document(api.call("GET", path))
        assert (set(page), page["metadata"]) == ({"items", "metadata"}, {"continue": ""})
