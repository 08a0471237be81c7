"""Calls about delegations: who answers in somebody's place, and what comes of it when questions are answered."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document, person
from tests.unit.control.api.questions import asked, bearer_of, signed_in
from tests.unit.control.browsing import Answer

from narrowgate.core.approvals import ApprovalState
from narrowgate.core.moment import moment_text

DAY = 86_400.0


class Team:
    """Ada and ben are in sre, cleo is in nothing that is asked; each at a terminal of their own."""

    def __init__(self, api: Api) -> None:
        self.api = api
        groups = {"ada": ("security", "sre"), "ben": ("sre",), "cleo": ("developers",), "dan": (), "olga": ("sre",)}
        self.bearers = {name: bearer_of(api, signed_in(api, name, *groups[name])) for name in groups}

    def call(self, who: str, method: str, target: str, body: object = None) -> Answer:
        return self.api.call(method, target, body, who=self.bearers[who])

    def away(self, who: str, to: str, **other: Any) -> Any:
        """A delegation, which must be made."""
        body = {"to": to, "until": moment_text(time.time() + DAY)} | other
        made = self.call(who, "POST", "/delegations", body)
        assert made.status == 201, made.text
        return document(made)

    def listed(self, who: str, query: str = "") -> list[str]:
        return [one["id"] for one in document(self.call(who, "GET", f"/delegations{query}"))["items"]]

    def approve(self, who: str, question: str = "q1") -> Answer:
        return self.call(who, "POST", f"/approvals/{question}/approve")


@pytest.fixture
def team(api: Api) -> Team:
    return Team(api)


def refused(answer: Answer, status: int, sentence: str) -> None:
    assert (answer.status, sentence in detail(answer)) == (status, True), answer.text


def test_somebody_answers_in_the_place_of_who_is_away_and_the_answer_says_so(team: Team) -> None:
    asked(team.api, ("sre", 1))
    refused(team.approve("cleo"), 404, "it is not asked of you")
    made = team.away("ada", "cleo", groups=["sre"], comment="on holiday")
    told = {"person": "ada", "to": "cleo", "groups": ["sre"], "state": "inForce", "countsFor": ["sre"]}
    assert {name: made[name] for name in told} == told
    waiting = document(team.call("cleo", "GET", "/approvals"))["items"]
    assert [(one["id"], one["mayAnswer"]) for one in waiting] == [("q1", True)]
    said = document(team.approve("cleo"))
    assert said["state"] == "approved"
    assert [(one["person"], one["standsFor"]) for one in said["answers"]] == [("cleo", ["ada"])]


def test_both_of_them_are_one_person(team: Team) -> None:
    asked(team.api)
    team.away("ada", "cleo")
    assert document(team.approve("cleo"))["state"] == "pending"
    assert document(team.approve("ada"))["state"] == "pending"
    refused(team.approve("cleo"), 403, "whoever cleo answers for has answered approval q1 themselves")
    assert document(team.approve("ben"))["state"] == "approved"


def test_whoever_answers_for_two_is_one_person(team: Team) -> None:
    asked(team.api)
    team.away("ada", "cleo")
    team.away("ben", "cleo")
    said = document(team.approve("cleo"))
    assert (said["state"], said["answers"][0]["standsFor"]) == ("pending", ["ada", "ben"])


def test_nobody_answers_in_the_place_of_whoever_may_not(team: Team) -> None:
    # Olga answers for the agent.
    asked(team.api, ("sre", 1))
    team.away("olga", "cleo")
    refused(team.approve("cleo"), 403, "cleo is in none of the groups")
    # Neither does she in somebody else's place, nor whoever was shown a credential in between.
    team.away("ada", "olga")
    refused(team.approve("olga"), 403, "by or for themselves")
    team.away("ben", "cleo")
    team.api.agent("bot", handed_to=("person:ben",))
    refused(team.approve("cleo"), 403, "cleo is in none of the groups")
    assert team.api.store.approvals.get("q1").state is ApprovalState.PENDING


def test_what_is_passed_on_is_not_passed_on_further(team: Team) -> None:
    asked(team.api, ("sre", 1))
    team.away("ada", "cleo")
    team.away("cleo", "dan")
    refused(team.approve("dan"), 404, "it is not asked of you")
    own = {"to": "dan", "until": moment_text(time.time() + DAY), "groups": ["sre"]}
    refused(team.call("cleo", "POST", "/delegations", own), 422, 'you are not in "sre"')


def test_what_was_said_counts_no_more_when_it_is_taken_back(team: Team) -> None:
    asked(team.api)
    made = team.away("ada", "cleo")
    team.approve("cleo")
    ended = document(team.call("ada", "POST", f"/delegations/{made['id']}/end"))
    assert (ended["state"], ended["endedBy"], ended["countsFor"]) == ("ended", "person:ada", [])
    assert document(team.approve("ben"))["state"] == "pending"
    assert document(team.approve("ada"))["state"] == "approved"


def test_whoever_ends_all_sign_ins_of_who_is_away_ends_what_others_do_in_their_place(team: Team) -> None:
    asked(team.api, ("sre", 1))
    made = team.away("ada", "cleo")
    team.api.store.sign_ins.end("signin-ada", "left", by="person:root", at=time.time())
    refused(team.approve("cleo"), 404, "it is not asked of you")
    (shown,) = document(team.call("cleo", "GET", "/delegations"))["items"]
    assert (shown["id"], shown["state"], shown["countsFor"]) == (made["id"], "inForce", [])


def test_it_counts_for_what_who_is_away_is_in_by_their_newest_sign_in(team: Team) -> None:
    asked(team.api, ("sre", 1))
    team.away("ada", "cleo")
    signed_in(team.api, "ada", "security", number=9)
    refused(team.approve("cleo"), 404, "it is not asked of you")


def test_only_a_person_says_so_and_from_a_sign_in_that_runs(team: Team) -> None:
    body = {"to": "cleo", "until": moment_text(time.time() + DAY)}
    for who in (team.api.agent("ada", groups=("sre",)).text, team.api.task("hers").text):
        answer = team.api.call("POST", "/delegations", body, who=who)
        assert answer.status in (401, 403), answer.text
    team.api.store.sign_ins.end("signin-ada", "signed out", by="person:ada", at=time.time())
    refused(team.api.call("POST", "/delegations", body, who=person("ada-of-a-token", "sre")), 403, "sign-in that runs")
    refused(team.api.call("POST", "/delegations", body, who=ROOT), 403, "from a sign-in that runs")
    assert team.api.store.delegations.listed() == ()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"to": "ada"}, "name somebody else"),
        ({"to": "cloe"}, "nobody of this name has signed in here lately"),
        ({"groups": ["admins"]}, 'you are not in "admins"'),
        ({"groups": []}, "groups: "),
        ({"groups": ["sre"] * 65}, "groups"),
        ({"until": "soon"}, "until: "),
        ({"until": "2020-01-01T00:00:00Z"}, "until: "),
        ({"until": "2999-01-01T00:00:00Z"}, "30 days at most"),
        ({"from": "2020-01-01T00:00:00Z"}, "from: "),
        ({"from": "2998-12-31T00:00:00Z", "until": "2999-01-01T00:00:00Z"}, "from: "),
        ({"comment": "two\nlines"}, "comment: write one line"),
        ({"person": "ben"}, "person"),
    ],
)
def test_what_cannot_be_delegated_is_refused_in_words(team: Team, body: dict[str, Any], says: str) -> None:
    sent = {"to": "cleo", "until": moment_text(time.time() + DAY)} | body
    refused(team.call("ada", "POST", "/delegations", sent), 422, says)
    assert team.api.store.delegations.listed() == ()


def test_whoever_is_in_no_group_has_nothing_to_pass_on(team: Team) -> None:
    body = {"to": "cleo", "until": moment_text(time.time() + DAY)}
    refused(team.call("dan", "POST", "/delegations", body), 422, "you are in no group by your sign-in")


def test_one_person_at_a_time(team: Team) -> None:
    made = team.away("ada", "cleo")
    body = {"to": "ben", "until": moment_text(time.time() + DAY)}
    refused(team.call("ada", "POST", "/delegations", body), 409, f"already (delegation {made['id']})")
    team.call("ada", "POST", f"/delegations/{made['id']}/end")
    assert team.away("ada", "ben")["state"] == "inForce"


def test_nobody_is_away_all_the_time(team: Team) -> None:
    for _ in range(50):
        made = team.away("ada", "cleo")
        assert team.call("ada", "POST", f"/delegations/{made['id']}/end").status == 200
    body = {"to": "cleo", "until": moment_text(time.time() + DAY)}
    refused(team.call("ada", "POST", "/delegations", body), 409, "50 times within a month")


def test_it_is_seen_by_both_and_ended_by_who_gave_it_or_an_admin(team: Team) -> None:
    made = team.away("ada", "cleo")["id"]
    assert (team.listed("ada"), team.listed("cleo"), team.listed("ben")) == ([made], [made], [])
    for who in ("auditor", "admin"):
        shown = document(team.api.call("GET", "/delegations", who=PEOPLE[who]))["items"]
        assert [one["id"] for one in shown] == [made]
    missing = detail(team.call("ben", "POST", "/delegations/nope/end"))
    for who in ("ben", "cleo"):
        refused(team.call(who, "POST", f"/delegations/{made}/end"), 404, missing.replace("nope", made))
    # An agent that is called what the person is called.
    named = team.api.agent("ada").text
    assert team.api.call("POST", f"/delegations/{made}/end", who=named).status == 404
    assert document(team.api.call("GET", "/delegations", who=named))["items"] == []
    assert document(team.api.call("POST", f"/delegations/{made}/end"))["endedBy"] == "person:root"
    assert document(team.call("ada", "POST", f"/delegations/{made}/end"))["endedBy"] == "person:root"
    assert (team.listed("ada"), team.listed("ada", "?all=true")) == ([], [made])


def test_pages_show_each_once(team: Team) -> None:
    made = {team.away(who, "dan")["id"] for who in ("ada", "ben", "cleo", "olga")}
    seen, token = [], ""
    while True:
        page = document(team.call("dan", "GET", f"/delegations?limit=3&continue={token}"))
        seen += [one["id"] for one in page["items"]]
        if not (token := page["metadata"]["continue"]):
            break
    assert (sorted(seen), len(seen)) == (sorted(made), 4)


def test_it_is_in_the_record_and_among_the_changes(team: Team) -> None:
    made = team.away("ada", "cleo")["id"]
    team.call("ada", "POST", f"/delegations/{made}/end")
    told = [(one.action, one.subject, one.by) for one in team.api.store.changes(2)]
    assert told == [("delegation.changed", made, "person:ada"), ("delegation.added", made, "person:ada")]
    entries = [
        (one["stage"], one["verb"]) for one in team.api.entries() if one["objectRef"]["resource"] == "delegations"
    ]
    stages = ("RequestReceived", "ResponseComplete")
    assert entries == [(stage, verb) for verb in ("create", "end") for stage in stages]
