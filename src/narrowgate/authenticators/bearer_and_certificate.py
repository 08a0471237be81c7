"""What decides where a request brings a bearer credential and its connection a client certificate."""

from __future__ import annotations

from narrowgate.authenticators.port import Answer, Authenticator, Presented, Rejected
from narrowgate.core.identity import Identity


class BearerAndCertificate:
    """Decides between the two things that a request may bring: a bearer credential and its connection's certificate.

    A bearer credential that is not known is never excused by the certificate: who sends one means to be that. A
    certificate that names nobody (a mesh gives one to everything) does not spoil a bearer credential. Two that prove
    two identities are a doubt, so they are refused.
    """

    def __init__(self, bearers: Authenticator, certificates: Authenticator) -> None:
        self._bearers = bearers
        self._certificates = certificates

    async def authenticate(self, presented: Presented, now: float) -> Answer:
        """See the port."""
        if not presented.client_certificate:
            return await self._bearers.authenticate(presented, now)
        if not presented.bearer:
            return await self._certificates.authenticate(presented, now)
        bearer = await self._bearers.authenticate(presented, now)
        if not isinstance(bearer, Identity):
            return bearer
        certificate = await self._certificates.authenticate(presented, now)
        if isinstance(certificate, Identity) and (certificate.kind, certificate.name) != (bearer.kind, bearer.name):
            return Rejected(
                f"the bearer credential is of {bearer} and the client certificate of {certificate}; bring one of them"
            )
        return bearer
