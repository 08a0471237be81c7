"""What is read of everybody who wants access: in words or in parts, and for how long."""

from __future__ import annotations

import pytest

from narrowgate.control.api.wishes import seconds_wanted, words_wanted
from narrowgate.control.problems import Problem
from narrowgate.core.authorization_details import TaskDetails
from narrowgate.core.wanted import MOST_WANTED

PODS = TaskDetails(type="narrowgate_task", actions=("get",), datatypes=("pods",), namespaces=("ci",))
ELSEWHERE = TaskDetails(type="narrowgate_task", locations=("prod",), actions=("get",), datatypes=("pods",))
MANY = TaskDetails(type="narrowgate_task", actions=("get",), datatypes=tuple(f"r{n}.g" for n in range(MOST_WANTED)))


def test_what_is_wanted_is_the_same_however_it_is_written() -> None:
    assert words_wanted(("get pods -n ci",), (), "dev") == words_wanted((), (PODS,), "dev") == ("get pods -n ci",)


@pytest.mark.parametrize(
    ("allow", "details", "said"),
    [
        ((), (), "send one of them"),
        (("get pods -n ci",), (PODS,), "send one of them"),
        ((), (PODS, ELSEWHERE), 'on "dev", and not on "prod"'),
        ((), (MANY, PODS), f"name {MOST_WANTED} datatypes at most"),
    ],
)
def test_what_cannot_be_wanted_is_said(allow: tuple[str, ...], details: tuple[TaskDetails, ...], said: str) -> None:
    with pytest.raises(Problem, match=said):
        words_wanted(allow, details, "dev")


def test_how_long_is_a_time_that_passes() -> None:
    assert seconds_wanted("20m") == 1200.0
    for text in ("soon", "0s"):
        with pytest.raises(Problem, match="for: "):
            seconds_wanted(text)
