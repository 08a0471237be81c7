"""Masks and reveals in policy files: what is read, and what is refused with its line."""

from __future__ import annotations

import pytest

from narrowgate.core.policy import Approval, Approvers, Mask, Reveal
from narrowgate.core.policy_file import PolicyErrors, parse_policies

HEAD = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: test}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [prod]
"""


def test_a_mask_is_read_with_its_fields_and_namespaces() -> None:
    [policy] = parse_policies(
        HEAD
        + """\
  masks:
    - {id: dsn, apiGroups: [""], resources: [configmaps], namespaces: [ci], fields: [data.dsn, "data.*password*"]}
""",
        "f.yaml",
    )
    assert policy.masks == (
        Mask(
            id="dsn",
            api_groups=("",),
            resources=("configmaps",),
            namespaces=("ci",),
            fields=("data.dsn", "data.*password*"),
            line=8,
        ),
    )


def test_reveals_stand_among_the_rules_and_are_none() -> None:
    [policy] = parse_policies(
        HEAD
        + """\
  rules:
    - {id: see-all, effect: reveal, apiGroups: [""], resources: [configmaps], approval: none}
    - id: see-key
      effect: reveal
      apiGroups: [""]
      resources: [secrets]
      namespaces: [ci]
      names: [deploy-key]
      masks: [narrowgate/secret-data, other/mask-key]
      approval: {from: [{group: sre, count: 2}], within: 5m}
""",
        "f.yaml",
    )
    assert policy.rules == ()
    assert policy.reveals == (
        Reveal(id="see-all", api_groups=("",), resources=("configmaps",), line=8),
        Reveal(
            id="see-key",
            api_groups=("",),
            resources=("secrets",),
            namespaces=("ci",),
            names=("deploy-key",),
            masks=("narrowgate/secret-data", "other/mask-key"),
            approval=Approval((Approvers("sre", 2),), 300.0),
            line=9,
        ),
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "rules: [{id: a, effect: reveal, apiGroups: [''], resources: [secrets], masks: [narrowgate/secrets-data], "
            "approval: none}]",
            'did you mean "narrowgate/secret-data"',
        ),
        (
            "rules: [{id: a, effect: reveal, apiGroups: [''], resources: [secrets], masks: [narrowgate/unreadable], "
            "approval: none}]",
            "is no mask of the gate that can be revealed",
        ),
        ("rules: [{id: a, effect: reveal, apiGroups: [''], resources: [secrets]}]", "has no approval"),
        (
            "rules: [{id: a, effect: reveal, verbs: [get], apiGroups: [''], resources: [secrets], approval: none}]",
            "spec.rules[0].verbs: unknown key",
        ),
        (
            "rules: [{id: a, effect: reveal, apiGroups: [''], resources: [secrets], masks: [secret-data], "
            "approval: none}]",
            'write "narrowgate/secret-data" for a mask of the gate',
        ),
        (
            "rules: [{id: a, effect: reveal, apiGroups: [''], resources: [secrets], names: ['a*'], approval: none}]",
            '"a*" is a pattern',
        ),
        ("rules: [{id: a, effect: reveal, resources: [secrets], approval: none}]", "has no apiGroups"),
        (
            "rules: [{id: a, effect: reveal, apiGroups: [''], resources: [secrets], approval: none}]\n"
            "  masks: [{id: a, apiGroups: [''], resources: [secrets], fields: [data]}]",
            'the id "a" is taken',
        ),
        ("masks: [{id: a, apiGroups: [''], resources: [secrets]}]", "has no fields"),
        ("rules: [{id: a, effect: revel, apiGroups: [''], resources: [secrets]}]", 'did you mean "reveal"'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(written: str, said: str) -> None:
    with pytest.raises(PolicyErrors) as refused:
        parse_policies(f"{HEAD}  {written}\n", "f.yaml")
    assert said in str(refused.value)
    assert "f.yaml:" in str(refused.value)
