"""The pages people see, from the package's templates, with the headers that keep a browser on their side.

Templates escape everything they are given, hold no script and load nothing but our own style sheet. A page extends
`page.html`, which has three blocks: `title`, `content`, and `refresh` (used by `onward.html` alone); times go through
the filter `moment`. A form of ours carries `<input type="hidden" name="csrf_token" value="{{ csrf_token }}">`
(`ConsoleSessions.csrf_token`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

STYLE_PATH = "/static/console.css"
"""Where pages find their style sheet."""

STYLE_SECONDS = 3600
"""How long a browser may keep the style sheet: an hour after an upgrade everybody has the new one."""

HEADERS = {
    # Pages show who somebody is and what they may do: nothing keeps a copy.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would make browsers send `Origin: null` with our own forms, and Origin is what tells them from
    # another site's (Fetch, "serializing a request origin"). To other sites nothing is told either way.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


TRANSPORT_SECURITY = "max-age=31536000"
"""A year of https (RFC 6797), for this host alone: other names of the domain are not ours to speak for."""


class Pages:
    """Renders templates of `control/templates`."""

    def __init__(self) -> None:
        self.environment = Environment(
            loader=PackageLoader("narrowgate.control"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters["moment"] = moment

    def render(
        self, request: Request, template: str, *, code: int = 200, form_to: Sequence[str] = (), **values: object
    ) -> Response:
        """The page as an answer with status `code`.

        `form_to`: origins besides our own that a form on this page may be sent or redirected to (browsers hold the
        redirect after a POST against `form-action` too). CSP cannot name IPv6 addresses: use `onward` there.
        """
        text = self.environment.get_template(template).render(values | {"style": STYLE_PATH, "path": request.url.path})
        return HTMLResponse(text, code, page_headers(request.url.hostname or "", form_to))

    def onward(self, request: Request, url: str, *, to: str) -> Response:
        """A page that leads on to `url` by itself, and has a link; `to` says in words where that is.

        The answer to a POST whose way leads to another origin (a CLI on loopback, an identity provider): a redirect
        would be held against `form-action`. `url` must be one that the caller has checked, http or https.
        """
        if not url.startswith(("https://", "http://")):
            raise ValueError("a page leads to http and https addresses only")
        return self.render(request, "onward.html", url=url, to=to)

    def problem(self, request: Request, code: int, sentence: str, *, way_on: str = "/sign-in") -> Response:
        """A page with one sentence that says what went wrong, and a link to `way_on`, a path of ours."""
        return self.render(request, "problem.html", code=code, sentence=sentence, way_on=way_on)

    def routes(self) -> list[Route]:
        """The style sheet."""
        return [Route(STYLE_PATH, _style, methods=["GET"])]


def moment(at: float) -> str:
    """Unix seconds as people read them: `2026-11-21 14:05 UTC`. The zone is said, because pages know no other."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def page_headers(host: str, form_to: Sequence[str] = ()) -> dict[str, str]:
    """The headers of a page that was asked for under the name `host`."""
    headers = HEADERS | {"Content-Security-Policy": content_security_policy(form_to)}
    if host != "localhost":
        # It would hold for every port of the host, and on `localhost` those are other people's.
        headers["Strict-Transport-Security"] = TRANSPORT_SECURITY
    return headers


def content_security_policy(form_to: Sequence[str] = ()) -> str:
    """The policy of a page (CSP Level 3): our style sheet, forms to ourselves and `form_to`, nothing else."""
    if any(set(origin) & set(" ;,'\"\r\n\t") for origin in form_to):
        raise ValueError("an origin for form-action holds characters that end it")
    targets = " ".join(["'self'", *form_to])
    return f"default-src 'none'; style-src 'self'; form-action {targets}; frame-ancestors 'none'; base-uri 'none'"


async def _style(request: Request) -> Response:  # noqa: ARG001 (Starlette's signature)
    text = resources.files("narrowgate.control").joinpath("static/console.css").read_text("utf-8")
    headers = {"Cache-Control": f"max-age={STYLE_SECONDS}", "X-Content-Type-Options": "nosniff"}
    return Response(text, media_type="text/css", headers=headers)
