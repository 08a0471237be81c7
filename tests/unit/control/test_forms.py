"""Posted forms: read strictly, or refused."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from narrowgate.control.forms import (
    FORM_LIMIT,
    MEDIA_TYPE,
    MOST_FIELDS,
    FormRefused,
    FormTooLarge,
    parse_form,
    read_form,
)


def read(
    *chunks: bytes, content_type: str | None = MEDIA_TYPE, limit: int = FORM_LIMIT, cut: bool = False
) -> dict[str, str]:
    """What `read_form` makes of a request whose body comes in these chunks, and then (`cut`) breaks off."""
    coming = [{"type": "http.request", "body": chunk, "more_body": cut or number < len(chunks)}
              for number, chunk in enumerate(chunks, start=1)]  # fmt: skip

    async def receive() -> dict[str, object]:
        return dict(coming.pop(0)) if coming else {"type": "http.disconnect"}

    headers = [(b"content-type", content_type.encode())] if content_type is not None else []
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    return asyncio.run(read_form(Request(scope, receive), limit))


def test_fields_are_decoded() -> None:
    assert read(b"a=1&b=two+words&c=%C3%A4") == {"a": "1", "b": "two words", "c": "ä"}


def test_empty_fields_and_empty_forms_are_there() -> None:
    assert read(b"a=&b=") == {"a": "", "b": ""}
    assert read(b"") == {}


def test_it_does_not_matter_where_the_body_was_cut() -> None:
    assert read(b"a=%", b"C3", b"%A4&b=2") == {"a": "ä", "b": "2"}


def test_a_charset_beside_the_media_type_is_taken() -> None:
    assert read(b"a=1", content_type="Application/X-WWW-Form-Urlencoded; charset=utf-8") == {"a": "1"}


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "multipart/form-data; boundary=x", "text/plain"]
)
def test_another_sort_of_body_is_refused(content_type: str | None) -> None:
    with pytest.raises(FormRefused, match=r"is not application/x-www-form-urlencoded"):
        read(b"a=1", content_type=content_type)


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=1&%61=2", b"a=&a="])
def test_a_field_that_comes_twice_is_refused(body: bytes) -> None:
    with pytest.raises(FormRefused, match='"a" comes twice'):
        read(body)


@pytest.mark.parametrize("body", [b"a", b"a=1&&b=2", b"a=1&b", b"&"])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(FormRefused, match="is no form"):
        parse_form(body)


@pytest.mark.parametrize("body", [b"a=%FF", b"a=\xc3\xa4", b"a=\xff", b"%FF=1"])
def test_what_is_no_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(FormRefused):
        parse_form(body)


def test_as_many_fields_as_are_allowed_are_read_and_not_one_more() -> None:
    fields = [f"f{number}=1" for number in range(MOST_FIELDS)]
    assert len(parse_form("&".join(fields).encode())) == MOST_FIELDS
    with pytest.raises(FormRefused, match=f"more than {MOST_FIELDS} fields"):
        parse_form("&".join([*fields, "last=1"]).encode())


def test_a_body_beyond_the_limit_is_refused_before_it_is_read_to_its_end() -> None:
    assert read(b"a=12345678", limit=10) == {"a": "12345678"}
    with pytest.raises(FormTooLarge, match="more than 10 bytes"):
        read(b"a=1234567", b"89", limit=10, cut=True)


def test_a_body_that_breaks_off_is_refused() -> None:
    with pytest.raises(FormRefused, match="cut short"):
        read(b"a=1", cut=True)


def test_a_body_that_never_comes_is_not_waited_for() -> None:
    async def read_slowly() -> None:
        async def receive() -> dict[str, object]:
            await asyncio.Event().wait()
            return {}

        headers = [(b"content-type", MEDIA_TYPE.encode())]
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
        await read_form(Request(scope, receive), seconds=0.01)

    with pytest.raises(FormRefused, match="did not come"):
        asyncio.run(read_slowly())
