"""Real clients as oracle: kubectl reads the kubeconfigs that we write, and we read those that real clusters have."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from narrowgate.authenticators.credential import new_credential
from narrowgate.cli.kubeconfig_file import CredentialPlugin, InlineToken, kubeconfig_document
from narrowgate.config import ClusterConfig, cluster_access
from narrowgate.core.cluster import ClusterAccess
from narrowgate.keys import Keys

REPOSITORY = Path(__file__).parents[2]
PLUGIN = Path(sys.executable).with_name("narrowgate-credential")
CLUSTER_SECONDS = 1200.0
ANSWER_SECONDS = 90.0


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The development cluster as it describes itself; started when there is none."""
    description = REPOSITORY / ".cluster" / "cluster.json"
    if not description.is_file():
        command = [sys.executable, str(REPOSITORY / "dev" / "cluster" / "cluster.py"), "up"]
        subprocess.run(command, check=True, cwd=REPOSITORY, timeout=CLUSTER_SECONDS)
    described: dict[str, Any] = json.loads(description.read_text())
    return described


class Heard(msgspec.Struct):
    """What reached the server that stands where the gate would."""

    url: str
    authorization: list[str]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[tuple[Heard, Keys]]:
    keys = Keys.load_or_make(tmp_path / "data")
    told = Heard("", [])

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.authorization.append(self.headers.get("Authorization", ""))
            body = b'{"major":"1","minor":"99","gitVersion":"v1.99.0"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:  # noqa: ARG002 (silence: pytest shows what fails)
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate_path, keys.key_path)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    told.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told, keys
    server.shutdown()
    server.server_close()
    thread.join()


def kubectl(cluster: dict[str, Any], kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(cluster["bin"]) / "kubectl"), "--kubeconfig", str(kubeconfig), *arguments]
    around = os.environ | {"HOME": str(kubeconfig.parent)}
    return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, env=around)


def test_kubectl_verifies_the_gate_and_sends_the_inline_credential(
    cluster: dict[str, Any], heard: tuple[Heard, Keys], tmp_path: Path
) -> None:
    told, keys = heard
    credential = new_credential().text
    path = tmp_path / "k"
    path.write_text(kubeconfig_document(told.url, keys.ca_pem, "prod", "ci-bot", InlineToken(credential)))
    done = kubectl(cluster, path, "get", "--raw", "/version")
    assert done.returncode == 0, done.stderr
    assert told.authorization == [f"Bearer {credential}"]


def test_kubectl_gets_the_credential_from_the_plugin(
    cluster: dict[str, Any], heard: tuple[Heard, Keys], tmp_path: Path
) -> None:
    told, keys = heard
    credential, kept, path = new_credential().text, tmp_path / "c", tmp_path / "k"
    kept.write_text(f"{credential}\nexpires: 2999-12-31T00:00:00Z\n")
    kept.chmod(0o600)
    plugin = CredentialPlugin(str(PLUGIN), str(kept))
    path.write_text(kubeconfig_document(told.url, keys.ca_pem, "prod", "ci-bot", plugin))
    done = kubectl(cluster, path, "get", "--raw", "/version")
    assert done.returncode == 0, done.stderr
    assert told.authorization == [f"Bearer {credential}"]


def test_kubectl_shows_why_the_plugin_has_no_credential_and_asks_nobody(
    cluster: dict[str, Any], heard: tuple[Heard, Keys], tmp_path: Path
) -> None:
    told, keys = heard
    kept, path = tmp_path / "c", tmp_path / "k"
    kept.write_text(f"{new_credential().text}\nexpires: 2026-01-01T00:00:00Z\n")
    kept.chmod(0o600)
    plugin = CredentialPlugin(str(PLUGIN), str(kept))
    path.write_text(kubeconfig_document(told.url, keys.ca_pem, "prod", "ci-bot", plugin))
    done = kubectl(cluster, path, "get", "--raw", "/version")
    assert done.returncode == 1
    assert "the credential expired on 2026-01-01T00:00:00Z" in done.stderr
    assert told.authorization == []


