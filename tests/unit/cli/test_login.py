"""`narrowgate login`: what is kept, what is printed, and that nothing is left behind when it does not end well."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, granted, refused, told
from tests.unit.cli.terminal import Done, Terminal

from narrowgate.cli.login import has_browser
from narrowgate.cli.sign_in_files import KeptSignIn, keep_sign_in, last_gate, read_facts, read_sign_in

CODE = {
    "device_code": "device-secret",
    "user_code": "BCDF-GHJK",
    "verification_uri": "https://gate/device",
    "expires_in": 600,
    "interval": 0,
}


@pytest.fixture
def gate(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    scripted.answers("/oauth/device_authorization", told(CODE))
    return scripted


def login(shell: Terminal, gate: ScriptedGate, *more: str) -> Done:
    return shell.bare("login", gate.url, "--device", "--certificate-authority", gate.authority, *more)


def test_a_sign_in_is_kept_and_the_next_command_is_shown(shell: Terminal, gate: ScriptedGate, home: Path) -> None:
    done = login(shell, gate)
    assert done.code == 0
    assert done.out == "narrowgate kubeconfig --cluster prod\n"
    assert "enter the code BCDF-GHJK" in done.err
    assert f"signed in at {gate.url} as alice until 2999-01-01T00:00:00Z at the latest" in done.err
    kept, facts = read_sign_in(gate.url), read_facts(gate.url)
    assert kept is not None
    assert facts is not None
    assert (kept.person, kept.secret, kept.expires) == ("alice", "ngr1_second", "2999-01-01T00:00:00Z")
    assert facts.authority == gate.authority_pem
    assert last_gate() == gate.url
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*") if path.is_file()} == {0o600}
    assert "ngr1_" not in done.out + done.err


def test_programs_read_json(shell: Terminal, gate: ScriptedGate) -> None:
    done = login(shell, gate, "-o", "json")
    assert done.json["gate"] == gate.url
    assert (done.json["person"], done.json["clusters"]) == ("alice", ["prod"])
    assert "secret" not in done.out


def test_the_second_time_the_gate_is_trusted_as_before(shell: Terminal, gate: ScriptedGate) -> None:
    login(shell, gate)
    assert shell.bare("login", gate.url, "--device").code == 0


def test_an_older_sign_in_is_ended_at_the_gate(shell: Terminal, gate: ScriptedGate) -> None:
    keep_sign_in(gate.url, KeptSignIn("bob", "ngr1_older", "", ""))
    login(shell, gate)
    assert [call.form["token"] for call in gate.called("/oauth/revoke")] == ["ngr1_older"]


def test_a_sign_in_that_cannot_be_kept_is_ended_at_the_gate(shell: Terminal, gate: ScriptedGate, home: Path) -> None:
    home.mkdir(mode=0o755)
    done = login(shell, gate)
    assert (done.code, done.err.splitlines()[-1]) == (
        1,
        f"narrowgate: {home}: other users may look into it (mode 0755); run: chmod 700 {home}",
    )
    assert [call.form["token"] for call in gate.called("/oauth/revoke")] == ["ngr1_second"]


def test_a_gate_that_does_not_say_who_came_has_signed_one_in_all_the_same(shell: Terminal, gate: ScriptedGate) -> None:
    gate.answers("/api/v1/whoami", told({"title": "x"}, 503))
    done = login(shell, gate)
    assert (done.code, done.out) == (0, "narrowgate kubeconfig --cluster NAME\n")
    assert read_sign_in(gate.url) is not None


def test_an_unknown_authority_is_one_line_that_says_how_to_get_it(
    shell: Terminal, gate: ScriptedGate, home: Path
) -> None:
    done = shell.bare("login", gate.url, "--device")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "--certificate-authority FILE" in done.err
    assert "--fingerprint SHA256" in done.err
    assert not home.exists()


def test_a_fingerprint_does_in_the_place_of_a_file(shell: Terminal, gate: ScriptedGate) -> None:
    from narrowgate.cli.gate_address import fingerprint_of

    right = fingerprint_of(gate.authority_pem)
    assert shell.bare("login", gate.url, "--device", "--fingerprint", right).code == 0
    assert shell.bare("login", gate.url, "--device", "--fingerprint", "0" * 64).code == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (refused("access_denied", "alice said no"), "refused in the browser"),
        (refused("expired_token"), "in time"),
        (granted(secret=""), "no sign-in that could be kept"),
    ],
)
def test_a_sign_in_that_fails_is_one_line_and_leaves_nothing(
    shell: Terminal, gate: ScriptedGate, home: Path, answer: object, says: str
) -> None:
    gate.answers("/oauth/token", answer)  # type: ignore[arg-type]
    done = login(shell, gate)
    assert done.code == 1
    assert says in done.err.splitlines()[-1]
    assert not home.exists()


@pytest.mark.parametrize("url", ["http://gate.corp", "gate.corp/x", "a b"])
def test_an_address_that_is_none_is_one_line(shell: Terminal, home: Path, url: str) -> None:
    done = shell.bare("login", url)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "write it like https://gate.corp:8444" in done.err


BROWSER = """#!{python}
import sys, urllib.parse, urllib.request
asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(sys.argv[1]).query))
back = {{"code": "c", "state": asked["state"], "iss": "{gate}"}}
urllib.request.urlopen(asked["redirect_uri"] + "?" + urllib.parse.urlencode(back)).close()
"""
"""Signs in without being asked anything, as a browser does whose console session runs."""


def test_the_browser_of_the_environment_is_opened(gate: ScriptedGate, home: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(BROWSER.format(python=sys.executable, gate=gate.url))
    browser.chmod(0o755)
    program = "import sys; from narrowgate.cli import main; sys.exit(main())"
    arguments = ["login", gate.url, "--certificate-authority", str(gate.authority), "-o", "json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "BROWSER": str(browser)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["person"] == "alice"
    assert "a browser opens for you to sign in; if it does not, open this yourself:" in done.stderr


def test_without_a_screen_there_is_no_browser_to_open() -> None:
    assert not has_browser({}, "linux")
    assert has_browser({"DISPLAY": ":0"}, "linux")
    assert has_browser({"WAYLAND_DISPLAY": "x"}, "linux")
    assert has_browser({}, "darwin")
    assert not has_browser({"SSH_CONNECTION": "x"}, "darwin")
    assert not has_browser({"DISPLAY": ":0", "SSH_CONNECTION": "x"}, "linux")
    assert has_browser({"BROWSER": "x", "SSH_CONNECTION": "x"}, "linux")
