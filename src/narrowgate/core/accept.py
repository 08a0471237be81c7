"""What a client accepts, less everything that the gate could not mask: JSON ranges are left, or those of protobuf.

The API server negotiates over the Accept header (k8s.io/apiserver/pkg/endpoints/handlers/negotiation); what it answers
in CBOR or YAML would leave the gate unread.
"""

from __future__ import annotations

from typing import Final

JSON: Final = b"application/json"
PROTOBUF: Final = b"application/vnd.kubernetes.protobuf"
_ANY: Final = frozenset({b"*/*", b"application/*"})


def json_ranges(accept: bytes) -> bytes:
    """The JSON ranges of an Accept header, their parameters (`as=Table`, `q`) kept; empty where it has none.

    A range that stands for any type becomes one for JSON. No header at all accepts anything (RFC 9110, 12.5.1).
    """
    if not accept.strip():
        return JSON
    return _ranges(accept, (JSON, *_ANY), JSON)


def protobuf_ranges(accept: bytes) -> bytes:
    """Its ranges for Kubernetes' protobuf, for a client that takes no JSON; empty where it has none."""
    return _ranges(accept, (PROTOBUF,), PROTOBUF)


def _ranges(accept: bytes, kinds: tuple[bytes, ...], written: bytes) -> bytes:
    kept: dict[bytes, None] = {}
    for media_range in accept.split(b","):
        kind, *parameters = (part.strip() for part in media_range.split(b";"))
        if kind.lower() in kinds:
            kept[b";".join((written, *parameters))] = None
    return b",".join(kept)
