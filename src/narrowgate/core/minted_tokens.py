"""Tokens of ServiceAccounts that a request has made: whose, and for whom. Read from the request alone.

A TokenRequest (KEP-1205; k8s.io/api/authentication/v1/types.go) makes one there and then; a Secret of the type
`kubernetes.io/service-account-token` has one made that never ends. A certificate for clients of the API server does as
well, once somebody says yes to it: any name may be in it, an account's too.
"""

from __future__ import annotations

from typing import Final

from narrowgate.core.intent import Intent
from narrowgate.core.pod_uses import mapping_at
from narrowgate.core.request_info import RequestInfo

TOKENS: Final = "serviceaccounts/token"

_CERTIFICATES: Final = ("certificates.k8s.io", "certificatesigningrequests", "")
_FOR_CLIENTS: Final = "kubernetes.io/kube-apiserver-client"
"""Begins the names of the signers that the API server knows its clients by
(https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers)."""

_WRITES: Final = frozenset({"create", "update", "patch"})
"""The API server makes tokens by create alone; the others are in doubt the same."""


def requests_token(info: RequestInfo) -> bool:
    """Whether it is a TokenRequest."""
    subject = (info.api_group, info.resource, info.subresource)
    return info.verb in _WRITES and subject == ("", "serviceaccounts", "token")


def minted_accounts(what: Intent) -> tuple[str, ...]:
    """Names of the accounts, all in the request's namespace, of which it has tokens made."""
    if requests_token(what.info):
        return (what.info.name,)
    return tuple(dict.fromkeys(use.name for use in what.uses if use.resource == TOKENS and not use.api_group))


def asks_for_certificate(what: Intent) -> bool:
    """Whether it asks for a certificate by which its holder is whomever it names; in doubt it does."""
    info = what.info
    if info.verb not in _WRITES or (info.api_group, info.resource, info.subresource) != _CERTIFICATES:
        return False
    signer = mapping_at(what.object, ("spec",)).get("signerName")
    # Nobody has looked what comes of a patch; an apply makes what is not there.
    return what.object is None or (isinstance(signer, str) and signer.startswith(_FOR_CLIENTS))


def audiences_of(what: Intent) -> tuple[str, ...]:
    """For whom the token is that it has made; empty text where it names nobody, which means the API server itself. A
    Secret's is for nobody else.
    """
    if not requests_token(what.info):
        return ("",)
    listed = mapping_at(what.object, ("spec",)).get("audiences")
    if not isinstance(listed, list) or not listed:
        return ("",)
    # What is no text the API server refuses; here it is in no list of audiences.
    return tuple(dict.fromkeys(one if isinstance(one, str) else "" for one in listed))
