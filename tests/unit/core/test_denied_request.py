"""Words of several refusals put together: exactly what each by itself asks for, in fewer words."""

from __future__ import annotations

from itertools import product

import pytest

from narrowgate.core.denied_request import put_together
from narrowgate.core.policy import Rule
from narrowgate.core.wanted import WantedRefused, read_wanted

PODS = ("get pods -n ci", "list pods -n ci", "get pods/web -n ci", "list pods -n qa", "get pods -n qa")


def single(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Everything that these words ask for, one by one."""
    rules: list[Rule] = [read_wanted(one, 1) for one in words]
    return {
        (verb, rule.api_groups[0], rule.resources[0], namespace, name)
        for rule in rules
        for verb, namespace, name in product(rule.verbs, rule.namespaces or ("",), rule.names or ("",))
    }


def test_verbs_of_one_thing_in_one_place_are_put_together() -> None:
    assert put_together(["get pods -n ci", "list pods -n ci", "get pods -n ci"]) == ("get,list pods -n ci",)


def test_places_of_the_same_verbs_are_put_together_in_whatever_order_the_verbs_came() -> None:
    words = ["list pods -n ci", "get pods -n ci", "get pods -n qa", "list pods -n qa"]
    assert put_together(words) == ("get,list pods -n ci,qa",)


@pytest.mark.parametrize(
    "words",
    [
        ("get pods/web -n ci", "get pods/db -n ci"),
        ("get pods -n ci", "get pods/web -n ci"),
        ("get pods -n ci", "delete pods -n qa"),
        ("get pods -n ci", "get configmaps -n ci"),
        ("get pods/log/web -n ci", "get pods/web -n ci"),
        ("get nodes", "get pods -n ci"),
        ("get namespaces", "get namespaces -n ci"),
        ("get events -n ci", "get events.events.k8s.io -n ci"),
    ],
)
def test_what_would_ask_for_more_together_stays_apart(words: tuple[str, ...]) -> None:
    assert single(put_together(words)) == single(words)
    assert len(put_together(words)) == 2


def test_together_they_ask_for_exactly_what_each_asks_for() -> None:
    assert single(put_together(PODS)) == single(PODS)
    assert single(put_together(reversed(PODS))) == single(PODS)


def test_words_that_nobody_reads_are_refused() -> None:
    with pytest.raises(WantedRefused):
        put_together(["get pods"])
