"""Bad input of every sort: one line that says what is wrong, where, and what to do; exit code 1 or 2; no traceback.

One table for each thing that can be wrong. What must be in the line is what tells the reader where to look.
"""

from __future__ import annotations

import base64
import datetime
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dev.cluster.processes import free_ports
from tests.e2e.command_line import Shell, one_line, three_ports
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl


@pytest.fixture
def shell(tmp_path: Path, cluster: Cluster) -> Iterator[Shell]:
    """A folder with a configuration that is good, until a test spoils it."""
    made = Shell(tmp_path / "work")
    made.configure(cluster.kubeconfig)
    yield made
    made("down")


OWNED = ("--owner", "person:a", "--purpose", "p")

MISUSE: list[tuple[tuple[str, ...], str]] = [
    (("sreve",), "sreve"),
    (("--verbose",), "--verbose"),
    (("serve", "--conf", "x"), "--conf"),
    (("serve", "extra"), "extra"),
    (("up", "--port", "0"), "--port"),
    (("up", "--port", "65535"), "--port"),
    (("up", "--port", "http"), "--port"),
    (("up", "--data-dir", "narrowgate.yaml"), "--data-dir"),
    (("down", "now"), "now"),
    (("agents",), "agents"),
    (("agents", "add"), "NAME"),
    (("agents", "add", "ci"), "--owner"),
    (("agents", "add", "CI", *OWNED), "CI"),
    (("agents", "add", "system:admin", *OWNED), "system:"),
    (("agents", "add", "ci", "--owner", "alice", "--purpose", "p"), "--owner"),
    (("agents", "add", "ci", *OWNED, "--for", "forever"), "--for"),
    (("agents", "add", "ci", *OWNED, "--for", "2000d"), "--for"),
    (("agents", "list", "-o", "yaml"), "--output"),
    (("clusters", "add"), "NAME"),
    (("clusters", "add", "x"), "--kubeconfig"),
    (("clusters", "add", "x", "--in-cluster", "--mode", "admin"), "--mode"),
    (("clusters", "add", "x", "--server", "https://a:1"), "--certificate-authority"),
    (("clusters", "manifests", "dev", "--mode", "credential"), "--mode"),
    (("clusters", "manifests", "dev", "--mode", "serviceAccount", "--constrained"), "--constrained"),
    (("policy", "apply"), "FILES"),
    (("policy", "explain", "get", "pods"), "--as"),
    (("policy", "explain", "--as", "agent:a", "get"), "RESOURCE"),
    (("policy", "revisions", "0"), "NUMBER"),
    (("policy", "revisions", "first"), "NUMBER"),
    (("policy", "revisions", "--diff"), "--diff"),
    (("audit", "search", "--decision", "maybe"), "--decision"),
    (("audit", "search", "--since", "yesterday"), "--since"),
    (("audit", "serch"), "serch"),
    (("kubeconfig", "--server"), "--server"),
]


