"""`narrowgate agents keys`, as it is typed: what is registered is what the gate then reads."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.unit.cli.terminal import Terminal

from narrowgate.authenticators.key_assertion import KeyAssertion, KeyAssertionRefused, read_key_assertion, thumbprint
from narrowgate.cli.key_assertion_maker import make_key_assertion
from narrowgate.config import find_config
from narrowgate.store.open import open_store

GATE = "https://gate.corp:8444"


@pytest.fixture
def agent(shell: Terminal) -> Terminal:
    shell("agents", "add", "ci-bot", "--owner", "person:alice", "--purpose", "restarts pods", "--no-credential")
    return shell


def proven(shell: Terminal, private_key: Path) -> KeyAssertion:
    config = find_config(str(shell.config))
    store = open_store(config.store, config.data_dir)
    try:
        known = {one.name: one for one in store.agents()}
    finally:
        store.close()
    now = time.time()
    return read_key_assertion(make_key_assertion(private_key.read_bytes(), "ci-bot", GATE, now), known, (GATE,), now)


def key_of(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def id_of(number: int) -> str:
    return thumbprint(key_of(number).public_key().public_bytes_raw())


def public_file(folder: Path, number: int) -> Path:
    path = folder / f"{number}.pub"
    public = key_of(number).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.write_bytes(public + b" ci@corp\n")
    return path


def private_file(folder: Path, number: int) -> Path:
    path = folder / f"{number}.key"
    path.write_bytes(key_of(number).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_a_generated_key_proves_the_agent_and_only_its_owner_can_read_it(agent: Terminal) -> None:
    path = agent.folder / "ci.key"
    told = agent("agents", "keys", "generate", "ci-bot", "--out", path, "-o", "json").json
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert proven(agent, path).key_id == told["keys"][0]["id"]
    assert "PRIVATE" not in str(agent("agents", "show", "ci-bot", "-o", "json"))


def test_a_removed_key_proves_nothing(agent: Terminal) -> None:
    first, second = private_file(agent.folder, 1), private_file(agent.folder, 2)
    for number in (1, 2):
        agent("agents", "keys", "add", "ci-bot", public_file(agent.folder, number))
    removed = proven(agent, first).key_id
    assert agent("agents", "keys", "remove", "ci-bot", removed).code == 0
    with pytest.raises(KeyAssertionRefused, match="not signed by a key"):
        proven(agent, first)
    assert [key["id"] for key in agent("agents", "show", "ci-bot", "-o", "json").json["keys"]] == [
        proven(agent, second).key_id
    ]


def test_a_key_can_be_removed_although_its_id_looks_like_an_option(agent: Terminal) -> None:
    number = next(number for number in range(1, 256) if id_of(number).startswith("-"))
    agent("agents", "keys", "add", "ci-bot", public_file(agent.folder, number))
    assert agent("agents", "keys", "remove", "ci-bot", id_of(number), "-o", "json").json["keys"] == []


def test_keys_are_listed_with_when_they_were_added(agent: Terminal) -> None:
    assert "has no key" in agent("agents", "keys", "list", "ci-bot").err
    agent("agents", "keys", "add", "ci-bot", public_file(agent.folder, 1))
    key = agent("agents", "show", "ci-bot", "-o", "json").json["keys"][0]
    lines = [line.split() for line in agent("agents", "keys", "list", "ci-bot").out.splitlines()]
    assert lines == [["ID", "ADDED"], [key["id"], key["addedAt"]]]


def test_a_public_key_is_registered_once(agent: Terminal) -> None:
    path = public_file(agent.folder, 1)
    first = agent("agents", "keys", "add", "ci-bot", path, "-o", "json").json
    assert agent("agents", "keys", "add", "ci-bot", path, "-o", "json").json == first
    new = ("agents", "add", "new", "--owner", "person:a", "--purpose", "x", "--no-credential")
    added = agent(*new, "--key", public_file(agent.folder, 2))
    assert "proves itself by key " in added.err
    taken = agent("agents", "keys", "add", "new", path)
    assert (taken.code, 'agent "ci-bot" has this key already' in taken.err) == (1, True)


def test_there_are_only_so_many_keys(agent: Terminal) -> None:
    codes = [agent("agents", "keys", "add", "ci-bot", public_file(agent.folder, n)).code for n in range(1, 10)]
    assert codes == [0] * 8 + [1]
    assert len(agent("agents", "keys", "list", "ci-bot", "-o", "json").json) == 8


def test_a_refused_key_leaves_nothing_behind(agent: Terminal) -> None:
    taken = agent.write("taken.key", "precious\n")
    (agent.folder / "link.key").symlink_to(agent.folder / "nowhere")
    for arguments, says in (
        (("generate", "ci-bot", "--out", taken), "a key is never overwritten"),
        (("generate", "ci-bot", "--out", agent.folder / "link.key"), "is there already"),
        (("generate", "nobody", "--out", agent.folder / "new.key"), 'there is no agent "nobody"'),
        (("add", "ci-bot", taken), "not a public key"),
        (("add", "ci-bot", agent.folder / "gone"), "gone"),
        (("remove", "ci-bot", "abc"), "its keys are: none"),
        (("remove", "ci-bot", "-abc"), 'no key "-abc"'),
        (("list", "nobody"), 'there is no agent "nobody"'),
    ):
        done = agent("agents", "keys", *arguments)
        assert (done.code, done.out) == (1, "")
        assert says in done.err
        assert done.err.count("\n") == 1
    assert taken.read_text() == "precious\n"
    assert not (agent.folder / "new.key").exists()
    assert agent("agents", "show", "ci-bot", "-o", "json").json["keys"] == []
