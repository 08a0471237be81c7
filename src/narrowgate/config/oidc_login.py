"""`authentication.jwt[].login`: how people sign in with an issuer in a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from narrowgate.authenticators.jwt_issuer import DEFAULT_SCOPES, OIDCLogin
from narrowgate.config.document import Document, Path_, read_text

LONGEST_TITLE = 64
"""Characters; it stands on a button."""

OPENID = "openid"
"""Without this scope a provider answers no ID token (OpenID Connect Core 1.0, section 3.1.2.1)."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
"""It becomes a path segment and a word in the record."""

_SCOPE = re.compile(r"[!#-\[\]-~]+", re.ASCII)
"""RFC 6749, section 3.3."""


class LoginEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`login` as written."""

    name: str
    title: str = ""
    client_id: str = msgspec.field(name="clientID")
    client_secret_file: str = ""
    client_secret_variable: str = ""
    scopes: list[str] | None = None


def read_login(
    document: Document, here: Path_, written: LoginEntry, folder: Path, environ: Mapping[str, str] = os.environ
) -> OIDCLogin:
    """The entry, checked, its secret read. Raises ConfigError with file, line and key."""
    if not _NAME.fullmatch(written.name):
        document.refuse(
            (*here, "name"), f'"{written.name}" is no name; use up to 63 lower case letters, digits and "-"'
        )
    if len(written.title) > LONGEST_TITLE or not written.title.isprintable():
        document.refuse((*here, "title"), f"longer than {LONGEST_TITLE} characters, or not printable; shorten it")
    if not written.client_id or not written.client_id.isprintable():
        document.refuse((*here, "clientID"), "is empty; write the id that the provider gave to this gate")
    return OIDCLogin(
        name=written.name,
        title=written.title or written.name,
        client_id=written.client_id,
        client_secret=_secret(document, here, written, folder, environ),
        scopes=_scopes(document, (*here, "scopes"), written.scopes),
    )


def _secret(document: Document, here: Path_, written: LoginEntry, folder: Path, environ: Mapping[str, str]) -> str:
    """The secret itself, which no message ever quotes; empty for a public client."""
    file, variable = written.client_secret_file, written.client_secret_variable
    if file and variable:
        document.refuse((*here, "clientSecretVariable"), "there is clientSecretFile already; keep one of them")
    if not file and not variable:
        return ""
    key = "clientSecretFile" if file else "clientSecretVariable"
    if "\0" in file:
        document.refuse((*here, key), "expected a path, found nothing usable; write one or leave the key out")
    if file:
        text = read_text(Path(os.path.normpath(folder / Path(file).expanduser())), "the client secret")
    else:
        text = environ.get(variable, "")
    secret = text.strip("\r\n")
    if not secret or not secret.isascii() or not secret.isprintable():
        where = file or f"${variable}"
        document.refuse((*here, key), f"{where} holds no client secret; put it there, alone on one line")
    return secret


def _scopes(document: Document, here: Path_, written: list[str] | None) -> tuple[str, ...]:
    if written is None:
        return DEFAULT_SCOPES
    for index, scope in enumerate(written):
        if not _SCOPE.fullmatch(scope):
            document.refuse((*here, index), f'"{scope}" is no scope; write one word for each')
    if OPENID not in written:
        document.refuse(here, f'without "{OPENID}" the provider does not say who signed in; add it')
    return tuple(dict.fromkeys(written))
