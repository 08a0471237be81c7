"""Renewal: what is sent to the gate, what is kept of the answer, and what happens when there is none."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import Called, ScriptedGate, Told, granted, refused

from narrowgate.cli.access_cache import Access, Asked, cached_access, keep_access
from narrowgate.cli.oauth_client import GateRefused, GateUnreachable
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.renewal import renewed
from narrowgate.cli.sign_in_files import (
    GateFacts,
    KeptSignIn,
    gate_folder,
    gate_lock,
    keep_facts,
    keep_sign_in,
    read_sign_in,
)

KEPT = KeptSignIn("alice", "ngr1_first", "2026-01-01T00:00:00Z", "")


@pytest.fixture
def asked(scripted: ScriptedGate, home: Path) -> Asked:
    """A person who is signed in asks for cluster prod."""
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KEPT)
    return Asked(scripted.url, "prod")


def had(asked: Asked, age: float, life: float = 3600) -> Access:
    """A credential in the cache that was made some seconds ago."""
    access = Access.lasting("nga1_old.x", time.time() - age, life)
    with gate_lock(asked.gate, wait=False):
        keep_access(asked, asked.path(), access)
    return access


def test_a_person_renews_with_the_secret_and_keeps_the_next_one(scripted: ScriptedGate, asked: Asked) -> None:
    access = renewed(asked, None, refused=False)
    assert access.token == "nga1_a.b"
    (call,) = scripted.called("/oauth/token")
    assert call.form == {
        "grant_type": "refresh_token",
        "client_id": "narrowgate-cli",
        "refresh_token": "ngr1_first",
        "resource": f"{scripted.url}/clusters/prod",
    }
    assert read_sign_in(scripted.url) == KEPT._replace(secret="ngr1_second")
    found = cached_access(asked, asked.path())
    assert found is not None
    assert found.token == "nga1_a.b"


def test_the_control_port_is_asked_for_by_the_gates_own_address(scripted: ScriptedGate, asked: Asked) -> None:
    renewed(Asked(scripted.url, ""), None, refused=False)
    assert scripted.called("/oauth/token")[0].form["resource"] == scripted.url


def test_a_gate_that_does_not_change_the_secret_leaves_it(scripted: ScriptedGate, asked: Asked) -> None:
    scripted.answers("/oauth/token", granted(secret=""))
    renewed(asked, None, refused=False)
    assert read_sign_in(scripted.url) == KEPT


def test_whoever_is_not_signed_in_is_told_what_to_run(scripted: ScriptedGate, home: Path) -> None:
    with pytest.raises(Unusable, match=f"nobody is signed in at {scripted.url}: run: narrowgate login {scripted.url}"):
        renewed(Asked(scripted.url, "prod"), None, refused=False)
    assert scripted.calls == []


def test_while_the_gate_is_away_a_good_credential_is_used_and_asked_for_again_later(
    scripted: ScriptedGate, asked: Asked
) -> None:
    old = had(asked, age=2000)
    scripted.down()
    assert renewed(asked, old, refused=False).token == old.token
    kept = cached_access(asked, asked.path())
    assert kept is not None
    assert kept.fresh(time.time())
    assert not kept.fresh(time.time() + 61)
    assert (kept.made, kept.expires) == (old.made, old.expires)


def test_while_the_gate_is_away_one_that_is_over_is_not_used(scripted: ScriptedGate, asked: Asked) -> None:
    old = had(asked, age=4000)
    scripted.down()
    with pytest.raises(GateUnreachable, match="cannot be reached"):
        renewed(asked, old, refused=False)


def test_a_sign_in_that_is_over_is_forgotten_with_all_it_gave(scripted: ScriptedGate, asked: Asked) -> None:
    old = had(asked, age=2000)
    scripted.answers("/oauth/token", refused("invalid_grant", "this sign-in is over"))
    with pytest.raises(GateRefused, match=f"this sign-in is over; run: narrowgate login {scripted.url}"):
        renewed(asked, old, refused=False)
    assert read_sign_in(scripted.url) is None
    assert cached_access(asked, asked.path()) is None


def test_a_refusal_of_one_cluster_ends_no_sign_in(scripted: ScriptedGate, asked: Asked) -> None:
    scripted.answers("/oauth/token", refused("invalid_target", "there is no cluster prod"))
    with pytest.raises(GateRefused, match="there is no cluster prod"):
        renewed(asked, None, refused=False)
    assert read_sign_in(scripted.url) == KEPT


def test_what_the_gate_refused_is_renewed_even_if_it_is_fresh(scripted: ScriptedGate, asked: Asked) -> None:
    old = had(asked, age=20)
    assert renewed(asked, old, refused=True).token == "nga1_a.b"


def test_what_somebody_else_has_renewed_meanwhile_is_taken(scripted: ScriptedGate, asked: Asked) -> None:
    had(asked, age=0)
    older = Access.lasting("nga1_older.x", time.time() - 3000, 3600)
    for refused_before in (False, True):
        assert renewed(asked, older, refused=refused_before).token == "nga1_old.x"
    assert scripted.calls == []


def test_many_at_a_time_renew_once(scripted: ScriptedGate, asked: Asked) -> None:
    def slowly(call: Called) -> Told:
        time.sleep(0.2)
        return granted(secret=f"{call.form['refresh_token']}+")

    scripted.answers("/oauth/token", slowly)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(renewed(asked, None, refused=False).token)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["nga1_a.b"] * 8
    assert len(scripted.called("/oauth/token")) == 1


def test_who_has_a_good_one_does_not_wait_for_whoever_renews(scripted: ScriptedGate, asked: Asked) -> None:
    old = had(asked, age=2000)
    waiting, go_on = threading.Event(), threading.Event()

    def held(_: Called) -> Told:
        waiting.set()
        go_on.wait(10)
        return granted()

    scripted.answers("/oauth/token", held)
    other = threading.Thread(target=lambda: renewed(asked, None, refused=True))
    other.start()
    assert waiting.wait(10)
    assert renewed(asked, old, refused=False).token == old.token
    go_on.set()
    other.join()


# --- workloads and agents ---


def test_a_workload_exchanges_its_token(scripted: ScriptedGate, home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.eyJ.sig\n")
    scripted.answers("/oauth/token", granted(secret=""))
    data = base64.b64encode(scripted.authority_pem.encode()).decode()
    asked = Asked(scripted.url, "prod", token_file=str(token), authority_data=data)
    assert renewed(asked, None, refused=False).token == "nga1_a.b"
    assert scripted.called("/oauth/token")[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "eyJ.eyJ.sig",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "resource": f"{scripted.url}/clusters/prod",
    }
    assert cached_access(asked, asked.path()) is not None


def test_an_agent_signs_with_its_key(scripted: ScriptedGate, home: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True, capture_output=True)
    key.chmod(0o600)
    scripted.answers("/oauth/token", granted(secret=""))
    asked = Asked(scripted.url, "prod", agent="ci", key_file=str(key), authority_file=str(scripted.authority))
    renewed(asked, None, refused=False)
    form = scripted.called("/oauth/token")[0].form
    assert form["grant_type"] == "client_credentials"
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    claims = base64.urlsafe_b64decode(form["client_assertion"].split(".")[1] + "==").decode()
    assert '"sub":"ci"' in claims
    assert scripted.url in claims


def test_a_key_that_others_may_read_is_refused(scripted: ScriptedGate, home: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("x")
    key.chmod(0o644)
    asked = Asked(scripted.url, "prod", agent="ci", key_file=str(key), authority_file=str(scripted.authority))
    with pytest.raises(Unusable, match=f"chmod 600 {key}"):
        renewed(asked, None, refused=False)
    key.chmod(0o600)
    with pytest.raises(Unusable, match=f"{key}: not a private key"):
        renewed(asked, None, refused=False)
    assert scripted.calls == []


def test_a_workload_whose_refused_token_is_replaced_keeps_what_is_good(
    scripted: ScriptedGate, home: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.eyJ.sig")
    asked = Asked(scripted.url, "prod", token_file=str(token), authority_file=str(scripted.authority))
    old = had(asked, age=2000)
    scripted.answers("/oauth/token", refused("invalid_grant", "this token expired"))
    assert renewed(asked, old, refused=False).token == old.token
    with pytest.raises(GateRefused, match="this token expired"):
        renewed(asked, old, refused=True)


def test_a_workload_without_a_folder_of_its_own_goes_without_a_cache(
    scripted: ScriptedGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.eyJ.sig")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NARROWGATE_HOME", str(tmp_path / "file" / "state"))
    asked = Asked(scripted.url, "prod", token_file=str(token), authority_file=str(scripted.authority))
    assert renewed(asked, None, refused=False).token == "nga1_a.b"


def test_a_workloads_folder_that_others_may_enter_is_refused(
    scripted: ScriptedGate, home: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.eyJ.sig")
    home.mkdir(mode=0o755)
    with pytest.raises(Unusable, match=f"chmod 700 {home}"):
        renewed(Asked(scripted.url, "prod", token_file=str(token)), None, refused=False)


@pytest.mark.parametrize(
    ("content", "says"), [("", "holds no token"), ("a b", "holds no token"), ("x" * 70_000, "holds something else")]
)
def test_a_file_without_a_token_is_said_so(
    scripted: ScriptedGate, home: Path, tmp_path: Path, content: str, says: str
) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    with pytest.raises(Unusable, match=f"{token}: {says}"):
        renewed(Asked(scripted.url, "prod", token_file=str(token)), None, refused=False)


def test_an_authority_that_is_none_is_said_so(scripted: ScriptedGate, home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.eyJ.sig")
    for options, says in (
        ({"authority_data": "!"}, "not base64 of PEM"),
        ({"authority_file": str(tmp_path / "gone")}, "no such file"),
        ({}, "is not trusted"),
    ):
        with pytest.raises(Unusable, match=says):
            renewed(Asked(scripted.url, "prod", token_file=str(token), **options), None, refused=False)


def test_a_credential_that_would_break_json_is_not_taken(scripted: ScriptedGate, asked: Asked) -> None:
    scripted.answers("/oauth/token", granted(access='x","status":"'))
    with pytest.raises(GateUnreachable, match="without a credential in it"):
        renewed(asked, None, refused=False)


def test_a_full_disk_is_said_before_a_secret_is_lost_unseen(scripted: ScriptedGate, asked: Asked) -> None:
    folder = Path(gate_folder(scripted.url))
    os.unlink(folder / "sign-in.json")
    (folder / "sign-in.json").mkdir()
    with pytest.raises(Unusable, match="not a file"):
        renewed(asked, None, refused=False)
    assert scripted.calls == []


def test_a_person_and_a_workload_renew_with_the_standard_library_alone(scripted: ScriptedGate, asked: Asked) -> None:
    program = (
        "import sys; before = set(sys.modules);"
        "from narrowgate.cli.renewal import renewed; from narrowgate.cli.access_cache import Asked;"
        "renewed(Asked(sys.argv[1], 'prod'), None, refused=False);"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, scripted.url], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.split() == ["narrowgate"]
