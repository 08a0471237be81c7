"""Which rule fits, that the first counts, and what is never kept whatever rules say."""

from __future__ import annotations

from typing import Any

import pytest

from narrowgate.core.audit import Level
from narrowgate.core.body_levels import BodyLevels, BodyRule, Resources, is_never_kept
from narrowgate.core.identity import Chain, Identity, Kind, chain_of
from narrowgate.core.request_info import RequestInfo

ALICE = Identity(kind=Kind.PERSON, name="alice", groups=("sre",), proven_by="jwt", credential="")
CI = Identity(kind=Kind.AGENT, name="ci", proven_by="agent-credential", credential="c")
DELEGATED = chain_of(ALICE, CI)


def info(**fields: Any) -> RequestInfo:
    known = {"is_resource_request": True, "path": "/", "verb": "update", "api_version": "v1", "resource": "pods"}
    return RequestInfo(**{**known, "namespace": "ci", "name": "web", **fields})


def level(*rules: BodyRule, who: Chain = DELEGATED, cluster: str = "prod", **fields: Any) -> Level:
    return BodyLevels(rules).of(who, cluster, info(**fields))


def kept(**asked: Any) -> BodyRule:
    return BodyRule(level=Level.REQUEST_RESPONSE, **asked)


@pytest.mark.parametrize(
    "rule",
    [
        kept(),
        kept(users=("agent:ci",)),
        kept(users=("person:alice",)),
        kept(user_groups=("sre",)),
        kept(verbs=("get", "update")),
        kept(namespaces=("ci",)),
        kept(clusters=("prod",)),
        kept(resources=(Resources(""),)),
        kept(resources=(Resources("", ("pods",)),)),
        kept(resources=(Resources("", ("*",)),)),
        kept(resources=(Resources("apps", ("pods",)), Resources("", ("pods",), ("web",)))),
    ],
)
def test_a_rule_asks_for_nothing_that_it_does_not_name(rule: BodyRule) -> None:
    assert level(rule) is Level.REQUEST_RESPONSE


@pytest.mark.parametrize(
    "rule",
    [
        kept(users=("agent:alice",)),
        kept(user_groups=("ci",)),
        kept(verbs=("get",)),
        kept(namespaces=("",)),
        kept(clusters=("dev",)),
        kept(resources=(Resources("apps"),)),
        kept(resources=(Resources("", ("pods/status",)),)),
        kept(resources=(Resources("", ("pods",), ("db",)),)),
        kept(users=("agent:ci",), verbs=("get",)),
    ],
)
def test_a_rule_that_asks_for_something_else_does_not_fit(rule: BodyRule) -> None:
    assert level(rule) is Level.METADATA


@pytest.mark.parametrize("written", ["pods/scale", "pods/*", "*/scale", "*"])
def test_subresources_are_named_as_in_kubernetes(written: str) -> None:
    rule = kept(resources=(Resources("", (written,)),))
    assert level(rule, subresource="scale") is Level.REQUEST_RESPONSE
    assert level(kept(resources=(Resources("", ("pods",)),)), subresource="scale") is Level.METADATA


def test_the_first_rule_that_fits_counts() -> None:
    quiet = BodyRule(level=Level.NONE, verbs=("get",))
    assert level(quiet, kept(), verb="get") is Level.NONE
    assert level(quiet, kept()) is Level.REQUEST_RESPONSE
    assert level(kept(), quiet, verb="get") is Level.REQUEST_RESPONSE


@pytest.mark.parametrize(
    "fields",
    [
        {"verb": "watch"},
        {"verb": "get", "subresource": "log"},
        {"verb": "create", "subresource": "exec"},
        {"verb": "create", "subresource": "portforward"},
        {"verb": "get", "subresource": "proxy"},
        {"is_resource_request": False, "resource": ""},
    ],
)
def test_what_streams_or_is_about_no_object_has_no_bodies(fields: dict[str, Any]) -> None:
    assert level(kept(), **fields) is Level.METADATA


def test_what_is_kept_of_some_is_known_of_all() -> None:
    assert not BodyLevels(()).keep_some
    assert not BodyLevels((BodyRule(level=Level.NONE), BodyRule(level=Level.METADATA))).keep_some
    assert BodyLevels((BodyRule(level=Level.NONE), BodyRule(level=Level.REQUEST))).keep_some


@pytest.mark.parametrize(
    ("fields", "is_credential"),
    [
        ({"resource": "secrets"}, True),
        ({"resource": "serviceaccounts", "subresource": "token"}, True),
        ({"api_group": "authentication.k8s.io", "resource": "tokenreviews"}, True),
        ({"resource": "serviceaccounts"}, False),
        ({"resource": "configmaps"}, False),
    ],
)
def test_credentials_are_known(fields: dict[str, Any], is_credential: bool) -> None:
    assert is_never_kept(info(**fields)) is is_credential
