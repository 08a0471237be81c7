"""Which gate a command means, and by what it is trusted: as typed, as configured here, or as remembered."""

from __future__ import annotations

import binascii
import hashlib
import os
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from narrowgate.cli.access_cache import gate_url
from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import METADATA_PATH, GatePort, GateUnreachable
from narrowgate.cli.sign_in_files import GateFacts, last_gate, read_facts

if TYPE_CHECKING:
    from narrowgate.config import Config

LARGEST_AUTHORITY = 64 << 10
"""Bytes of a file of CA certificates: some thirty of them."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----\n?", re.DOTALL)


class Metadata(NamedTuple):
    """What a gate says about itself to everybody (RFC 8414)."""

    authorization_endpoint: str
    device_authorization_endpoint: str
    revocation_endpoint: str
    kubernetes_url: str


def gate_to_sign_in(url: str, config: str | None) -> str:
    """The gate that `narrowgate login` means: named, of the local configuration, or used last. Raises Failed."""
    if url:
        return gate_url(url)
    found = local_config(config)
    if found is not None:
        return gate_url(control_address(found))
    return gate_in_use("")


def gate_in_use(url: str) -> str:
    """The gate that whoever is signed in means: named, or used last. Raises Failed."""
    chosen = url or last_gate()
    if not chosen:
        raise Failed("no gate is named", "", "name it like `narrowgate login https://gate.corp:8444`")
    return gate_url(chosen)


def local_config(config: str | None) -> Config | None:
    """The gate's configuration on this machine; None where there is none and none was named. Raises ConfigError."""
    from narrowgate.config import CONFIG_NAME, CONFIG_VARIABLE, DEFAULT_DATA_DIR, find_config

    usual = (Path(CONFIG_NAME), Path(DEFAULT_DATA_DIR, CONFIG_NAME))
    if config or os.environ.get(CONFIG_VARIABLE) or any(path.exists() for path in usual):
        return find_config(config)
    return None


def control_address(config: Config) -> str:
    """Where people reach the control port of a gate with this configuration: as the gate itself calls it."""
    from narrowgate.config import control_url

    return control_url(config)


def authority_of(url: str, *, file: Path | None, fingerprint: str, config: str | None) -> str:
    """PEM of the CA to trust the gate at `url` by; empty: whatever the system trusts. Raises Failed, Unusable.

    A file that was named comes first, then a fingerprint, the local configuration's CA, and the CA of the last sign-in.
    """
    if file is not None:
        return _of_file(file)
    if fingerprint:
        return pinned(url, fingerprint)
    found = local_config(config)
    if found is not None and gate_url(control_address(found)) == url:
        from narrowgate.config import gate_keys

        return gate_keys(found).ca_pem.decode("ascii")
    kept = read_facts(url)
    return kept.authority if kept is not None else ""


def _of_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_AUTHORITY).decode("ascii", "replace")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Failed(f"cannot read the CA certificate ({reason})", str(file), "name a PEM file") from error
    found = certificates_in(text)
    if not found:
        raise Failed("no certificate in it", str(file), "name a PEM file with the gate's CA")
    return "".join(found)


def certificates_in(text: str) -> list[str]:
    """The certificates in a PEM text, each as PEM; private keys and remarks beside them are left out."""
    return [found.rstrip("\n") + "\n" for found in _CERTIFICATE.findall(text.replace("\r\n", "\n"))]


def pinned(url: str, fingerprint: str) -> str:
    """The CA that the gate at `url` shows, if it is the one with this SHA-256. Raises Failed, Unusable.

    It is asked for without verification, and only the certificate with the fingerprint is used of the answer: whoever
    answered in the gate's place could not have made it.
    """
    wanted = fingerprint.lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise Failed(f'"{fingerprint}" is no SHA-256', "--fingerprint", "write its 64 hexadecimal digits")
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    shown = GatePort(url, "", unverified).get(METADATA_PATH).get("narrowgate_certificate_authority", "")
    for pem in certificates_in(shown) if isinstance(shown, str) else ():
        if fingerprint_of(pem) == wanted:
            return pem
    raise Failed(
        "the gate shows no CA with this fingerprint", url, "compare it with `openssl x509 -noout -fingerprint -sha256`"
    )


def fingerprint_of(pem: str) -> str:
    """SHA-256 of a certificate, 64 hexadecimal digits; empty for what is no certificate."""
    lines = pem.strip().splitlines()
    try:
        content = binascii.a2b_base64("".join(lines[1:-1]), strict_mode=True)
    except ValueError:
        return ""
    return hashlib.sha256(content).hexdigest() if content else ""


def read_metadata(port: GatePort) -> Metadata:
    """What the gate says about itself, of this address and no other. Raises Failed, Unusable."""
    told = port.get(METADATA_PATH)
    issuer = told.get("issuer")
    if issuer != port.url:
        if not isinstance(issuer, str) or not issuer.startswith("https://") or not issuer.isprintable():
            raise GateUnreachable(f"{port.url} does not answer as a gate does: name a gate's control port")
        # RFC 8414, section 3.3: or whoever stands at one address could speak for another.
        raise Failed(f"this gate is called {issuer}", port.url, f"use that name: narrowgate login {issuer}")
    names = ("authorization_endpoint", "device_authorization_endpoint", "revocation_endpoint")
    endpoints = [told.get(name) for name in names]
    kubernetes_url = told.get("narrowgate_kubernetes_url")
    paths = [found.removeprefix(issuer) for found in endpoints if isinstance(found, str)]
    if (
        len(paths) < len(names)
        or not all(path.startswith("/") for path in paths)
        or not isinstance(kubernetes_url, str)
    ):
        raise GateUnreachable(f"{port.url} does not say where one signs in: is it a gate of this version?")
    return Metadata(paths[0], paths[1], paths[2], gate_url(kubernetes_url))


def facts_of(port: GatePort, metadata: Metadata, authority: str) -> GateFacts:
    """What is kept of a gate that was reached."""
    return GateFacts(url=port.url, authority=authority, kubernetes_url=metadata.kubernetes_url)
