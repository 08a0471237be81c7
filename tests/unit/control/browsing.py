"""A browser as unit tests need it: requests given to an ASGI application, and a jar that keeps its cookies.

It keeps the one rule that our cookies rest on (`__Host-`: Secure, Path=/, no Domain) by refusing what breaks it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette

ORIGIN = "https://gate.example:8444"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    text: str

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name)

    @property
    def location(self) -> str:
        return self.header("location")

    @property
    def cookies(self) -> list[str]:
        return [value for key, value in self.headers if key == "set-cookie"]

    def problem(self) -> str:
        """The one sentence of a page that says what went wrong, as a reader sees it."""
        found = re.search(r'role="alert">(.*?)</p>', self.text, re.DOTALL)
        unescaped = found[1] if found else ""
        for written, meant in (("&#34;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
            unescaped = unescaped.replace(written, meant)
        return unescaped

    def csrf_token(self) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.text)
        return found[1] if found else ""


@dataclass
class Browsing:
    """One browser at one application."""

    app: Starlette
    cookies: dict[str, str] = field(default_factory=dict)
    address: str = "192.0.2.7"

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self._send("GET", target, b"", dict(headers or {}))

    def post(self, target: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """A form as a page of ours sends it; headers given are put in the place of a browser's."""
        usual = {"content-type": FORM, "origin": ORIGIN, "sec-fetch-site": "same-origin"}
        given = {name: value for name, value in (usual | dict(headers or {})).items() if value}
        return self._send("POST", target, urlencode(form).encode(), given)

    def _send(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        return asyncio.run(self.sent(method, target, body, headers))

    async def sent(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        """The same inside a running event loop."""
        path, _, query = target.partition("?")
        fields = {"host": "gate.example:8444", **headers}
        if self.cookies and "cookie" not in fields:
            fields["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "https",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
            "client": (self.address, 40000),
            "server": ("127.0.0.1", 8444),
        }
        answer = await ask(self.app, scope, body)
        for line in answer.cookies:
            self._keep(line)
        return answer

    def _keep(self, line: str) -> None:
        for name, morsel in SimpleCookie(line).items():
            if not (morsel["secure"] and morsel["httponly"] and morsel["path"] == "/" and not morsel["domain"]):
                raise AssertionError(f"a browser would not take this as a __Host- cookie: {line}")
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value


async def ask(
    app: Callable[..., Awaitable[None]], scope: MutableMapping[str, Any], body: bytes, *, chunk: int = 1 << 30
) -> Answer:
    """One request, as an ASGI server would give it; the body in chunks of that many bytes."""
    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not chunks:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent).decode()
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in sent[0]["headers"])
    return Answer(sent[0]["status"], headers, text)
