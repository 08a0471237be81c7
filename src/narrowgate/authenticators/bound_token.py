"""What a projected ServiceAccount token says of itself (k8s.io/kubernetes/pkg/serviceaccount/claims.go). Only reading.

Whether it is to be believed is told by signatures and reviews, next door. Nothing here is guessed: a token that is not
bound to an audience and a time, or that says one thing twice and differently, is none of those that are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from narrowgate.authenticators.jwks import TokenRefused

PRIVATE_CLAIMS = "kubernetes.io"
"""The claim that all ServiceAccount tokens of TokenRequest have, and nobody else's."""

LEGACY_ISSUER = "kubernetes/serviceaccount"
"""`iss` of tokens in Secrets (pkg/serviceaccount/legacy.go): for everybody, and for ever."""

MOST_AUDIENCES = 16
"""Of one token; a projected volume asks for one."""

LATEST_TIME = 253_402_300_799.0
"""Unix seconds; the end of the year 9999, beyond which no date can be written."""

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL, re.ASCII)
_OBJECT_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)
_UID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)

_FORM = "is not written as Kubernetes writes ServiceAccount tokens; use the one that the kubelet projects into the pod"


class Reference(msgspec.Struct, frozen=True):
    """The object that a token is bound to."""

    name: str
    uid: str


class BoundToken(msgspec.Struct, frozen=True, kw_only=True):
    """One token's claims, each of the form that Kubernetes gives it."""

    issuer: str
    audiences: tuple[str, ...]
    namespace: str
    account: Reference
    pod: Reference | None
    node: Reference | None
    id: str
    """`jti`; empty before Kubernetes 1.29."""
    not_before: float
    expires_at: float
    """Unix seconds."""

    @property
    def name(self) -> str:
        """The workload's name in the gate."""
        return f"{self.namespace}/{self.account.name}"

    @property
    def username(self) -> str:
        """The ServiceAccount's name in its cluster (k8s.io/apiserver/pkg/authentication/serviceaccount)."""
        return f"system:serviceaccount:{self.namespace}:{self.account.name}"


def is_account_token(claims: Mapping[str, Any]) -> bool:
    """Whether a token is of a ServiceAccount, of whichever cluster."""
    return PRIVATE_CLAIMS in claims or claims.get("iss") == LEGACY_ISSUER


def read_bound_token(claims: Mapping[str, Any]) -> BoundToken:
    """The claims of a ServiceAccount's token. Raises TokenRefused."""
    if claims.get("iss") == LEGACY_ISSUER:
        raise TokenRefused(
            "comes from a Secret, is for everybody and never ends; project one for the gate into the pod instead "
            "(serviceAccountToken in a projected volume, with audience)"
        )
    private = claims.get(PRIVATE_CLAIMS)
    if not isinstance(private, dict) or "exp" not in claims or "aud" not in claims:
        raise TokenRefused(_FORM)
    account = _reference(private.get("serviceaccount"), _OBJECT_NAME)
    namespace = private.get("namespace")
    if account is None or not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise TokenRefused(_FORM)
    token = BoundToken(
        issuer=_text(claims.get("iss")),
        audiences=_audiences(claims["aud"]),
        namespace=namespace,
        account=account,
        pod=_reference(private.get("pod"), _OBJECT_NAME),
        node=_reference(private.get("node"), _OBJECT_NAME),
        id=_id(claims.get("jti")),
        not_before=max(_time(claims.get("nbf", 0)), _time(claims.get("iat", 0))),
        expires_at=_time(claims["exp"]),
    )
    if claims.get("sub") != token.username:
        raise TokenRefused(_FORM)
    return token


def _reference(written: Any, names: re.Pattern[str]) -> Reference | None:
    if written is None:
        return None
    name, uid = (written.get("name"), written.get("uid")) if isinstance(written, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(uid, str) or not names.fullmatch(name) or not _UID.fullmatch(uid):
        raise TokenRefused(_FORM)
    return Reference(name, uid)


def _audiences(written: Any) -> tuple[str, ...]:
    # RFC 7519, section 4.1.3: one, or a list.
    listed = [written] if isinstance(written, str) else written
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_AUDIENCES:
        raise TokenRefused(_FORM)
    return tuple(_text(audience) for audience in listed)


def _text(written: Any) -> str:
    if not isinstance(written, str) or not written:
        raise TokenRefused(_FORM)
    return written


def _id(written: Any) -> str:
    if written is None:
        return ""
    if not isinstance(written, str) or not _UID.fullmatch(written):
        raise TokenRefused(_FORM)
    return written


def _time(written: Any) -> float:
    # A bool is a number to Python, and 1e400 is infinite: neither is a date.
    if isinstance(written, bool) or not isinstance(written, int | float) or not 0 <= written <= LATEST_TIME:
        raise TokenRefused(_FORM)
    return float(written)
