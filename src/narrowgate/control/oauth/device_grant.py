"""The program's side of signing in on a device without a browser: asking, and polling for the answer (RFC 8628)."""

from __future__ import annotations

import asyncio
import functools

from narrowgate.control.callers import identity_of
from narrowgate.control.oauth.addresses import DEVICE_PATH
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.cli_sign_ins import CLISignIns, NewSignIn, creates
from narrowgate.control.oauth.device_requests import INTERVAL, REQUEST_SECONDS, DeviceRequests, NewDeviceRequest
from narrowgate.control.oauth.parameters import Parameters, check_no_scope, check_public_client, required
from narrowgate.control.oauth.secret_texts import DEVICE_CODE, shown_user_code
from narrowgate.control.oauth.targets import Target, check_no_resource, target_of
from narrowgate.control.oauth.throttle import Throttle, source_key
from narrowgate.control.oauth.work import Call, Work
from narrowgate.core.audit import ActsOn

BURST, SECONDS_EACH = 20, 6.0
"""Requests from one address: so many at once, and one more every so many seconds. Nobody has proven anything yet."""

BURST_OF_ALL, SECONDS_EACH_OF_ALL = 200, 1.0
"""The same for all addresses together: it bounds how many rows strangers fill, and how many user codes are about."""

_ALL = "all"
_AGAIN = "sign in again with `narrowgate login`"


class DeviceGrant:
    """Takes requests, and gives a sign-in for an allowed one. All calls may raise StoreUnavailable."""

    def __init__(self, requests: DeviceRequests, sign_ins: CLISignIns, url: str) -> None:
        """`url`: the control port's."""
        self._requests = requests
        self._sign_ins = sign_ins
        self._url = url
        self._of_one = Throttle(BURST, SECONDS_EACH)
        self._of_all = Throttle(BURST_OF_ALL, SECONDS_EACH_OF_ALL)

    async def prove_request(self, parameters: Parameters, call: Call) -> Work:
        """That a program may ask (RFC 8628, section 3.1). Raises Refused."""
        check_public_client(parameters)
        check_no_scope(parameters)
        check_no_resource(parameters)
        source = source_key(call.source_ip)
        if wait := max(self._of_one.wait(source, call.now), self._of_all.wait(_ALL, call.now)):
            sentence = "too many sign-ins are asked for at once; wait a little"
            raise Refused("temporarily_unavailable", sentence, code=429, wait=wait, quiet=True)
        self._of_one.count(source, call.now)
        self._of_all.count(_ALL, call.now)
        new = self._requests.prepared(call)
        acts_on = ActsOn(verb="create", resource="devicerequests", name=new.request.id)
        return Work(None, acts_on, "open to all", functools.partial(self._keep, new))

    async def prove(self, parameters: Parameters, call: Call) -> Work:
        """That a person allowed what this program asked for (RFC 8628, section 3.4). Raises Refused."""
        check_public_client(parameters)
        check_no_scope(parameters)
        device_code = required(parameters, "device_code")
        target = target_of(parameters, self._url)
        if problem := DEVICE_CODE.problem(device_code):
            raise Refused("invalid_grant", f"this device code {problem}; {_AGAIN}")
        return await asyncio.to_thread(self._proven, device_code, target, call)

    def _keep(self, new: NewDeviceRequest) -> dict[str, object]:
        user_code = shown_user_code(self._requests.keep(new))
        page = f"{self._url}{DEVICE_PATH}"
        return {
            "device_code": new.device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={user_code}",
            "expires_in": int(REQUEST_SECONDS),
            "interval": int(INTERVAL),
        }

    def _proven(self, device_code: str, target: Target, call: Call) -> Work:
        request = self._requests.asked(device_code, call.now)
        if request is None:
            raise Refused("expired_token", f"this device code expired after ten minutes, or was used; {_AGAIN}")
        self._requests.check_pace(request, call.now)
        answer = self._requests.answered(request, call.now)
        if answer is None:
            sentence = "nobody has answered yet; go on asking"
            raise Refused("authorization_pending", sentence, quiet=True)
        if answer.allowed is None:
            acts_on = ActsOn(verb="get", resource="devicerequests", name=request.id)
            raise Refused("access_denied", "the person said no in their browser").of(None, acts_on)
        new = self._sign_ins.prepared(answer.allowed, target, call)
        take = functools.partial(self._take, device_code, new, call.now)
        return Work(identity_of(new.sign_in), creates(new.sign_in.id), "device code", take)

    def _take(self, device_code: str, new: NewSignIn, now: float) -> dict[str, object]:
        if not self._requests.take(device_code, now):
            raise Refused("expired_token", f"this device code was used already; {_AGAIN}")
        self._sign_ins.keep(new, now)
        return new.answer
