"""What an impersonating account may do besides, from the API server's own words."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.rights import SECRET_READING, TOKEN_REVIEWS, lineage_rights
from narrowgate.main.boot_check import excess_of

FENCED = {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["narrowgate:agent:ci"]}
EXTRA = {
    "verbs": ["impersonate"],
    "apiGroups": ["authentication.k8s.io"],
    "resources": ["userextras/narrowgate.dev/chain"],
}
EVERYBODY = {
    "verbs": ["create"],
    "apiGroups": ["authorization.k8s.io"],
    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
}


def status(*rules: dict[str, Any], urls: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    return {"resourceRules": list(rules), "nonResourceRules": list(urls), **more}


def test_fenced_impersonation_and_what_everybody_may_is_no_excess() -> None:
    urls = ({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/version", "/api/*"]},)
    assert excess_of(status(FENCED, EXTRA, EVERYBODY, urls=urls, incomplete=False)) == []


@pytest.mark.parametrize(
    "rule",
    [
        {**FENCED, "resourceNames": []},
        {**FENCED, "resourceNames": ["system:masters"]},
        {**FENCED, "resourceNames": ["narrowgate:agent:ci", "alice"]},
        {**FENCED, "resources": ["groups"], "resourceNames": ["system:masters"]},
        {**FENCED, "resources": ["serviceaccounts"], "resourceNames": ["default"]},
        {**EXTRA, "resources": ["userextras/scopes"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"]},
        {"verbs": ["*"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["narrowgate:agent:ci"]},
        {"verbs": ["impersonate"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]},
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    ],
)
def test_anything_beyond_is_named(rule: dict[str, Any]) -> None:
    assert len(excess_of(status(FENCED, rule))) >= 1


TOKENS = {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"]}


def test_asking_about_tokens_is_no_excess_where_the_gate_does_so_and_only_there() -> None:
    assert excess_of(status(FENCED, TOKENS), (TOKEN_REVIEWS,)) == []
    assert excess_of(status(FENCED, TOKENS)) == ["create tokenreviews.authentication.k8s.io"]


@pytest.mark.parametrize("wider", [{"verbs": ["*"]}, {"resources": ["*"]}, {"apiGroups": ["*"]}])
def test_more_than_asking_about_tokens_is_excess(wider: dict[str, Any]) -> None:
    assert excess_of(status(FENCED, {**TOKENS, **wider}), (TOKEN_REVIEWS,))


def test_reading_pods_and_their_owners_is_no_excess_where_pods_are_placed_and_only_there() -> None:
    rules = [
        {"verbs": [right.verb], "apiGroups": [right.group], "resources": [right.resource]}
        for right in lineage_rights([("example.com", "databases")])
    ]
    assert excess_of(status(FENCED, *rules), lineage_rights([("example.com", "databases")])) == []
    assert excess_of(status(FENCED, *rules), lineage_rights()) == [
        "get databases.example.com",
        "list databases.example.com",
    ]
    assert len(excess_of(status(FENCED, *rules))) == len(rules)
    wider = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}
    assert excess_of(status(FENCED, wider), lineage_rights()) == ["get pods/log"]


def test_a_path_beyond_is_named() -> None:
    assert excess_of(status(FENCED, urls=({"verbs": ["get"], "nonResourceURLs": ["/metrics"]},))) == ["get /metrics"]


def test_what_the_api_server_could_not_tell_counts_as_excess() -> None:
    (found,) = excess_of(status(FENCED, incomplete=True, evaluationError="webhook away"))
    assert "webhook away" in found


def test_an_answer_without_rules_is_an_account_without_rights() -> None:
    assert excess_of({"resourceRules": None}) == []


READING = {"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["secrets"]}


def test_reading_secrets_is_no_excess_where_their_values_are_masked_and_only_there() -> None:
    assert excess_of(status(FENCED, READING), SECRET_READING) == []
    assert excess_of(status(FENCED, READING)) == ["list secrets", "watch secrets"]
    assert excess_of(status(FENCED, {**READING, "verbs": ["get"]}), SECRET_READING) == ["get secrets"]
