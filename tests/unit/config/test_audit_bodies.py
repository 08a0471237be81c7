"""`audit.bodies` as people write it, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.config.audit_bodies import MOST_RULES
from narrowgate.config.errors import ConfigError
from narrowgate.config.gate_file import parse_config
from narrowgate.core.audit import Level
from narrowgate.core.body_levels import BodyRule, Resources

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\nclusters: [{name: prod, kubeconfig: a}]\naudit:\n  bodies:\n"


def rules(text: str) -> tuple[BodyRule, ...]:
    return parse_config(HEAD + text, Path("/srv/gate/narrowgate.yaml")).audit.bodies


def test_a_rule_is_read_with_all_that_it_may_ask_for() -> None:
    text = (
        "    - {level: None, users: [agent:watcher, 'serviceaccount:ci/runner'], verbs: [get]}\n"
        "    - level: RequestResponse\n"
        "      userGroups: [sre]\n"
        "      namespaces: [ci, '']\n"
        "      clusters: [prod]\n"
        "      resources:\n"
        "        - {group: apps, resources: [deployments, '*/scale'], resourceNames: [web]}\n"
        "        - {resources: [configmaps]}\n"
        "    - {level: Request}\n"
    )
    assert rules(text) == (
        BodyRule(level=Level.NONE, users=("agent:watcher", "serviceaccount:ci/runner"), verbs=("get",)),
        BodyRule(
            level=Level.REQUEST_RESPONSE,
            user_groups=("sre",),
            namespaces=("ci", ""),
            clusters=("prod",),
            resources=(
                Resources("apps", ("deployments", "*/scale"), ("web",)),
                Resources("", ("configmaps",)),
            ),
        ),
        BodyRule(level=Level.REQUEST),
    )


def test_without_rules_no_bodies_are_kept() -> None:
    assert parse_config(HEAD.replace("audit:\n  bodies:\n", ""), Path("/srv/gate/narrowgate.yaml")).audit.bodies == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "    - {level: request}\n",
            r':6: audit\.bodies\[0\]\.level: unknown level "request", did you mean "Request"\?',
        ),
        ("    - {verbs: [get]}\n", r':6: audit\.bodies\[0\]: "level" is missing'),
        ("    - {level: Request, verb: [get]}\n", r'verb: unknown key, did you mean "verbs"\?'),
        ("    - {level: Request, verbs: [gets]}\n", r'verbs\[0\]: unknown value "gets", did you mean "get"\?'),
        ("    - {level: Request, users: [ci]}\n", r'users\[0\]: "ci" is no user; write agent:<name>'),
        ("    - {level: Request, clusters: [pord]}\n", r'clusters\[0\]: unknown value "pord", did you mean "prod"\?'),
        ("    - {level: Request, namespaces: []}\n", r"namespaces: an empty list; leave the key out"),
        ("    - {level: Request, resources: []}\n", r"resources: an empty list; leave the key out"),
        ("    - {level: Request, resources: [{group: apps/v1}]}\n", r'group: "apps/v1" has a version'),
        ("    - {level: Request, resources: [{resourceNames: [a]}]}\n", r"resourceNames: goes with resources"),
        ("    - {level: Request, omitStages: [Panic]}\n", r"omitStages: unknown key"),
        ("    - {level: Request}\n" * (MOST_RULES + 1), rf"audit\.bodies: expected {MOST_RULES} rules at most"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        rules(text)
