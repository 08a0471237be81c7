"""What a rule file says of pods."""

from __future__ import annotations

import pytest

from narrowgate.core.pod_rules import Action, Level, PodRules
from narrowgate.core.policy_file import parse_policies
from narrowgate.core.yaml_reader import PolicyErrors

FILE = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [prod]
  rules:
    - id: writes
      effect: allow
      verbs: [create]
      apiGroups: [apps]
      resources: [deployments]
      namespaces: [ci]
      pods: PODS
"""
ASKS = "      approval: {from: [{group: sre, count: 1}], within: 10m}\n"


def read(pods: str, **changes: str) -> PodRules | None:
    text = FILE.replace("PODS", pods)
    for old, new in changes.items():
        text = text.replace({"effect": "effect: allow", "resources": "[deployments]", "groups": "[apps]"}[old], new)
    more = ASKS if "approve" in pods or changes.get("effect") == "effect: approve" else ""
    (policy,) = parse_policies(text + more, "test.yaml")
    return policy.rules[0].pods


def test_all_that_can_be_said() -> None:
    assert read(
        "{serviceAccounts: [runner, default], strongerAccounts: approve, automountToken: mend, tokenAudiences: [gate],"
        ' level: restricted, images: ["registry.corp/*", "busybox:1"], nodeChoice: deny, otherwise: approve}'
    ) == PodRules(
        service_accounts=("runner", "default"),
        stronger_accounts=Action.APPROVE,
        automount_token=Action.MEND,
        token_audiences=("gate",),
        level=Level.RESTRICTED,
        images=("registry.corp/*", "busybox:1"),
        node_choice=False,
        otherwise=Action.APPROVE,
    )


def test_where_custom_resources_keep_their_pods() -> None:
    made = read('{templates: [spec.template, "spec.workers[*].pod?"]}', resources="[widgets]", groups="[example.com]")
    assert made is not None
    assert [(path.text, path.optional) for path in made.templates] == [
        ("spec.template", False),
        ("spec.workers[*].pod", True),
    ]


def test_a_rule_about_getting_in_or_about_custom_resources_can_say_it() -> None:
    allowed = PodRules(stronger_accounts=Action.ALLOW)
    assert read("{strongerAccounts: allow}", resources="[pods/exec]", groups='[""]') == allowed
    assert read("{strongerAccounts: allow}", resources='["*"]', groups='["*"]') == allowed
    assert read("{strongerAccounts: allow}", resources="[deployments/scale]") == allowed
    assert read("{level: baseline}", resources="[widgets]", groups="[example.com]") == PodRules(level=Level.BASELINE)
    assert read("{strongerAccounts: allow}", effect="effect: approve") == allowed


@pytest.mark.parametrize(
    ("pods", "changes", "says"),
    [
        ("{}", {}, "says nothing of pods"),
        ("{templates: [spec.template]}", {}, "where these kinds keep pods is known"),
        ("{templates: [spec..a]}", {"groups": "[example.com]"}, "is no path to pods"),
        ("{templates: []}", {"groups": "[example.com]"}, "is empty"),
        ("restricted", {}, "must be a mapping"),
        ("{levels: restricted}", {}, 'did you mean "level"?'),
        ("{level: strict}", {}, '"strict" is none of privileged, baseline, restricted'),
        ("{strongerAccounts: mend}", {}, '"mend" is none of deny, approve, allow'),
        ("{otherwise: allow}", {}, '"allow" is none of deny, approve'),
        ("{nodeChoice: approve}", {}, '"approve" is none of allow, deny'),
        ("{serviceAccounts: []}", {}, "is empty"),
        ('{serviceAccounts: ["ci-*"]}', {}, "cannot be the name of a service account"),
        ('{images: ["registry.corp*"]}', {}, "at its end"),
        ('{images: ["*"]}', {}, "at its end"),
        ('{images: ["*/a"]}', {}, "at its end"),
        ("{level: baseline}", {"effect": "effect: deny"}, "would read both ways"),
        ("{level: baseline}", {"resources": "[configmaps]", "groups": '[""]'}, "nothing here makes any"),
        ("{level: baseline}", {"resources": "[pods/exec]", "groups": '[""]'}, "they are there already"),
    ],
)
def test_what_cannot_be_meant_is_refused(pods: str, changes: dict[str, str], says: str) -> None:
    with pytest.raises(PolicyErrors) as refused:
        read(pods, **changes)
    assert says in str(refused.value)


def test_who_asks_people_says_whom() -> None:
    with pytest.raises(PolicyErrors) as refused:
        parse_policies(FILE.replace("PODS", "{strongerAccounts: approve}"), "test.yaml")
    assert "has no approval" in str(refused.value)


def test_a_rule_about_tokens_says_whose_and_for_whom() -> None:
    about = {"resources": "[serviceaccounts/token]", "groups": '[""]'}
    assert read("{strongerAccounts: allow, tokenAudiences: [gate]}", **about) == PodRules(
        stronger_accounts=Action.ALLOW, token_audiences=("gate",)
    )
    assert read("{strongerAccounts: approve}", resources="[secrets]", groups='[""]') == PodRules(
        stronger_accounts=Action.APPROVE
    )


def test_a_rule_about_certificates_says_whether_they_may_be_anybodys() -> None:
    about = FILE.replace("[apps]", "[certificates.k8s.io]").replace("[deployments]", "[certificatesigningrequests]")
    text = about.replace("      namespaces: [ci]\n", "")
    (policy,) = parse_policies(text.replace("PODS", "{strongerAccounts: allow}"), "test.yaml")
    assert policy.rules[0].pods == PodRules(stronger_accounts=Action.ALLOW)
    with pytest.raises(PolicyErrors, match="here tokens are"):
        parse_policies(text.replace("PODS", "{tokenAudiences: [gate]}"), "test.yaml")


@pytest.mark.parametrize(
    ("pods", "resources", "groups"),
    [
        ("{level: restricted}", "[serviceaccounts/token]", '[""]'),
        ("{serviceAccounts: [a]}", "[serviceaccounts/token]", '[""]'),
        ("{tokenAudiences: [gate]}", "[secrets]", '[""]'),
        ("{images: [a]}", "[secrets, pods/exec]", '[""]'),
        ("{strongerAccounts: allow}", "[serviceaccounts/token]", "[apps]"),
        ("{strongerAccounts: allow}", "[serviceaccounts]", '[""]'),
    ],
)
def test_what_means_nothing_of_a_token_is_refused(pods: str, resources: str, groups: str) -> None:
    with pytest.raises(PolicyErrors):
        read(pods, resources=resources, groups=groups)
