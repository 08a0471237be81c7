"""The two ways to sign in at a gate from a terminal: with a browser here, or with a browser anywhere.

Both end with what the token endpoint grants. What is shown to the person goes through `say`; opening a browser is the
caller's, too. Time is that of this machine: deadlines here are the caller's patience and the gate's own answers.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from narrowgate.cli.failure import Failed
from narrowgate.cli.gate_address import Metadata
from narrowgate.cli.loopback_redirect import LoopbackRedirect
from narrowgate.cli.oauth_client import CLIENT_ID, GRANT_DEVICE, GatePort, GateRefused, GateUnreachable, Granted

BROWSER_SECONDS = 300.0
"""For a person to sign in at the identity provider and come back; then the terminal is free again."""

DEFAULT_INTERVAL = 5.0
"""Seconds between two questions where the gate names none (RFC 8628, section 3.2)."""

SLOWER_SECONDS = 5.0
"""Added to the interval at each `slow_down` (RFC 8628, section 3.5)."""

LONGEST_INTERVAL = 60.0
"""Seconds. A gate that asks for more is not waited for: the code runs out meanwhile."""

LONGEST_CODE_SECONDS = 1800.0
"""However long a gate says a device code is good for."""

Say = Callable[[str], None]


def by_browser(port: GatePort, metadata: Metadata, show: Say) -> Granted:
    """Sign in with a browser on this machine: authorization code with PKCE (RFC 7636, RFC 8252).

    Raises Failed, Unusable. `show` is given the address that is to be opened in a browser.
    """
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    with LoopbackRedirect(state, port.url) as redirect:
        fields = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": redirect.uri,
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        show(f"{port.url}{metadata.authorization_endpoint}?{urlencode(fields)}")
        brought = redirect.wait(BROWSER_SECONDS)
        if brought is None:
            minutes = BROWSER_SECONDS / 60
            raise Failed(f"nobody signed in within {minutes:.0f} minutes", port.url, "run it again, or with --device")
        if not brought.code:
            raise _said_no(port.url, brought.error, brought.error_description)
        code_fields = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "code": brought.code,
            "redirect_uri": redirect.uri,
            "code_verifier": verifier,
        }
        return port.granted(code_fields)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).decode().rstrip("=")


def by_device(port: GatePort, metadata: Metadata, say: Say, *, wait: Callable[[float], None] = time.sleep) -> Granted:
    """Sign in with a browser on any machine (RFC 8628). Raises Failed, Unusable."""
    told = port.post(metadata.device_authorization_endpoint, {"client_id": CLIENT_ID})
    device_code, user_code, address = (told.get(key) for key in ("device_code", "user_code", "verification_uri"))
    if not all(_is_line(one) for one in (device_code, user_code, address)):
        raise GateUnreachable(f"{port.url} gave no code to sign in with: is it a gate of this version?")
    complete = told.get("verification_uri_complete")
    say(f"open {address} in a browser and enter the code {user_code}")
    if _is_line(complete):
        say(f"or open {complete}")
    interval, deadline = _asked_to_wait(told)
    fields = {"grant_type": GRANT_DEVICE, "client_id": CLIENT_ID, "device_code": str(device_code)}
    while time.monotonic() < deadline:
        wait(interval)
        try:
            return port.granted(fields)
        except GateUnreachable:
            # "A client that suffers a connection timeout should reduce its polling frequency" (RFC 8628, section 3.5).
            interval = min(interval * 2, LONGEST_INTERVAL)
        except GateRefused as error:
            match error.error:
                case "authorization_pending":
                    continue
                case "slow_down":
                    interval = min(interval + SLOWER_SECONDS, LONGEST_INTERVAL)
                case "expired_token":
                    break
                case _:
                    raise _said_no(port.url, error.error, str(error)) from None
    raise Failed(f"nobody entered the code {user_code} in time", port.url, "run it again for a new one")


def _asked_to_wait(told: dict[str, Any]) -> tuple[float, float]:
    """The interval in seconds, and the monotonic time at which the code is over."""
    interval, life = told.get("interval", DEFAULT_INTERVAL), told.get("expires_in")
    if not isinstance(interval, int | float) or not 0 <= interval <= LONGEST_INTERVAL:
        interval = DEFAULT_INTERVAL
    if not isinstance(life, int | float) or not 0 < life <= LONGEST_CODE_SECONDS:
        life = LONGEST_CODE_SECONDS
    return float(interval), time.monotonic() + float(life)


def _said_no(url: str, error: str, text: str) -> Failed:
    why = text if _is_line(text) else error if _is_line(error) else "it did not say why"
    if error == "access_denied":
        return Failed(f"the sign-in was refused in the browser ({why})", url, "run it again if that was a mistake")
    return Failed(f"the gate did not sign you in ({why})", url, "run it again, or ask whoever runs the gate")


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()
