"""`narrowgate agents`: the commands, run as they are typed, on a store and keys of their own."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from narrowgate.authenticators.agent_credentials import AgentCredentials
from narrowgate.authenticators.port import Answer, Presented
from narrowgate.cli.local_operator import local_operator
from narrowgate.cli.program import run
from narrowgate.config import Config, find_config, gate_keys
from narrowgate.core.identity import Identity
from narrowgate.store.open import open_store

OWNED = ("--owner", "person:alice", "--purpose", "restarts pods")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Terminal:
    """A folder with a configuration, and a command line in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.folder = folder
        self.configure("clusters: [{name: prod, inCluster: true}]\n")

    def configure(self, text: str) -> None:
        head = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"
        (self.folder / "narrowgate.yaml").write_text(head + text)

    def config(self) -> Config:
        return find_config(str(self.folder / "narrowgate.yaml"))

    def agents(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        code = run(["agents", *arguments, "--config", str(self.folder / "narrowgate.yaml")])
        return Done(code, *self._capsys.readouterr())

    def who_is(self, credential: str) -> Answer:
        config = self.config()
        store = open_store(config.store, config.data_dir)
        try:
            authenticator = AgentCredentials.of(store.agents())
        finally:
            store.close()
        return asyncio.run(authenticator.authenticate(Presented(credential), datetime.now(UTC).timestamp()))


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, capsys)


def test_a_new_agent_gets_a_credential_that_opens_its_cluster(terminal: Terminal) -> None:
    done = terminal.agents("add", "ci-bot", *OWNED, "--group", "bots", "--group", "bots")
    assert done.code == 0
    who = terminal.who_is(done.out.strip())
    assert isinstance(who, Identity)
    assert (who.name, who.groups, who.owner, who.cluster) == ("ci-bot", ("bots",), "person:alice", "prod")
    assert "shown only now" in done.err


def test_the_credential_is_nowhere_but_in_the_one_answer(terminal: Terminal) -> None:
    credential = terminal.agents("add", "ci-bot", *OWNED).out.strip()
    for arguments in (("list",), ("list", "-o", "json")):
        assert credential[-40:] not in "".join(terminal.agents(*arguments)[1:])
    for path in terminal.folder.rglob("*"):
        assert not path.is_file() or credential[-40:].encode() not in path.read_bytes()


def test_json_tells_everything_about_a_new_agent(terminal: Terminal) -> None:
    told = json.loads(terminal.agents("add", "ci-bot", *OWNED, "--for", "12h", "-o", "json").out)
    assert isinstance(terminal.who_is(told.pop("credential")), Identity)
    made, ends = (datetime.fromisoformat(told.pop(key)) for key in ("createdAt", "expiresAt"))
    assert ends - made == timedelta(hours=12)
    assert re.fullmatch("[a-z2-7]{10}", told.pop("credentialId"))
    assert told == {
        "name": "ci-bot",
        "owner": "person:alice",
        "purpose": "restarts pods",
        "cluster": "prod",
        "groups": [],
        "labels": {},
        "state": "active",
        "endsAt": None,
        "keys": [],
        "certificateNames": [],
        "pausedBecause": "",
        "oldCredential": None,
        "handedTo": [local_operator()],
    }


def test_a_credential_lives_thirty_days_unless_told_otherwise(terminal: Terminal) -> None:
    told = json.loads(terminal.agents("add", "ci-bot", *OWNED, "-o", "json").out)
    made, ends = (datetime.fromisoformat(told[key]) for key in ("createdAt", "expiresAt"))
    assert ends - made == timedelta(days=30)


def test_with_a_kubeconfig_the_credential_is_written_and_not_shown(terminal: Terminal) -> None:
    path = terminal.folder / "ci.kubeconfig"
    done = terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path), "-o", "json")
    assert json.loads(done.out)["kubeconfig"] == str(path)
    assert "credential" not in json.loads(done.out)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = yaml.safe_load(path.read_text())
    token = loaded["users"][0]["user"]["token"]
    assert token not in done.out + done.err
    assert isinstance(terminal.who_is(token), Identity)
    assert loaded["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:8443"


def test_the_kubeconfig_carries_the_ca_of_the_gates_own_certificate(terminal: Terminal) -> None:
    path = terminal.folder / "ci.kubeconfig"
    terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path))
    keys = gate_keys(terminal.config())
    data = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    assert data == base64.b64encode(keys.ca_pem).decode()


def test_with_the_plugin_kubectl_gets_the_credential_from_its_own_file(terminal: Terminal) -> None:
    path = terminal.folder / "ci.kubeconfig"
    assert terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path), "--plugin").code == 0
    arguments = yaml.safe_load(path.read_text())["users"][0]["user"]["exec"]["args"]
    program = "import sys; from narrowgate.cli.credential_plugin import main; sys.exit(main())"
    asked = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    status = json.loads(asked.stdout)["status"]
    who = terminal.who_is(status["token"])
    assert isinstance(who, Identity)
    assert who.expires_at is not None
    assert datetime.fromisoformat(status["expirationTimestamp"]).timestamp() == int(who.expires_at)


