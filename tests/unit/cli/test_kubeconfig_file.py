"""Kubeconfigs for the gate: one context, always verified."""

from __future__ import annotations

import base64

import pytest
import yaml

from narrowgate.cli.kubeconfig_file import HEADING, CredentialPlugin, ExchangingPlugin, InlineToken, kubeconfig_document


def test_a_kubeconfig_has_one_context_with_the_gates_ca_and_the_credential() -> None:
    text = kubeconfig_document("https://gate:8443", b"PEM", "prod", "ci-bot", InlineToken("ng1_x"))
    assert text.startswith(HEADING)
    assert yaml.safe_load(text) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "prod",
                "cluster": {
                    "server": "https://gate:8443",
                    "certificate-authority-data": base64.b64encode(b"PEM").decode(),
                },
            }
        ],
        "users": [{"name": "ci-bot", "user": {"token": "ng1_x"}}],
        "contexts": [{"name": "ci-bot@prod", "context": {"cluster": "prod", "user": "ci-bot"}}],
        "current-context": "ci-bot@prod",
    }


def test_with_the_plugin_the_credential_is_not_in_it() -> None:
    text = kubeconfig_document("https://gate:8443", b"PEM", "prod", "ci-bot", CredentialPlugin("p", "/x/ci.credential"))
    run = yaml.safe_load(text)["users"][0]["user"]["exec"]
    assert run["apiVersion"] == "client.authentication.k8s.io/v1"
    assert (run["command"], run["args"]) == ("p", ["--credential-file", "/x/ci.credential"])
    assert run["interactiveMode"] == "Never"
    assert "token" not in text


def test_without_a_ca_the_system_is_trusted_and_verification_stays_on() -> None:
    text = kubeconfig_document("https://gate:8443", b"", "prod", "ci-bot", InlineToken("x"))
    assert yaml.safe_load(text)["clusters"][0]["cluster"] == {"server": "https://gate:8443"}
    assert "insecure" not in text


def test_words_that_yaml_would_take_for_something_else_stay_words() -> None:
    loaded = yaml.safe_load(kubeconfig_document("https://gate:1", b"", "on", "123", InlineToken("x")))
    assert (loaded["clusters"][0]["name"], loaded["users"][0]["name"]) == ("on", "123")


def test_a_gate_without_tls_is_never_written_down() -> None:
    with pytest.raises(ValueError, match="https"):
        kubeconfig_document("http://gate:8443", b"", "prod", "a", InlineToken("x"))


def test_a_plugin_that_exchanges_is_told_what_it_needs_and_never_asks_anybody() -> None:
    plugin = ExchangingPlugin(gate="https://gate:8444", cluster="prod")
    run = yaml.safe_load(kubeconfig_document("https://gate:8443", b"", "prod", "alice", plugin))["users"][0]["user"][
        "exec"
    ]
    assert run["args"] == ["--gate", "https://gate:8444", "--cluster", "prod"]
    assert (run["interactiveMode"], run["provideClusterInfo"]) == ("Never", False)


def test_for_a_workload_it_brings_the_ca_of_the_gate_along() -> None:
    plugin = ExchangingPlugin(gate="https://gate:8444", cluster="prod", token_file="/run/token", authority="PEM")
    data = base64.b64encode(b"PEM").decode()
    assert plugin.arguments[4:] == ["--token-file", "/run/token", "--certificate-authority-data", data]
