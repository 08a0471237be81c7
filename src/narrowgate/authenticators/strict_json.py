"""JSON that was signed, read so that every reader of it sees the same: one object, no member twice, real numbers.

RFC 7515, section 4, and RFC 7519, section 4, let a reader take the last of two members of one name; whoever checks the
first and uses the last can be led astray.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


class NotStrict(ValueError):
    """Not such an object; the text follows "a part that"."""


def read_object(content: bytes) -> dict[str, Any]:
    """The object that `content` is. Raises NotStrict. The caller has bounded its length."""
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except NotStrict:
        raise
    except (ValueError, RecursionError):
        raise NotStrict("is not JSON") from None
    if not isinstance(value, dict):
        raise NotStrict("is not a JSON object")
    return value


def _without_doubles(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise NotStrict("has a member twice")
    return found


def _no_number(_word: str) -> NoReturn:
    # NaN and Infinity, which Python reads and RFC 8259 does not know.
    raise NotStrict("is not JSON")
