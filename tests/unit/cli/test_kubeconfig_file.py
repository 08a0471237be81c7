"""Kubeconfigs for the gate, and how files with a credential come to be."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
import yaml

from narrowgate.cli.failure import Failed
from narrowgate.cli.kubeconfig_file import HEADING, CredentialPlugin, InlineToken, kubeconfig_document
from narrowgate.cli.private_file import written_together


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


def test_files_appear_together_for_their_owner_alone(tmp_path: Path) -> None:
    with written_together({tmp_path / "a": "one", tmp_path / "b": "two"}):
        assert not (tmp_path / "a").exists()
    assert {path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()} == {
        "a": ("one", 0o600),
        "b": ("two", 0o600),
    }


def test_a_file_that_was_readable_by_others_is_not_any_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o644)
    with written_together({tmp_path / "a": "new"}):
        pass
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_block_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), written_together({tmp_path / "a": "new", tmp_path / "b": "new"}):
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_what_cannot_be_written_is_known_before_the_block_begins(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    begun = []
    for path, says in ((tmp_path / "gone" / "a", "make the folder"), (tmp_path / "folder", "name a file in it")):
        with pytest.raises(Failed, match=says), written_together({tmp_path / "first": "x", path: "y"}):
            begun.append(path)
    assert begun == []
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
