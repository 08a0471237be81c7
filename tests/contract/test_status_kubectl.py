"""The real kubectl is shown the gate's refusals: it must print the one line that says what, which rule, what to do.

A small TLS server stands in for the gate: it knows just enough of discovery, has one pod, and answers everything else
with the bytes of a Status.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from narrowgate.core import status
from narrowgate.core.decision import Deny, RuleRef
from narrowgate.core.intent import Intent
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.reviews import GrantedRule, access_review_answer, rules_intersection, rules_review_answer

REPOSITORY = Path(__file__).parents[2]
KUBECTL_SECONDS = 180.0

ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
DOCUMENTS: dict[str, Any] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ALL_VERBS},
            {"name": "secrets", "singularName": "secret", "namespaced": True, "kind": "Secret", "verbs": ALL_VERBS},
        ],
    },
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
    "/api/v1/namespaces/ci/pods/web": {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "ci"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running"},
    },
}

GRANTED = [
    GrantedRule(verbs=("get", "list"), api_groups=("",), resources=("pods", "pods/log")),
    GrantedRule(verbs=("patch",), api_groups=("apps",), resources=("deployments",), names=("web",)),
    GrantedRule(verbs=("get",), non_resource_urls=("/version",)),
]
CLUSTER_ADMIN = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}
REVIEW = {"apiVersion": "authorization.k8s.io/v1", "spec": {}}
POSTED = {
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews": rules_review_answer(
        {"kind": "SelfSubjectRulesReview", **REVIEW}, rules_intersection(GRANTED, [], CLUSTER_ADMIN)
    ),
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": access_review_answer(
        {"kind": "SelfSubjectAccessReview", **REVIEW},
        Deny(message="agent:bot may not do this", rule=RuleRef("base", "read-only", 3)),
        None,
    ),
}
"""What the gate's answers to reviews look like; the stand-in does not read the questions."""

MANIFEST = json.dumps({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "key", "namespace": "ci"}})
REFUSED = status.refusal(
    Deny(message="agent:bot may not do this", hint="ask for a task", rule=RuleRef("base", "read-only", 3)),
    Intent(
        cluster="prod",
        info=RequestInfo(is_resource_request=True, path="/", verb="get", resource="pods", namespace="ci", name="web"),
    ),
)
LINE = 'pods "web" is forbidden: agent:bot may not do this (rule base/read-only); ask for a task'


class Refusing(BaseHTTPRequestHandler):
    """Answers discovery and one pod; refuses the rest with `server.answer`."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        known = DOCUMENTS.get(path) if self.command == "GET" else POSTED.get(path)
        said = self.server.answer
        body = status.to_json(said) if known is None else json.dumps(known).encode()
        self.send_response(said.code if known is None else 201 if self.command == "POST" else 200)
        self.send_header("Content-Type", status.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server calls them so

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    answer = REFUSED
    asked: list[str]
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is no finding of these tests."""


