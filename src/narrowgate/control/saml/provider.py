"""A SAML 2.0 identity provider as it is configured. Only values; `control/saml/sign_in.py` speaks with it."""

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
    entity_id: str = ""
    """What the provider knows the gate by; empty: the address of the gate's own metadata."""
    foreign_prefixes: tuple[str, ...] = ()
    """User name prefixes of other sign-in sources that begin with this one's: no name from here may begin with them,
    or one provider could name the other's people."""
    foreign_group_prefixes: tuple[str, ...] = ()
    """The same for groups."""
    where: str = ""
    """File and line of the entry, for complaints."""

    @property
    def source(self) -> str:
        """How records call it."""
        return f"saml:{self.name}"