@pytest.mark.parametrize(("words", "named"), MISUSE, ids=[" ".join(words) for words, _ in MISUSE])
def test_a_wrong_command_line_is_misuse(shell: Shell, words: tuple[str, ...], named: str) -> None:
    done = shell(*words)
    assert done.code == 2, done.text
    if words in (("agents",),):
        # A group without a command shows its help, which is what was missing.
        assert done.text.startswith("Usage: narrowgate agents")
    else:
        assert named in one_line(done)


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("policy", "check", "gone.yaml"), "gone.yaml"),
    (("policy", "check", "binary.yaml"), "binary.yaml"),
    (("policy", "check", "empty"), "empty"),
    (("policy", "apply", "gone.yaml"), "gone.yaml"),
    (("policy", "revisions", "99"), "99"),
    (("policy", "explain", "--as", "robot:a", "get", "pods"), "robot:a"),
    (("policy", "explain", "--as", "agent:a", "get", "Pods"), "Pods"),
    (("policy", "explain", "--as", "agent:a", "get", "po"), "pods"),
    (("policy", "explain", "--as", "agent:a", "get", "pods/x", "--subresource", "exec"), "create"),
    (("policy", "explain", "--as", "agent:a", "create", "pods", "-f", "gone.yaml"), "gone.yaml"),
    (("policy", "explain", "--as", "agent:a", "create", "pods", "-f", "list.yaml"), "list.yaml"),
    (("clusters", "check", "gone"), "gone"),
    (("clusters", "remove", "gone"), "gone"),
    (("clusters", "manifests", "gone"), "gone"),
    (("clusters", "add", "dev", "--in-cluster"), "dev"),
    (("clusters", "add", "New", "--in-cluster"), "New"),
    (("clusters", "add", "new", "--in-cluster"), "inCluster"),
    (("clusters", "add", "new", "--kubeconfig", "gone"), "gone"),
    (("clusters", "add", "new", "--kubeconfig", "binary.yaml"), "binary.yaml"),
    (("agents", "add", "ci", *OWNED, "--cluster", "gone"), "gone"),
    (("agents", "add", "ci", *OWNED, "--kubeconfig", "no/such/folder/k"), "no/such/folder"),
    (("agents", "add", "ci", *OWNED, "--kubeconfig", "narrowgate.yaml"), "narrowgate.yaml"),
    (("agents", "rotate", "gone"), "gone"),
    (("agents", "remove", "gone", "--yes"), "gone"),
    (("kubeconfig", "--cluster", "gone"), "gone"),
    (("kubeconfig", "--agent", "gone"), "gone"),
    (("up", "--agent", "Demo"), "Demo"),
    (("up", "--kubeconfig", "gone"), "gone"),
    (("up", "--kubeconfig", "binary.yaml"), "binary.yaml"),
    (("up", "--kubeconfig", "nowhere.yaml"), "no current context"),
    (("up", "--kubeconfig", "nowhere.yaml", "--context", "prod"), "prod"),
    (("up",), "config"),
    (("serve", "--config", "gone.yaml"), "gone.yaml"),
    (("serve", "--config", "binary.yaml"), "binary.yaml"),
    (("serve", "--config", "empty"), "empty"),
]


