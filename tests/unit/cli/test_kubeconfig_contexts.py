"""What a kubeconfig can be used for: every context, every credential, and nothing of it in words."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from narrowgate.cli.kubeconfig_contexts import (
    MOST_WAYS,
    CannotUse,
    Certificate,
    Nothing,
    Plugin,
    Way,
    shown_by,
    trusting,
    way_of_pod,
    ways_in,
)

SERVER = {"server": "https://c.example:6443/k8s/c-1", "tls-server-name": "api"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def written(folder: Path, *users: dict[str, Any], cluster: dict[str, Any] = SERVER, **more: Any) -> Path:
    """A kubeconfig with a context for each user."""
    path = folder / "config"
    document = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": f"u{number}", "user": user} for number, user in enumerate(users)],
        "contexts": [
            {"name": f"x{number}", "context": {"cluster": "c", "user": f"u{number}", "namespace": "ci"}}
            for number in range(len(users))
        ],
        **more,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_every_context_is_a_way_with_its_server_and_namespace(tmp_path: Path) -> None:
    first, second = ways_in(written(tmp_path, {"token": "abc"}, {"token": "def"}))
    assert (first.context, first.proof, second.context, second.proof) == ("x0", "abc", "x1", "def")
    assert (first.host, first.port, first.prefix, first.server_name, first.namespace) == (
        "c.example", 6443, "/k8s/c-1", "api", "ci",
    )  # fmt: skip


def test_a_user_in_no_context_is_one_at_every_cluster(tmp_path: Path) -> None:
    (way,) = ways_in(written(tmp_path, {"token": "abc"}, contexts=[]))
    assert (way.context, way.proof) == ("user u0 at c", "abc")


def test_each_credential_of_one_user_is_a_way_by_itself(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    pair = {"client-certificate-data": encoded("cert"), "client-key-data": encoded("key")}
    user = {"token": "abc", "tokenFile": "token", "exec": {"command": "login", "args": ["-x"]}, **pair}
    plugin, from_file, token, certificate = (way.proof for way in ways_in(written(tmp_path, user)))
    assert isinstance(plugin, Plugin)
    assert (plugin.command, plugin.arguments, from_file, token) == ("login", ("-x",), "from-file", "abc")
    assert certificate == Certificate(b"cert", b"key")


@pytest.mark.parametrize(
    ("user", "cluster", "expected"),
    [
        ({}, SERVER, ""),
        ({"username": "a", "password": "hidden"}, SERVER, Nothing("username, which kubectl has given up")),
        ({"token": "a"}, {"server": "http://127.0.0.1:8001"}, Nothing("no https server")),
        ({"token": "a"}, {"server": "https://c:1", "proxy-url": "http://p"}, "behind a proxy"),
        ({"tokenFile": "absent"}, SERVER, "absent: cannot be read"),
        ({"client-key-data": "%%"}, SERVER, "a client-key-data that is not base64"),
        ({"token": "a"}, {"server": "https://[c"}, "Invalid IPv6 URL"),
    ],
)
def test_what_cannot_be_tried_says_why(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], expected: object
) -> None:
    ((way),) = ways_in(written(tmp_path, user, cluster=cluster))
    if isinstance(expected, str) and expected:
        assert isinstance(way.proof, Nothing)
        assert expected in way.proof.why
        with pytest.raises(CannotUse):
            shown_by(way, runs_plugins=True)
    else:
        assert way.proof == expected
    assert "hidden" not in way.kind + way.name


@pytest.mark.parametrize("text", ["- a\n", "a: &x 1\nb: *x\n", "kind: Pod\n", "clusters: 3\n", "\0", "x" * 300_000])
def test_what_is_no_kubeconfig_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CannotUse):
        ways_in(path)


def test_an_empty_kubeconfig_opens_nothing_and_one_with_too_much_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("kind: Config\nclusters: null\nusers: null\n")
    assert ways_in(path) == []
    with pytest.raises(CannotUse, match="more than 50"):
        ways_in(written(tmp_path, *({"token": "a"} for _ in range(MOST_WAYS + 1))))
    with pytest.raises(FileNotFoundError):
        ways_in(tmp_path / "absent")


def plugged(tmp_path: Path, script: str, name: str = "plugin", **more: Any) -> Way:
    path = tmp_path / name
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    (way,) = ways_in(written(tmp_path, {"exec": {"command": f"./{name}", **more}}))
    return way


def test_a_plugin_runs_only_where_that_is_wanted(tmp_path: Path) -> None:
    script = """import os; print('{"status": {"token": "%s"}}' % os.environ["SAID"])"""
    way = plugged(tmp_path, script, env=[{"name": "SAID", "value": "abc"}])
    with pytest.raises(CannotUse, match="the plugin plugin was not run; with --try it is"):
        shown_by(way, runs_plugins=False)
    assert shown_by(way, runs_plugins=True) == "abc"


def test_the_gates_own_plugin_is_known_by_more_than_its_name(tmp_path: Path) -> None:
    def is_ours(**plugin: Any) -> bool:
        ((way),) = ways_in(written(tmp_path, {"exec": plugin}))
        assert isinstance(way.proof, Plugin)
        return way.proof.is_ours

    beside = str(Path(sys.executable).with_name("narrowgate-credential"))
    assert is_ours(command="narrowgate-credential", args=["--gate", "https://g"])
    assert is_ours(command=beside)
    assert not is_ours(command="./narrowgate-credential")
    assert not is_ours(command=str(tmp_path / "narrowgate-credential"))
    # Where commands are looked for, and what Python loads, is the environment's to say.
    assert not is_ours(command="narrowgate-credential", env=[{"name": "PATH", "value": str(tmp_path)}])


@pytest.mark.parametrize("script", ["print('secret-text')", "raise SystemExit(3)", "print('[]')", "print('{}')"])
def test_a_plugin_that_gives_nothing_is_said_without_its_words(tmp_path: Path, script: str) -> None:
    with pytest.raises(CannotUse, match="gave no credential") as raised:
        shown_by(plugged(tmp_path, script), runs_plugins=True)
    assert "secret-text" not in str(raised.value)


def test_the_account_of_a_pod_is_a_way(tmp_path: Path) -> None:
    assert way_of_pod(tmp_path, {}) is None
    for name, text in (("token", "abc"), ("ca.crt", "pem"), ("namespace", "ci")):
        (tmp_path / name).write_text(text)
    way = way_of_pod(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"})
    assert way is not None
    assert (way.host, way.port, way.namespace, way.proof) == ("10.0.0.1", 443, "ci", "abc")
    (tmp_path / "ca.crt").unlink()
    unusable = way_of_pod(tmp_path, {})
    assert unusable is not None
    assert isinstance(unusable.proof, Nothing)


def test_certificates_that_are_none_cannot_be_used(tmp_path: Path) -> None:
    pair = {"client-certificate-data": encoded("cert"), "client-key-data": encoded("key")}
    (way,) = ways_in(written(tmp_path, pair))
    with pytest.raises(CannotUse, match="its certificates cannot be used"):
        trusting(way, shown_by(way, runs_plugins=False))


def test_what_is_no_file_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config")
    os.mkfifo(tmp_path / "token")
    for path in (tmp_path / "config", tmp_path, Path("/dev/zero")):
        with pytest.raises(CannotUse, match="not a file"):
            ways_in(path)
    (tmp_path / "config").unlink()
    (way,) = ways_in(written(tmp_path, {"tokenFile": "token"}))
    assert isinstance(way.proof, Nothing)
    (way,) = ways_in(written(tmp_path, {"tokenFile": "a\0b"}))
    assert isinstance(way.proof, Nothing)
