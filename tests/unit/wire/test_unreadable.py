"""One error for whatever cannot be read in passing, whoever reads it."""

from __future__ import annotations

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.wire.json_spans import members_of
from narrowgate.wire.unreadable import Unreadable


def test_an_answer_that_is_no_json_is_unreadable_and_no_mistake_of_the_client() -> None:
    with pytest.raises(Unreadable, match="not valid JSON") as raised:
        members_of(b"no")
    assert not isinstance(raised.value, Malformed)
