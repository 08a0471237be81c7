"""The parameters of a call: read once and strictly, the same for all endpoints (RFC 6749, sections 3.1 and 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request

from narrowgate.control.forms import FormRefused, FormTooLarge, parse_form, read_form
from narrowgate.control.oauth.addresses import CLIENT_ID
from narrowgate.control.oauth.answers import Refused

Parameters = Mapping[str, str]
"""By name, each once; one without a value is left out, as if it had not been sent."""

QUERY_LIMIT = 4096
"""Bytes of a query; an authorization request of ours has some 400."""


async def posted(request: Request) -> Parameters:
    """What a program posted. Raises Refused."""
    try:
        return given(await read_form(request))
    except FormTooLarge as error:
        raise Refused("invalid_request", f"{error}; send less", code=413) from None
    except FormRefused as error:
        raise Refused("invalid_request", f"{error}; send each parameter once, in a form") from None


def queried(request: Request) -> Parameters:
    """What stands behind the question mark. Raises FormRefused."""
    query: bytes = request.scope["query_string"]
    if len(query) > QUERY_LIMIT:
        raise FormTooLarge(f"the address has more than {QUERY_LIMIT} bytes behind its question mark")
    return given(parse_form(query))


def given(fields: Mapping[str, str]) -> Parameters:
    """Those that have a value."""
    return {name: value for name, value in fields.items() if value}


def required(parameters: Parameters, name: str) -> str:
    """The value of a parameter that must be there. Raises Refused."""
    if value := parameters.get(name, ""):
        return value
    raise Refused("invalid_request", f"the parameter {name} is missing")


def check_public_client(parameters: Parameters) -> None:
    """Raise Refused unless this comes from the one client that people sign in with."""
    if parameters.get("client_id") != CLIENT_ID:
        raise Refused("invalid_client", f"there is no such client: client_id must be {CLIENT_ID}", code=401)
    if "client_secret" in parameters or "client_assertion" in parameters:
        raise Refused("invalid_client", f"{CLIENT_ID} has no secret and signs nothing: leave it out", code=401)


def check_no_scope(parameters: Parameters) -> None:
    """Raise Refused where a scope is asked for: what a credential is for is said by `resource` (RFC 8707)."""
    if "scope" in parameters:
        raise Refused("invalid_scope", "this gate has no scopes: leave scope out, and name what for with resource")
