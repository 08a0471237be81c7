"""The plugin that kubectl starts: what it hands over, what it refuses, and that it loads nothing it does not need."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.scripted_gate import ScriptedGate, refused

from narrowgate.cli.access_cache import Access, Asked, cached_access, keep_access
from narrowgate.cli.credential_plugin import exec_credential, read_credential
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.sign_in_files import GateFacts, KeptSignIn, keep_facts, keep_sign_in

CREDENTIAL = "ng1_aaaqeayeau_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8Aj1quA"
FUTURE = "2999-12-31T00:00:00Z"


PROGRAM = "import sys; from narrowgate.cli.credential_plugin import main; sys.exit(main())"


def run(*arguments: str, program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
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


def modules_after(program: str, *arguments: str | Path) -> set[str]:
    command = [sys.executable, "-c", f"{program}; print('modules', *sorted(sys.modules))", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


NAMED = {"narrowgate", "narrowgate.cli", "__future__"} | {
    f"narrowgate.cli.{one}" for one in ("access_cache", "credential_plugin", "private_text")
}
"""All that may be loaded on the way to a credential that need not be renewed."""


def test_it_loads_nothing_that_a_bare_python_has_not_loaded(file: Path) -> None:
    plugin = "import sys; from narrowgate.cli import credential_plugin as p; p.read_credential(sys.argv[1], '')"
    assert modules_after(plugin, file) - modules_after("import sys") <= NAMED


# --- access credentials ---


@pytest.fixture
def signed_in(scripted: ScriptedGate, home: Path) -> ScriptedGate:
    """A gate at which somebody is signed in."""
    keep_facts(GateFacts(scripted.url, scripted.authority_pem, "https://127.0.0.1:8443"))
    keep_sign_in(scripted.url, KeptSignIn("alice", "ngr1_first", "2026-01-01T00:00:00Z", ""))
    return scripted


def cached(gate: ScriptedGate, token: str = "nga1_cached.x", age: float = 0, life: float = 3600) -> Asked:
    asked = Asked(gate.url, "prod")
    keep_access(asked, asked.path(), Access.lasting(token, time.time() - age, life))
    return asked


def plugin(gate: ScriptedGate, home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run("--gate", gate.url, "--cluster", "prod", *more, NARROWGATE_HOME=str(home))


def token_of(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    token: str = json.loads(done.stdout)["status"]["token"]
    return token


def test_a_cached_credential_is_handed_over_with_its_expiry_and_nobody_is_asked(
    signed_in: ScriptedGate, home: Path
) -> None:
    asked = cached(signed_in)
    done = plugin(signed_in, home)
    assert token_of(done) == "nga1_cached.x"
    found = cached_access(asked, asked.path())
    assert found is not None
    assert json.loads(done.stdout)["status"]["expirationTimestamp"] == found.expires
    assert signed_in.calls == []


def test_a_cached_credential_is_handed_over_by_three_files_of_ours(signed_in: ScriptedGate, home: Path) -> None:
    cached(signed_in)
    program = (
        "import sys; from narrowgate.cli import credential_plugin as p;"
        "assert p.exchanged(p.Asked(sys.argv[1], 'prod'))[0] == 'nga1_cached.x'"
    )
    assert modules_after(program, signed_in.url) - modules_after("import sys") <= NAMED


def test_without_one_the_sign_in_is_renewed_and_the_next_call_asks_nobody(signed_in: ScriptedGate, home: Path) -> None:
    assert [token_of(plugin(signed_in, home)) for _ in range(2)] == ["nga1_a.b"] * 2
    assert len(signed_in.calls) == 1


def test_half_way_through_its_life_it_is_renewed(signed_in: ScriptedGate, home: Path) -> None:
    cached(signed_in, age=1900)
    assert token_of(plugin(signed_in, home)) == "nga1_a.b"


def test_while_the_gate_is_away_the_good_one_is_used_and_an_ended_one_is_not(
    signed_in: ScriptedGate, home: Path
) -> None:
    signed_in.down()
    cached(signed_in, age=1900)
    assert token_of(plugin(signed_in, home)) == "nga1_cached.x"
    cached(signed_in, age=3700)
    done = plugin(signed_in, home)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "cannot be reached (connection refused)" in done.stderr


def test_asked_again_by_the_same_client_it_takes_the_credential_for_refused(
    signed_in: ScriptedGate, home: Path
) -> None:
    # Both are started by this process, as kubectl starts it again when it was answered 401.
    cached(signed_in, age=20)
    assert token_of(plugin(signed_in, home)) == "nga1_cached.x"
    assert token_of(plugin(signed_in, home)) == "nga1_a.b"
    # What is new is not taken for refused again at once, however often a client asks.
    assert token_of(plugin(signed_in, home)) == "nga1_a.b"
    assert len(signed_in.calls) == 1


def test_asked_by_another_client_it_hands_over_the_same_one(signed_in: ScriptedGate, home: Path) -> None:
    cached(signed_in, age=20)
    command = f"import os, sys; os.fork() and os._exit(os.waitstatus_to_exitcode(os.wait()[1])); {PROGRAM}"
    for _ in range(3):
        # A fork in between: the plugin's parent is another process each time, as with one kubectl after another.
        done = run("--gate", signed_in.url, "--cluster", "prod", program=command, NARROWGATE_HOME=str(home))
        assert token_of(done) == "nga1_cached.x"
    assert signed_in.calls == []


def test_a_sign_in_that_is_over_says_what_to_run_and_nothing_is_handed_over_any_more(
    signed_in: ScriptedGate, home: Path
) -> None:
    signed_in.answers("/oauth/token", refused("invalid_grant", "this sign-in ended: signed out"))
    cached(signed_in, age=20)
    assert token_of(plugin(signed_in, home)) == "nga1_cached.x"
    over = f"narrowgate-credential: this sign-in ended: signed out; run: narrowgate login {signed_in.url}\n"
    done = plugin(signed_in, home)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", over)
    done = plugin(signed_in, home)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"run: narrowgate login {signed_in.url}" in done.stderr


def test_without_a_sign_in_it_says_what_to_run(scripted: ScriptedGate, home: Path) -> None:
    done = plugin(scripted, home)
    assert done.returncode == 1
    assert done.stderr == (
        f"narrowgate-credential: nobody is signed in at {scripted.url}: run: narrowgate login {scripted.url}\n"
    )


def test_a_cache_that_others_may_read_is_refused(signed_in: ScriptedGate, home: Path) -> None:
    path = cached(signed_in).path()
    os.chmod(path, 0o644)
    done = plugin(signed_in, home)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"run: chmod 600 {path}" in done.stderr


AS_NOBODY = (
    "import os, sys; from narrowgate.cli.credential_plugin import main;"
    "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main())"
)
"""The plugin as another user of this machine runs it: the interpreter itself may be in a folder closed to them."""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user of this machine can come to, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_another_user_gets_nothing_of_a_cache_by_the_plugin(
    signed_in: ScriptedGate, home: Path, reachable: Path
) -> None:
    cached(signed_in)
    open_to_all = reachable / "state"
    # As it was made, modes and all, where its owner's folders above it keep nobody out.
    shutil.copytree(home, open_to_all)
    done = run("--gate", signed_in.url, "--cluster", "prod", program=AS_NOBODY, NARROWGATE_HOME=str(open_to_all))
    assert (done.returncode, done.stdout) == (1, "")
    assert "permission denied" in done.stderr


def test_a_cache_stolen_with_its_modes_is_of_no_use_to_the_thief(
    signed_in: ScriptedGate, home: Path, reachable: Path
) -> None:
    cached(signed_in)
    stolen = reachable / "stolen"
    shutil.copytree(home, stolen)
    for path in (stolen, *stolen.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    done = run("--gate", signed_in.url, "--cluster", "prod", program=AS_NOBODY, NARROWGATE_HOME=str(stolen))
    assert (done.returncode, done.stdout) == (1, "")
    assert "other users may read it (mode 0644); run: chmod 600" in done.stderr


def test_a_cache_that_another_user_put_there_is_not_believed(signed_in: ScriptedGate, home: Path) -> None:
    path = cached(signed_in).path()
    os.chown(path, 65534, 65534)
    done = plugin(signed_in, home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "belongs to another user (uid 65534)" in done.stderr


def test_a_workload_goes_without_a_cache_where_there_is_no_place_for_one(
    scripted: ScriptedGate, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.eyJ.sig")
    data = base64.b64encode(scripted.authority_pem.encode()).decode()
    more = ("--token-file", str(token), "--certificate-authority-data", data)
    for place in ("/dev/null/state", "/proc/state"):
        done = run("--gate", scripted.url, "--cluster", "prod", *more, NARROWGATE_HOME=place)
        assert token_of(done) == "nga1_a.b"
    assert scripted.calls[0].form["subject_token"] == "eyJ.eyJ.sig"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--gate https://g", "--gate goes with --cluster"),
        ("--cluster prod", "--cluster goes with --gate"),
        ("--gate https://g --cluster prod --credential-file x", "without --credential-file"),
        ("--gate https://g --cluster prod --agent a", "--agent and --key-file"),
        ("--gate https://g --cluster prod --key-file a", "--agent and --key-file"),
        ("--gate https://g --cluster prod --token-file t --agent a --key-file k", "--token-file, or"),
        ("--gate https://g --gate https://h --cluster prod", "--gate comes twice"),
        ("--gate https://g --cluster", "--cluster needs a value"),
        ("--gate https://g --cluster=", "--cluster needs a value"),
        ("--gate https://g --cluster a --certificate-authority f --certificate-authority-data d", "says the same"),
        ("--gate https://g --cluster a --verbose", "cannot tell what '--verbose' means"),
    ],
)
def test_options_that_do_not_fit_together_are_misuse(arguments: str, says: str) -> None:
    done = run(*arguments.split())
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert says in done.stderr


@pytest.mark.parametrize("arguments", ["--gate http://g --cluster a", "--gate https://g --cluster ../a"])
def test_an_address_or_a_cluster_that_is_none_is_one_line(arguments: str) -> None:
    done = run(*arguments.split())
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
