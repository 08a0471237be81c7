"""What a task's record may hold: addresses that people can follow without being led elsewhere."""

from __future__ import annotations

import pytest

from narrowgate.core.task_fields import link_problem, task_purpose_problem


@pytest.mark.parametrize("link", ["", "https://tracker.example/OPS-12", "https://tracker.example:8443/x?y=z#w"])
def test_an_https_address_or_nothing_is_a_link(link: str) -> None:
    assert link_problem(link) == ""


@pytest.mark.parametrize(
    "link",
    [
        "http://tracker.example", "tracker.example/1", "https://", "https:///x", "javascript:alert(1)", "HTTPS:x",
        "https://corp@evil.example", "https://a b", "https://a\nb", "https://[", "https://a:x", "https://a:0",
        "https://ex\u0430mple", 'https://a/"', "https://a/<b>", "https://a\\b", "https://" + "a" * 500,
    ],
)  # fmt: skip
def test_anything_else_is_not(link: str) -> None:
    assert link_problem(link).startswith("link: write an https address")


def test_a_purpose_is_one_line() -> None:
    assert task_purpose_problem("roll back web") == ""
    assert all(task_purpose_problem(text) for text in ("", " ", "a\nb", "\x1b[2J", "x" * 501))
