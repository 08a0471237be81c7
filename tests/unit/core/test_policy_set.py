"""Policy files, checked as one set."""

from __future__ import annotations

from narrowgate.core.policy_set import check_files

GOOD = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: look}
spec:
  subjects: [{kind: Person, name: mia}]
  clusters: [dev]
  rules:
    - {id: look, effect: allow, verbs: [get], apiGroups: [""], resources: [pods], namespaces: ["ci"]}
"""
WIDE = GOOD.replace("look}", "wide}").replace('["ci"]', '["*"]').replace("[get]", '["*"]')


def test_a_good_set_comes_back_with_its_policies() -> None:
    checked = check_files([("a.yaml", GOOD)])
    assert ([policy.name for policy in checked.policies], checked.errors) == (["look"], ())


def test_every_file_with_a_mistake_is_named() -> None:
    checked = check_files([("a.yaml", "x"), ("b.yaml", GOOD), ("c.yaml", GOOD.replace("[get]", "[gett]"))])
    assert {error.file for error in checked.errors} == {"a.yaml", "c.yaml"}
    assert checked.warnings == ()


def test_two_policies_of_one_name_are_a_mistake_of_the_set() -> None:
    checked = check_files([("a.yaml", GOOD), ("b.yaml", GOOD)])
    assert len(checked.errors) == 1


def test_what_gives_more_than_people_mean_is_warned_of() -> None:
    checked = check_files([("a.yaml", WIDE)])
    assert checked.errors == ()
    assert {finding.policy for finding in checked.warnings} == {"wide"}
