"""Points in time in SAML messages: XML Schema dateTime, always in UTC (saml-core-2.0-os, section 1.3.3)."""

from __future__ import annotations

import re

from narrowgate.control.saml.xml import SAMLRefused
from narrowgate.core.moment import moment_of

_INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)\d{0,6}(?:Z|\+00:00)", re.ASCII)
"""`Z` is what the standard asks for; some providers write the same offset out, and .NET writes seven digits."""


def instant_of(text: str, what: str) -> float:
    """Unix seconds of `text`, which is the value of `what`. Raises SAMLRefused."""
    found = _INSTANT.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        return moment_of(found[1] + "Z")
    except ValueError:
        raise SAMLRefused(f"{what} is not a time in UTC, like 2026-01-31T12:00:00Z") from None
