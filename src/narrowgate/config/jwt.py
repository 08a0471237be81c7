"""`authentication.jwt`: shaped like Kubernetes' AuthenticationConfiguration, read into `JWTIssuer` values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from narrowgate.authenticators.jwt_issuer import JWTIssuer
from narrowgate.config.document import Document, Path_


class JWTEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One entry as written."""


def read_jwt_issuers(
    document: Document, here: Path_, written: Sequence[JWTEntry], folder: Path
) -> tuple[JWTIssuer, ...]:
    """The issuers, checked. Raises ConfigError with file, line and key."""
    del folder
    if written:
        document.refuse(here, "not in this version yet; remove the entries")
    return ()
