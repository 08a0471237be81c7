"""Private keys on disk: encrypted when there is a passphrase, refused in words when they cannot be read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from narrowgate.keys import Keys, KeysUnusable
from narrowgate.keys.secret_files import SecretFiles

PASSPHRASE = "p" * 40


def raw(key: object) -> bytes:
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key.private_bytes_raw()


def test_a_key_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = ed25519.Ed25519PrivateKey.generate()
    for files in (SecretFiles(), SecretFiles(PASSPHRASE)):
        files.write(tmp_path / "x.key", made)
        assert raw(files.read(tmp_path / "x.key")) == raw(made)
        assert stat.S_IMODE((tmp_path / "x.key").stat().st_mode) == 0o600


def test_a_key_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert SecretFiles().read(tmp_path / "none") is None


def test_with_a_passphrase_nothing_on_disk_is_readable_without_it(tmp_path: Path) -> None:
    SecretFiles(PASSPHRASE).write(tmp_path / "x.key", ec.generate_private_key(ec.SECP256R1()))
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / "x.key").read_bytes()
    with pytest.raises(KeysUnusable, match=r"x\.key: encrypted, and no key to decrypt it with; set encryption"):
        SecretFiles().read(tmp_path / "x.key")
    with pytest.raises(KeysUnusable, match=r"not encrypted with this key"):
        SecretFiles("q" * 40).read(tmp_path / "x.key")


def test_a_plain_key_is_encrypted_when_a_passphrase_comes(tmp_path: Path) -> None:
    made = ed25519.Ed25519PrivateKey.generate()
    SecretFiles().write(tmp_path / "x.key", made)
    assert raw(SecretFiles(PASSPHRASE).read(tmp_path / "x.key")) == raw(made)
    assert b"ENCRYPTED" in (tmp_path / "x.key").read_bytes()


def test_a_passphrase_that_people_could_remember_is_refused() -> None:
    with pytest.raises(KeysUnusable, match="fewer than 32 characters"):
        SecretFiles("correct horse")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    SecretFiles().write(tmp_path / "x.key", ed25519.Ed25519PrivateKey.generate())
    (tmp_path / "x.key").chmod(0o640)
    with pytest.raises(KeysUnusable, match="chmod 600"):
        SecretFiles().read(tmp_path / "x.key")


def test_every_private_key_of_a_gate_is_encrypted(tmp_path: Path) -> None:
    plain = Keys.load_or_make(tmp_path)
    sealed = Keys.load_or_make(tmp_path, passphrase=PASSPHRASE)
    assert sealed.signing_key_pem == plain.signing_key_pem
    kept = sorted((tmp_path / "keys").glob("*.key"))
    assert [path.name for path in kept] == ["access.key", "ca.key", "checkpoint.key", "serving.key"]
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes() for path in kept)
    assert Keys.load_or_make(tmp_path, passphrase=PASSPHRASE) == sealed