def test_kubectl_refuses_a_server_that_only_looks_like_the_gate(
    cluster: dict[str, Any], heard: tuple[Heard, Keys], tmp_path: Path
) -> None:
    told, _ = heard
    other = Keys.load_or_make(tmp_path / "other")
    path = tmp_path / "k"
    path.write_text(kubeconfig_document(told.url, other.ca_pem, "prod", "ci-bot", InlineToken("secret")))
    done = kubectl(cluster, path, "get", "--raw", "/version")
    assert done.returncode == 1
    assert "certificate" in done.stderr
    assert told.authorization == []


def ask(access: ClusterAccess, tmp_path: Path, target: str) -> tuple[int, Any]:
    """One request to the cluster with the credential that `access` holds, verified with its authority."""
    context = ssl.create_default_context(cadata=access.certificate_authority.decode())
    headers = {}
    if access.client_certificate:
        pair = tmp_path / "pair.pem"
        pair.touch(0o600)
        pair.write_bytes(access.client_certificate + b"\n" + access.client_key)
        context.load_cert_chain(pair)
    else:
        token = access.token or Path(access.token_file).read_text().strip()
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPSConnection(access.host, access.port, context=context, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", access.path_prefix + target, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_the_credential_in_a_real_kubeconfig_opens_its_cluster(cluster: dict[str, Any], tmp_path: Path) -> None:
    access = cluster_access(ClusterConfig(name="dev", kubeconfig=Path(cluster["kubeconfig"])))
    status, answer = ask(access, tmp_path, "/api/v1/namespaces/kube-system")
    assert (status, answer["kind"], answer["metadata"]["name"]) == (200, "Namespace", "kube-system")


@pytest.mark.parametrize("how", ["token in a kubeconfig", "server and token file", "in a pod"])
def test_a_service_account_token_opens_the_cluster_in_every_form(
    cluster: dict[str, Any], tmp_path: Path, how: str
) -> None:
    made = kubectl(cluster, Path(cluster["kubeconfig"]), "create", "token", "default", "-n", "default")
    assert made.returncode == 0, made.stderr
    (tmp_path / "token").write_text(made.stdout)
    authority = Path(cluster["ca"]).read_bytes()
    (tmp_path / "ca.crt").write_bytes(authority)
    registered = ClusterConfig(name="dev", in_cluster=True)
    environment: dict[str, str] = {}
    match how:
        case "token in a kubeconfig":
            document = kubeconfig_document(cluster["server"], authority, "c", "u", InlineToken(made.stdout.strip()))
            (tmp_path / "k").write_text(document)
            registered = ClusterConfig(name="dev", kubeconfig=tmp_path / "k")
        case "server and token file":
            registered = ClusterConfig(
                name="dev",
                server=cluster["server"],
                certificate_authority=tmp_path / "ca.crt",
                token_file=tmp_path / "token",
            )
        case _:
            host, _, port = cluster["server"].removeprefix("https://").partition(":")
            environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    access = cluster_access(registered, environment, tmp_path)
    status, answer = ask(access, tmp_path, "/version")
    assert (status, answer["major"]) == (200, "1")
    status, answer = ask(access, tmp_path, "/api/v1/secrets")
    assert (status, "system:serviceaccount:default:default" in answer["message"]) == (403, True)


def test_kubectl_finds_nothing_to_change_in_our_kubeconfig(cluster: dict[str, Any], tmp_path: Path) -> None:
    text = kubeconfig_document("https://gate:8443", b"PEM", "prod", "ci-bot", CredentialPlugin("p", "/c"))
    (tmp_path / "k").write_text(text)
    done = kubectl(cluster, tmp_path / "k", "config", "view", "--raw")
    assert done.returncode == 0, done.stderr
    ours, theirs = yaml.safe_load(text), yaml.safe_load(done.stdout)
    theirs["users"][0]["user"]["exec"] = {
        key: value
        for key, value in theirs["users"][0]["user"]["exec"].items()
        if key in ours["users"][0]["user"]["exec"]
    }
    theirs.pop("preferences", None)
    assert theirs == ours