def certificate() -> tuple[bytes, bytes]:
    """A key and a certificate for 127.0.0.1 that signs itself, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, signed.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def kubectl_binary() -> str:
    description = REPOSITORY / ".cluster" / "cluster.json"
    found = shutil.which("kubectl")
    if description.is_file():
        found = str(Path(json.loads(description.read_text())["bin"]) / "kubectl")
    if not found:
        pytest.fail("no kubectl: put one on the PATH, or start the cluster with `make up`")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("stand-in")
    key, pem = certificate()
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.set_alpn_protocols(["http/1.1"])
    with Server(("127.0.0.1", 0), Refusing) as running:
        running.asked = []
        running.socket = context.wrap_socket(running.socket, server_side=True)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {
                "server": f"https://127.0.0.1:{running.server_port}",
                "certificate-authority-data": base64.b64encode(pem).decode(),
            }}],
            "users": [{"name": "x", "user": {"token": "not-a-real-token"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "ci"}}],
        }))  # fmt: skip
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running, kubeconfig
        running.shutdown()
        thread.join()


@pytest.fixture
def kubectl(kubectl_binary: str, server: tuple[Server, Path], tmp_path: Path):
    running, kubeconfig = server
    running.asked.clear()
    running.answer = REFUSED

    def run(*arguments: str, answer: status.Status = REFUSED, code: int = 1, **environment: str) -> str:
        running.answer = answer
        done = subprocess.run(
            [kubectl_binary, f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path}", *arguments],
            input=MANIFEST,
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
        )
        assert done.returncode == code, done
        return done.stderr or done.stdout

    return run


SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


@pytest.mark.parametrize(
    "command",
    [
        ["get", "pods"],
        ["get", "secret", "key"],
        ["delete", "pod", "web"],
        ["label", "pod", "web", "a=b"],
        ["patch", "pod", "web", "-p", "{}"],
        ["logs", "web"],
    ],
    ids=lambda command: command[0],
)
def test_kubectl_prints_the_refusal_as_one_line(kubectl: Any, command: list[str]):
    assert kubectl(*command).strip().splitlines()[-1] == f"Error from server (Forbidden): {LINE}"


STREAMS = [["exec", "web", "--", "true"], ["attach", "web"], ["port-forward", "pod/web", "18080:80"]]


@pytest.mark.parametrize("command", STREAMS, ids=lambda command: command[0])
@pytest.mark.parametrize("environment", [{}, SPDY], ids=["websocket", "spdy"])
def test_kubectl_prints_the_refusal_of_a_stream(
    kubectl: Any, server: tuple[Server, Path], command: list[str], environment: dict[str, str]
):
    last = kubectl(*command, **environment).strip().splitlines()[-1]
    # Until 1.35 it says "Error from server (Forbidden)", since then "unable to upgrade connection"; never the JSON.
    assert last.endswith(f": {LINE}")
    assert "{" not in last
    asked = [request for request in server[0].asked if request.endswith(command[0].replace("-", ""))]
    assert [request.partition(" ")[0] for request in asked] == (["POST"] if environment else ["GET", "POST"])


def test_kubectl_says_of_an_apply_which_object_was_refused(kubectl: Any):
    said = kubectl("apply", "--validate=false", "-f", "-")
    assert said.startswith("Error from server (Forbidden): error when retrieving current configuration of:")
    assert 'Name: "key", Namespace: "ci"' in said
    assert said.strip().endswith(LINE)


def test_kubectl_says_of_a_create_which_file_was_refused(kubectl: Any):
    said = kubectl("create", "--validate=false", "-f", "-")
    assert said.strip() == f'Error from server (Forbidden): error when creating "STDIN": {LINE}'


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (status.bad_request("the body is not JSON"), "Error from server (BadRequest): the body is not JSON"),
        (status.unauthorized("the credential has expired: narrowgate login"),
         "error: You must be logged in to the server (the credential has expired: narrowgate login)"),
        (status.request_too_large(3145728),
         "Error from server (RequestEntityTooLarge): Request entity too large: limit is 3145728"),
        (status.unsupported_media_type("send JSON"), "Error from server (UnsupportedMediaType): send JSON"),
        (status.not_acceptable("accept JSON"), "Error from server (NotAcceptable): accept JSON"),
        (status.internal("the journal is full"),
         "Error from server (InternalError): Internal error occurred: the journal is full"),
        (status.gateway("the API server cannot be reached"),
         "Error from server (InternalError): the API server cannot be reached"),
        (status.failure(503, "the gate is stopping"), "Error from server (ServiceUnavailable): the gate is stopping"),
    ],
    ids=lambda value: str(value.code) if isinstance(value, status.Status) else "",
)  # fmt: skip
def test_kubectl_prints_every_kind_of_failure(kubectl: Any, answer: status.Status, line: str):
    assert kubectl("get", "pods", "web2", answer=answer).strip().splitlines()[-1] == line


def test_kubectl_gives_programs_the_rule(kubectl: Any):
    said = kubectl("get", "--raw", "/api/v1/namespaces/ci/secrets/key", "-v=8")
    assert '"reason":"NarrowgateRule","message":"base/read-only"' in said.replace("\\", "")


def test_kubectl_lists_the_rules_that_gate_and_cluster_both_give(kubectl: Any):
    listed = [line.split() for line in kubectl("auth", "can-i", "--list", code=0).splitlines()]
    assert ["pods/log", "[]", "[]", "[get", "list]"] in listed
    assert ["pods", "[]", "[]", "[get", "list]"] in listed
    assert ["deployments.apps", "[]", "[web]", "[patch]"] in listed
    assert ["[/version]", "[]", "[get]"] in listed
    assert len(listed) == 5


def test_kubectl_says_no_with_the_gates_reason(kubectl: Any, server: tuple[Server, Path]):
    said = kubectl("auth", "can-i", "get", "secrets")
    assert said == "no - narrowgate: agent:bot may not do this (rule base/read-only)\n"
    assert "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews" in server[0].asked
