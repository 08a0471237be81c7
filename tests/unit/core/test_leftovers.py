"""Whose an object is that a task left behind, and when it is tried again."""

from __future__ import annotations

import msgspec
import pytest

from narrowgate.core.identity import Kind
from narrowgate.core.leftovers import (
    LONGEST_RETRY_SECONDS,
    Fate,
    Leftover,
    Tree,
    created_under,
    doubtful_write,
    foreign_hand,
    tree_of,
)
from narrowgate.core.lineage import MOST_AUTHORS, Ancestor, Author, PendingWrite, Placement
from narrowgate.core.tasks import Task
from narrowgate.core.wanted import read_wanted


def agent(name: str, task: str = "") -> Ancestor:
    return Ancestor(kind=Kind.AGENT, name=name, task=task)


POD = Ancestor(kind=Kind.WORKLOAD, name="ci/worker", cluster="dev", pod="one", pod_uid="u9")
BOT: Author = (agent("bot", "t"),)
HELPER: Author = (agent("bot", "t"), agent("bot/helper", "below"))
POD_OF_BOT: Author = (agent("bot", "t"), POD)
TREE = Tree(task="t", around=frozenset({"above", "t", "below"}))


def placed(*authors: Author) -> Placement:
    return Placement(
        cluster="dev", uid="u1", resource="jobs.batch", namespace="ci", name="one", authors=authors, first_at=1_000.0
    )


def write(author: Author, name: str = "one", *, is_create: bool = False) -> PendingWrite:
    return PendingWrite(
        audit_id="a1", cluster="dev", resource="jobs.batch", namespace="ci", name=name, is_create=is_create,
        author=author, at=1_000.0,
    )  # fmt: skip


def test_what_was_created_under_a_task_was_created_under_every_task_of_the_chain() -> None:
    assert created_under([HELPER]) == ("below", "t")
    assert created_under([POD_OF_BOT]) == ("t",)
    assert created_under([(agent("bot"),), (POD,)]) == ()


@pytest.mark.parametrize("authors", [[BOT], [HELPER], [POD_OF_BOT], [BOT, HELPER, POD_OF_BOT]])
def test_delegates_and_pods_of_a_task_are_no_foreign_hands(authors: list[Author]) -> None:
    assert foreign_hand(placed(*authors), TREE) == ""


@pytest.mark.parametrize(
    ("stranger", "said"),
    [
        ((agent("bot"),), "agent:bot had a hand in it"),
        ((agent("bot", "other"),), "agent:bot under task other had a hand in it"),
        ((agent("eve", "theirs"),), "agent:eve under task theirs had a hand in it"),
        ((POD,), "serviceaccount:ci/worker had a hand in it"),
        ((agent("bot", "above"),), "agent:bot under task above had a hand in it"),
        ((agent("bot", "t"), agent("eve", "theirs"), POD), "agent:eve under task theirs had a hand in it"),
        ((agent("bot", "t"), agent("eve"), POD), "agent:eve had a hand in it"),
    ],
    ids=["standing", "other task", "other agent", "pod of nobody", "task above", "pod of two", "pod of two, standing"],
)
def test_everybody_else_is_a_foreign_hand(stranger: Author, said: str) -> None:
    assert foreign_hand(placed(BOT, stranger), TREE) == said


def test_more_authors_than_are_remembered_may_hide_a_foreign_hand() -> None:
    many = [(agent("bot", "t"), msgspec.structs.replace(POD, pod_uid=f"u{number}")) for number in range(MOST_AUTHORS)]
    assert foreign_hand(placed(*many), TREE) == ""
    assert foreign_hand(placed(*many, BOT), TREE) == "more have changed it than are remembered"


def test_a_write_that_is_not_answered_is_a_doubt_where_it_may_have_changed_the_object() -> None:
    assert "request a1 may have changed it" in doubtful_write(placed(BOT), TREE, [write((agent("eve"),))])
    assert "request a1 may have changed it" in doubtful_write(placed(BOT), TREE, [write(())])
    mine, elsewhere, new = write(BOT), write((agent("eve"),), "two"), write((agent("eve"),), is_create=True)
    assert doubtful_write(placed(BOT), TREE, [mine, elsewhere, new]) == ""


def test_each_failure_waits_longer_up_to_a_limit() -> None:
    leftover, now, waits = Leftover(task="t", cluster="dev", uid="u1"), 1_000.0, []
    for _ in range(40):
        leftover = leftover.after_failure("the API server answers 500", now)
        waits.append(leftover.next_at - now)
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == LONGEST_RETRY_SECONDS
    assert (leftover.tries, leftover.fate, leftover.why) == (40, Fate.WAITS, "the API server answers 500")
    assert leftover.ended(Fate.DELETED).fate is Fate.DELETED


def test_a_tree_is_the_task_with_all_above_and_below() -> None:
    def task(identifier: str) -> Task:
        return Task(
            id=identifier, kind=Kind.AGENT, name="bot", requested_by="agent:bot", cluster="dev", purpose="tests",
            rules=(read_wanted("get pods -n ci", 1),), seconds=1.0, requested_at=0.0, lapses_at=1.0,
        )  # fmt: skip

    assert tree_of(task("t"), [task("above")], [task("below")]) == TREE