@pytest.mark.parametrize(("words", "named"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_is_not_there_or_not_right_is_refused(shell: Shell, words: tuple[str, ...], named: str) -> None:
    (shell.folder / "empty").mkdir()
    (shell.folder / "binary.yaml").write_bytes(bytes(range(256)))
    shell.write("list.yaml", "- a\n- b\n")
    shell.write("nowhere.yaml", "apiVersion: v1\nkind: Config\n")
    done = shell(*words)
    assert done.code == 1, done.text
    assert named in one_line(done)


BAD_CONFIGURATION: list[tuple[str, str, str]] = [
    ("kind: Config", "kind: Gate", "narrowgate.yaml:2"),
    ("kind: Config", "kind: Config\nkind: Config", "twice"),
    ("kind: Config", "kind: [", "not YAML"),
    ("narrowgate.dev/v1alpha1", "narrowgate.dev/v9", "narrowgate.yaml:1"),
    ("clusters:", "cluster:", 'did you mean "clusters"?'),
    ("kubeconfig:", "kubeConfig:", 'did you mean "kubeconfig"?'),
    ("name: dev", "name: Dev", "Dev"),
    ("name: dev", "name: dev\n    server: https://a:1", "exactly one"),
    ("name: dev", "name: dev\n    upstream: {mode: admin}", "admin"),
    ("listen:", "workers: 0\nlisten:", "workers"),
    ("listen:", "store: mysql://x\nlisten:", "store"),
    ("listen:", "policies: gone\nlisten:", "gone"),
    ("listen:", "tls: {certificate: a.crt}\nlisten:", "key"),
    ("listen:", "tls: {certificate: a.crt, key: a.key}\nlisten:", "a.crt"),
    ("listen:", "limits: {headerTimeout: 0s}\nlisten:", "headerTimeout"),
    ("listen:", "audit: {retention: ever}\nlisten:", "retention"),
    ("listen:", "authentication: {jwt: [{}]}\nlisten:", "jwt"),
]


@pytest.mark.parametrize(("old", "new", "named"), BAD_CONFIGURATION, ids=[new for _, new, _ in BAD_CONFIGURATION])
def test_a_bad_configuration_names_the_place(shell: Shell, old: str, new: str, named: str) -> None:
    config = shell.folder / "narrowgate.yaml"
    config.write_text(config.read_text().replace(old, new, 1))
    done = shell("serve", "--config", config)
    assert done.code == 1, done.text
    assert named in last_line(done.err)


def test_no_configuration_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    done = Shell(tmp_path / "work")("serve")
    assert done.code == 1
    assert "narrowgate up" in one_line(done)


def last_line(err: str) -> str:
    """The line of the error; a gate that was starting may have logged before it."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("narrowgate: ")]
    assert len(lines) == 1, err
    assert err.splitlines()[-1] == lines[0], err
    return lines[0]


@pytest.mark.parametrize("name", ["kubernetes", "health"])
def test_a_port_in_use_is_named(shell: Shell, name: str) -> None:
    config = shell.folder / "narrowgate.yaml"
    port = int(yaml.safe_load(config.read_text())["listen"][name].rpartition(":")[2])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = shell("serve", "--config", config)
    assert done.code == 1, done.text
    assert f"127.0.0.1:{port}" in last_line(done.err)


def test_an_address_of_another_machine_is_named(shell: Shell) -> None:
    config = shell.folder / "narrowgate.yaml"
    port = free_ports(1)[0]
    document = yaml.safe_load(config.read_text())
    document["listen"]["kubernetes"] = f"192.0.2.1:{port}"
    config.write_text(yaml.safe_dump(document))
    done = shell("serve", "--config", config)
    assert done.code == 1, done.text
    assert f"192.0.2.1:{port}" in last_line(done.err)


Spoiler = Callable[[dict[str, Any]], None]


def _cluster_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["clusters"][0]["cluster"]
    return found


def _user_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["users"][0]["user"]
    return found


def _no_verification(document: dict[str, Any]) -> None:
    _cluster_of(document).update({"insecure-skip-tls-verify": True})


def _plain_http(document: dict[str, Any]) -> None:
    _cluster_of(document)["server"] = "http://127.0.0.1:1"


def _no_authority(document: dict[str, Any]) -> None:
    del _cluster_of(document)["certificate-authority-data"]


def _broken_authority(document: dict[str, Any]) -> None:
    _cluster_of(document)["certificate-authority-data"] = base64.b64encode(b"not PEM").decode()


def _not_base64(document: dict[str, Any]) -> None:
    _cluster_of(document)["certificate-authority-data"] = "***"


def _no_context(document: dict[str, Any]) -> None:
    document["current-context"] = "gone"


def _no_credential(document: dict[str, Any]) -> None:
    document["users"][0]["user"] = {}


def _plugin(document: dict[str, Any]) -> None:
    document["users"][0]["user"] = {"exec": {"command": "aws"}}


def _foreign_key(document: dict[str, Any]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _user_of(document)["client-key-data"] = base64.b64encode(_pem(key)).decode()


def _expired(document: dict[str, Any]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "long ago")])
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(then)
        .not_valid_after(then + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    _user_of(document).update(
        {
            "client-certificate-data": base64.b64encode(pem).decode(),
            "client-key-data": base64.b64encode(_pem(key)).decode(),
        }
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


BAD_KUBECONFIG: list[tuple[Spoiler, str]] = [
    (_no_verification, "insecure-skip-tls-verify"),
    (_plain_http, "https"),
    (_no_authority, "certificate-authority-data"),
    (_broken_authority, "BEGIN CERTIFICATE"),
    (_not_base64, "base64"),
    (_no_context, "gone"),
    (_no_credential, "credential"),
    (_plugin, "plugin"),
    (_foreign_key, "key"),
    (_expired, "expired"),
]


@pytest.mark.parametrize(("spoil", "named"), BAD_KUBECONFIG, ids=[one.__name__ for one, _ in BAD_KUBECONFIG])
@pytest.mark.parametrize("command", ["serve", "up", "add"])
def test_a_bad_kubeconfig_is_refused_wherever_it_is_given(
    shell: Shell, cluster: Cluster, spoil: Spoiler, named: str, command: str
) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    spoil(document)
    bad = str(shell.write("bad.kubeconfig", yaml.safe_dump(document)))
    match command:
        case "serve":
            done = shell("serve", "--config", shell.configure(bad))
        case "up":
            done = shell("up", "--detach", "--kubeconfig", bad, "--port", str(three_ports()))
        case _:
            done = shell("clusters", "add", "new", "--kubeconfig", bad)
    assert done.code == 1, done.text
    assert named in last_line(done.err)


def test_up_says_that_the_cluster_does_not_answer(shell: Shell, cluster: Cluster) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    port = free_ports(1)[0]
    _cluster_of(document)["server"] = f"https://127.0.0.1:{port}"
    done = shell("up", "--detach", "--kubeconfig", shell.write("k", yaml.safe_dump(document)))
    assert done.code == 1
    assert f"127.0.0.1:{port}" in one_line(done)
    assert not (shell.folder / "narrowgate-data").exists()


def test_up_says_that_the_credential_is_not_accepted(shell: Shell, cluster: Cluster) -> None:
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": "not.a.token"}
    done = shell("up", "--detach", "--kubeconfig", shell.write("k", yaml.safe_dump(document)))
    assert done.code == 1
    assert "does not accept the credential" in one_line(done)
    assert not (shell.folder / "narrowgate-data").exists()


def test_a_data_folder_that_is_a_file_is_refused(shell: Shell, cluster: Cluster) -> None:
    shell.write("file", "x")
    done = shell("up", "--detach", "--kubeconfig", cluster.kubeconfig, "--data-dir", "file/below")
    assert done.code == 1
    assert "file/below" in one_line(done)


@pytest.mark.parametrize("name", ["gate.db", "keys"])
def test_a_spoiled_data_folder_is_named(shell: Shell, cluster: Cluster, name: str) -> None:
    shell("agents", "add", "ci", *OWNED)
    shell("kubeconfig")
    data = shell.folder / "narrowgate-data"
    files = [data / name] if (data / name).is_file() else sorted((data / name).iterdir())
    for file in files:
        file.write_bytes(b"spoiled, and long enough to be looked at as a whole page or a key" * 100)
    for beside in data.glob("gate.db-*"):
        beside.unlink()
    done = shell("agents", "add", "other", *OWNED, "--kubeconfig", "k") if name == "keys" else shell("agents", "list")
    assert done.code == 1, done.text
    assert "narrowgate-data" in one_line(done)


def test_a_credential_that_ended_is_not_accepted_and_the_answer_says_why(shell: Shell, cluster: Cluster) -> None:
    assert shell.up(cluster, "--data-dir", "narrowgate-data").code == 0
    added = shell("agents", "add", "brief", *OWNED, "--for", "1s", "--kubeconfig", "brief.kubeconfig", **_config(shell))
    assert added.code == 0, added.text
    time.sleep(1.5)
    kubectl = Kubectl(cluster.kubectl, shell.folder / "brief.kubeconfig", shell.home)
    done = kubectl("get", "namespaces")
    assert done.code == 1
    assert b"You must be logged in to the server" in done.err
    # client-go shows no server's words with a 401 (apimachinery's NewGenericServerResponse); they are in the answer.
    assert b"expired" in kubectl("get", "namespaces", "-v=8").err.lower()


def _config(shell: Shell) -> dict[str, str]:
    """The configuration that `up` made, where there is one in the folder itself too."""
    return {"NARROWGATE_CONFIG": str(shell.folder / "narrowgate-data" / "narrowgate.yaml")}


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_the_plugin_refuses_a_credential_that_others_can_read(shell: Shell, mode: int) -> None:
    path = shell.write("credential", "ng1_x\n", mode)
    plugin = Path(sys.executable).with_name("narrowgate-credential")
    done = shell.run([str(plugin), "--credential-file", str(path)])
    assert done.code == 1
    assert str(path) in done.err
    assert "Traceback" not in done.err
