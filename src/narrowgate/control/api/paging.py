"""Lists in pages, as Kubernetes has them: `limit`, and an opaque `continue` that goes on behind what was seen.

A token says where to go on, never what may be seen: each page is judged anew.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from narrowgate.control.problems import Problem, Trouble

PAGE = 100
"""Items of a page that is not asked for otherwise."""

LONGEST_PAGE = 500
"""Items; kubectl asks for as many (`--chunk-size`)."""

_TOKEN_LIMIT = 1024
"""Characters of a token; names are the longest thing in one."""

_T = TypeVar("_T")


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query parameters of every list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_PAGE, description="Items of the page.")] = PAGE
    continue_: Annotated[str, msgspec.Meta(description="What the page before said under metadata.continue.")] = (
        msgspec.field(name="continue", default="")
    )


class ListMeta(msgspec.Struct, frozen=True):
    """Where the list goes on."""

    continue_: str = msgspec.field(name="continue", default="")
    """To be sent as `continue` for the next page; empty on the last."""


class _Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    list: str
    """Which list it belongs to: another one refuses it."""
    behind: str


def read_token(page: Page, name: str) -> str:
    """What the last item of the page before was, as it was given to `page_of`; empty for the first page."""
    if not page.continue_:
        return ""
    try:
        if len(page.continue_) > _TOKEN_LIMIT:
            raise ValueError("too long")
        content = base64.b64decode(page.continue_ + "=" * (-len(page.continue_) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(content, type=_Token)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise Problem(
            Trouble.UNREADABLE, "`continue` is not one that this gate gave out; begin the list anew"
        ) from None
    if token.list != name:
        raise Problem(Trouble.UNREADABLE, "`continue` belongs to another list; begin this one anew")
    return token.behind


def page_of(found: Sequence[_T], page: Page, name: str, place: Callable[[_T], str]) -> tuple[Sequence[_T], ListMeta]:
    """The items of the page out of `found`, which holds one more where there is one, and where to go on.

    `place` tells where an item stands in the list, for `read_token` to give back.
    """
    shown = found[: page.limit]
    if len(found) <= page.limit:
        return shown, ListMeta()
    token: dict[str, Any] = {"list": name, "behind": place(shown[-1])}
    return shown, ListMeta(base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("="))
