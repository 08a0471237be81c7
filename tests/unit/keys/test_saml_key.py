"""The key that signs SAML requests: made once, kept, for this user alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from narrowgate.keys import Keys, KeysUnusable
from narrowgate.keys.saml_key import SAMLKey

PASSPHRASE = "a passphrase made by a machine, long enough"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    Keys.load_or_make(tmp_path, ["127.0.0.1"])
    return tmp_path


def test_it_is_made_once_and_stays_the_same(data_dir: Path) -> None:
    first, second = SAMLKey.load_or_make(data_dir), SAMLKey.load_or_make(data_dir)
    assert first.certificate == second.certificate
    assert first.private.private_numbers() == second.private.private_numbers()
    assert first.certificate.public_key() == first.private.public_key()
    assert first.private.key_size == 2048


def test_nobody_else_may_read_it(data_dir: Path) -> None:
    SAMLKey.load_or_make(data_dir)
    path = data_dir / "keys" / "saml.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(KeysUnusable, match="other users may read this key"):
        SAMLKey.load_or_make(data_dir)


def test_it_is_encrypted_when_there_is_a_passphrase(data_dir: Path) -> None:
    made = SAMLKey.load_or_make(data_dir, PASSPHRASE)
    assert b"ENCRYPTED" in (data_dir / "keys" / "saml.key").read_bytes()
    assert SAMLKey.load_or_make(data_dir, PASSPHRASE).certificate == made.certificate
    with pytest.raises(KeysUnusable, match="encrypted, and no key to decrypt it with"):
        SAMLKey.load_or_make(data_dir)


def test_a_lost_certificate_is_made_anew_for_the_same_key(data_dir: Path) -> None:
    first = SAMLKey.load_or_make(data_dir)
    (data_dir / "keys" / "saml.pem").unlink()
    second = SAMLKey.load_or_make(data_dir)
    assert second.certificate != first.certificate
    assert second.certificate.public_key() == first.certificate.public_key()


def test_a_certificate_of_another_key_is_refused(data_dir: Path) -> None:
    SAMLKey.load_or_make(data_dir)
    (data_dir / "keys" / "saml.key").unlink()
    with pytest.raises(KeysUnusable, match=r"not the certificate of saml.key beside it; restore both, or remove it"):
        SAMLKey.load_or_make(data_dir)
    (data_dir / "keys" / "saml.pem").write_text("nonsense")
    with pytest.raises(KeysUnusable, match=r"not the certificate of saml.key"):
        SAMLKey.load_or_make(data_dir)


def test_another_kind_of_key_is_refused(data_dir: Path) -> None:
    path = data_dir / "keys" / "saml.key"
    path.write_bytes((data_dir / "keys" / "serving.key").read_bytes())
    path.chmod(0o600)
    with pytest.raises(KeysUnusable, match="not an RSA key; restore it from a backup"):
        SAMLKey.load_or_make(data_dir)
