"""`narrowgate clusters`: what is registered, in the configuration file itself. Checks need a cluster: tests/e2e."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.unit.cli.terminal import Terminal

from narrowgate.keys import Keys


@pytest.fixture
def token_cluster(shell: Terminal) -> tuple[str, ...]:
    """The options of a cluster that is given by address, CA and token file."""
    authority = shell.write(
        "ca.crt", Keys.load_or_make(shell.folder / "elsewhere", ("localhost",), None).ca_pem.decode()
    )
    token = shell.write("token", "abc.def")
    return "--server", "https://127.0.0.1:1", "--certificate-authority", str(authority), "--token-file", str(token)


def test_an_added_cluster_is_written_with_paths_that_travel(shell: Terminal, token_cluster: tuple[str, ...]) -> None:
    done = shell("clusters", "add", "stage", *token_cluster, "--mode", "impersonate")
    assert done.code == 0
    assert yaml.safe_load(shell.config.read_text())["clusters"][-1] == {
        "name": "stage",
        "server": "https://127.0.0.1:1",
        "certificateAuthority": "./ca.crt",
        "tokenFile": "./token",
        "upstream": {"mode": "impersonate"},
    }


def test_comments_stay_and_the_file_as_it_was_is_kept(shell: Terminal, token_cluster: tuple[str, ...]) -> None:
    before = shell.config.read_text()
    shell.config.chmod(0o640)
    shell("clusters", "add", "stage", *token_cluster)
    assert "- name: prod  # ours\n" in shell.config.read_text()
    assert (shell.folder / "narrowgate.yaml.before").read_text() == before
    assert shell.config.stat().st_mode & 0o777 == 0o640


def test_a_cluster_that_is_there_is_not_added_again(shell: Terminal, token_cluster: tuple[str, ...]) -> None:
    before = shell.config.read_text()
    done = shell("clusters", "add", "prod", *token_cluster)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert shell.config.read_text() == before


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--in-cluster", "--kubeconfig", "x"),
        ("--server", "https://a:1"),
        ("--in-cluster", "--context", "x"),
        ("--in-cluster", "--token-file", "x"),
    ],
)
def test_a_cluster_given_in_no_way_or_in_two_is_misuse(shell: Terminal, options: tuple[str, ...]) -> None:
    before = shell.config.read_text()
    done = shell("clusters", "add", "stage", *options)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert shell.config.read_text() == before


@pytest.mark.parametrize("name", ["Stage", "a b", "a" * 64, ""])
def test_a_name_that_is_none_changes_nothing(shell: Terminal, token_cluster: tuple[str, ...], name: str) -> None:
    before = shell.config.read_text()
    done = shell("clusters", "add", name, *token_cluster)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert shell.config.read_text() == before


def test_a_credential_that_cannot_be_read_changes_nothing(shell: Terminal, token_cluster: tuple[str, ...]) -> None:
    before = shell.config.read_text()
    (shell.folder / "token").write_text("not a token\n")
    done = shell("clusters", "add", "stage", *token_cluster)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert shell.config.read_text() == before


def test_the_list_shows_what_is_wrong_with_a_cluster(shell: Terminal, token_cluster: tuple[str, ...]) -> None:
    shell("clusters", "add", "stage", *token_cluster)
    rows = {row["name"]: row for row in shell("clusters", "list", "-o", "json").json}
    assert rows["stage"]["server"] == "https://127.0.0.1:1"
    assert rows["stage"]["problem"] == ""
    assert "inCluster works in a pod only" in rows["prod"]["problem"]


def test_a_removed_cluster_is_gone_and_the_rest_stays(shell: Terminal, token_cluster: tuple[str, ...]) -> None:
    before = shell.config.read_text()
    shell("clusters", "add", "stage", *token_cluster)
    assert shell("clusters", "remove", "stage").code == 0
    assert shell.config.read_text() == before


def test_removing_what_is_not_there_names_what_is(shell: Terminal) -> None:
    done = shell("clusters", "remove", "stage")
    assert (done.code, done.err) == (
        1,
        f'narrowgate: no cluster "stage", {shell.config}: registered are: prod\n',
    )


def test_manifests_come_as_yaml_and_as_a_list_in_json(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    written = list(yaml.safe_load_all(shell("clusters", "manifests", "prod").out))
    listed = shell("clusters", "manifests", "prod", "-o", "json").json
    assert listed["kind"] == "List"
    assert listed["items"] == written
    assert {one["kind"] for one in written} >= {"Namespace", "ServiceAccount", "ClusterRole", "Role", "RoleBinding"}


def test_constrained_goes_with_impersonation_alone(shell: Terminal) -> None:
    assert shell("clusters", "manifests", "prod", "--mode", "serviceAccount", "--constrained").code == 2


def test_a_check_without_a_cluster_says_how_to_add_one(shell: Terminal, tmp_path: Path) -> None:
    shell.config.write_text("apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n")
    done = shell("clusters", "check")
    assert done.code == 1
    assert "narrowgate clusters add" in done.err


def test_a_cluster_that_does_not_answer_is_said_in_one_line(shell: Terminal, token_cluster: tuple[str, ...]) -> None:
    shell("clusters", "add", "stage", *token_cluster)
    done = shell("clusters", "check", "stage", "-o", "json")
    assert done.code == 1
    assert [line["outcome"] for line in done.json["stage"]] == ["failed"]
    assert "cannot connect (connection refused)" in done.json["stage"][0]["found"]
