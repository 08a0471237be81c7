"""The cluster's keys and certificates, made once per cluster folder with the openssl command.

Two authorities, as Kubernetes wants them: one for everybody who speaks to the API server and for those it speaks to,
one for the front proxy alone. Were they the same, any client's certificate could pass for the aggregator's.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.processes import ClusterError

# A development cluster is thrown away long before.
VALID_DAYS = 3650

AUTHORITY = """
[req]
distinguished_name = name
[name]
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""

LEAF = """
[req]
distinguished_name = name
[name]
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = {usage}
authorityKeyIdentifier = keyid
{names}
"""


@dataclass(frozen=True)
class Pair:
    """A certificate (or a public key) and the private key to it."""

    certificate: Path
    key: Path


class Certificates:
    """The folder of one cluster's certificates; each is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def authority(self, name: str) -> Pair:
        """A certificate that signs others, by its own word."""
        pair = self._pair(name)
        if not pair.certificate.exists():
            self._key(pair.key)
            self._sign(AUTHORITY, ["-new", "-key", pair.key, "-subj", f"/CN={name}"], pair.certificate)
        return pair

    def client(self, name: str, issuer: Pair, *, user: str, group: str | None = None) -> Pair:
        """A certificate that Kubernetes reads as a user (CN) in a group (O)."""
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        return self._leaf(name, issuer, subject, LEAF.format(usage="clientAuth", names=""))

    def server(self, name: str, issuer: Pair, addresses: Sequence[str], names: Sequence[str]) -> Pair:
        """A certificate for a server that is reached by these addresses and names."""
        alternatives = ",".join([f"IP:{address}" for address in addresses] + [f"DNS:{name}" for name in names])
        text = LEAF.format(usage="serverAuth", names=f"subjectAltName = {alternatives}")
        return self._leaf(name, issuer, f"/CN={name}", text)

    def signing_key(self, name: str) -> Pair:
        """The key that signs ServiceAccount tokens, and its public half: RSA, as kubeadm makes it."""
        pair = Pair(certificate=self._folder / f"{name}.pub", key=self._folder / f"{name}.key")
        if not pair.certificate.exists():
            _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pair.key)
            _openssl("pkey", "-in", pair.key, "-pubout", "-out", pair.certificate)
        return pair

    def _pair(self, name: str) -> Pair:
        return Pair(certificate=self._folder / f"{name}.crt", key=self._folder / f"{name}.key")

    def _leaf(self, name: str, issuer: Pair, subject: str, text: str) -> Pair:
        pair = self._pair(name)
        if not pair.certificate.exists():
            self._key(pair.key)
            request: list[str | Path] = ["-new", "-key", pair.key, "-subj", subject]
            request += ["-CA", issuer.certificate, "-CAkey", issuer.key]
            self._sign(text, request, pair.certificate)
        return pair

    def _key(self, path: Path) -> None:
        # Elliptic curves: a dozen RSA keys would take as long as the API server's start.
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)

    def _sign(self, text: str, request: Sequence[str | Path], certificate: Path) -> None:
        unfinished = certificate.with_suffix(".new")
        with tempfile.NamedTemporaryFile("w", suffix=".cnf") as configuration:
            configuration.write(text)
            configuration.flush()
            command = ["req", "-x509", "-sha256", "-days", str(VALID_DAYS), *request]
            _openssl(*command, "-config", configuration.name, "-extensions", "extensions", "-out", unfinished)
        # The certificate is written last and whole: that it exists says that its key does.
        unfinished.rename(certificate)


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", *(str(argument) for argument in arguments)]
    mask = os.umask(0o077)
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    finally:
        os.umask(mask)
    if result.returncode != 0:
        raise ClusterError(f"{' '.join(command[:2])} failed: {result.stderr.strip()}")
