"""What an access credential is asked for: one of the gate's ports, and a cluster (`resource`, RFC 8707)."""

from __future__ import annotations

import msgspec

from narrowgate.authenticators.access_credential import Port
from narrowgate.control.issuing import AccessIssuer, CannotIssue, Issued
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters
from narrowgate.core.identity import Identity
from narrowgate.core.names import LONGEST_NAME
from narrowgate.core.sign_in import SignIn


class Target(msgspec.Struct, frozen=True):
    """What a credential is to open."""

    port: Port
    cluster: str = ""


def target_of(parameters: Parameters, url: str) -> Target:
    """What `resource` names: `<url>/clusters/<name>`, or the control port at `url` itself, as where it is left out.

    Raises Refused for anything else. Whether there is such a cluster is told to whoever has proven who they are.
    """
    resource = parameters.get("resource", url)
    if resource in (url, f"{url}/"):
        return Target(Port.CONTROL)
    prefix = f"{url}/clusters/"
    name = resource.removeprefix(prefix)
    if resource.startswith(prefix) and 0 < len(name) <= LONGEST_NAME and "/" not in name:
        return Target(Port.KUBERNETES, name)
    raise Refused("invalid_target", f"resource must be {prefix}NAME for a cluster, or {url} for the gate's own API")


def check_no_resource(parameters: Parameters) -> None:
    """Raise Refused where a sign-in is asked for with a `resource`: it would promise a bound that is not there."""
    if "resource" in parameters:
        sentence = "a sign-in is not for one resource: name it when an access credential is asked for"
        raise Refused("invalid_target", sentence)


def issue_for_sign_in(issuer: AccessIssuer, sign_in: SignIn, target: Target, now: float) -> Issued:
    """An access credential for a sign-in that runs. Raises Refused."""
    try:
        return issuer.for_sign_in(sign_in, target.port, target.cluster, now)
    except CannotIssue as error:
        raise Refused("invalid_target", str(error)) from None


def issue_for_identity(issuer: AccessIssuer, who: Identity, target: Target, now: float) -> Issued:
    """An access credential for what was proven just now. Raises Refused."""
    try:
        return issuer.for_identity(who, target.port, target.cluster, now)
    except CannotIssue as error:
        raise Refused("invalid_target", str(error)).of(who) from None


def token_answer(issued: Issued, now: float, *, refresh: str = "", exchanged: bool = False) -> dict[str, object]:
    """The members of a successful answer (RFC 6749, section 5.1; RFC 8693, section 2.2.1)."""
    answer: dict[str, object] = {
        "access_token": issued.text,
        "token_type": "Bearer",
        "expires_in": max(0, int(issued.expires_at - now)),
    }
    if refresh:
        answer["refresh_token"] = refresh
    if exchanged:
        answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
    return answer
