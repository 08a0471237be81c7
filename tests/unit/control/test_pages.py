"""Pages: what is shown is escaped, and a browser is told to load, frame and send nothing else."""

from __future__ import annotations

import asyncio
import re

import jinja2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from tests.unit.control.browsing import Browsing

from narrowgate.control.pages import STYLE_PATH, Pages, content_security_policy, moment, page_headers

PAGES = Pages()


def request_for(path: str = "/somewhere", host: str = "gate.example:8444") -> Request:
    headers = [(b"host", host.encode())]
    server = ("gate.example", 8444)
    return Request({"type": "http", "scheme": "https", "method": "GET", "path": path, "query_string": b"",
                    "headers": headers, "server": server})  # fmt: skip


def text_of(response: Response) -> str:
    return bytes(response.body).decode()


def test_values_are_escaped() -> None:
    response = PAGES.problem(request_for(), 400, '<script>alert("x")</script>', way_on='/"><img src=x>')
    assert "<script" not in text_of(response)
    assert "<img" not in text_of(response)
    assert "&lt;script&gt;" in text_of(response)


def test_a_problem_has_its_status_its_sentence_and_a_way_on() -> None:
    response = PAGES.problem(request_for(), 403, "It cannot be.", way_on="/sign-in")
    assert response.status_code == 403
    assert "It cannot be." in text_of(response)
    assert 'href="/sign-in"' in text_of(response)


def test_a_value_that_a_template_misses_is_an_error_and_no_gap() -> None:
    with pytest.raises(jinja2.UndefinedError):
        PAGES.render(request_for(), "problem.html")


def test_every_page_keeps_the_browser_on_its_side() -> None:
    headers = PAGES.problem(request_for(), 400, "x").headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"
    assert headers["strict-transport-security"].startswith("max-age=")


def test_other_ports_of_localhost_are_not_forced_to_https() -> None:
    assert "Strict-Transport-Security" not in page_headers("localhost")
    assert "Strict-Transport-Security" in page_headers("127.0.0.1")


def test_forms_may_lead_to_named_origins_besides_our_own() -> None:
    assert "form-action 'self' http://127.0.0.1:4711;" in content_security_policy(["http://127.0.0.1:4711"])


@pytest.mark.parametrize(
    "origin", ["http://a; script-src *", "http://a 'unsafe-inline'", "http://a,b", "http://a\r\nX: y"]
)
def test_an_origin_cannot_add_to_the_policy(origin: str) -> None:
    with pytest.raises(ValueError, match="characters that end it"):
        content_security_policy([origin])


def test_a_page_that_leads_on_does_it_by_itself_and_by_a_link() -> None:
    page = text_of(PAGES.onward(request_for(), "http://127.0.0.1:4711/callback?code=a&state=b", to="your terminal"))
    assert 'content="0;url=http://127.0.0.1:4711/callback?code=a&amp;state=b"' in page
    assert '<a href="http://127.0.0.1:4711/callback?code=a&amp;state=b"' in page


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "/local", "//evil.example", ""])
def test_a_page_leads_to_http_and_https_alone(url: str) -> None:
    with pytest.raises(ValueError, match="http and https addresses only"):
        PAGES.onward(request_for(), url, to="somewhere")


def test_the_style_sheet_is_served_and_may_be_kept() -> None:
    answer = Browsing(Starlette(routes=PAGES.routes())).get(STYLE_PATH)
    assert answer.status == 200
    assert answer.header("content-type").startswith("text/css")
    assert "max-age" in answer.header("cache-control")


def test_no_template_holds_a_script_or_style_of_its_own() -> None:
    environment = PAGES.environment
    templates = environment.list_templates()
    texts = {name: environment.loader.get_source(environment, name)[0] for name in templates if environment.loader}
    assert {"page.html", "home.html", "sign_in.html"} <= set(texts)
    # A script from a file of ours is possible where a page allows it; one inside the page never is.
    inline = re.compile(r"""<script(?! src="[^"]+"( defer)?></script>)|\son\w+=|\sstyle=|<style|javascript:""", re.I)
    assert [name for name, text in texts.items() if inline.search(text)] == []


def test_moments_name_their_zone() -> None:
    assert moment(1_700_000_000.9) == "2023-11-14 22:13 UTC"


def test_asking_for_the_style_sheet_by_post_is_refused() -> None:
    answer = asyncio.run(Browsing(Starlette(routes=PAGES.routes())).sent("POST", STYLE_PATH, b"", {}))
    assert answer.status == 405
