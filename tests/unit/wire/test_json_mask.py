"""Masks over bytes: what is masked goes, everything else stays as it was written, and what is odd is refused."""

from __future__ import annotations

import pytest
from tests.unit.wire.masking_by_hand import MASKED, PLAN, mask

from narrowgate.wire.json_mask import JsonMasker, check
from narrowgate.wire.json_spans import Unreadable

QUOTED = f'"{MASKED}"'.encode()


def masked(document: bytes) -> bytes:
    assert PLAN is not None
    check(document)
    return JsonMasker(mask, {}).document(document, PLAN.objects)


@pytest.mark.parametrize(
    ("document", "leaves"),
    [
        (b'{"a":1}', b'{"a":1}'),
        (b'{"data":{"k":"secret"},"b":"\\u003c"}', b'{"data":{"k":%b},"b":"\\u003c"}' % QUOTED),
        (b'{ "b" : 1e2 ,\n"data": {"k": "s" , "l":"t"} }\n', b'{ "b" : 1e2 ,\n"data": {"k": %b , "l":%b} }\n'),
        (b'{"d\\u0061ta":{"k":"s"}}', b'{"d\\u0061ta":{"k":%b}}'),
        ('{"ä":"ö","data":{"k":"s"}}'.encode(), '{"ä":"ö","data":{"k":%b}}'.encode()),
        (b'{"data":null}', b'{"data":null}'),
        (b'{"data":[]}', b'{"data":[]}'),
        (b'{"data":{}}', b'{"data":{}}'),
        (b'{"data":["s", {"x":"s"}]}', b'{"data":[%b, {"x":%b}]}'),
        (
            b'{"env":[{"name":"PASSWORD","value":"s"},{"name":"A","value":"b"}]}',
            b'{"env":[{"name":"PASSWORD","value":%b},{"name":"A","value":"b"}]}',
        ),
        (b'{"env":[{"value":"s","name":"PASS\\u0057ORD"}]}', b'{"env":[{"value":%b,"name":"PASS\\u0057ORD"}]}'),
        (b"[1]", b"[1]"),
        (b'"x"', b'"x"'),
    ],
)
def test_what_is_masked_goes_and_the_rest_stays_byte_for_byte(document: bytes, leaves: bytes) -> None:
    assert masked(document) == leaves.replace(b"%b", QUOTED)


@pytest.mark.parametrize(
    "document",
    [
        b'{"data":{"k":"a","k":"b"}}',
        b'{"data":{"k":"a"},"data":{"k":"b"}}',
        b'{"data":{"k":"a"},"d\\u0061ta":{"k":"b"}}',
        b'{"data": {"k":"a"} , "data":{}}',
        b'{"data":{"k":"\xff"}}',
        b'{"other":"\xff"}',
        b'{"data":{"k":"\\ud800"}}',
        b'{"data":{"k":"a"}} {"data":{"k":"b"}}',
        b'{"data":{"k":"a"}',
        b'{"data":{"k":NaN}}',
        b"\xef\xbb\xbf{}",
        b"",
        b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"env":' + b"[" * 300 + b'{"name":"PASSWORD","value":"x"}' + b"]" * 300 + b"}",
    ],
)
def test_what_could_be_read_differently_is_refused(document: bytes) -> None:
    with pytest.raises(Unreadable):
        masked(document)
