"""What is left of an Accept header where the answer will be masked."""

from __future__ import annotations

import pytest

from narrowgate.core.accept import json_ranges, protobuf_ranges

TABLE = b"application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "left"),
    [
        (b"", b"application/json"),
        (b"application/json", b"application/json"),
        (b"*/*", b"application/json"),
        (b"application/json, */*", b"application/json"),
        (b"application/vnd.kubernetes.protobuf,application/json", b"application/json"),
        (b"application/vnd.kubernetes.protobuf", b""),
        (b"application/yaml, application/cbor", b""),
        (TABLE + b"," + TABLE.replace(b"v1", b"v1beta1") + b",application/json",) * 2,
        (b"APPLICATION/JSON ; as=Table; q=0.5 , text/plain", b"application/json;as=Table;q=0.5"),
        (b"application/json-patch+json", b""),
        (b"application/apidiscovery+json;v=v2", b""),
        (b"application/*;q=0.1", b"application/json;q=0.1"),
        (b",,;", b""),
    ],
)
def test_only_json_is_left_as_it_was_written(accept: bytes, left: bytes) -> None:
    assert json_ranges(accept) == left


@pytest.mark.parametrize(
    ("accept", "left"),
    [
        (b"", b""),
        (b"application/json, */*", b""),
        (b"application/vnd.kubernetes.protobuf", b"application/vnd.kubernetes.protobuf"),
        (
            b"application/cbor, Application/vnd.kubernetes.protobuf ; stream=watch",
            b"application/vnd.kubernetes.protobuf;stream=watch",
        ),
        (b"application/vnd.kubernetes.protobuf+x, application/yaml", b""),
    ],
)
def test_of_protobuf_nothing_else_is_left(accept: bytes, left: bytes) -> None:
    assert protobuf_ranges(accept) == left
