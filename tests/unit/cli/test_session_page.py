"""The page of a session: what it holds cannot become markup, and nothing in it can reach the network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import msgspec
import pytest
from tests.recorded_sessions import a_session, header

from narrowgate.cli.session_page import PAGE_LIMIT, Contents, TooLarge, page_of
from narrowgate.core.recording import Entry, Header, Noted, Resized
from narrowgate.core.session_story import Telling
from narrowgate.core.session_timeline import Line
from narrowgate.core.stream_events import Channel, ChannelData

EVIL = "</script><script>alert(1)</script><!--<script> ]]> & \u2028\u2029 \x00\ud800".encode("utf-8", "surrogatepass")


def page(entries: list[Entry], of: Header | None = None, refused: list[Line] | None = None) -> str:
    telling, contents = Telling(of or header()), Contents(has_terminal=(of or header()).tty)
    for entry in entries:
        telling.feed(entry)
        contents.feed(entry)
    contents.finish()
    return "".join(page_of(telling.finish(), "The recording is whole.", contents, refused or []))


def held(text: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def test_the_page_holds_the_session() -> None:
    data = held(page(a_session(), refused=[Line(-5_000_000, "refused", "403 get /secrets: no rule")]))
    assert data["events"] == [[2e-05, "r", 80, 24], [3e-05, "o", "$ "], [1.6, "o", "ls\r\nREADME\r\n"]]
    assert data["lines"][0] == [-5.0, "refused", "403 get /secrets: no rule"]
    assert [0.00002, "-", "the terminal has 80 columns and 24 rows"] in data["lines"]
    assert data["told"][-1] == "The recording is whole."
    assert (data["columns"], data["rows"], data["tty"]) == (80, 24, True)


def test_nothing_that_was_recorded_can_end_the_element_that_holds_it() -> None:
    of = msgspec.structs.replace(header(), command=(EVIL.decode("utf-8", "replace"),), pod="</title><script>")
    entries = [Entry(1, ChannelData(Channel.STDOUT, EVIL)), Entry(2, Noted("</script><img src=x onerror=alert(1)>"))]
    for tty in (True, False):
        text = page(entries, msgspec.structs.replace(of, tty=tty), [Line(1, "refused", "</script>")])
        assert text.count("<script") == text.count("</script") == 2
        assert "<img" not in text
        assert "</script><script>alert(1)" in json.dumps(held(text))


def test_its_policy_names_its_own_script_and_style_and_nothing_else() -> None:
    text = page(a_session())
    match = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert match is not None
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    style = text[text.index("<style>") + len("<style>") : text.index("</style>")]
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (script, style)]
    assert match[1] == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert text.index("Content-Security-Policy") < text.index("<style>")


@pytest.mark.parametrize("word", ["http://", "https://", "fetch(", "XMLHttpRequest", "innerHTML", "eval(", "import("])
def test_it_neither_speaks_to_anybody_nor_makes_markup(word: str) -> None:
    assert word not in page([])


def test_what_was_written_is_made_safe_before_it_gets_there() -> None:
    data = held(page([Entry(1, ChannelData(Channel.STDOUT, b"a\x1b]52;c;eA==\x07\x1b[1mb"))]))
    assert data["events"] == [[1e-06, "o", "a\x1b[1mb"]]


def test_a_page_has_a_limit() -> None:
    contents = Contents(has_terminal=True)
    contents.feed(Entry(1, ChannelData(Channel.STDOUT, b"x" * (PAGE_LIMIT // 4))))
    with pytest.raises(TooLarge, match="more than the 64 MiB"):
        contents.feed(Entry(1, ChannelData(Channel.STDOUT, b"x" * PAGE_LIMIT)))


def test_the_first_size_is_that_of_the_screen() -> None:
    contents = Contents(has_terminal=True)
    for width in (120, 100):
        contents.feed(Entry(0, Resized(width, 30)))
    assert contents.size == (120, 30)
