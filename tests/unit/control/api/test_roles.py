"""Calls about roles: given and taken by admins, to people, and never to oneself."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.unit.control.api.calling import ROOT, Api, detail, document, person


def listed(api: Api) -> list[tuple[str, str, str, str]]:
    items = document(api.call("GET", "/roles"))["items"]
    return [(item["role"], item["kind"], item["name"], item["givenBy"]) for item in items]


def test_the_list_has_what_the_configuration_and_what_admins_give(api: Api) -> None:
    assert api.call("POST", "/roles", {"person": "zoe", "role": "auditor"}).status == 201
    assert listed(api) == [
        ("admin", "Group", "admins", ""),
        ("approver", "Person", "ada", ""),
        ("auditor", "Person", "otto", ""),
        ("auditor", "Person", "zoe", "person:root"),
        ("policy-author", "Person", "paula", ""),
    ]


def test_pages_of_roles_show_each_once(api: Api) -> None:
    whole, seen, token = listed(api), [], ""
    while True:
        page = document(api.call("GET", f"/roles?limit=1&continue={token}"))
        seen += [item["name"] for item in page["items"]]
        if not (token := page["metadata"]["continue"]):
            break
    assert seen == [name for _, _, name, _ in whole]


@pytest.mark.parametrize("role", ["admin", "policy-author", "approver", "auditor"])
def test_nobody_changes_their_own_roles(api: Api, role: str) -> None:
    own = api.call("POST", "/roles", {"person": "root", "role": role})
    assert (own.status, "ask another admin" in detail(own)) == (403, True)
    assert api.call("DELETE", f"/roles/{role}/people/root").status == 403
    assert api.store.roles.listed() == ()


def test_an_admin_by_name_may_be_made_and_unmade_by_another(api: Api) -> None:
    zoe = person("zoe")
    assert api.call("POST", "/roles", {"person": "zoe", "role": "admin"}).status == 201
    assert api.call("POST", "/roles", {"person": "zoe", "role": "auditor"}, who=zoe).status == 403
    assert api.call("DELETE", "/roles/admin/people/zoe", who=zoe).status == 403
    assert api.call("DELETE", "/roles/admin/people/zoe").status == 204
    assert api.call("GET", "/roles", who=zoe).status == 403


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"person": "zoe", "role": "member"}, "everybody is a member"),
        ({"person": "zoe", "role": "owner"}, "role"),
        ({"person": "zoe", "role": "Admin"}, "role"),
        ({"person": "", "role": "admin"}, "is empty"),
        ({"person": "system:admin", "role": "admin"}, "reserved for Kubernetes"),
        ({"person": "bot", "role": "admin"}, "agents have no roles"),
        ({"person": "admin@local", "role": "admin"}, "one-time link"),
        ({"person": "person:zoe", "role": "admin"}, "write the name alone"),
        ({"person": "group:sre", "role": "admin"}, "write the name alone"),
        ({"person": ["zoe", "root"], "role": "admin"}, "expected `str`"),
        ({"person": "zoe", "role": "admin", "givenBy": "person:other"}, "unknown field `givenBy`"),
        ({"group": "sre", "role": "admin"}, "unknown field `group`"),
    ],
)
def test_what_cannot_be_given_is_refused_in_words(api: Api, body: dict[str, object], sentence: str) -> None:
    api.agent("bot")
    answer = api.call("POST", "/roles", body)
    assert (answer.status, sentence in detail(answer)) == (422, True), answer.text
    assert api.store.roles.listed() == ()


@pytest.mark.parametrize("name", ["https://idp/alice", "oidc:corp/zoe", "zoe@corp.example", "Zoë Ünlü", "a?b#c%d"])
def test_people_are_named_in_the_path_as_their_provider_names_them(api: Api, name: str) -> None:
    assert api.call("POST", "/roles", {"person": name, "role": "auditor"}).status == 201
    assert api.call("DELETE", f"/roles/auditor/people/{quote(name, safe='')}").status == 204
    assert api.store.roles.listed() == ()


def test_what_the_configuration_gives_is_not_taken_here(api: Api) -> None:
    answer = api.call("DELETE", "/roles/auditor/people/otto", who=ROOT)
    assert (answer.status, "what the configuration gives is taken there" in detail(answer)) == (404, True)


def test_giving_twice_is_giving_once(api: Api) -> None:
    for _ in range(2):
        assert api.call("POST", "/roles", {"person": "zoe", "role": "auditor"}).status == 201
    assert len(api.store.changes()) == 1
