"""People and agents who present a token of a configured issuer (OIDC, CI systems) as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from narrowgate.authenticators.jwks import TokenRefused, unverified_claims
from narrowgate.authenticators.port import Answer, NotMine, Presented, Rejected
from narrowgate.authenticators.token_verifier import TokenVerifier
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.identity import Identity, Kind, chain_behind

MOST_FOREIGN = 10_000
"""Tokens of other issuers that are known as such; at 100 bytes each they take a megabyte. Beyond, all are looked at
anew."""

_NOT_MINE = NotMine()
_sha256 = hashlib.sha256


class JWTIssuers:
    """An authenticator over one immutable snapshot of the registered agents; a change means a new object.

    What is slow to find out is remembered by the verifiers, which outlive it.
    """

    def __init__(self, verifiers: Sequence[TokenVerifier], agents: Iterable[AgentRecord]) -> None:
        """One verifier for each issuer; `agents` are all that are registered now."""
        self._verifiers = tuple(verifiers)
        self._by_url: Mapping[str, TokenVerifier] = {verifier.issuer.url: verifier for verifier in verifiers}
        self._agents: Mapping[str, AgentRecord] = {agent.name: agent for agent in agents}
        self._foreign: set[bytes] = set()
        """SHA-256 of tokens of other issuers (ServiceAccounts have some): to say so again costs a look-up."""

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        token = presented.bearer
        # What every JWT begins with: `{` and a quotation mark or space, in base64url.
        if not token.startswith("ey") or "." not in token:
            return _NOT_MINE
        try:
            digest = _sha256(token.encode("ascii")).digest()
        except UnicodeEncodeError:
            return Rejected("this token has characters that do not belong to it; copy it again")
        for verifier in self._verifiers:
            known = verifier.remembered(digest, now)
            if known is not None:
                return self._as_registered(known, now)
        if digest in self._foreign:
            return _NOT_MINE
        try:
            issuer = unverified_claims(token).get("iss")
        except TokenRefused as error:
            return Rejected(f"this token {error.reason}")
        found = self._by_url.get(issuer) if isinstance(issuer, str) else None
        if found is None:
            if len(self._foreign) >= MOST_FOREIGN:
                self._foreign.clear()
            self._foreign.add(digest)
            return _NOT_MINE
        return self._as_registered(await found.answer(token, digest, now), now)

    def _as_registered(self, answer: Answer, now: float) -> Answer:
        """The same, each agent of the chain as its record says now."""
        if not isinstance(answer, Identity) or not answer.on_behalf_of:
            return self._one(answer, now)
        members: list[Identity] = []
        for member in chain_behind(answer):
            found = self._one(msgspec.structs.replace(member, on_behalf_of=()), now)
            if not isinstance(found, Identity):
                return found
            members.append(found)
        return msgspec.structs.replace(members[-1], on_behalf_of=tuple(members[:-1]))

    def _one(self, answer: Answer, now: float) -> Answer:
        """An agent is what its record says now; a person is what the token says."""
        if not isinstance(answer, Identity) or answer.kind is not Kind.AGENT:
            return answer
        record = self._agents.get(answer.name)
        if record is None:
            return Rejected(
                f'there is no agent "{answer.name}" here; whoever answers for it registers it: narrowgate agents add '
                f"{answer.name} --owner person:NAME --purpose TEXT --cluster NAME"
            )
        if refusal := refusal_of(record, now):
            return Rejected(refusal)
        ends = answer.expires_at
        if record.ends_at is not None:
            ends = record.ends_at if ends is None else min(ends, record.ends_at)
        return msgspec.structs.replace(
            answer, groups=record.groups, owner=record.owner, cluster=record.cluster, expires_at=ends
        )
