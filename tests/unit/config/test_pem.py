"""A CA as it is written: text or path; only certificates are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.oidc_issuer import Issuer

from narrowgate.config import ConfigError
from narrowgate.config.document import Document
from narrowgate.config.pem import read_authority

DOCUMENT = Document("ca: x", "gate.yaml")
PEM = Issuer().ca
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


def test_text_and_path_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(PEM)
    assert read_authority(DOCUMENT, ("ca",), PEM, tmp_path) == PEM
    assert read_authority(DOCUMENT, ("ca",), "ca.pem", tmp_path) == PEM
    assert read_authority(DOCUMENT, ("ca",), str(tmp_path / "ca.pem"), Path("/")) == PEM
    assert read_authority(DOCUMENT, ("ca",), "", tmp_path) == ""


def test_what_is_no_certificate_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_text(f"{KEY}about the CA\n{PEM}{PEM}")
    assert read_authority(DOCUMENT, ("ca",), "both.pem", tmp_path) == PEM * 2


@pytest.mark.parametrize("written", [KEY, "missing.pem", "a\0b", ".", "empty.pem", PEM.replace("M", "!")])
def test_what_holds_none_is_refused_with_its_place(tmp_path: Path, written: str) -> None:
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ConfigError):
        read_authority(DOCUMENT, ("ca",), written, tmp_path)
