"""An agent's public key as people have it in a file: PEM, one line of OpenSSH, or a JWK. 32 raw bytes come out.

A file with the private half is refused: that one stays with the agent, and nobody should get used to passing it around.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

from narrowgate.authenticators.base64url import from_base64url
from narrowgate.authenticators.strict_json import NotStrict, read_object
from narrowgate.cli.failure import Failed
from narrowgate.core.agent_fields import key_problem

LARGEST_FILE = 64 << 10
"""Bytes; a key with all its comments has some hundred. More is another file, named by mistake."""

MAKE_ONE = "give an Ed25519 public key in PEM, as OpenSSH writes it, or as JWK"


def read_public_key(path: Path) -> bytes:
    """The raw bytes of the Ed25519 public key in a file. Raises Failed, OSError."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise Failed(f"larger than {LARGEST_FILE >> 10} KiB", str(path), MAKE_ONE)
    if b"PRIVATE KEY" in content:
        raise _is_private(path)
    public = _from_jwk(content, path) if content.lstrip()[:1] == b"{" else _from_lines(content, path)
    if problem := key_problem(public):
        raise Failed("no key to rest on", str(path), problem)
    return public


def _from_lines(content: bytes, path: Path) -> bytes:
    load = load_pem_public_key if b"-----BEGIN" in content else load_ssh_public_key
    try:
        key = load(content.strip())
    except (ValueError, UnsupportedAlgorithm):
        raise Failed("not a public key", str(path), MAKE_ONE) from None
    if not isinstance(key, Ed25519PublicKey):
        raise Failed("not an Ed25519 key", str(path), MAKE_ONE)
    return key.public_bytes_raw()


def _from_jwk(content: bytes, path: Path) -> bytes:
    """RFC 8037, section 2."""
    try:
        members = read_object(content)
    except NotStrict as error:
        raise Failed(f"it {error}", str(path), MAKE_ONE) from None
    if "d" in members:
        raise _is_private(path)
    if (members.get("kty"), members.get("crv")) != ("OKP", "Ed25519"):
        raise Failed("not an Ed25519 key", str(path), MAKE_ONE)
    try:
        return from_base64url(str(members.get("x", "")))
    except ValueError:
        raise Failed("x is not base64url without padding", str(path), MAKE_ONE) from None


def _is_private(path: Path) -> Failed:
    return Failed("this is the private half", str(path), "it stays with the agent; give the public one")
