"""The routes of the authorization server, put together from their parts."""

from __future__ import annotations

from starlette.routing import Route

from narrowgate.authenticators.task_credential import PREFIX as TASK_PREFIX
from narrowgate.control.oauth import addresses
from narrowgate.control.oauth.acting import Acting
from narrowgate.control.oauth.authorize_page import CREATES, AuthorizePage
from narrowgate.control.oauth.cli_sign_ins import CLISignIns
from narrowgate.control.oauth.codes import Codes
from narrowgate.control.oauth.console_page import ConsolePages
from narrowgate.control.oauth.device_endpoint import DeviceEndpoint
from narrowgate.control.oauth.device_grant import DeviceGrant
from narrowgate.control.oauth.device_page import ANSWERS, DevicePage
from narrowgate.control.oauth.device_requests import DeviceRequests
from narrowgate.control.oauth.exchange import Exchange
from narrowgate.control.oauth.key_grant import KeyGrant
from narrowgate.control.oauth.metadata import MetadataEndpoint
from narrowgate.control.oauth.parameters import Parameters
from narrowgate.control.oauth.parts import OAuthParts
from narrowgate.control.oauth.renewals import Renewals
from narrowgate.control.oauth.revoke_endpoint import RevokeEndpoint
from narrowgate.control.oauth.task_exchange import TaskExchange
from narrowgate.control.oauth.throttle import Throttle
from narrowgate.control.oauth.token_endpoint import TokenEndpoint
from narrowgate.control.oauth.work import Call, Desk, Prove, Work

BURST, SECONDS_EACH = 60, 1.0
"""Refused calls from one address that are recorded: so many at once, and one more every so many seconds."""


def oauth_routes(parts: OAuthParts) -> list[Route]:
    """`/.well-known/oauth-authorization-server`, `/oauth/...` and `/device`."""
    url = parts.settings.url
    desk = Desk(parts.recorder, Throttle(BURST, SECONDS_EACH), parts.clock)
    sign_ins = CLISignIns(parts.store, parts.issuer, parts.settings.sign_in_seconds)
    codes = Codes(parts.store, sign_ins, url)
    requests = DeviceRequests(parts.store)
    device = DeviceGrant(requests, sign_ins, url)
    renewals = Renewals(parts.store, parts.issuer, url)
    grants = {
        addresses.GRANT_CODE: codes.prove,
        addresses.GRANT_DEVICE: device.prove,
        addresses.GRANT_REFRESH: renewals.prove,
        addresses.GRANT_EXCHANGE: _exchanges(parts),
        addresses.GRANT_CLIENT: KeyGrant(parts.store, parts.subjects, parts.issuer, url).prove,
    }
    token = TokenEndpoint(desk, grants)
    revoke = RevokeEndpoint(desk, parts.store, renewals)
    return [
        Route(addresses.METADATA_PATH, MetadataEndpoint(parts.settings).serve, methods=["GET"]),
        Route(addresses.TOKEN_PATH, token.serve, methods=["POST"]),
        Route(addresses.REVOKE_PATH, revoke.serve, methods=["POST"]),
        Route(addresses.DEVICE_AUTHORIZATION_PATH, DeviceEndpoint(desk, device).serve, methods=["POST"]),
        *_pages(parts, codes, requests),
    ]


def _exchanges(parts: OAuthParts) -> Prove:
    """What a token is exchanged for hangs on what it is: a task's credential becomes one of a delegated task."""
    acting = Acting(parts.subjects, parts.settings.longest_chain)
    tokens = Exchange(acting, parts.issuer, parts.settings.url)
    tasks = TaskExchange(parts.store, parts.settings, parts.requesting)

    async def prove(parameters: Parameters, call: Call) -> Work:
        is_of_task = parameters.get("subject_token", "").startswith(TASK_PREFIX)
        return await (tasks if is_of_task else tokens).prove(parameters, call)

    return prove


def _pages(parts: OAuthParts, codes: Codes, requests: DeviceRequests) -> list[Route]:
    console = ConsolePages(parts)
    authorize = AuthorizePage(parts, console, codes)
    device = DevicePage(parts, console, requests)
    return [
        Route(addresses.AUTHORIZE_PATH, console.guarded(authorize.show, CREATES), methods=["GET"]),
        Route(addresses.AUTHORIZE_PATH, console.guarded(authorize.answer, CREATES), methods=["POST"]),
        Route(addresses.DEVICE_PATH, console.guarded(device.show, ANSWERS), methods=["GET"]),
        Route(addresses.DEVICE_PATH, console.guarded(device.answer, ANSWERS), methods=["POST"]),
    ]
