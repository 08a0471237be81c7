"""Access credentials, made for whoever has proven who they are: the one place where the control plane signs."""

from __future__ import annotations

import base64
import secrets

import msgspec

from narrowgate.authenticators.access_credential import AccessClaims, AccessSigner, ActedFor, Port
from narrowgate.control.settings import ControlSettings
from narrowgate.core.identity import Identity, Kind, chain_behind
from narrowgate.core.sign_in import SignIn

_ID_BYTES = 10
"""80 random bits: ids never meet, and nothing rests on their being secret."""


class CannotIssue(Exception):
    """No credential for what was asked; the text says why and what to do."""


class Issued(msgspec.Struct, frozen=True):
    """An access credential at the one moment when its text is known."""

    text: str
    id: str
    expires_at: float
    """Unix seconds."""


def new_id() -> str:
    """A public id of sixteen lower-case letters and digits."""
    return base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()


class AccessIssuer:
    """Makes access credentials, never for longer than what they rest on."""

    def __init__(self, signer: AccessSigner, settings: ControlSettings) -> None:
        self._signer = signer
        self._settings = settings

    def for_sign_in(self, sign_in: SignIn, port: Port, cluster: str, now: float) -> Issued:
        """For a person's sign-in, which the caller has just found alive. Raises CannotIssue."""
        if sign_in.ended_at is not None or not now < sign_in.expires_at:
            raise CannotIssue("this sign-in is over; sign in again with `narrowgate login`")
        claims = AccessClaims(
            id=sign_in.id,
            port=port,
            kind=Kind.PERSON,
            name=sign_in.person,
            groups=sign_in.groups,
            proven_by=sign_in.source,
            claims=sign_in.claims,
            cluster=self._opened(port, cluster),
            issued_at=now,
            expires_at=min(now + self._settings.access_seconds, sign_in.expires_at),
        )
        return self._signed(claims)

    def for_identity(self, who: Identity, port: Port, cluster: str, now: float) -> Issued:
        """For what was proven just now by a token or key of the caller's own. Raises CannotIssue.

        Whoever's proof opens one cluster only gets no other one.
        """
        for member in chain_behind(who):
            if member.cluster and cluster != member.cluster and port is Port.KUBERNETES:
                raise CannotIssue(f'{member} opens cluster "{member.cluster}" only; ask for that one')
        if who.on_behalf_of and port is Port.CONTROL:
            raise CannotIssue("whoever acts for another opens clusters, and not the gate's own API; name a cluster")
        ends = [one.expires_at for one in chain_behind(who) if one.expires_at is not None]
        claims = AccessClaims(
            id=new_id(),
            port=port,
            kind=who.kind,
            name=who.name,
            groups=who.groups,
            proven_by=who.proven_by,
            claims=who.claims,
            cluster=self._opened(port, cluster),
            behind=tuple(_acted_for(one) for one in who.on_behalf_of),
            issued_at=now,
            expires_at=min([now + self._settings.access_seconds, *ends]),
        )
        return self._signed(claims)

    def _opened(self, port: Port, cluster: str) -> str:
        if port is Port.CONTROL:
            return ""
        if cluster not in self._settings.clusters:
            known = ", ".join(self._settings.clusters) or "none"
            raise CannotIssue(f'there is no cluster "{cluster}" here; registered are: {known}')
        return cluster

    def _signed(self, claims: AccessClaims) -> Issued:
        try:
            return Issued(self._signer.sign(claims), claims.id, claims.expires_at)
        except ValueError as error:
            raise CannotIssue(f"{error}; have fewer groups mapped") from None


def _acted_for(who: Identity) -> ActedFor:
    return ActedFor(kind=who.kind, name=who.name, groups=who.groups, proven_by=who.proven_by, claims=who.claims)
