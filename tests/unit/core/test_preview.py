"""Whether a request could be allowed at all, before anything is fetched to judge it by."""

from __future__ import annotations

import pytest
from tests.deciding import agent, policy, rule

from narrowgate.core.identity import chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.preview import could_be_allowed
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies

WHEN = "object.spec.replicas < 5"


def asked(name: str = "web") -> Intent:
    info = RequestInfo(
        is_resource_request=True,
        path="/apis/apps/v1/namespaces/ci/deployments/web",
        verb="patch",
        api_group="apps",
        api_version="v1",
        resource="deployments",
        namespace="ci",
        name=name,
    )
    return Intent(info=info, cluster="prod", namespaced=True)


def allow(**more: str) -> object:
    return rule("allow", "patch", "deployments", groups="apps", namespaces="ci", id="may", **more)


def deny(**more: str) -> object:
    return rule("deny", "patch", "deployments", groups="apps", namespaces="ci", id="no", **more)


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([], ""),
        ([allow()], "may"),
        ([allow(when=WHEN)], "may"),
        ([allow(names="web")], "may"),
        ([allow(names="other")], ""),
        ([allow(), deny()], ""),
        ([allow(), deny(names="web")], ""),
        ([allow(), deny(names="other")], "may"),
        ([allow(), deny(when=WHEN)], "may"),
        ([deny()], ""),
    ],
    ids=[
        "nothing", "a rule", "a rule with a condition", "its name", "another name", "a plain deny",
        "a deny of its name", "a deny of another name", "a deny with a condition", "a deny alone",
    ],
)  # fmt: skip
def test_an_allow_rule_speaks_for_it_and_no_plain_deny_against(rules: list, found: str) -> None:  # type: ignore[type-arg]
    covering = could_be_allowed(chain_of(agent()), asked(), compile_policies([policy(*rules)], 1))
    assert (covering.rule if covering else "") == found


def test_every_member_of_a_chain_must_be_covered_and_the_senders_rule_is_named() -> None:
    book = compile_policies(
        [policy(allow(), name="parents"), policy(allow(), name="children", subjects="Agent/child")], 1
    )
    covering = could_be_allowed(chain_of(agent(), agent("child")), asked(), book)
    assert covering is not None
    assert covering.policy == "children"
    assert could_be_allowed(chain_of(agent(), agent("stranger")), asked(), book) is None
    assert could_be_allowed(chain_of(agent("stranger"), agent()), asked(), book) is None


def test_another_clusters_rules_say_nothing() -> None:
    book = compile_policies([policy(allow(), clusters="staging")], 1)
    assert could_be_allowed(chain_of(agent()), asked(), book) is None
