"""Lint of masks and reveals: what hides less, or shows more, than its writer means."""

from __future__ import annotations

import msgspec
import pytest
from tests.deciding import TWO_OF_SRE, policy, rule

from narrowgate.core.lint import lint
from narrowgate.core.policy import Mask, Policy, Reveal

READ = rule("allow", "get list", "configmaps pods secrets", namespaces="ci", names="app", id="read")


def mask(resources: str = "configmaps", fields: str = "data.dsn", group: str = "", **other: object) -> Mask:
    made = Mask(id="it", api_groups=(group,), resources=tuple(resources.split()), fields=tuple(fields.split()), line=5)
    return msgspec.structs.replace(made, **other)


def reveal(resources: str = "configmaps", group: str = "", **other: object) -> Reveal:
    made = Reveal(id="see", api_groups=(group,), resources=tuple(resources.split()), line=6)
    return msgspec.structs.replace(made, **other)


def checks(*policies: Policy) -> list[tuple[str, str]]:
    """The findings about masks and reveals."""
    found = [(one.rule, one.check) for one in lint(policies)]
    return [pair for pair in found if pair[1].startswith(("mask-", "reveal-"))]


def written(*parts: Mask | Reveal, rules: tuple[object, ...] = (READ,)) -> Policy:
    masks = tuple(part for part in parts if isinstance(part, Mask))
    reveals = tuple(part for part in parts if isinstance(part, Reveal))
    return msgspec.structs.replace(policy(), rules=rules, masks=masks, reveals=reveals)


@pytest.mark.parametrize(
    ("part", "check"),
    [
        (mask("widgets", group="example.com"), "mask-unread"),
        (mask("configmaps", group="apps"), "mask-unread"),
        (mask("pods", "data.x"), "mask-no-field"),
        (mask("configmaps secrets", "spec.password"), "mask-no-field"),
        (reveal(masks=("test/typo",)), "reveal-unknown"),
        (reveal("configmaps", masks=("narrowgate/header",)), "reveal-nothing"),
        (reveal("leases", group="coordination.k8s.io"), "reveal-nothing"),
        (reveal("secrets"), "reveal-secrets"),
        (reveal("secrets", namespaces=("ci",)), "reveal-secrets"),
        (reveal("*", group="*"), "reveal-secrets"),
        (reveal("secrets", masks=("narrowgate/secret-data",)), "reveal-secrets"),
        (reveal("nodes", approval=TWO_OF_SRE), "reveal-unread"),
    ],
)
def test_what_is_worth_a_second_look_is_found(part: Mask | Reveal, check: str) -> None:
    assert checks(written(part)) == [(part.id, check)]


@pytest.mark.parametrize(
    "part",
    [
        mask(),
        mask("pods/log", "**.password"),
        mask("pods", "spec.containers[*].env"),
        mask("pods widgets", "data.x"),
        mask("*", "data.x", group="*"),
        mask("configmaps", "*a*.x"),
        reveal(),
        reveal("pods", masks=("narrowgate/env",)),
        reveal("*", masks=("narrowgate/env",)),
        reveal("secrets", names=("app",)),
        reveal("secrets", approval=TWO_OF_SRE),
        reveal("secrets", masks=("narrowgate/private-key",)),
        reveal("secrets", group="example.com"),
    ],
)
def test_what_does_what_it_says_is_left_alone(part: Mask | Reveal) -> None:
    assert checks(written(part)) == []


def test_masks_of_other_policies_count() -> None:
    masks = msgspec.structs.replace(policy(name="base"), masks=(mask(),))
    reveals = written(reveal(masks=("base/it",)))
    assert checks(masks, reveals) == []
    assert checks(reveals) == [("see", "reveal-unknown")]
    elsewhere = written(reveal("pods", masks=("base/it",)))
    assert checks(masks, elsewhere) == [("see", "reveal-nothing")]
    of_leases = msgspec.structs.replace(
        policy(rule("allow", "get", "leases", groups="coordination.k8s.io", namespaces="ci")),
        masks=(mask("leases", "spec.holderIdentity", group="coordination.k8s.io"),),
        reveals=(reveal("leases", group="coordination.k8s.io"),),
    )
    assert checks(of_leases) == []


def test_masks_without_rules_beside_them_are_a_part_of_a_set() -> None:
    assert checks(written(mask(), rules=())) == []


def test_reading_may_be_granted_or_approved() -> None:
    for effect in ("grantable", "approve"):
        rules = (rule(effect, "get", "configmaps", namespaces="ci"),)
        assert checks(written(mask(), reveal(approval=TWO_OF_SRE), rules=rules)) == []
    denied = (rule("deny", "get list watch", "configmaps"), rule("allow", "get", "pods", namespaces="ci"))
    assert checks(written(mask(), rules=denied)) == [("it", "mask-unread")]
    lists = (rule("allow", "list", "configmaps", namespaces="ci"),)
    assert checks(written(reveal(approval=TWO_OF_SRE), rules=lists)) == [("see", "reveal-unread")]


def test_a_finding_says_where_it_is() -> None:
    (found,) = [one for one in lint([written(mask("pods", "data.x"))]) if one.rule == "it"]
    assert str(found) == 'test.yaml:5: test/it: masks "data.x", and pods have no data, they have metadata, spec, status'
