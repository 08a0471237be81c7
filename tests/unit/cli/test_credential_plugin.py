"""The plugin that kubectl starts: what it hands over, what it refuses, and that it loads nothing it does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from narrowgate.cli.credential_plugin import Unusable, exec_credential, read_credential

CREDENTIAL = "ng1_aaaqeayeau_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8Aj1quA"
FUTURE = "2999-12-31T00:00:00Z"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from narrowgate.cli.credential_plugin import main; sys.exit(main())"]
    around = {name: value for name, value in os.environ.items() if not name.startswith(("NARROWGATE_", "KUBERNETES_"))}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, env=around | environment)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "agent.credential"
    path.write_text(f"{CREDENTIAL}\nexpires: {FUTURE}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("form", ["--credential-file={}", "--credential-file {}"])
def test_a_credential_file_becomes_an_exec_credential(file: Path, form: str) -> None:
    done = run(*form.format(file).split())
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": CREDENTIAL, "expirationTimestamp": FUTURE},
    }


def test_the_environment_does_without_a_file_and_a_file_wins_over_it(file: Path) -> None:
    assert json.loads(run(NARROWGATE_CREDENTIAL="abc").stdout)["status"] == {"token": "abc"}
    done = run("--credential-file", str(file), NARROWGATE_CREDENTIAL="abc")
    assert json.loads(done.stdout)["status"]["token"] == CREDENTIAL


def test_an_older_kubectl_gets_the_version_that_it_asked_for() -> None:
    asked = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false}}'
    assert json.loads(exec_credential("t", "", asked))["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    assert json.loads(exec_credential("t", "", asked.replace("v1beta1", "v1")))["apiVersion"].endswith("/v1")


def test_an_expired_credential_is_not_handed_over(file: Path) -> None:
    file.write_text(f"{CREDENTIAL}\nexpires: 2026-01-01T00:00:00Z\n")
    done = run("--credential-file", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"narrowgate-credential: {file}: the credential expired on 2026-01-01T00:00:00Z; "
        "ask for `narrowgate agents rotate`\n"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_touch_is_refused_with_the_command_that_mends_it(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(Unusable, match=rf"other users may read it \(mode 0{mode:o}\); run: chmod 600 {file}"):
        read_credential(str(file), "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "empty"),
        ("\nabc", "empty"),
        ('a"b', "characters that no credential has"),
        ("a b", "characters that no credential has"),
        ("a\r\nexpires: x", "line 2"),
        ("a\nexpires: 2026-01-01", "line 2"),
        ('a\nexpires: 2026-01-01T00:00:00Z","x":"', "line 2"),
        ("ä", "holds something else"),
        ("a" * 5000, "holds something else"),
    ],
)
def test_a_file_with_something_else_in_it_is_refused_without_showing_it(file: Path, content: str, says: str) -> None:
    file.write_text(content)
    with pytest.raises(Unusable, match=says) as caught:
        read_credential(str(file), "")
    assert str(caught.value).startswith(str(file))
    assert not content.strip() or content not in str(caught.value)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    for name, says in (
        ("pipe", "not a file"),
        ("folder", "not a file"),
        ("gone", "no such file or directory; correct"),
    ):
        with pytest.raises(Unusable, match=says):
            read_credential(str(tmp_path / name), "")


def test_without_a_credential_both_ways_to_give_one_are_named() -> None:
    done = run()
    assert done.returncode == 1
    assert "--credential-file FILE" in done.stderr
    assert "NARROWGATE_CREDENTIAL" in done.stderr


@pytest.mark.parametrize("arguments", [["--credential"], ["--credential-file"], ["--credential-file="], ["a", "b"]])
def test_misuse_is_exit_code_two_with_the_usage(arguments: list[str]) -> None:
    done = run(*arguments, NARROWGATE_CREDENTIAL="abc")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: narrowgate-credential" in done.stderr


def test_help_is_no_error() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "--credential-file" in done.stdout


def test_it_loads_nothing_that_a_bare_python_has_not_loaded(file: Path) -> None:
    bare = "import sys; print(*sorted(sys.modules))"
    plugin = (
        "import sys; from narrowgate.cli import credential_plugin as p; p.read_credential(sys.argv[1], '');"
        "print(*sorted(sys.modules))"
    )
    modules = [
        set(
            subprocess.run(
                [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
            ).stdout.split()
        )
        for program in (bare, plugin)
    ]
    ours = {"access_cache", "credential_plugin", "private_text"}
    assert modules[1] - modules[0] <= {
        "narrowgate",
        "narrowgate.cli",
        "__future__",
        *(f"narrowgate.cli.{one}" for one in ours),
    }
