"""A SAML 2.0 identity provider as it is configured. Only values; `control/saml.py` speaks with it."""

from __future__ import annotations

import msgspec


class SAMLProvider(msgspec.Struct, frozen=True, kw_only=True):
    """One identity provider that people sign in with."""

    name: str
    """A path segment and a word in the record: `saml:<name>`."""
    title: str
    """What the button says."""
    metadata: str
    """The provider's metadata (XML), as the file that the configuration names holds it."""
    username: str = "NameID"
    """`NameID`, or the name of the attribute that holds the user name."""
    username_prefix: str = ""
    groups: str = ""
    """The name of the attribute that holds the groups; empty: no groups."""
    groups_prefix: str = ""
    where: str = ""
    """File and line of the entry, for complaints."""