def test_a_rotated_credential_replaces_the_old_one_at_once(terminal: Terminal) -> None:
    path = terminal.folder / "ci.kubeconfig"
    terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path))
    old = yaml.safe_load(path.read_text())["users"][0]["user"]["token"]
    assert terminal.agents("rotate", "ci-bot", "--kubeconfig", str(path)).code == 0
    new = yaml.safe_load(path.read_text())["users"][0]["user"]["token"]
    assert isinstance(terminal.who_is(new), Identity)
    assert not isinstance(terminal.who_is(old), Identity)


def test_a_rotated_credential_may_stay_good_for_a_while_but_not_longer_than_it_had(terminal: Terminal) -> None:
    old = terminal.agents("add", "ci-bot", *OWNED, "--for", "1h").out.strip()
    told = json.loads(terminal.agents("rotate", "ci-bot", "--keep-old-for", "10m", "-o", "json").out)
    before, after = terminal.who_is(old), terminal.who_is(told["credential"])
    assert isinstance(before, Identity)
    assert isinstance(after, Identity)
    assert before.credential == told["oldCredential"]["credentialId"] != after.credential == told["credentialId"]
    left = datetime.fromisoformat(told["oldCredential"]["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=8) < left <= timedelta(minutes=10)
    again = json.loads(terminal.agents("rotate", "ci-bot", "--keep-old-for", "1d", "--for", "1h", "-o", "json").out)
    assert not isinstance(terminal.who_is(old), Identity)
    assert again["oldCredential"]["credentialId"] == told["credentialId"]
    terminal.agents("rotate", "ci-bot", "--keep-old-for", "1d")
    shown = json.loads(terminal.agents("show", "ci-bot", "-o", "json").out)
    assert shown["oldCredential"]["expiresAt"] == again["expiresAt"]
    terminal.agents("rotate", "ci-bot")
    assert json.loads(terminal.agents("show", "ci-bot", "-o", "json").out)["oldCredential"] is None
    assert not isinstance(terminal.who_is(again["credential"]), Identity)


def test_an_agent_can_be_registered_with_everything_it_may_have(terminal: Terminal) -> None:
    done = terminal.agents(
        "add", "ci-bot", *OWNED, "--label", "team=sre", "--label", "corp.example/tier=1", "--until", "2999-12-31",
        "--certificate-name", "spiffe://corp/ci", "--certificate-name", "cn:ci bot", "-o", "json",
    )  # fmt: skip
    told = json.loads(done.out)
    assert told["labels"] == {"corp.example/tier": "1", "team": "sre"}
    assert told["endsAt"] == "3000-01-01T00:00:00Z"
    assert told["certificateNames"] == ["spiffe://corp/ci", "cn:ci bot"]
    assert isinstance(terminal.who_is(told["credential"]), Identity)


def test_no_credential_lives_longer_than_its_agent(terminal: Terminal) -> None:
    told = json.loads(terminal.agents("add", "ci-bot", *OWNED, "--end-in", "2h", "-o", "json").out)
    assert told["expiresAt"] == told["endsAt"]
    rotated = json.loads(terminal.agents("rotate", "ci-bot", "-o", "json").out)
    assert rotated["expiresAt"] == told["endsAt"]


def test_an_agent_without_a_credential_shows_none_and_can_be_given_one(terminal: Terminal) -> None:
    done = terminal.agents("add", "ci-bot", *OWNED, "--certificate-name", "cn:ci", "--no-credential")
    assert (done.code, done.out) == (0, "")
    assert "it proves itself by cn:ci" in done.err
    terminal.agents("add", "other", *OWNED, "--no-credential")
    told = json.loads(terminal.agents("list", "-o", "json").out)
    assert [(one["credentialId"], one["expiresAt"], one["state"]) for one in told] == [("", None, "active")] * 2
    assert [line.split()[4] for line in terminal.agents("list").out.splitlines()[1:]] == ["-", "-"]
    assert isinstance(terminal.who_is(terminal.agents("rotate", "other").out.strip()), Identity)


def test_the_list_can_be_asked_for_some_agents(terminal: Terminal) -> None:
    terminal.agents("add", "one", *OWNED, "--label", "team=sre", "--label", "tier=1")
    terminal.agents("add", "two", "--owner", "group:sre", "--purpose", "x", "--label", "team=sre")

    def names(*arguments: str) -> list[str]:
        return [one["name"] for one in json.loads(terminal.agents("list", *arguments, "-o", "json").out)]

    assert names("--label", "team=sre") == ["one", "two"]
    assert names("--label", "team=sre", "--label", "tier=1") == ["one"]
    assert names("--owner", "group:sre") == ["two"]
    assert names("--owner", "person:nobody") == []
    assert "no such agents" in terminal.agents("list", "--owner", "person:nobody").err


def test_one_agent_is_shown_with_everything_but_its_credential(terminal: Terminal) -> None:
    credential = terminal.agents("add", "ci-bot", *OWNED, "--label", "team=sre", "--end-in", "2h").out.strip()
    terminal.agents("pause", "ci-bot", "--reason", "it is loose")
    shown = terminal.agents("show", "ci-bot")
    assert shown.code == 0
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in shown.out.splitlines())
    assert lines["state"] == "paused (it is loose)"
    assert (lines["owner"], lines["labels"], lines["groups"]) == ("person:alice", "team=sre", "-")
    assert credential[15:] not in shown.out
    assert json.loads(terminal.agents("show", "ci-bot", "-o", "json").out)["state"] == "paused"


def test_a_removed_agents_credential_opens_nothing(terminal: Terminal) -> None:
    credential = terminal.agents("add", "ci-bot", *OWNED).out.strip()
    done = terminal.agents("remove", "ci-bot", "--yes", "-o", "json")
    assert (done.code, json.loads(done.out)["state"]) == (0, "removed")
    assert not isinstance(terminal.who_is(credential), Identity)
    assert json.loads(terminal.agents("list", "-o", "json").out) == []


def test_the_list_is_a_table_with_one_line_for_each_agent(terminal: Terminal) -> None:
    assert terminal.agents("list").out == ""
    terminal.agents("add", "ci-bot", *OWNED, "--for", "2h")
    terminal.agents("add", "another", *OWNED, "--group", "bots")
    lines = [re.split(r"\s{2,}", line) for line in terminal.agents("list").out.splitlines()]
    assert lines == [
        ["NAME", "OWNER", "CLUSTER", "STATE", "EXPIRES", "GROUPS", "PURPOSE"],
        ["another", "person:alice", "prod", "active", "in 30d", "bots", "restarts pods"],
        ["ci-bot", "person:alice", "prod", "active", "in 2h", "-", "restarts pods"],
    ]


def test_every_change_is_signed_with_the_account_of_the_operator(terminal: Terminal) -> None:
    terminal.agents("add", "ci-bot", *OWNED)
    terminal.agents("rotate", "ci-bot")
    terminal.agents("remove", "ci-bot", "--yes")
    config = terminal.config()
    store = open_store(config.store, config.data_dir)
    try:
        told = [(change.action, change.by.partition(":")[0]) for change in store.changes()]
    finally:
        store.close()
    assert told == [("agent.removed", "local"), ("agent.changed", "local"), ("agent.added", "local")]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "Ci_Bot", *OWNED), 'NAME: "Ci_Bot" has other characters'),
        (("add", "system:x", *OWNED), "reserved for Kubernetes itself"),
        (("add", "a", "--owner", "alice", "--purpose", "x"), 'owner: "alice" is not written person:NAME or group:NAME'),
        (("add", "a", "--owner", "person:alice", "--purpose", " "), "write one line of 1 to 500 characters"),
        (("add", "a", "--owner", "person:alice"), "--purpose"),
        (("add", "a", *OWNED, "--group", "system:masters"), 'group "system:masters" begins'),
        (("add", "a", *OWNED, "--for", "366d"), "366d is not between 1s and 365d"),
        (("add", "a", *OWNED, "--for", "0s"), "0s is not between"),
        (("add", "a", *OWNED, "--for", "soon"), '"soon" is not a length of time'),
        (("add", "a", *OWNED, "--plugin"), "go with --kubeconfig FILE"),
        (("add", "a", *OWNED, "--kubeconfig", "/gone/k", "--server", "http://x"), "is not https://host:port"),
        (("frobnicate",), "frobnicate"),
        (("add", "a", *OWNED, "--label", "team"), '"team" is not KEY=VALUE'),
        (("add", "a", *OWNED, "--label", "team-"), '"team-" is not KEY=VALUE'),
        (("add", "a", *OWNED, "--label", "te am=x"), 'label "te am"'),
        (("add", "a", *OWNED, "--until", "2001-01-01"), "2001-01-02T00:00:00Z is over"),
        (("add", "a", *OWNED, "--until", "tomorrow"), '"tomorrow" is no moment'),
        (("add", "a", *OWNED, "--until", "9999-12-31"), "is no moment"),
        (("add", "a", *OWNED, "--until", "2999-01-01", "--end-in", "1d"), "both name the end"),
        (("add", "a", *OWNED, "--end-in", "11000d"), "not between 1s and 3650d"),
        (("add", "a", *OWNED, "--certificate-name", "dns:x"), "is written neither"),
        (("add", "a", *OWNED, "--certificate-name", "cn:system:masters"), "reserved for Kubernetes"),
        (("add", "a", *OWNED, "--no-credential", "--kubeconfig", "k"), "--kubeconfig is about a credential"),
        (("add", "a", *OWNED, "--no-credential", "--for", "1h"), "--for is about a credential"),
        (("rotate", "a", "--keep-old-for", "2d"), "2d is not between 1s and 1d"),
        (("rotate", "a", "--keep-old-for", "0s"), "0s is not between"),
        (("list", "--label", "x"), '"x" is not KEY=VALUE'),
    ],
)
def test_misuse_is_exit_code_two_and_changes_nothing(terminal: Terminal, arguments: tuple[str, ...], says: str) -> None:
    done = terminal.agents(*arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert done.err.count("\n") == 1
    assert not (terminal.folder / "narrowgate-data").exists()


def test_refusals_are_exit_code_one_and_one_line(terminal: Terminal) -> None:
    terminal.agents("add", "ci-bot", *OWNED)
    foreign = terminal.folder / "mine.kubeconfig"
    foreign.write_text("apiVersion: v1\n")
    for arguments, says in (
        (("add", "ci-bot", *OWNED), "rotate it, or use another name"),
        (("rotate", "nobody"), 'there is no agent "nobody"'),
        (("remove", "nobody", "--yes"), 'there is no agent "nobody"'),
        (("show", "nobody"), 'there is no agent "nobody"'),
        (("add", "a", *OWNED, "--key", "gone.pem"), "gone.pem"),
        (("add", "a", *OWNED, "--cluster", "stage"), "registered are: prod"),
        (("add", "a", *OWNED, "--kubeconfig", str(foreign)), "is not one that narrowgate wrote"),
        (("add", "a", *OWNED, "--kubeconfig", str(terminal.folder / "gone" / "k")), "make the folder"),
    ):
        done = terminal.agents(*arguments)
        assert (done.code, done.out) == (1, "")
        assert says in done.err
        assert done.err.count("\n") == 1
    assert len(json.loads(terminal.agents("list", "-o", "json").out)) == 1
    assert foreign.read_text() == "apiVersion: v1\n"


def test_a_refused_add_leaves_no_kubeconfig_behind(terminal: Terminal) -> None:
    terminal.agents("add", "ci-bot", *OWNED)
    path = terminal.folder / "k"
    assert terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path)).code == 1
    assert not path.exists()
    assert not [left for left in terminal.folder.iterdir() if left.name.startswith(".")]


