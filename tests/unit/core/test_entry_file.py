"""What rule files say of ways into pods: read exactly, or refused with what to write instead."""

from __future__ import annotations

import pytest

from narrowgate.core.policy import Approval, Approvers, Rule
from narrowgate.core.policy_file import parse_policies
from narrowgate.core.yaml_reader import PolicyErrors

FILE = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {{name: in}}
spec:
  subjects: [{{kind: Agent, name: ci}}]
  clusters: [prod]
  rules:
    - id: in
      effect: {effect}
      verbs: [{verbs}]
      apiGroups: [""]
      resources: [{resources}]
      namespaces: [ci]
      {field}
"""


def read(field: str, effect: str = "allow", resources: str = "pods/exec", verbs: str = "create") -> Rule:
    text = FILE.format(effect=effect, resources=resources, field=field, verbs=verbs)
    return parse_policies(text, "in.yaml")[0].rules[0]


def refused(field: str, effect: str = "allow", resources: str = "pods/exec") -> str:
    with pytest.raises(PolicyErrors) as found:
        read(field, effect, resources)
    return str(found.value)


def test_commands_are_read_in_one_line_or_word_by_word() -> None:
    made = read('commands: ["ls *", cat /etc/*, [sh, -c, "ls /; id"], [echo, ""]]')
    assert made.commands == (("ls", "*"), ("cat", "/etc/*"), ("sh", "-c", "ls /; id"), ("echo", ""))


def test_containers_and_labels_are_read() -> None:
    made = read("containers: [app, web-1]\n      podSelector: {matchLabels: {app.example/name: web, tier: ''}}")
    assert made.containers == ("app", "web-1")
    assert made.pod_labels == (("app.example/name", "web"), ("tier", ""))


def test_what_is_not_written_narrows_nothing() -> None:
    assert not read("names: [web]").looks_inside


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("commands: []", "is empty"),
        ("commands: ls", "must be a list"),
        ('commands: ["sh *"]', "runs what it is told"),
        ('commands: ["/bin/bash -c *"]', "runs what it is told"),
        ('commands: ["python3.11 **"]', "runs what it is told"),
        ('commands: ["env * ls"]', "runs what it is told"),
        ('commands: ["*"]', "name the program"),
        ('commands: ["l* x"]', "name the program"),
        ('commands: ["** ls"]', "at the end"),
        ("commands: ['sh -c \"ls\"']", "quotes"),
        ("commands: [ls, ls]", "in the list already"),
        ("commands: [[]]", "is empty"),
        ("commands: [1]", "must be a text"),
        ("containers: [a*]", "names are exact"),
        ("containers: [A_b]", "cannot be the name"),
        ("podSelector: {app: web}", "unknown key"),
        ("podSelector: {matchLabels: {}}", "0 labels"),
        ("podSelector: {matchLabels: [a]}", "mapping of labels"),
        ("podSelector: {matchLabels: {a: 'x y'}}", "cannot be a label"),
        ("podSelector: {matchLabels: {'a b': x}}", "cannot be a label"),
        ("podSelector: {matchLabels: {a: 1}}", "must be a text"),
        ("podSelector: {matchLabels: {a: b, a: c}}", "written twice"),
        ("podSelector: {}", "has no matchLabels"),
    ],
)
def test_what_would_not_do_what_it_says_is_refused(field: str, message: str) -> None:
    assert message in refused(field)


@pytest.mark.parametrize("resources", ["pods", "pods/log", "pods/exec, pods/log", '"*"', '"*/exec"'])
@pytest.mark.parametrize("field", ["commands: [ls]", "containers: [a]", "podSelector: {matchLabels: {a: b}}"])
def test_other_resources_have_no_commands(field: str, resources: str) -> None:
    assert "name some of pods/exec, pods/attach, pods/ephemeralcontainers" in refused(field, "deny", resources)


def test_paths_have_none_either() -> None:
    text = FILE.format(effect="allow", resources="x", field="commands: [ls]", verbs="get")
    text = (
        text.replace('apiGroups: [""]', "nonResourceURLs: [/x]")
        .replace("resources: [x]", "")
        .replace("namespaces: [ci]", "")
    )
    with pytest.raises(PolicyErrors, match="does not go with nonResourceURLs"):
        parse_policies(text, "in.yaml")


def test_a_gift_of_commands_is_not_about_attaching() -> None:
    assert "a rule of its own for pods/attach" in refused("commands: [ls]", resources="pods/exec, pods/attach")


def test_a_guard_may_be_about_attaching_and_any_program() -> None:
    made = read('commands: ["*sh", "sh **", rm]', "deny", "pods/exec, pods/attach, pods/ephemeralcontainers")
    assert made.commands == (("*sh",), ("sh", "**"), ("rm",))


def test_lines_that_end_a_session_are_read() -> None:
    made = read("lines: {deny: [rm -rf, shutdown]}", resources="pods/exec, pods/attach")
    assert made.lines == (("rm", "-rf"), ("shutdown",))
    assert not made.looks_inside, "who gets in does not hang on it"


ASKS = "approval: {from: [{group: sre, count: 2}], within: 5m}"
OTHERS = "approval: {from: [{group: dev, count: 1}], within: 1m}"


@pytest.mark.parametrize("effect", ["allow", "grantable", "approve"])
def test_lines_that_people_are_asked_about_are_read(effect: str) -> None:
    more = {"allow": "", "grantable": "\n      maxDuration: 1h\n      approval: none", "approve": f"\n      {OTHERS}"}
    made = read(f"lines: {{deny: [shutdown], approve: [rm -rf], {ASKS}}}{more[effect]}", effect)
    assert (made.lines, made.asked_lines) == ((("shutdown",),), (("rm", "-rf"),))
    assert made.lines_approval == Approval((Approvers("sre", 2),), 300.0)
    assert made.approval == (Approval((Approvers("dev", 1),), 60.0) if effect == "approve" else None)


def test_who_is_asked_about_lines_is_whoever_the_rule_asks_anyway() -> None:
    made = read(f"lines: {{approve: [rm]}}\n      {ASKS}", "approve")
    assert made.lines_approval == made.approval == Approval((Approvers("sre", 2),), 300.0)
    assert read(f"lines: {{deny: [rm]}}\n      {ASKS}", "approve").lines_approval is None


@pytest.mark.parametrize(
    ("field", "effect", "resources", "message"),
    [
        ("lines: {approve: [rm]}", "allow", "pods/exec", "does not say whom"),
        ("lines: {approve: [rm]}\n      approval: none\n      maxDuration: 1h", "grantable", "pods/exec", "say whom"),
        ("lines: {approve: [rm], approval: none}", "allow", "pods/exec", "asks nobody"),
        ("lines: {deny: [rm], approval: none}", "allow", "pods/exec", "there are none"),
        (f"lines: {{approve: [], {ASKS}}}", "allow", "pods/exec", "is empty"),
        (f"lines: {{approve: [rm]}}\n      {ASKS}", "allow", "pods/exec", "goes with"),
        (f"lines: {{{ASKS}}}", "allow", "pods/exec", "has neither deny nor approve"),
        ("lines: {}", "allow", "pods/exec", "has neither deny nor approve"),
        ("lines: {deny: []}", "allow", "pods/exec", "is empty"),
        ("lines: [rm]", "allow", "pods/exec", "must be a mapping"),
        ("lines: {deny: [rm]}", "deny", "pods/exec", "and this one denies"),
        ("lines: {deny: [rm]}", "allow", "pods/ephemeralcontainers", "nothing is typed"),
        ("lines: {deny: [rm]}", "allow", "pods/log", "getting into pods"),
    ],
)
def test_lines_that_nobody_could_keep_are_refused(field: str, effect: str, resources: str, message: str) -> None:
    assert message in refused(field, effect, resources)
