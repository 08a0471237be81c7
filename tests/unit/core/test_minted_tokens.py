"""Whose tokens a request has made, and for whom."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import asks

from narrowgate.core.intent import Intent
from narrowgate.core.minted_tokens import asks_for_certificate, audiences_of, minted_accounts, requests_token
from narrowgate.core.uses import uses_of

TOKEN = asks("create", "serviceaccounts/token", "strong", namespace="ci")


def for_whom(audiences: Any) -> tuple[str, ...]:
    return audiences_of(msgspec.structs.replace(TOKEN, object={"spec": {"audiences": audiences}}))


def secret(kind: str = "kubernetes.io/service-account-token", **notes: str) -> Intent:
    what = asks("create", "secrets", "s", namespace="ci")
    written = {"type": kind, "metadata": {"name": "s", "annotations": notes}}
    return msgspec.structs.replace(what, object=written, uses=tuple(uses_of(what.info, written)))


@pytest.mark.parametrize("verb", ["create", "update", "patch"])
def test_a_token_request_is_about_the_account_in_its_path(verb: str) -> None:
    what = asks(verb, "serviceaccounts/token", "strong", namespace="ci")
    assert requests_token(what.info)
    assert minted_accounts(what) == ("strong",)


@pytest.mark.parametrize(
    "other",
    [
        asks("get", "serviceaccounts/token", "strong", namespace="ci"),
        asks("create", "serviceaccounts", "strong", namespace="ci"),
        asks("create", "serviceaccounts/token", "strong", namespace="ci", group="corp.example"),
        asks("create", "pods", "p", namespace="ci"),
        secret("Opaque", **{"kubernetes.io/service-account.name": "strong"}),
        secret(),
    ],
)
def test_nothing_else_has_tokens_made(other: Intent) -> None:
    assert minted_accounts(other) == ()


def test_a_secret_for_a_token_is_a_token_that_never_ends() -> None:
    what = secret(**{"kubernetes.io/service-account.name": "strong"})
    assert minted_accounts(what) == ("strong",)
    assert not requests_token(what.info)
    assert audiences_of(what) == ("",)


@pytest.mark.parametrize(
    ("audiences", "found"),
    [
        (["gate"], ("gate",)),
        (["gate", "vault", "gate"], ("gate", "vault")),
        ([], ("",)),
        (None, ("",)),
        ("gate", ("",)),
        ([1, "gate"], ("", "gate")),
        ([""], ("",)),
    ],
)
def test_who_is_not_named_is_the_api_server(audiences: Any, found: tuple[str, ...]) -> None:
    assert for_whom(audiences) == found


@pytest.mark.parametrize(
    ("verb", "written", "asks_for"),
    [
        ("create", {"spec": {"signerName": "kubernetes.io/kube-apiserver-client"}}, True),
        ("create", {"spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet"}}, True),
        ("create", {"spec": {"signerName": "kubernetes.io/kubelet-serving"}}, False),
        ("create", {"spec": {"signerName": "example.com/own"}}, False),
        ("create", None, True),
        ("patch", None, True),
        ("get", None, False),
        ("delete", None, False),
    ],
)
def test_a_certificate_for_clients_of_the_api_server_is_as_good_as_a_token(
    verb: str, written: Any, asks_for: bool
) -> None:
    what = asks(verb, "certificatesigningrequests", "c", group="certificates.k8s.io", namespaced=False)
    assert asks_for_certificate(msgspec.structs.replace(what, object=written)) is asks_for
    other = asks(verb, "certificatesigningrequests", "c", group="corp.example", namespaced=False)
    assert not asks_for_certificate(msgspec.structs.replace(other, object=written))


@pytest.mark.parametrize("body", [None, {}, {"spec": None}, {"spec": []}, [], "x"])
def test_a_body_that_says_nothing_asks_for_a_token_for_the_api_server(body: Any) -> None:
    assert audiences_of(msgspec.structs.replace(TOKEN, object=body)) == ("",)
