"""People sign in from the command line: by Dex, in a real Chromium, and then work with kubectl."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.e2e.dex import ALICE, BOB
from tests.e2e.gate import ALLOW_ALL_RULES, Cluster
from tests.e2e.person import PersonsTerminal, StartedLogin
from tests.e2e.signing_in import SignInGate, sign_in_gate


@pytest.fixture(scope="module")
def gate(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInGate]:
    """A gate before the real cluster, where the group sre may do everything."""
    entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
    with sign_in_gate(tmp_path_factory.mktemp("login"), [entry]) as running:
        running.gate.write_policy("sre", [{"kind": "Group", "name": "corp:sre"}], ALLOW_ALL_RULES)
        yield running


@pytest.fixture
def alice(gate: SignInGate, tmp_path: Path) -> PersonsTerminal:
    return PersonsTerminal(tmp_path / "alice", gate, ALICE)


@pytest.mark.parametrize("more", [(), ("--device",)])
def test_a_person_signs_in_and_works_with_kubectl(
    cluster: Cluster, alice: PersonsTerminal, more: tuple[str, ...]
) -> None:
    document = alice.login(*more)
    assert document["person"] == ALICE.email
    assert document["expiresAt"]
    kubectl = alice.kubectl(cluster)
    kubectl.must("get", "namespaces", "-o", "name")
    assert json.loads(kubectl.must("get", "--raw", "/version"))["major"]
    event = alice.gate.gate.wait_for_event("/version")
    assert f"person:{ALICE.email}" in json.dumps(event)


def test_nothing_of_it_is_for_others_eyes_and_the_kubeconfig_holds_no_secret(alice: PersonsTerminal) -> None:
    alice.login()
    kubeconfig = alice.kubeconfig()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in alice.state.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (alice.state, *alice.state.rglob("*")) if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})
    text = kubeconfig.read_text()
    assert "ngr1_" not in text
    assert "nga1_" not in text
    document = yaml.safe_load(text)
    assert document["users"][0]["user"]["exec"]["interactiveMode"] == "Never"
    reached = document["clusters"][0]["cluster"]
    assert base64.b64decode(reached["certificate-authority-data"]).decode() == alice.gate.ca.read_text()


def test_whoami_says_who_the_gate_takes_one_for(alice: PersonsTerminal) -> None:
    alice.login()
    document = json.loads(alice("whoami", "-o", "json").out)
    assert document["confirmed"] is True
    assert document["identity"] == f"person:{ALICE.email}"
    assert document["groups"] == ["corp:developers", "corp:sre"] or set(document["groups"]) == {
        "corp:developers",
        "corp:sre",
    }
    assert document["clusters"] == ["dev"]
    assert document["signInExpiresAt"]


def test_groups_decide_what_one_may_do(cluster: Cluster, gate: SignInGate, tmp_path: Path) -> None:
    bob = PersonsTerminal(tmp_path / "bob", gate, BOB)
    bob.login()
    done = bob.kubectl(cluster)("get", "namespaces")
    assert done.code == 1
    assert "forbidden" in done.text.lower()


@pytest.mark.parametrize("more", [(), ("--device",)])
def test_a_no_in_the_browser_ends_it_with_one_line(alice: PersonsTerminal, more: tuple[str, ...]) -> None:
    with StartedLogin(alice, *more) as started:
        started.say(started.open(alice.gate.page()), "deny")
        done = started.ended()
    assert (done.code, done.out) == (1, "")
    assert "refused in the browser" in done.err.splitlines()[-1]
    assert not alice.state.exists()


@pytest.mark.parametrize("more", [(), ("--device",)])
def test_ctrl_c_leaves_nothing_behind(alice: PersonsTerminal, more: tuple[str, ...]) -> None:
    with StartedLogin(alice, *more) as started:
        started.interrupt()
        done = started.ended()
    assert done.code == 1
    assert done.err.splitlines()[-1] == "narrowgate: stopped before it was done: nothing more was changed"
    assert not alice.state.exists()


def test_a_second_login_is_another_sign_in_and_ends_the_first(alice: PersonsTerminal) -> None:
    page = alice.gate.page()
    alice.login(page=page)
    secret = json.loads((next(alice.state.glob("127*")) / "sign-in.json").read_text())["secret"]
    alice.login(page=page)
    now = json.loads((next(alice.state.glob("127*")) / "sign-in.json").read_text())["secret"]
    assert secret != now
    assert json.loads(alice("whoami", "-o", "json").out)["confirmed"] is True
    assert secret.split("_")[1] != now.split("_")[1]


def test_the_ca_is_taken_by_its_fingerprint(alice: PersonsTerminal) -> None:
    done = alice.shell.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(alice.gate.ca)])
    fingerprint = done.out.strip().partition("=")[2]
    wrong = alice("login", alice.gate.url, "--fingerprint", fingerprint.replace(fingerprint[:2], "00", 1))
    assert (wrong.code, len(wrong.err.splitlines())) == (1, 1)
    unknown = alice("login", alice.gate.url)
    assert (unknown.code, len(unknown.err.splitlines())) == (1, 1)
    assert "--fingerprint SHA256" in unknown.err
    document = alice.login("--fingerprint", fingerprint)
    assert document["person"] == ALICE.email


def test_a_cluster_that_is_not_there_shows_before_there_is_a_kubeconfig(alice: PersonsTerminal) -> None:
    alice.login()
    done = alice("kubeconfig", "--cluster", "prud")
    assert (done.code, done.out) == (1, "")
    assert "there is no cluster 'prud' here; registered are: dev" in done.err


def test_logging_out_ends_it_at_the_gate_and_here(cluster: Cluster, alice: PersonsTerminal) -> None:
    alice.login()
    kubectl = alice.kubectl(cluster)
    kubectl.must("get", "--raw", "/version")
    done = alice("logout")
    assert (done.code, done.err) == (0, f"signed out at {alice.gate.url}\n")
    after = kubectl("get", "--raw", "/version")
    assert after.code == 1
    assert f"run: narrowgate login {alice.gate.url}" in after.text
    whoami = alice("whoami")
    assert (whoami.code, len(whoami.err.splitlines())) == (1, 1)
