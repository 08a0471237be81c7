"""Programs that call the control API of a real gate, with a bearer token or out of a browser's session."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from playwright.sync_api import Page
from tests.e2e.browser import go
from tests.e2e.gate import Gate
from tests.e2e.signing_in import authority_of, control_url, session_cookie

CALL_SECONDS = 120.0


class Answered(NamedTuple):
    status: int
    headers: Mapping[str, str]
    document: Any


class Caller:
    """A program that calls the API, with a bearer token or a browser's session."""

    def __init__(self, gate: Gate, headers: Mapping[str, str]) -> None:
        self._gate = gate
        self._headers = dict(headers)

    def __call__(self, method: str, target: str, body: object = None, **headers: str) -> Answered:
        context = ssl.create_default_context(cafile=str(authority_of(self._gate)))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._gate.control_port, timeout=CALL_SECONDS, context=context
        )
        content = None if body is None else json.dumps(body)
        typed = {} if body is None else {"Content-Type": "application/json"}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, f"/api/v1{target}", content, {**self._headers, **typed, **given})
            answer = connection.getresponse()
            text = answer.read()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, named, json.loads(text) if text else None)
        finally:
            connection.close()


def by_token(gate: Gate, token: str) -> Caller:
    return Caller(gate, {"Authorization": f"Bearer {token}"})


def by_session(gate: Gate, page: Page) -> Caller:
    """What a page of ours could send: the cookie, and the token that stands in its forms."""
    cookie = session_cookie(page)
    go(page, f"{control_url(gate)}/")
    token = page.locator('input[name="csrf_token"]').first.get_attribute("value") or ""
    origin = {"Origin": control_url(gate), "Sec-Fetch-Site": "same-origin"}
    return Caller(gate, {"Cookie": f"{cookie['name']}={cookie['value']}", "X-CSRF-Token": token, **origin})


def link_of(gate: Gate) -> str:
    done = gate.command("roles", "first-admin")
    assert done.code == 0, done.text
    return done.out.strip()
