"""`authentication.saml`: the identity providers that people sign in with by SAML 2.0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from narrowgate.config.document import Document, Path_
from narrowgate.control.saml_provider import SAMLProvider


class SAMLEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One entry as written."""


def read_saml_providers(
    document: Document, here: Path_, written: Sequence[SAMLEntry], folder: Path
) -> tuple[SAMLProvider, ...]:
    """The providers, checked. Raises ConfigError with file, line and key."""
    del folder
    if written:
        document.refuse(here, "not in this version yet; remove the entries")
    return ()
