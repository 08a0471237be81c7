"""Calls about the gate as the caller sees it: clusters and changes (who one is: `test_callers.py`)."""

from __future__ import annotations

from tests.unit.control.api.calling import PEOPLE, ROOT, Api, document


def names(api: Api, who: object) -> list[str]:
    return [item["name"] for item in document(api.call("GET", "/clusters", who=who))["items"]]  # type: ignore[arg-type]


def test_everybody_sees_the_clusters_where_the_policies_have_something_for_them(api: Api) -> None:
    assert names(api, PEOPLE["member"]) == ["dev"]
    assert names(api, PEOPLE["owner"]) == []
    assert names(api, api.agent("bot", cluster="prod").text) == ["prod"]


def test_an_admin_sees_all_clusters_and_how_each_is_reached(api: Api) -> None:
    items = document(api.call("GET", "/clusters"))["items"]
    assert items == [{"name": "dev", "mode": "credential"}, {"name": "prod", "mode": "impersonate"}]
    page = document(api.call("GET", "/clusters?limit=1"))
    rest = document(api.call("GET", f"/clusters?limit=1&continue={page['metadata']['continue']}"))
    assert (page["items"], rest["items"]) == (items[:1], items[1:])


def test_changes_tell_who_did_what_newest_first_and_never_a_hash(api: Api) -> None:
    api.agent("bot")
    api.call("POST", "/agents/bot/pause")
    first, second = document(api.call("GET", "/changes", who=PEOPLE["auditor"]))["items"]
    assert (first["action"], first["by"], first["subject"], first["detail"]["paused"]) == (
        "agent.changed", "person:root", "bot", True,
    )  # fmt: skip
    assert second["action"] == "agent.added"
    assert "hash" not in str(first)
    page = document(api.call("GET", "/changes?limit=1"))
    rest = document(api.call("GET", f"/changes?limit=1&continue={page['metadata']['continue']}", who=ROOT))
    assert [item["number"] for item in page["items"] + rest["items"]] == [2, 1]
