from __future__ import annotations

import base64

from narrowgate.core.masking.masked_value import KEY_BYTES, ValueMasker
from narrowgate.core.masking.write_back import MaskedValue, masked_values

MASKED = ValueMasker(b"k" * KEY_BYTES).of("team/dsn", b"hunter2")


def test_masked_values_are_found_with_their_fields() -> None:
    encoded = base64.b64encode(MASKED.encode()).decode()
    document = {
        "data": {"tls.key": encoded, "plain": "x"},
        "spec": {"containers": [{"env": [{"name": "A", "value": f"a {MASKED} b"}]}]},
        "metadata": {"labels": {f"{MASKED}": "as a key"}},
    }
    assert list(masked_values(document)) == [
        MaskedValue("data[tls.key]", MASKED),
        MaskedValue("spec.containers[0].env[0].value", MASKED),
        MaskedValue("metadata.labels", MASKED),
    ]


def test_a_document_without_masked_values_has_none() -> None:
    assert list(masked_values({"a": [1, True, None, "[masked:]", {"b": "masked"}]})) == []
