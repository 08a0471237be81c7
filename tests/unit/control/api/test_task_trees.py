"""Trees by the API: that of a session is shown to whoever may see the root of it, and to nobody else."""

from __future__ import annotations

import pytest
from tests.unit.control.api.calling import PEOPLE, ROOT, Api, detail, document
from tests.unit.control.api.recorded import began

TASK = "abcdefgh22223333"


@pytest.fixture
def trees(api: Api) -> Api:
    api.agent("hers")
    api.task("hers", id=TASK)
    began(api.folder / "trail", ("of-nothing", "agent:hers", "person:olga", "exec", True))
    return api


def test_a_task_is_a_session_and_whoever_answers_for_its_agent_sees_the_tree(trees: Api) -> None:
    for who in (ROOT, PEOPLE["auditor"], PEOPLE["owner"]):
        tree = document(trees.call("GET", f"/sessions/{TASK}/tree", who=who))
        assert (tree["id"], tree["isNamed"], tree["did"]["requests"]) == (TASK, True, 0)


def test_whoever_may_not_see_it_is_told_what_they_would_be_told_if_it_were_not_there(trees: Api) -> None:
    def told(session: str) -> str:
        answer = trees.call("GET", f"/sessions/{session}/tree", who=PEOPLE["member"])
        assert answer.status == 404
        return detail(answer).replace(session, "...")

    assert told(TASK) == told("nothing") == told("of-nothing")


def test_whoever_sees_all_is_told_why_nothing_hangs_on_a_session(trees: Api) -> None:
    answer = trees.call("GET", "/sessions/of-nothing/tree", who=PEOPLE["auditor"])
    assert (answer.status, "of no task and of no sign-in" in detail(answer)) == (404, True)


def test_a_sign_in_is_shown_to_the_person_whose_it_is(trees: Api) -> None:
    trees.cookie(PEOPLE["member"])
    (sign_in,) = trees.store.sign_ins.listed("mia")
    path = f"/sessions/{sign_in.id}/tree"
    assert document(trees.call("GET", path, who=PEOPLE["member"]))["kind"] == "sign-in"
    assert trees.call("GET", path, who=PEOPLE["auditor"]).status == 200
    assert trees.call("GET", path, who=PEOPLE["owner"]).status == 404


def test_a_record_that_cannot_be_searched_hides_no_tree(trees: Api) -> None:
    with trees.parts.searching, trees.parts.searching:
        assert document(trees.call("GET", f"/sessions/{TASK}/tree"))["did"] is None
        assert document(trees.call("GET", f"/tasks/{TASK}/tree"))["did"] is None
        assert trees.call("GET", "/sessions/of-nothing/tree").status == 404
