"""Requests to sign in on a device without a browser (RFC 8628): kept for ten minutes, answered once by a person.

A request has three names: the device code (a secret of the program that asks), the user code (short, typed by a person)
and its id (public, for the record). What a request says never changes; the person's answer and the program's last poll
are kept beside it, so that neither can undo the other.
"""

from __future__ import annotations

import msgspec

from narrowgate.control.issuing import new_id
from narrowgate.control.oauth.answers import Refused
from narrowgate.control.oauth.cli_sign_ins import Allowed
from narrowgate.control.oauth.secret_texts import DEVICE_CODE, new_user_code
from narrowgate.control.oauth.work import Call
from narrowgate.store.port import Store

REQUEST_SECONDS = 600.0
"""From asking until the codes are worth nothing: time to find a browser, sign in there and type."""

INTERVAL = 5.0
"""Seconds between two polls (RFC 8628, section 3.2), and what is added for whoever comes sooner (section 3.5)."""

EARLY = 1.0
"""Seconds by which a poll may come early: what leaves every five seconds arrives a little unevenly."""

LONGEST_INTERVAL = 60.0

MOST_DRAWS = 3
"""Of a user code that nobody else has now; one in 20 million would be taken with a thousand about."""

_BY_DEVICE = "oauth-device"
_BY_USER = "oauth-user-code"
_ANSWER = "oauth-device-answer"
_POLL = "oauth-device-poll"


class DeviceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a program on some device asks for."""

    id: str
    asked_at: float
    expires_at: float
    """Unix seconds."""
    source_ip: str
    user_agent: str


class DeviceAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person said; None: no."""

    allowed: Allowed | None


class Poll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The program's last question."""

    at: float
    interval: float


class NewDeviceRequest(msgspec.Struct, frozen=True):
    """A request that is not in the store yet, with its secret."""

    request: DeviceRequest
    device_code: str


class DeviceRequests:
    """Keeps requests. All calls are blocking and may raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def prepared(self, call: Call) -> NewDeviceRequest:
        """A new request; nothing is kept yet."""
        request = DeviceRequest(
            id=new_id(),
            asked_at=call.now,
            expires_at=call.now + REQUEST_SECONDS,
            source_ip=call.source_ip,
            user_agent=call.user_agent,
        )
        return NewDeviceRequest(request, DEVICE_CODE.new(request.id))

    def keep(self, new: NewDeviceRequest) -> str:
        """Keep it; its user code. Raises Refused where chance has it that none is free."""
        request, now = new.request, new.request.asked_at
        until = request.expires_at
        for _ in range(MOST_DRAWS):
            user_code = new_user_code()
            if self._store.once.put(_BY_USER, user_code, _text(request), expires_at=until, now=now):
                self._store.once.put(_POLL, request.id, _text(Poll(now, INTERVAL)), expires_at=until, now=now)
                self._store.once.put(_BY_DEVICE, new.device_code, _text(request), expires_at=until, now=now)
                return user_code
        raise Refused("temporarily_unavailable", "no user code is free now; try again", code=503, wait=1)

    def waiting(self, user_code: str, now: float) -> DeviceRequest | None:
        """The request that waits for a person under this code."""
        found = self._store.once.look(_BY_USER, user_code, now=now)
        return None if found is None else msgspec.json.decode(found, type=DeviceRequest)

    def answer(self, user_code: str, answer: DeviceAnswer, now: float) -> bool:
        """Answer the request, for whoever is first; False where it waits no more."""
        found = self._store.once.take(_BY_USER, user_code, now=now)
        if found is None:
            return False
        request = msgspec.json.decode(found, type=DeviceRequest)
        return self._store.once.put(_ANSWER, request.id, _text(answer), expires_at=request.expires_at, now=now)

    def asked(self, device_code: str, now: float) -> DeviceRequest | None:
        """The request of a program that polls."""
        found = self._store.once.look(_BY_DEVICE, device_code, now=now)
        return None if found is None else msgspec.json.decode(found, type=DeviceRequest)

    def check_pace(self, request: DeviceRequest, now: float) -> None:
        """Note that the program asks now. Raises Refused where it asks too often (RFC 8628, section 3.5)."""
        found = self._store.once.look(_POLL, request.id, now=now)
        last = Poll(request.asked_at, INTERVAL) if found is None else msgspec.json.decode(found, type=Poll)
        early = now < last.at + last.interval - EARLY
        interval = min(last.interval + INTERVAL, LONGEST_INTERVAL) if early else last.interval
        self._store.once.change(_POLL, request.id, _text(Poll(now, interval)), now=now)
        if early:
            sentence = f"you ask too often: ask every {interval:.0f} seconds"
            raise Refused("slow_down", sentence, wait=interval, quiet=True)

    def answered(self, request: DeviceRequest, now: float) -> DeviceAnswer | None:
        """What the person said; None while nobody said anything."""
        found = self._store.once.look(_ANSWER, request.id, now=now)
        return None if found is None else msgspec.json.decode(found, type=DeviceAnswer)

    def take(self, device_code: str, now: float) -> bool:
        """Make the device code worth nothing; False where somebody did before."""
        return self._store.once.take(_BY_DEVICE, device_code, now=now) is not None


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
