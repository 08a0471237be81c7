"""The command that a refusal names is one that the command line reads, and that asks for just what was refused."""

from __future__ import annotations

import re
import shlex

from hypothesis import given
from hypothesis import strategies as st
from tests.deciding import agent, answer, asks, policy, rule

from narrowgate.cli.tasks import request
from narrowgate.core.decision import Deny
from narrowgate.core.grants import granted_rule
from narrowgate.core.intent import Intent
from narrowgate.core.matching import question_of
from narrowgate.core.rulebook import compile_policies
from narrowgate.core.wanted import offer_of, read_wanted

COMMAND = re.compile(r"narrowgate tasks request (--cluster .*)")

VERBS = st.sampled_from(["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"])
RESOURCES = st.sampled_from(
    [
        ("", "pods"), ("", "pods/log"), ("", "pods/exec"), ("", "nodes"), ("", "nodes/proxy"), ("", "namespaces"),
        ("apps", "deployments"), ("apps", "deployments/scale"), ("example.com", "widgets"),
        ("rbac.authorization.k8s.io", "clusterroles"), ("", "unheard-of"), ("", "serviceaccounts/token"),
    ]
)  # fmt: skip
NAMES = st.sampled_from(["", "web", "log", "exec", "a.b-c", "system:node", "-x", "Web", 'a"; rm -rf /', "a b", "$(id)"])
PLACES = st.sampled_from(["", "ci", "kube-system", "x.y"])


@st.composite
def requests(draw: st.DrawFn) -> Intent:
    group, resource = draw(RESOURCES)
    return asks(draw(VERBS), resource, draw(NAMES), namespace=draw(PLACES), group=group)


def arguments_of(hint: str) -> list[str] | None:
    """As a shell would read them; None where the hint names no command."""
    found = COMMAND.search(hint)
    return shlex.split(found[1]) if found else None


@given(requests())
def test_the_command_of_a_refusal_is_accepted_as_it_stands_and_asks_for_no_more(what: Intent) -> None:
    everything = rule("grantable", "*", "*", groups="*", namespaces="*")
    refusal = answer(what, policy(everything))
    assert isinstance(refusal, Deny)
    arguments = arguments_of(refusal.hint)
    if arguments is None:
        # Then it says that there are no words for it.
        assert "has no words" in refusal.hint
        return
    options = request.make_context("request", arguments, resilient_parsing=False).params
    assert (options["cluster"], options["reason"]) == ("prod", "...")
    (words,) = options["allow"]
    wanted = read_wanted(words, 1)
    asked = question_of(what)
    assert granted_rule(wanted, "t").covers(asked)
    assert (wanted.verbs, wanted.resources) == (asked.verbs, (asked.combined,))
    assert wanted.names == ((asked.name,) if asked.name else None)
    assert asked.namespace in (wanted.namespaces or ("",)) or wanted.namespaces == ("*",)
    # What is asked for so is offered by the rule that was named.
    assert offer_of(compile_policies((policy(everything),), 1).holding(agent(), "prod"), [wanted], 60).approvals == ()


def test_ordinary_requests_have_words() -> None:
    everything = policy(rule("grantable", "*", "*", groups="*", namespaces="*"))
    for what, words in (
        (asks("list", "pods", namespace="ci"), "list pods -n ci"),
        (asks("list", "pods"), "list pods -n *"),
        (asks("create", "pods/exec", "web", namespace="ci"), "create pods/exec/web -n ci"),
        (asks("patch", "deployments", "web", namespace="ci", group="apps"), "patch deployments.apps/web -n ci"),
        (asks("get", "nodes", "n1"), "get nodes/n1"),
        (asks("get", "namespaces", "ci"), "get namespaces/ci -n ci"),
        (asks("get", "widgets", "x", group="example.com"), "get widgets.example.com/x"),
    ):
        refusal = answer(what, everything)
        assert isinstance(refusal, Deny)
        assert refusal.hint.endswith(f'--allow "{words}"')


def test_what_a_shell_would_run_is_never_in_it() -> None:
    refusal = answer(asks("get", "pods", "$(id)", namespace="ci"), policy(rule("grantable", "*", "*", namespaces="*")))
    assert isinstance(refusal, Deny)
    assert "$(" not in refusal.hint
