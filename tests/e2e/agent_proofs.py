"""The ways in which an agent proves itself, each as a kubeconfig: a credential, a key, a client certificate.

Here belongs what an agent does for it. What it signs is made here anew, from the RFCs, not by the gate's own code.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.e2e.gate import Gate, GateFailure

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ANSWER_SECONDS = 120.0


def add_by_credential(gate: Gate, name: str) -> Path:
    """An agent whose kubeconfig the gate writes."""
    kubeconfig = gate.folder / f"{name}.kubeconfig"
    _add(gate, name, "--kubeconfig", str(kubeconfig))
    return kubeconfig


def add_by_key(gate: Gate, name: str) -> Path:
    """An agent without a credential: it signs with its key for a short one, which is in the kubeconfig."""
    key = gate.folder / f"{name}.key"
    _add(gate, name, "--no-credential")
    made = gate.command("agents", "keys", "generate", name, "--out", str(key))
    if made.code != 0:
        raise GateFailure(made.text)
    # The control process hears of a change a moment after the command has ended.
    found: list[str] = []

    def is_known() -> bool:
        status, answer = exchange(gate, assertion(gate, name, key), cluster="dev")
        if status == 200:
            found.append(answer["access_token"])
        return bool(found)

    gate.wait_until(is_known, f"an access credential for agent {name}")
    return _kubeconfig(gate, name, {"token": found[0]})


class Authority:
    """A CA for client certificates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agents' CA")])
        unsigned = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = folder / "agents-ca.pem"
        self.file.write_bytes(unsigned.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def add_agent(self, gate: Gate, name: str) -> Path:
        """An agent without a credential that a certificate of this CA stands for."""
        _add(gate, name, "--no-credential", "--certificate-name", f"cn:{name}")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        unsigned = self._builder(subject, key.public_key()).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        certificate = unsigned.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        user = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(private)}
        return _kubeconfig(gate, name, user)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )


def assertion(gate: Gate, name: str, key_file: Path, **claims: Any) -> str:
    """What an agent signs (RFC 7523, section 3; RFC 8037, appendix A.4)."""
    key = load_pem_private_key(key_file.read_bytes(), None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise TypeError(f"{key_file} holds another sort of key")
    public = _base64url(key.public_key().public_bytes_raw())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(json.dumps({"crv": "Ed25519", "kty": "OKP", "x": public}, separators=(",", ":")).encode())
    header = {"alg": "EdDSA", "kid": _base64url(digest.finalize())}
    now = int(time.time())
    told = {"iss": name, "sub": name, "aud": control_url(gate), "iat": now, "exp": now + 60}
    told |= {"jti": secrets.token_hex(16), **claims}
    begin = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(told).encode())}"
    return f"{begin}.{_base64url(key.sign(begin.encode()))}"


def exchange(gate: Gate, signed: str, *, cluster: str) -> tuple[int, dict[str, Any]]:
    """Status and answer of the token endpoint."""
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed,
        "resource": f"{control_url(gate)}/clusters/{cluster}",
    }
    request = urllib.request.Request(
        f"{control_url(gate)}/oauth/token", urllib.parse.urlencode(form).encode(), method="POST"
    )
    context = ssl.create_default_context(cafile=str(authority_of(gate)))
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def control_url(gate: Gate) -> str:
    return f"https://127.0.0.1:{gate.control_port}"


def authority_of(gate: Gate) -> Path:
    """PEM file of the authority that a started gate made for itself."""
    return gate.data_dir / "keys" / "ca.pem"


def _add(gate: Gate, name: str, *options: str) -> None:
    done = gate.command(
        "agents", "add", name, "--owner", "person:test", "--purpose", "test", "--cluster", "dev", *options
    )
    if done.code != 0:
        raise GateFailure(done.text)


def _kubeconfig(gate: Gate, name: str, user: dict[str, str]) -> Path:
    path = gate.folder / f"{name}.kubeconfig"
    server = {
        "server": f"https://127.0.0.1:{gate.kubernetes_port}",
        "certificate-authority-data": _base64(authority_of(gate).read_bytes()),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "dev", "cluster": server}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "dev", "context": {"cluster": "dev", "user": name}}],
        "current-context": "dev",
    }
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