def test_with_several_clusters_one_must_be_named(terminal: Terminal) -> None:
    terminal.configure("clusters: [{name: prod, inCluster: true}, {name: stage, inCluster: true}]\n")
    done = terminal.agents("add", "ci-bot", *OWNED)
    assert (done.code, "prod, stage" in done.err) == (2, True)
    told = json.loads(terminal.agents("add", "ci-bot", *OWNED, "--cluster", "stage", "-o", "json").out)
    assert told["cluster"] == "stage"


def test_without_a_cluster_there_is_nothing_to_open(terminal: Terminal) -> None:
    terminal.configure("")
    done = terminal.agents("add", "ci-bot", *OWNED)
    assert (done.code, "narrowgate clusters add" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("listen", "more", "server"),
    [
        ("127.0.0.1:9000", (), "https://127.0.0.1:9000"),
        ("[::1]:9000", (), "https://[::1]:9000"),
        ("0.0.0.0:9000", ("--server", "https://gate.example.com/"), "https://gate.example.com"),
        ("127.0.0.1:0", ("--server", "https://gate:1"), "https://gate:1"),
    ],
)
def test_the_kubeconfig_names_the_address_that_clients_call(
    terminal: Terminal, listen: str, more: tuple[str, ...], server: str
) -> None:
    terminal.configure(f"clusters: [{{name: prod, inCluster: true}}]\nlisten: {{kubernetes: '{listen}'}}\n")
    path = terminal.folder / "k"
    terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path), *more)
    assert yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"] == server


def test_a_gate_that_listens_everywhere_is_called_by_its_first_name(terminal: Terminal) -> None:
    text = "clusters: [{name: prod, inCluster: true}]\nlisten: {kubernetes: '0.0.0.0:9000'}\n"
    terminal.configure(text)
    path = terminal.folder / "k"
    done = terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path))
    assert (done.code, "add the gate's name to tls.names" in done.err) == (1, True)
    terminal.configure(text + "tls: {names: ['*.example.com', gate.example.com]}\n")
    terminal.agents("add", "ci-bot", *OWNED, "--kubeconfig", str(path))
    assert yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"] == "https://gate.example.com:9000"
