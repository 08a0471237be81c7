"""What is kept of a sign-in: numbered, for its owner alone, changed by one process at a time."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from narrowgate.cli.access_cache import Access, Asked, keep_access
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.sign_in_files import (
    GateFacts,
    KeptSignIn,
    forget_sign_in,
    gate_folder,
    gate_lock,
    keep_facts,
    keep_sign_in,
    last_gate,
    note_last_gate,
    read_facts,
    read_sign_in,
)

GATE = "https://gate.corp:8444"
FACTS = GateFacts(GATE, "PEM", "https://gate.corp:8443")
SIGN_IN = KeptSignIn("alice", "ngr1_x", "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z")


def test_nothing_is_there_before_a_sign_in(home: Path) -> None:
    assert (read_facts(GATE), read_sign_in(GATE), last_gate()) == (None, None, "")
    assert not home.exists()


def test_what_is_kept_is_found_again_and_is_the_owners_alone(home: Path) -> None:
    keep_facts(FACTS)
    keep_sign_in(GATE, SIGN_IN)
    note_last_gate(GATE)
    assert (read_facts(GATE), read_sign_in(GATE), last_gate()) == (FACTS, SIGN_IN, GATE)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*")}
    assert modes == {
        "gate.corp+8444": 0o700,
        "access": 0o700,
        "gate.json": 0o600,
        "sign-in.json": 0o600,
        "last-gate": 0o600,
    }


def test_forgetting_leaves_how_the_gate_is_trusted_and_what_workloads_have(home: Path, tmp_path: Path) -> None:
    keep_facts(FACTS)
    keep_sign_in(GATE, SIGN_IN)
    token = tmp_path / "token"
    token.write_text("t")
    for asked in (Asked(GATE, "prod"), Asked(GATE, ""), Asked(GATE, "prod", token_file=str(token))):
        keep_access(asked, asked.path(), Access.lasting("nga1_x.y", 1, 1))
    forget_sign_in(GATE)
    assert (read_facts(GATE), read_sign_in(GATE)) == (FACTS, None)
    left = [path.name for path in (home / "gate.corp+8444" / "access").iterdir()]
    assert len(left) == 1
    assert left[0].startswith("token-")
    forget_sign_in(GATE)


def test_a_folder_that_others_may_enter_is_refused(home: Path) -> None:
    home.mkdir(mode=0o755)
    with pytest.raises(Unusable, match=f"run: chmod 700 {home}"):
        keep_sign_in(GATE, SIGN_IN)


def test_a_file_of_a_newer_version_is_refused_by_name(home: Path) -> None:
    keep_sign_in(GATE, SIGN_IN)
    path = Path(gate_folder(GATE)) / "sign-in.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(Unusable, match="of version 2, and this narrowgate reads 1"):
        read_sign_in(GATE)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"version": 1}', '{"version": 1, "person": 1}', "[" * 100_000, '{"a": 1}']
)
def test_a_file_that_cannot_be_read_says_how_to_begin_again(home: Path, text: str) -> None:
    keep_sign_in(GATE, SIGN_IN)
    (Path(gate_folder(GATE)) / "sign-in.json").write_text(text)
    with pytest.raises(Unusable, match="sign in again with `narrowgate login`"):
        read_sign_in(GATE)


def test_a_field_too_many_is_refused(home: Path) -> None:
    keep_sign_in(GATE, SIGN_IN)
    path = Path(gate_folder(GATE)) / "sign-in.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": "x"}))
    with pytest.raises(Unusable, match="cannot be read"):
        read_sign_in(GATE)


def test_one_process_at_a_time_has_the_folder(home: Path) -> None:
    with gate_lock(GATE, wait=False) as first:
        with gate_lock(GATE, wait=False) as second:
            assert (first, second) == (True, False)
        with gate_lock("https://other.corp", wait=False) as elsewhere:
            assert elsewhere
    with gate_lock(GATE, wait=False) as again:
        assert again
