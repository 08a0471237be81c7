from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from narrowgate.core.known_resources import GROUPS_OF
from narrowgate.core.masking.built_in import (
    ARGUMENT,
    BUILT_IN_RULES,
    CONFIG_SECRET,
    ENV,
    FIELD,
    HEADER,
    ISSUED_TOKEN,
    SECRET_DATA,
    built_in_rules,
    entries_of,
    is_known,
    structure_of,
)
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.patterns import TEXT_RULES
from narrowgate.core.masking.plan import Embedded, Forget, Hide, Key, Root, Scan, SecretAnnotation
from narrowgate.core.masking.resource_plan import HeldMask, plan_for

TEXTS = set(TEXT_RULES)


@pytest.mark.parametrize(
    ("group", "resource", "rules"),
    [
        ("", "secrets", {SECRET_DATA}),
        ("", "serviceaccounts/token", {ISSUED_TOKEN}),
        ("authentication.k8s.io", "tokenreviews", {ISSUED_TOKEN}),
        ("", "configmaps", {CONFIG_SECRET}),
        ("", "pods", {ENV, ARGUMENT, HEADER}),
        ("", "pods/status", {ENV, ARGUMENT, HEADER}),
        ("apps", "deployments", {ENV, ARGUMENT, HEADER}),
        ("batch", "cronjobs", {ENV, ARGUMENT, HEADER}),
        ("apps", "controllerrevisions", {ENV, ARGUMENT, HEADER, FIELD, SECRET_DATA}),
        ("example.com", "widgets", {ENV, ARGUMENT, HEADER, FIELD, SECRET_DATA}),
        ("", "events", set()),
        ("", "services", set()),
    ],
)
def test_the_masks_that_know_a_place_in_a_resource(group: str, resource: str, rules: set[str]) -> None:
    assert rules <= set(built_in_rules(group, resource))
    assert set(built_in_rules(group, resource)) <= BUILT_IN_RULES.keys()
    assert set(built_in_rules(group, resource)) >= TEXTS


@pytest.mark.parametrize(
    ("group", "resource"),
    [("coordination.k8s.io", "leases"), ("rbac.authorization.k8s.io", "roles"), ("discovery.k8s.io", "endpointslices"),
     ("authorization.k8s.io", "selfsubjectaccessreviews"), ("metrics.k8s.io", "pods")],
)  # fmt: skip
def test_what_holds_names_and_numbers_passes_as_it_is(group: str, resource: str) -> None:
    assert built_in_rules(group, resource) == ()


def test_a_resource_of_the_same_name_in_another_group_is_unknown() -> None:
    assert SECRET_DATA in built_in_rules("secrets.example.com", "secrets")
    assert not is_known("example.com", "pods")
    assert built_in_rules("example.com", "leases") != ()


def test_every_resource_of_kubernetes_is_looked_at_or_known_to_hold_nothing() -> None:
    passing = {
        (group, plural) for plural, groups in GROUPS_OF.items() for group in groups if not built_in_rules(group, plural)
    }
    assert len(passing) < 25
    assert not passing & {("", "nodes"), ("", "persistentvolumes"), ("apps", "deployments"), ("", "serviceaccounts")}


def test_a_mask_that_does_not_hold_finds_nothing() -> None:
    without = [*entries_of("", "secrets", BUILT_IN_RULES.keys() - {SECRET_DATA})]
    assert [entry for entry in without if isinstance(entry.action, Hide) and entry.action.rule == SECRET_DATA] == []
    silent = [*entries_of("", "pods", {ENV})]
    assert [entry for entry in silent if isinstance(entry.action, Scan)] == []


def test_flags_are_still_scanned_where_arguments_are_revealed() -> None:
    revealed = [*entries_of("", "pods", TEXTS)]
    steps = {entry.steps for entry in entries_of("", "pods", {ARGUMENT}) if entry.root is Root.OBJECT}
    assert {entry.steps for entry in revealed if isinstance(entry.action, Scan)} & steps


def test_a_copy_of_the_object_is_always_looked_into() -> None:
    copies = [entry for entry in structure_of("example.com", "widgets") if isinstance(entry.action, Embedded)]
    assert [(entry.steps[:2], entry.action) for entry in copies] == [
        ((Key("metadata"), Key("annotations")), Embedded(Root.OBJECT, "narrowgate/unreadable"))
    ]


def test_every_mask_has_a_name_that_policies_can_write_and_says_what_it_masks() -> None:
    assert all(re.fullmatch(r"narrowgate/[a-z][a-z-]{0,62}", rule) and said for rule, said in BUILT_IN_RULES.items())


def test_the_page_of_masks_has_a_row_for_each() -> None:
    page = (Path(__file__).parents[4] / "docs" / "masks.md").read_text()
    rows = re.findall(r"^\| `(narrowgate/[a-z-]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(BUILT_IN_RULES)


def test_annotations_named_like_secrets_are_masked_wherever_there_are_any() -> None:
    for resource in (("", "pods"), ("", "serviceaccounts"), ("apps", "deployments"), ("example.com", "widgets")):
        assert FIELD in built_in_rules(*resource)
        steps = [entry.steps for entry in entries_of(*resource, {FIELD}) if isinstance(entry.action, Hide)]
        assert (Key("metadata"), Key("annotations"), SecretAnnotation()) in steps


def test_keys_of_managed_fields_are_looked_through_while_any_text_is() -> None:
    for rules, forgets in ((TEXTS, True), ({FIELD}, False), (BUILT_IN_RULES.keys(), True)):
        said = [entry.action for entry in entries_of("example.com", "widgets", rules)]
        assert any(isinstance(action, Forget) and action.texts for action in said) is forgets


@pytest.mark.parametrize(
    ("document", "hidden"),
    [
        ({"apiKey": "x"}, ["apiKey"]),
        ({"spec": {"apiKey": "x"}}, ["spec"]),
        ({"stringData": {"a": "x"}}, ["stringData"]),
        ({"args": ["--password", "x"]}, ["args"]),
        ({"httpHeaders": [{"name": "Authorization", "value": "x"}]}, ["httpHeaders"]),
        ({"annotations": {"a": '{"password": "x"}'}}, ["annotations"]),
        ({"tokenTTL": "1h", "secretName": "x", "kind": "Token", "colour": "red"}, []),
    ],
)
def test_a_custom_resource_needs_no_spec_for_its_secrets_to_be_found(document: Any, hidden: list[str]) -> None:
    plan = plan_for("example.com", "widgets", tuple(HeldMask(rule) for rule in sorted(BUILT_IN_RULES)))
    assert plan is not None
    assert plan.objects is not None
    left = ObjectMasker(plan, ValueMasker(bytes(32)), {}).mask(document, plan.objects)
    assert [key for key in document if left[key] != document[key]] == hidden
