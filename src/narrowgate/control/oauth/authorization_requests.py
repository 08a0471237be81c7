"""What a program asks a person's browser for: an authorization code (RFC 6749, 4.1.1; RFC 7636; RFC 8252)."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import msgspec

from narrowgate.control.oauth.addresses import CLIENT_ID
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.parameters import Parameters, check_no_scope, required
from narrowgate.control.oauth.secret_texts import is_challenge
from narrowgate.control.oauth.targets import check_no_resource

LONGEST_STATE = 512
"""Characters; 256 random bits take 43."""

_REDIRECT = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})/callback", re.ASCII)
"""Loopback by address, any port (RFC 8252, section 7.3). Not `localhost`, which a hosts file may send elsewhere
(section 8.3), and compared as text: nothing is decoded, no case is folded."""

_HIGHEST_PORT = 65_535

_STATE = re.compile(r"[\x20-\x7e]+", re.ASCII)
"""RFC 6749, appendix A.5."""


class NotOurClient(Exception):
    """Whoever asks cannot be answered at an address of their choosing; the text says why, for a page."""


class AuthorizationRequest(msgspec.Struct, frozen=True):
    """A request whose every part was checked."""

    redirect_uri: str
    challenge: str
    state: str

    def answered(self, issuer: str, **members: str) -> str:
        """The address that takes an answer to the program; with `iss`, so that it knows whose it is (RFC 9207)."""
        return answer_url(self.redirect_uri, self.state, issuer, **members)


def answer_url(redirect_uri: str, state: str, issuer: str, **members: str) -> str:
    """See `AuthorizationRequest.answered`; a request without a good state is answered without one."""
    told = members | ({"state": state} if state else {}) | {"iss": issuer}
    return f"{redirect_uri}?{urlencode(told)}"


def redirect_uri_of(parameters: Parameters) -> str:
    """Where answers may go. Raises NotOurClient: then the person is told, and nobody else."""
    if parameters.get("client_id") != CLIENT_ID:
        raise NotOurClient(f"a program asked to sign in that this gate does not know; it knows {CLIENT_ID}")
    redirect_uri = parameters.get("redirect_uri", "")
    match = _REDIRECT.fullmatch(redirect_uri)
    if match is None or int(match[1]) > _HIGHEST_PORT:
        raise NotOurClient("a program wants the answer at an address that is not on this computer; close this page")
    return redirect_uri


def state_of(parameters: Parameters) -> str:
    """The state, where it is one that may be sent back; else empty."""
    state = parameters.get("state", "")
    return state if len(state) <= LONGEST_STATE and _STATE.fullmatch(state) else ""


def authorization_request(parameters: Parameters) -> AuthorizationRequest:
    """The request that these parameters make. Raises NotOurClient, and Refused for what the program may be told."""
    redirect_uri = redirect_uri_of(parameters)
    if required(parameters, "response_type") != "code":
        raise Refused("unsupported_response_type", "response_type must be code")
    if parameters.get("response_mode", "query") != "query":
        raise Refused("invalid_request", "response_mode must be query, or be left out")
    # Left out, it would mean `plain` (RFC 7636, section 4.3): a challenge that gives the verifier away.
    if required(parameters, "code_challenge_method") != "S256":
        raise Refused("invalid_request", "code_challenge_method must be S256")
    challenge = required(parameters, "code_challenge")
    if not is_challenge(challenge):
        raise Refused("invalid_request", "code_challenge is no SHA-256 in base64url")
    check_no_scope(parameters)
    check_no_resource(parameters)
    state = state_of(parameters)
    if not state:
        raise Refused("invalid_request", f"state must be there, in at most {LONGEST_STATE} printable letters")
    return AuthorizationRequest(redirect_uri, challenge, state)
