"""Standing access by the API: everything for those who look after all of it, each one's own for everybody else."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.unit.control.api.calling import PEOPLE, POLICY, Api, document

from narrowgate.core.moment import moment_text
from narrowgate.core.policy_set import check_files
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.standing import RuleUse

CI = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: ci}
spec:
  subjects: [{kind: Agent, name: hers}, {kind: Group, name: workers}]
  clusters: [dev]
  rules:
    - {id: maps, effect: allow, verbs: [get], apiGroups: [""], resources: [configmaps], namespaces: [ci]}
    - {id: later, effect: grantable, verbs: [get], apiGroups: [""], resources: [pods], namespaces: [ci],
       maxDuration: 1h, approval: none}
"""
NOW = time.time() + 86_400
"""Later than any agent that a test of this run adds: whoever is made anew inherits no uses."""


@pytest.fixture
def ruled(api: Api) -> Api:
    """With three revisions; the rule of CI came with the second one."""
    files = [("ci.yaml", CI), ("look.yaml", POLICY)]
    api.store.add_revision([("look.yaml", POLICY)], by="folder", at=1_000.0)
    api.store.add_revision(files, by="folder", at=2_000.0)
    newest = api.store.add_revision([*files, ("note.yaml", "")], by="folder", at=3_000.0)
    api.put_in_force(compile_policies(check_files(files).policies, newest.number))
    return api


def listed(api: Api, who: Any, query: str = "") -> list[dict[str, Any]]:
    answer = api.call("GET", f"/standing{query}", who=who)
    assert answer.status == 200, answer.text
    return list(document(answer)["items"])


def used(api: Api, holder: str, at: float = NOW) -> None:
    api.store.rule_uses.begin(500.0)
    api.store.rule_uses.tell([RuleUse(holder=holder, cluster="dev", policy="ci", rule="maps", at=at)])


def test_an_admin_sees_every_allow_rule_for_each_subject_with_its_age_and_last_use(ruled: Api) -> None:
    ruled.agent("hers", groups=("workers",))
    ruled.agent("theirs", groups=("workers",))
    used(ruled, "agent:theirs")
    found = listed(ruled, PEOPLE["admin"])
    assert [(one["holder"], one["rule"], one["agents"]) for one in found] == [
        ("person:mia", "look", 0),
        ("serviceaccount:ci/runner", "look", 0),
        ("agent:hers", "maps", 1),
        ("group:workers", "maps", 2),
    ]
    assert found[2] == {
        "holder": "agent:hers",
        "agents": 1,
        "cluster": "dev",
        "policy": "ci",
        "rule": "maps",
        "allow": "get configmaps -n ci",
        "since": moment_text(2_000.0),
        "revision": 2,
        "isOlder": False,
        "lastUsedAt": "",
        "lastUsedBy": "",
        "unusedSince": moment_text(2_000.0),
    }
    assert (found[3]["lastUsedBy"], found[3]["lastUsedAt"]) == ("agent:theirs", moment_text(NOW))
    assert (found[0]["revision"], found[0]["unusedSince"]) == (1, moment_text(1_000.0))


def test_an_agent_and_its_owner_see_its_own_and_nothing_of_what_others_do(ruled: Api) -> None:
    bearer = ruled.agent("hers", groups=("workers",)).text
    ruled.agent("theirs", groups=("workers",), owner="person:zoe")
    used(ruled, "agent:theirs")
    found = listed(ruled, bearer)
    assert {(one["holder"], one["rule"], one["lastUsedBy"]) for one in found} == {("agent:hers", "maps", "")}
    assert listed(ruled, PEOPLE["owner"]) == found
    assert listed(ruled, PEOPLE["group-owner"]) == []


def test_a_person_sees_what_stands_for_themselves(ruled: Api) -> None:
    (found,) = listed(ruled, PEOPLE["member"])
    assert (found["holder"], found["rule"], found["agents"]) == ("person:mia", "look", 0)


def test_the_list_comes_in_pages_without_a_gap(ruled: Api) -> None:
    seen, more = [], ""
    for _ in range(5):
        page = document(ruled.call("GET", f"/standing?limit=1{more}"))
        seen += [(one["holder"], one["rule"]) for one in page["items"]]
        if not page["metadata"]["continue"]:
            break
        more = f"&continue={page['metadata']['continue']}"
    assert seen == [(one["holder"], one["rule"]) for one in listed(ruled, PEOPLE["admin"])]
    assert len(seen) == 4


def test_what_is_not_known_is_left_empty(api: Api) -> None:
    # Rules of a revision that the store does not have, and nobody counts.
    (found,) = listed(api, PEOPLE["member"])
    assert (found["since"], found["revision"], found["unusedSince"]) == ("", 0, "")


def test_a_tasks_credential_may_not_look_around(ruled: Api) -> None:
    ruled.agent("hers")
    credential = ruled.task("hers").text
    assert ruled.call("GET", "/standing", who=credential).status == 403
