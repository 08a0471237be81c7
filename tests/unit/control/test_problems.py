"""Problem documents as programs and people read them."""

from __future__ import annotations

import json
import re

from narrowgate.control.problems import DETAIL_LIMIT, Problem, Trouble, problem_response


def test_a_problem_says_what_where_and_in_which_entry() -> None:
    answer = problem_response(Problem(Trouble.NOT_FOUND, "there is no agent", {"Retry-After": "5"}), "control-1")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("5", "no-store")
    assert json.loads(answer.body) == {
        "type": "tag:narrowgate.dev,2026:problem:not-found",
        "title": "there is no such thing",
        "status": 404,
        "detail": "there is no agent",
        "instance": "tag:narrowgate.dev,2026:audit:control-1",
    }


def test_a_detail_is_one_printable_line_of_bounded_length_whatever_a_caller_wrote() -> None:
    written = "a\r\nb\x1b[31m\u202e\ud800" + "x" * 10_000
    told = json.loads(problem_response(Problem(Trouble.INVALID, written)).body)["detail"]
    assert told.startswith("a  b [31m")
    assert told.isprintable()
    assert len(told) <= DETAIL_LIMIT + 3


def test_every_trouble_has_a_word_of_its_own_and_is_an_error() -> None:
    words = [trouble.word for trouble in Trouble]
    assert len(set(words)) == len(words)
    assert all(re.fullmatch(r"[a-z-]+", word) for word in words)
    assert all(400 <= trouble.status < 600 for trouble in Trouble)
