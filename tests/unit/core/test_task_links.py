"""Links of tasks begin as policies ask when they are compared as addresses, not as texts."""

from __future__ import annotations

import pytest

from narrowgate.core.task_links import beginning_problem, begins_with_one_of

TRACKER = "https://tickets.corp/"


@pytest.mark.parametrize(
    ("link", "beginning"),
    [
        ("https://tickets.corp/OPS-1", TRACKER),
        ("https://tickets.corp/OPS-1?a=b#c", TRACKER),
        ("https://tickets.corp:443/OPS-1", TRACKER),
        ("https://TICKETS.corp/OPS-1", TRACKER),
        ("https://tickets.corp/OPS-1", "https://tickets.corp"),
        ("https://tickets.corp/browse/OPS-1", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/OPS-1", "https://tickets.corp/browse/"),
        ("https://tickets.corp:8443/OPS-1", "https://tickets.corp:8443/"),
        ("https://tickets.corp/a.b/..c/x", TRACKER),
    ],
)
def test_a_link_at_or_below_the_beginning_begins_with_it(link: str, beginning: str) -> None:
    assert begins_with_one_of(link, ["https://elsewhere.corp/", beginning])


@pytest.mark.parametrize(
    ("link", "beginning"),
    [
        ("", TRACKER),
        ("http://tickets.corp/OPS-1", TRACKER),
        ("https://tickets.corp.evil.example/OPS-1", "https://tickets.corp"),
        ("https://tickets.corp@evil.example/", "https://tickets.corp"),
        ("https://tickets.corp:secret@evil.example/", TRACKER),
        ("https://evil.example/https://tickets.corp/", TRACKER),
        ("https://evil.example?https://tickets.corp/", TRACKER),
        ("https://evil.example#https://tickets.corp/", TRACKER),
        ("https://evil.example\\@tickets.corp/", TRACKER),
        ("https://tickets.corp:8443/OPS-1", TRACKER),
        ("https://tickets.corp./OPS-1", TRACKER),
        ("https://tickets%2ecorp/OPS-1", TRACKER),
        ("https://tickets.corp/browser", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse", "https://tickets.corp/browse/"),
        ("https://tickets.corp/Browse/OPS-1", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/../redirect", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/./OPS-1", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/..;/redirect", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/%2e%2E/redirect", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/x%2f..%2fredirect", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/%252e%252e/redirect", "https://tickets.corp/browse"),
        ("https://tickets.corp/browse/x%5cy", "https://tickets.corp/browse"),
        ("https://tickets.corp:99999/", TRACKER),
    ],
)
def test_a_link_that_only_looks_so_does_not(link: str, beginning: str) -> None:
    assert not begins_with_one_of(link, [beginning])


def test_nothing_begins_with_none_of_no_beginnings() -> None:
    assert not begins_with_one_of("https://tickets.corp/OPS-1", [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no https address"),
        ("http://tickets.corp/", "is no https address"),
        ("tickets.corp", "is no https address"),
        ("https://user@tickets.corp/", "is no https address"),
        ("https:///browse", "is no https address"),
        ("https://tickets.corp/?id=", "has a query or a fragment"),
        ("https://tickets.corp/show?", "has a query or a fragment"),
        ("https://tickets.corp/#x", "has a query or a fragment"),
        ("https://tickets.corp/a/../b", "has dots or separators"),
    ],
)
def test_what_nothing_sensible_could_begin_with_is_refused(text: str, says: str) -> None:
    assert says in beginning_problem(text)


def test_trackers_are_taken() -> None:
    assert [beginning_problem(text) for text in (TRACKER, "https://tickets.corp:8443/browse")] == ["", ""]
