"""What a client accepts, less everything that the gate could not mask: JSON ranges alone are left.

The API server negotiates over the Accept header (k8s.io/apiserver/pkg/endpoints/handlers/negotiation); what it answers
in protobuf, CBOR or YAML would leave the gate unread.
"""

from __future__ import annotations

from typing import Final

JSON: Final = b"application/json"
_ANY: Final = frozenset({b"*/*", b"application/*"})


def json_ranges(accept: bytes) -> bytes:
    """The JSON ranges of an Accept header, their parameters (`as=Table`, `q`) kept; empty where it has none.

    A range that stands for any type becomes one for JSON. No header at all accepts anything (RFC 9110, 12.5.1).
    """
    if not accept.strip():
        return JSON
    kept: dict[bytes, None] = {}
    for media_range in accept.split(b","):
        kind, *parameters = (part.strip() for part in media_range.split(b";"))
        if kind.lower() in (JSON, *_ANY):
            kept[b";".join((JSON, *parameters))] = None
    return b",".join(kept)
