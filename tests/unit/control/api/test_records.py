"""Searching the record by the API: what is found, and that nobody finds what is not theirs."""

from __future__ import annotations

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document, person
from tests.unit.control.api.recorded import did
from tests.unit.trail.texts import put_text

from narrowgate.core.identity import Identity
from narrowgate.trail.index_file import filling_lock

DONE = (
    ("a1", "agent:hers", "person:olga"),
    ("a2", "agent:theirs", "group:sre"),
    ("a3", "person:olga", ""),
    ("a4", "agent:olga", "person:mia"),
    ("a5", "agent:hers", "person:zoe"),
)


@pytest.fixture
def recorded(api: Api) -> Api:
    did(api.folder / "trail", *DONE)
    return api


def found(api: Api, who: Identity, query: str = "") -> list[str]:
    answer = api.call("GET", f"/records{query}", who=who)
    assert answer.status == 200, answer.text
    return [entry["auditId"] for entry in document(answer)["items"]]


def test_whoever_may_see_everything_does_newest_first(recorded: Api) -> None:
    assert found(recorded, PEOPLE["auditor"]) == found(recorded, ROOT) == ["a5", "a4", "a3", "a2", "a1"]


def test_a_person_sees_their_own_and_what_agents_did_for_them_and_nothing_else(recorded: Api) -> None:
    # a5 is of an agent called like hers, when somebody else answered for it; a4 of an agent that is called like her.
    assert found(recorded, PEOPLE["owner"]) == ["a3", "a1"]
    assert found(recorded, PEOPLE["group-owner"]) == ["a2"]
    assert found(recorded, PEOPLE["member"]) == ["a4"]
    assert found(recorded, PEOPLE["approver"]) == []


def test_no_question_reaches_beyond_what_a_person_may_see(recorded: Api) -> None:
    for audit_id, _, _ in DONE:
        put_text(recorded.folder / "trail", audit_id, "the password of the database")
    for query in (
        "?who=agent:theirs",
        "?owner=group:sre",
        "?text=password",
        "?decision=allowed&limit=500",
        "?who=hers",
    ):
        assert set(found(recorded, PEOPLE["owner"], query)) <= {"a3", "a1"}
    assert found(recorded, PEOPLE["owner"], "?text=password") == ["a3", "a1"]
    for audit_id, status in (("a1", 200), ("a3", 200), ("a2", 404), ("a4", 404), ("a5", 404), ("a9", 404)):
        assert recorded.call("GET", f"/records/{audit_id}", who=PEOPLE["owner"]).status == status


def test_a_text_is_found_with_its_place_and_its_line(recorded: Api) -> None:
    put_text(recorded.folder / "trail", "a1", "at first\n", "the password of the database\n")
    put_text(recorded.folder / "trail", "a2", "the password\n", "of the database\n")
    shown = document(recorded.call("GET", "/records?text=Password+of", who=PEOPLE["auditor"]))
    assert [(one["auditId"], one["recorded"]) for one in shown["items"]] == [
        ("a1", {"seconds": 1.0, "stream": "output", "line": "the password of the database"})
    ]
    assert shown["texts"] == {
        "isKept": True, "isCutOff": False, "searched": 2, "cut": 0, "waiting": 0, "encrypted": 0, "unreadable": 0
    }  # fmt: skip


def test_without_a_text_nothing_is_said_of_recordings(recorded: Api) -> None:
    put_text(recorded.folder / "trail", "a1", "the password of the database\n")
    shown = document(recorded.call("GET", "/records"))
    assert "texts" not in shown
    assert not any("recorded" in one for one in shown["items"])


def test_where_no_text_is_kept_that_is_told(recorded: Api) -> None:
    shown = document(recorded.call("GET", "/records?text=password"))
    assert (shown["items"], shown["texts"]["isKept"]) == ([], False)


def test_pages_of_a_text_go_on_where_the_one_before_ended(recorded: Api) -> None:
    for audit_id in ("a1", "a3", "a5"):
        put_text(recorded.folder / "trail", audit_id, "a password\n")
    put_text(recorded.folder / "trail", "a4", "a pas ass ssw swo wor ord\n")
    pages, more = [], ""
    for _ in range(3):
        answer = document(recorded.call("GET", f"/records?text=password&limit=1{more}"))
        pages.append([entry["auditId"] for entry in answer["items"]])
        more = f"&continue={answer['metadata']['continue']}"
    assert (pages, more) == ([["a5"], ["a3"], ["a1"]], "&continue=")


def test_what_may_not_be_seen_is_refused_in_the_words_of_what_is_not_there(recorded: Api) -> None:
    said = [detail(recorded.call("GET", f"/records/{one}", who=PEOPLE["owner"])) for one in ("a2", "a9")]
    assert said[0].replace("a2", "a9") == said[1]


def test_pages_go_on_where_the_one_before_ended(recorded: Api) -> None:
    pages, more = [], ""
    for _ in range(3):
        answer = document(recorded.call("GET", f"/records?limit=2{more}"))
        pages.append([entry["auditId"] for entry in answer["items"]])
        more = f"&continue={answer['metadata']['continue']}"
    assert pages == [["a5", "a4"], ["a3", "a2"], ["a1"]]
    assert more == "&continue="


def test_a_page_behind_somebody_elses_shows_only_what_is_ones_own(recorded: Api) -> None:
    more = document(recorded.call("GET", "/records?limit=1"))["metadata"]["continue"]
    assert found(recorded, PEOPLE["owner"], f"?continue={more}") == ["a3", "a1"]


def test_one_request_is_shown_with_its_events(recorded: Api) -> None:
    shown = document(recorded.call("GET", "/records/a1", who=PEOPLE["owner"]))
    assert shown["entry"]["user"] == "agent:hers"
    assert [event["auditID"] for event in shown["events"]] == ["a1"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?decision=maybe", '`decision`: "maybe" is no decision'),
        ("?since=yesterday", "`since`: 'yesterday' is no time"),
        ("?text=ab", "`text`: a text to look for has 3 to 256 characters"),
        ("?noticed=perhaps", "the query: "),
        ("?nonsense=1", "unknown"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_in_words(recorded: Api, query: str, words: str) -> None:
    answer = recorded.call("GET", f"/records{query}")
    assert (answer.status, words in detail(answer)) == (422, True), detail(answer)


def test_what_is_not_taken_in_yet_is_told(recorded: Api) -> None:
    assert document(recorded.call("GET", "/records"))["bytesBehind"] == 0
    with filling_lock(recorded.folder / "trail", 0.0):
        did(recorded.folder / "trail", ("b1", "agent:hers", ""))
    answer = document(recorded.call("GET", "/records"))
    assert answer["bytesBehind"] > 0
    assert answer["items"][0]["auditId"] == "a5"


def test_searches_beyond_the_limit_are_asked_to_come_again(recorded: Api) -> None:
    held = [recorded.parts.searching.acquire(blocking=False) for _ in range(2)]
    answer = recorded.call("GET", "/records")
    assert (held, answer.status, answer.header("retry-after")) == ([True, True], 503, "1")
    recorded.parts.searching.release()
    assert recorded.call("GET", "/records").status == 200


def test_where_no_index_can_be_kept_a_search_is_refused_and_not_empty(recorded: Api) -> None:
    (recorded.folder / "trail").rename(recorded.folder / "elsewhere")
    answer = recorded.call("GET", "/records")
    assert (answer.status, "cannot be written" in detail(answer)) == (503, True)


def test_a_name_with_the_marks_of_a_list_means_itself(recorded: Api) -> None:
    odd = person('olga" OR "zoe', "sre) OR (w")
    assert found(recorded, odd) == []
