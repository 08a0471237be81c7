"""A JWT issuer as it is configured: who it is, whom it may speak for, and how its claims become an identity.

The shape is that of `JWTAuthenticator` in Kubernetes' AuthenticationConfiguration
(k8s.io/apiserver/pkg/apis/apiserver/types.go, v1), with what the gate needs besides. Only values: fetching and
verifying are next door.
"""

from __future__ import annotations

import msgspec

from narrowgate.core.delegated_task import USUAL_CHAIN
from narrowgate.core.identity import Kind

DEFAULT_ALGORITHMS = ("RS256", "ES256")
"""What OpenID providers sign with (RS256 must be supported, OpenID Connect Core 1.0, section 15.1)."""

KNOWN_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA")
"""What may be allowed: asymmetric ones only. `none` and the HMACs, whose key would be a public one, never are."""

DEFAULT_SCOPES = ("openid", "profile", "email")
"""What is asked for at a sign-in: who it is, and the claims that names are usually made from."""

DEFAULT_CLOCK_SKEW = 30.0
"""Seconds by which an issuer's clock may differ from ours."""


class ClaimMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Where a user name, a uid or groups come from: one claim, or a CEL expression over `claims`; never both."""

    claim: str = ""
    prefix: str = ""
    """Put before every value of the claim; with an expression, prefixing is the expression's business."""
    expression: str = ""


class ExtraMapping(msgspec.Struct, frozen=True, kw_only=True):
    """One further claim that goes into the record (`Identity.claims`)."""

    key: str
    value_expression: str


class ClaimRule(msgspec.Struct, frozen=True, kw_only=True):
    """A claim that must be as required: by its value, or by a CEL expression over `claims` that must be true."""

    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""
    """What the caller is told where it is not so."""


class UserRule(msgspec.Struct, frozen=True, kw_only=True):
    """A CEL expression over the mapped `user` (username, groups, uid, extra) that must be true."""

    expression: str
    message: str = ""


class OIDCLogin(msgspec.Struct, frozen=True, kw_only=True):
    """How people sign in with this issuer in a browser; without it, its tokens are taken and nobody is sent there."""

    name: str
    """A path segment and a word in the record: `oidc:<name>`."""
    title: str
    """What the button says."""
    client_id: str
    client_secret: str = ""
    """Read from the file or environment variable that the configuration names; empty for a public client."""
    scopes: tuple[str, ...] = DEFAULT_SCOPES

    def __repr__(self) -> str:
        return f"OIDCLogin(name={self.name!r}, title={self.title!r}, client_id={self.client_id!r})"


class JWTIssuer(msgspec.Struct, frozen=True, kw_only=True):
    """One issuer."""

    url: str
    """`iss` of its tokens, exactly; https."""
    discovery_url: str = ""
    """Where its metadata is, if not below `url`."""
    certificate_authority: str = ""
    """PEM of the CA to trust for its addresses; empty for the system's."""
    audiences: tuple[str, ...]
    """A token must be for one of them."""
    username: ClaimMapping
    groups: ClaimMapping | None = None
    uid: ClaimMapping | None = None
    extra: tuple[ExtraMapping, ...] = ()
    claim_rules: tuple[ClaimRule, ...] = ()
    user_rules: tuple[UserRule, ...] = ()
    subject: Kind = Kind.PERSON
    """What its tokens stand for: people, or (CI systems) registered agents by the mapped name."""
    actors: Kind | None = None
    """What those are whom its tokens say to act for their subject (`act`, RFC 8693, section 4.1). None: a token that
    says so is refused, for whoever bears it is not its subject."""
    longest_chain: int = USUAL_CHAIN
    """Members of a chain at most, the subject included."""
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    clock_skew: float = DEFAULT_CLOCK_SKEW
    login: OIDCLogin | None = None
    foreign_prefixes: tuple[str, ...] = ()
    """What names of another source of people (or of agents) begin with, where that is longer than our own prefix: a
    name of ours that begins so could be taken for one of theirs, and is refused."""
    foreign_group_prefixes: tuple[str, ...] = ()
    """The same for groups."""
    where: str = ""
    """File and line of the entry, for complaints."""

    @property
    def called(self) -> str:
        """How messages call it."""
        return self.login.name if self.login else self.url
