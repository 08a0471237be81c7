"""`login`: how people are sent to an issuer, and that the client secret is in no message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from narrowgate.authenticators.jwt_issuer import OIDCLogin
from narrowgate.config import ConfigError
from narrowgate.config.document import Document
from narrowgate.config.oidc_login import LoginEntry, read_login

SECRET = "s3cr3t value"


def login(written: str, folder: Path = Path("/srv"), environ: Mapping[str, str] | None = None) -> OIDCLogin:
    document = Document(written, "gate.yaml")
    return read_login(document, (), document.as_shape(LoginEntry), folder, environ or {})


def complaint(written: str, folder: Path = Path("/srv"), environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        login(written, folder, environ)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_public_client_needs_a_name_and_an_id() -> None:
    assert login("{name: corp, clientID: gate}") == OIDCLogin(name="corp", title="corp", client_id="gate")


def test_the_secret_is_read_from_a_file_or_a_variable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    assert login("{name: corp, clientID: gate, clientSecretFile: secret}", tmp_path).client_secret == SECRET
    by_variable = "{name: corp, clientID: gate, clientSecretVariable: GATE_SECRET}"
    assert login(by_variable, environ={"GATE_SECRET": SECRET}).client_secret == SECRET


def test_a_secret_is_in_no_description_of_the_entry(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    found = login("{name: corp, clientID: gate, clientSecretFile: secret}", tmp_path)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("{name: Corp, clientID: gate}", "is no name"),
        ("{name: a/b, clientID: gate}", "is no name"),
        ("{name: corp, clientID: ''}", "clientID"),
        ("{name: corp}", "missing"),
        ("{name: corp, clientID: gate, title: " + "x" * 100 + "}", "shorten"),
        ("{name: corp, clientID: gate, clientSecret: x}", "unknown key"),
        ("{name: corp, clientID: gate, clientSecretFile: a, clientSecretVariable: B}", "keep one"),
        ("{name: corp, clientID: gate, clientSecretFile: missing}", "does not exist"),
        ("{name: corp, clientID: gate, clientSecretFile: empty}", "holds no client secret"),
        ("{name: corp, clientID: gate, clientSecretFile: two}", "alone on one line"),
        ("{name: corp, clientID: gate, clientSecretVariable: NOT_SET}", "$NOT_SET"),
        ("{name: corp, clientID: gate, scopes: [email]}", '"openid"'),
        ("{name: corp, clientID: gate, scopes: []}", '"openid"'),
        ("{name: corp, clientID: gate, scopes: ['openid email']}", "one word"),
    ],
)
def test_a_mistake_is_refused_with_what_to_do(tmp_path: Path, written: str, says: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text(f"{SECRET}\n{SECRET}\n")
    assert says in complaint(written, tmp_path)
