"""Masks over bytes: what is masked goes, everything else stays as it was written, and what is odd is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.wire.masking_by_hand import MASKED, PLAN, mask

from narrowgate.core.masking.plan import Place
from narrowgate.wire.json_mask import REMEMBERED_BYTES, JsonMasker, check
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
        (b'{"a\\/b":{"c":"s"},"a":{"c":"t"}}', b'{"a\\/b":{"c":%b},"a":{"c":"t"}}'),
        (b'{"x":{"a\\/b":{"c":"s"}}}', b'{"x":{"a\\/b":{"c":"s"}}}'),
        (b"[1]", b"[1]"),
        (b'"x"', b'"x"'),
    ],
)
def test_what_is_masked_goes_and_the_rest_stays_byte_for_byte(document: bytes, leaves: bytes) -> None:
    assert masked(document) == leaves.replace(b"%b", QUOTED)


def test_what_was_said_of_a_value_is_said_again_and_counted_again() -> None:
    assert PLAN is not None
    counts = {"before": 7}
    asked: list[Any] = []

    def counting(value: Any, place: Place) -> Any:
        asked.append(value)
        counts["test/it"] = counts.get("test/it", 0) + 1
        return mask(value, place)

    masker = JsonMasker(counting, counts)
    document = b'{"env":[{"name":"PASSWORD","value":"s"},{"name":"TOKEN","value":"t"}]}'
    first = masker.document(document, PLAN.objects)
    assert (asked, counts) == (["s", "t"], {"before": 7, "test/it": 2})
    assert masker.document(document, PLAN.objects) == first
    assert (asked, counts) == (["s", "t"], {"before": 7, "test/it": 4})
    # The same bytes at another place are another matter.
    assert masker.document(b'{"data":{"env":"s"}}', PLAN.objects) == b'{"data":{"env":%b}}' % QUOTED
    assert asked == ["s", "t", "s"]


def test_what_is_remembered_is_bounded() -> None:
    assert PLAN is not None
    masker = JsonMasker(mask, {})
    values = [b"%d" % at * 10_000 for at in range(10, 10 + 3 * REMEMBERED_BYTES // 20_000)]
    for value in values:
        assert masker.document(b'{"data":{"k":"%b"}}' % value, PLAN.objects) == b'{"data":{"k":%b}}' % QUOTED
    assert masker.remembered <= REMEMBERED_BYTES


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
