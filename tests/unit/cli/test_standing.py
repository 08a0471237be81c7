"""`narrowgate tasks list --standing`: what is asked for, and how it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, told
from tests.unit.cli.terminal import Done, Terminal

from narrowgate.cli.standing import since_text, use_text

STANDING = "/api/v1/standing"

LINE: dict[str, Any] = {
    "holder": "agent:bot",
    "agents": 1,
    "cluster": "dev",
    "policy": "ci",
    "rule": "read",
    "allow": "get pods -n ci",
    "since": "2026-01-01T00:00:00Z",
    "revision": 3,
    "isOlder": False,
    "lastUsedAt": "",
    "lastUsedBy": "",
    "unusedSince": "2026-02-01T00:00:00Z",
}


@pytest.fixture
def listed(shell: Terminal, scripted: ScriptedGate, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(home.parent / "policies")
    monkeypatch.delenv("NARROWGATE_CONFIG", raising=False)
    monkeypatch.setenv("NARROWGATE_CREDENTIAL", "ng1_abc")
    place = ("--gate", scripted.url, "--certificate-authority", scripted.authority)

    def call(*arguments: str) -> Done:
        return shell.bare("tasks", "list", "--standing", *arguments, *place)

    return call


def page(*lines: dict[str, Any], more: str = "") -> Any:
    return told({"items": list(lines), "metadata": {"continue": more}})


def test_each_line_says_whose_it_is_since_when_and_whether_it_is_used(listed: Any, scripted: ScriptedGate) -> None:
    group = LINE | {"holder": "group:ci", "agents": 7, "lastUsedAt": "2026-03-01T00:00:00Z", "lastUsedBy": "agent:x"}
    scripted.answers(f"{STANDING}?limit=50", page(LINE, group))
    done = listed()
    assert done.code == 0, done.err
    heads, first, second = done.out.splitlines()
    assert heads.split("  ")[0] == "HOLDER"
    for cell in ("agent:bot", "ci/read", "get pods -n ci", "2026-01-01T00:00:00Z", "never since 2026-02-01T00:00:00Z"):
        assert cell in first
    assert "7" in second
    assert "2026-03-01T00:00:00Z by agent:x" in second


def test_pages_are_asked_for_until_there_are_enough(listed: Any, scripted: ScriptedGate) -> None:
    scripted.answers(f"{STANDING}?limit=2", page(LINE, more="abc"))
    scripted.answers(f"{STANDING}?limit=1&continue=abc", page(LINE, more="def"))
    done = listed("--limit", "2", "-o", "json")
    assert (done.code, done.out.count('"holder"')) == (0, 2)


def test_nothing_that_stands_is_said_in_words(listed: Any, scripted: ScriptedGate) -> None:
    scripted.answers(f"{STANDING}?limit=50", page())
    done = listed()
    assert (done.code, done.out) == (0, "")
    assert "nothing stands" in done.err


@pytest.mark.parametrize("answer", [{}, {"items": 3, "metadata": {}}, {"items": [], "metadata": None}])
def test_an_answer_of_something_else_is_refused(listed: Any, scripted: ScriptedGate, answer: dict[str, Any]) -> None:
    scripted.answers(f"{STANDING}?limit=50", told(answer))
    done = listed()
    assert (done.code, "does not answer as a gate does" in done.err) == (1, True)


def test_what_is_not_known_is_not_called_unused() -> None:
    assert use_text(LINE | {"unusedSince": ""}) == "not known"
    assert use_text(LINE | {"lastUsedAt": "t", "lastUsedBy": "agent:bot"}) == "t"
    assert since_text(LINE | {"since": ""}) == "not known"
    assert since_text(LINE | {"isOlder": True}) == "before 2026-01-01T00:00:00Z"
