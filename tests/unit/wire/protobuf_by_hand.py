"""Protobuf written down field by field, for tests of what reads it."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.wire.masking_by_hand import PLAN

from narrowgate.core.masking.choosing import Where
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.plan import Plan
from narrowgate.wire.json_mask import JsonMasker
from narrowgate.wire.protobuf import MAGIC, sized, varint


def number(field: int, value: int) -> bytes:
    """A field that holds a number."""
    return varint(field << 3) + varint(value & (1 << 64) - 1)


def field(number: int, value: bytes | str) -> bytes:
    """A field that holds bytes, or text."""
    return sized(number, value.encode() if isinstance(value, str) else value)


def envelope(raw: bytes, kind: str = "Secret", version: str = "v1", behind: bytes = b"\x1a\x00\x22\x00") -> bytes:
    """A document as the API server writes it."""
    return MAGIC + field(1, field(1, version) + field(2, kind)) + field(2, raw) + behind


def metadata(name: str = "a", namespace: str = "ci") -> bytes:
    """An ObjectMeta, as field 1 of its object."""
    return field(1, field(1, name) + field(2, "") + field(3, namespace))


def entry(number: int, key: str, value: bytes | str) -> bytes:
    """An entry of a map."""
    return field(number, field(1, key) + field(2, value))


def secret(value: bytes | str = "planted", name: str = "a", namespace: str = "ci") -> bytes:
    """A Secret with one value under `k`."""
    return metadata(name, namespace) + entry(2, "k", value) + field(3, "Opaque")


def config_map(value: str = "planted", name: str = "a", namespace: str = "ci") -> bytes:
    """A ConfigMap with one value under `k`."""
    return metadata(name, namespace) + entry(2, "k", value)


def listed(*items: bytes, meta: bytes = b"\x0a\x00\x12\x0242\x1a\x00") -> bytes:
    """A list of objects, without its envelope."""
    return field(1, meta) + b"".join(field(2, item) for item in items)


def event(kind: str, document: bytes) -> bytes:
    """One frame of a watch."""
    content = field(1, kind) + field(2, field(1, document))
    return len(content).to_bytes(4) + content


VALUES = ValueMasker(b"0" * 32)
MASKED = VALUES.of("test/it", b"planted")


class Everywhere:
    """The plan of `masking_by_hand` for every object, carried out by the reference."""

    varies = False
    shows: Callable[[Where], bool] | None = None

    def __init__(self) -> None:
        assert PLAN is not None
        self.counts: dict[str, int] = {}
        self._masker = JsonMasker(ObjectMasker(PLAN, VALUES, self.counts).mask, self.counts)

    def plan(self, _where: Where) -> Plan | None:
        return PLAN

    def masker(self, _plan: Plan) -> JsonMasker:
        return self._masker


class InNamespace(Everywhere):
    """Objects of one namespace are masked, and those that do not say where they are."""

    varies = True

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self._namespace = namespace

    def plan(self, where: Where) -> Plan | None:
        return PLAN if where.namespace in (self._namespace, None) else None
