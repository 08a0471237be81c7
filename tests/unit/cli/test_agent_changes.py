"""`narrowgate agents pause|resume|change`, as they are typed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.cli.terminal import Terminal

from narrowgate.cli.local_operator import local_operator
from narrowgate.config import find_config
from narrowgate.store.open import open_store
from narrowgate.store.port import Change

ADD = ("agents", "add", "ci-bot", "--owner", "person:alice", "--purpose", "restarts pods")


def shown(shell: Terminal) -> dict[str, Any]:
    told: dict[str, Any] = shell("agents", "show", "ci-bot", "-o", "json").json
    return told


def changes(shell: Terminal) -> tuple[Change, ...]:
    config = find_config(str(shell.config))
    store = open_store(config.store, config.data_dir)
    try:
        return store.changes()
    finally:
        store.close()


def test_a_paused_agent_says_why_until_it_is_resumed(shell: Terminal) -> None:
    shell(*ADD)
    paused = shell("agents", "pause", "ci-bot", "--reason", "it is loose", "-o", "json").json
    assert (paused["state"], paused["pausedBecause"]) == ("paused", "it is loose")
    resumed = shell("agents", "resume", "ci-bot", "-o", "json").json
    assert (resumed["state"], resumed["pausedBecause"]) == ("active", "")
    assert [change.action for change in changes(shell)] == ["agent.changed", "agent.changed", "agent.added"]
    assert {change.by.partition(":")[0] for change in changes(shell)} == {"local"}
    assert "it is loose" in changes(shell)[1].detail


def test_what_is_so_already_is_no_change(shell: Terminal) -> None:
    shell(*ADD)
    shell("agents", "pause", "ci-bot", "--reason", "it is loose")
    for arguments, says in (
        (("pause", "ci-bot"), "is paused already"),
        (("change", "ci-bot", "--purpose", "restarts pods"), "was so already"),
    ):
        done = shell("agents", *arguments)
        assert (done.code, says in done.err) == (0, True)
    assert shown(shell)["pausedBecause"] == "it is loose"
    shell("agents", "resume", "ci-bot")
    assert "was not paused" in shell("agents", "resume", "ci-bot").err
    assert len(changes(shell)) == 3


def test_everything_about_an_agent_but_its_name_can_be_changed(shell: Terminal) -> None:
    shell.config.write_text(shell.config.read_text() + "  - name: stage\n    inCluster: true\n")
    shell(*ADD, "--cluster", "prod", "--group", "a", "--label", "team=sre", "--label", "tier=1", "--end-in", "2h")
    done = shell(
        "agents", "change", "ci-bot", "--owner", "group:sre", "--purpose", "reads logs", "--cluster", "stage",
        "--group", "b", "--group", "c", "--label", "team=web", "--label", "tier-", "--until", "2999-01-01T10:00:00Z",
        "--certificate-name", "cn:ci", "-o", "json",
    )  # fmt: skip
    told = done.json
    assert told == shown(shell)
    assert (told["owner"], told["purpose"], told["cluster"]) == ("group:sre", "reads logs", "stage")
    assert (told["groups"], told["labels"]) == (["b", "c"], {"team": "web"})
    assert (told["endsAt"], told["certificateNames"]) == ("2999-01-01T10:00:00Z", ["cn:ci"])
    undone = shell(
        "agents", "change", "ci-bot", "--no-groups", "--no-end", "--drop-certificate-name", "cn:ci",
        "--certificate-name", "cn:other", "--no-credential", "-o", "json",
    )  # fmt: skip
    told = undone.json
    assert (told["groups"], told["endsAt"], told["certificateNames"]) == ([], None, ["cn:other"])
    assert (told["credentialId"], told["expiresAt"]) == ("", None)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("change", "ci-bot"), 2, "give at least one option"),
        (("change", "ci-bot", "--group", "a", "--no-groups"), 2, "--group and --no-groups say different things"),
        (("change", "ci-bot", "--until", "2999-01-01", "--no-end"), 2, "--until and --no-end"),
        (("change", "ci-bot", "--end-in", "1d", "--no-end"), 2, "--end-in and --no-end"),
        (("change", "ci-bot", "--end-in", "1d", "--until", "2999-01-01"), 2, "both name the end"),
        (("change", "ci-bot", "--owner", "alice"), 2, "is not written person:NAME"),
        (("change", "ci-bot", "--purpose", ""), 2, "write one line"),
        (("change", "ci-bot", "--group", "system:masters"), 2, 'group "system:masters"'),
        (("change", "ci-bot", "--label", "gone-"), 2, "KEY- for one that it has"),
        (("change", "ci-bot", "--certificate-name", "x"), 2, "is written neither"),
        (("change", "ci-bot", "--cluster", "stage"), 1, "registered are: prod"),
        (("change", "ci-bot", "--drop-certificate-name", "cn:x"), 1, "it has: none"),
        (("change", "nobody", "--purpose", "x"), 1, 'there is no agent "nobody"'),
        (("pause", "nobody"), 1, 'there is no agent "nobody"'),
        (("pause", "ci-bot", "--reason", "a\nb"), 2, "write one line"),
        (("resume", "nobody"), 1, 'there is no agent "nobody"'),
    ],
)
def test_a_refused_change_changes_nothing_and_is_one_line(
    shell: Terminal, arguments: tuple[str, ...], code: int, says: str
) -> None:
    shell(*ADD)
    before = shown(shell)
    done = shell("agents", *arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert done.err.count("\n") == 1
    assert shown(shell) == before


def test_a_certificate_name_stands_for_one_agent(shell: Terminal) -> None:
    shell(*ADD, "--certificate-name", "cn:ci")
    shell("agents", "add", "other", "--owner", "person:alice", "--purpose", "x")
    done = shell("agents", "change", "other", "--certificate-name", "cn:ci")
    assert (done.code, 'stand for agent "ci-bot" already' in done.err) == (1, True)


def test_whoever_registers_a_certificate_name_or_a_key_is_kept_with_the_agent(shell: Terminal) -> None:
    shell(*ADD, "--no-credential")
    assert shown(shell)["handedTo"] == []
    shell("agents", "change", "ci-bot", "--purpose", "reads logs", "--label", "a=b")
    assert shown(shell)["handedTo"] == []
    shell("agents", "change", "ci-bot", "--certificate-name", "cn:ci")
    assert shown(shell)["handedTo"] == [local_operator()]
    # A proof that is taken away may have been used to get another: only a rotation that replaces all forgets.
    shell("agents", "change", "ci-bot", "--drop-certificate-name", "cn:ci")
    assert shown(shell)["handedTo"] == [local_operator()]


def test_a_key_that_is_made_here_was_seen_here(shell: Terminal) -> None:
    shell(*ADD, "--no-credential")
    made = shell(
        "agents", "keys", "generate", "ci-bot", "--out", str(shell.config.with_name("key.pem")), "-o", "json"
    ).json
    assert made["handedTo"] == [local_operator()]


def test_nothing_is_handed_to_more_people_than_are_kept(shell: Terminal) -> None:
    shell(*ADD, "--certificate-name", "cn:ci")
    config = find_config(str(shell.config))
    store = open_store(config.store, config.data_dir)
    try:
        agent = store.agent("ci-bot")
        crowd = tuple(f"person:p{number}" for number in range(64))
        store.change_agent(msgspec.structs.replace(agent, handed_to=crowd), by="local:test", at=1.0)
    finally:
        store.close()
    for refused in (
        shell("agents", "rotate", "ci-bot"),
        shell("agents", "change", "ci-bot", "--certificate-name", "cn:two"),
    ):
        assert (refused.code, "64 people were handed" in refused.err) == (1, True)
    assert shell("agents", "change", "ci-bot", "--drop-certificate-name", "cn:ci").code == 0
    assert shell("agents", "rotate", "ci-bot", "-o", "json").json["handedTo"] == [local_operator()]
