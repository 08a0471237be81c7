"""A short secret in a file: it comes back, and to nobody else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from narrowgate.keys import KeysUnusable
from narrowgate.keys.sealed_file import SealedFile

PASSPHRASE = "p" * 40
SECRET = b"a-token-of-the-cluster"


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_a_secret_comes_back_and_is_for_its_owner_alone(tmp_path: Path, passphrase: str) -> None:
    path = tmp_path / "tokens" / "prod.token"
    file = SealedFile(path, passphrase)
    assert file.read() is None
    file.write(SECRET)
    assert file.read() == SECRET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (SECRET in path.read_bytes()) == (passphrase == "")


def test_it_is_opened_by_its_own_key_under_its_own_name_only(tmp_path: Path) -> None:
    path = tmp_path / "prod.token"
    SealedFile(path, PASSPHRASE).write(SECRET)
    with pytest.raises(KeysUnusable, match="not encrypted with this key"):
        SealedFile(path, "q" * 40).read()
    with pytest.raises(KeysUnusable, match="no key to decrypt it with"):
        SealedFile(path).read()
    path.rename(tmp_path / "dev.token")
    with pytest.raises(KeysUnusable, match="not encrypted with this key"):
        SealedFile(tmp_path / "dev.token", PASSPHRASE).read()


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prod.token"
    SealedFile(path, PASSPHRASE).write(SECRET)
    content = path.read_bytes()
    for changed in (content[:-1] + bytes([content[-1] ^ 1]), content[:25], content[:-5]):
        path.write_bytes(changed)
        with pytest.raises(KeysUnusable):
            SealedFile(path, PASSPHRASE).read()


def test_a_plain_one_is_still_read_when_a_passphrase_comes_and_sealed_when_written(tmp_path: Path) -> None:
    path = tmp_path / "prod.token"
    SealedFile(path).write(SECRET)
    sealed = SealedFile(path, PASSPHRASE)
    assert sealed.read() == SECRET
    sealed.write(SECRET)
    assert SECRET not in path.read_bytes()


def test_one_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prod.token"
    SealedFile(path).write(SECRET)
    path.chmod(0o644)
    with pytest.raises(KeysUnusable, match="chmod 600"):
        SealedFile(path).read()
