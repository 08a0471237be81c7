"""Single messages masked: what changes is written at its very place, what cannot be is said to need JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.unit.wire.protobuf_by_hand import VALUES, config_map, entry, field, metadata, number, secret

from narrowgate.core.masking.built_in import built_in_rules
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.masking.plan import Entry, Hide, Plan, Root, Scan, compile_plan
from narrowgate.core.masking.resource_plan import HeldMask, plan_for
from narrowgate.wire.json_mask import JsonMasker
from narrowgate.wire.protobuf import located
from narrowgate.wire.protobuf_mask import NotInProtobuf, ProtobufMasker, json_changed
from narrowgate.wire.protobuf_object import FIELDS_IN_ALL, MAX_DEPTH, read_part
from narrowgate.wire.unreadable import Unreadable

MASKED = VALUES.of("p/m", b"planted")


def masked(message: str, data: bytes, plan: Plan | None) -> bytes:
    assert plan is not None
    assert plan.objects is not None
    masker = ProtobufMasker(JsonMasker(ObjectMasker(plan, VALUES, {}).mask, {}))
    return masker.document(message, data, plan.objects, {"kind": "X"})


def under(resource: str, *fields: str, group: str = "") -> Plan | None:
    """The built-in masks of a resource, and one of a policy on these fields."""
    own = (HeldMask("p/m", fields),) if fields else ()
    return plan_for(group, resource, (*(HeldMask(rule) for rule in built_in_rules(group, resource)), *own))


def everything(message: str, data: bytes) -> dict[str, Any]:
    plan = compile_plan([Entry(Root.OBJECT, (), Hide("a/b"))])
    assert plan is not None
    assert plan.objects is not None
    return read_part(message, data, plan.objects)


def container(*fields: bytes) -> bytes:
    """A Pod of one container."""
    return metadata() + field(2, field(2, b"".join(fields)))


def test_bytes_are_masked_as_the_text_that_they_hold() -> None:
    hidden = VALUES.of("narrowgate/secret-data", b"planted")
    assert masked("core.v1.Secret", secret(), under("secrets")) == secret(hidden)


def test_what_is_not_masked_stays_byte_for_byte_however_it_is_written() -> None:
    # Numbers that take more bytes than they need.
    odd = b"\xa0\x00\x81\x00" + metadata()
    data = odd + entry(2, "plain", "stays") + entry(2, "password", "planted") + entry(2, "last", "stays")
    left = masked("core.v1.ConfigMap", data, under("configmaps"))
    hidden = VALUES.of("narrowgate/config-secret", b"planted")
    assert left == odd + entry(2, "plain", "stays") + entry(2, "password", hidden) + entry(2, "last", "stays")


def test_fields_that_no_mask_looks_at_may_be_anything() -> None:
    hidden = VALUES.of("narrowgate/secret-data", b"planted")
    unread = field(3, b"\xff not read")
    data = metadata() + entry(2, "k", "planted") + unread
    assert masked("core.v1.Secret", data, under("secrets")) == metadata() + entry(2, "k", hidden) + unread


def test_an_empty_value_that_json_leaves_out_is_not_masked() -> None:
    data = container(
        field(1, "c"), field(7, field(1, "DB_PASSWORD") + field(2, "") + field(3, field(4, field(2, "k"))))
    )
    assert masked("core.v1.Pod", data, under("pods")) == data


def test_an_argument_behind_its_flag_is_masked_alone() -> None:
    data = container(field(3, "run"), field(3, "--password"), field(3, "planted"), field(3, "stays"))
    hidden = VALUES.of("narrowgate/argument", b"planted")
    left = masked("core.v1.Pod", data, under("pods"))
    assert left == container(field(3, "run"), field(3, "--password"), field(3, hidden), field(3, "stays"))


def test_variables_are_told_by_their_names_wherever_the_name_stands() -> None:
    data = container(field(7, field(2, "planted") + field(1, "DB_PASSWORD")), field(7, field(1, "A") + field(2, "b")))
    hidden = VALUES.of("narrowgate/env", b"planted")
    assert masked("core.v1.Pod", data, under("pods")) == container(
        field(7, field(2, hidden) + field(1, "DB_PASSWORD")), field(7, field(1, "A") + field(2, "b"))
    )


def test_json_within_a_message_is_changed_where_it_is_masked() -> None:
    raw = (
        b' {"spec": {"env": [{"name": "DB_PASSWORD", "value": "planted"}], "x": 1.00, "big": 123456789012345678901}}\n'
    )
    data = metadata() + field(2, field(1, raw)) + number(3, 1)
    left = masked("apps.v1.ControllerRevision", data, under("controllerrevisions", group="apps"))
    hidden = VALUES.of("narrowgate/env", b"planted").encode()
    assert left == metadata() + field(2, field(1, raw.replace(b"planted", hidden))) + number(3, 1)


@pytest.mark.parametrize(
    ("raw", "plain", "changed", "left"),
    [
        (b'{"a": [1, "x"], "b":2}', {"a": [1, "x"], "b": 2}, {"a": [1, "y"], "b": 2}, b'{"a": [1, "y"], "b":2}'),
        (b"[1,2]", [1, 2], [1], b"[1]"),
        (b'{"v:1": {}}', {"v:1": {}}, {}, b"{}"),
        (b'"x"', "x", "y", b'"y"'),
    ],
)
def test_a_part_of_json_is_written_anew_as_little_as_possible(
    raw: bytes, plain: Any, changed: Any, left: bytes
) -> None:
    assert json_changed(raw, plain, plain) == raw
    if isinstance(changed, dict) and "b" in changed:
        changed = {"a": [plain["a"][0], "y"], "b": plain["b"]}
    assert json_changed(raw, plain, changed) == left


def test_text_in_other_dress_is_masked_too() -> None:
    probe = field(10, field(1, field(2, field(2, number(1, 0) + number(2, 80)))))
    limits = field(8, field(1, field(1, "cpu") + field(2, field(1, "500m"))))
    data = container(field(1, "c"), probe, limits)
    fields = ("spec.containers[*].livenessProbe.httpGet.port", "spec.containers[*].resources")
    found = everything("core.v1.Pod", masked("core.v1.Pod", data, under("pods", *fields)))["spec"]["containers"][0]
    assert found["livenessProbe"]["httpGet"]["port"] == VALUES.of("p/m", b"80")
    assert found["resources"] == {"limits": {"cpu": VALUES.of("p/m", b"500m")}}


def test_a_map_without_a_written_value_gets_one() -> None:
    data = metadata() + field(2, field(1, "password"))
    left = masked("core.v1.ConfigMap", data, under("configmaps", "data.password"))
    assert left == metadata() + entry(2, "password", VALUES.of("p/m", b""))


@pytest.mark.parametrize(
    ("message", "data", "field"),
    [
        ("apps.v1.Deployment", metadata() + field(2, number(1, 3)), "spec.replicas"),
        ("apps.v1.Deployment", metadata() + field(2, number(1, 0)), "spec.replicas"),
        ("apps.v1.Deployment", metadata() + field(2, number(7, 1)), "spec.paused"),
        ("core.v1.Pod", field(1, field(8, number(1, 1))), "metadata.creationTimestamp"),
        ("core.v1.Secret", secret() + number(5, 1), "immutable"),
        ("core.v1.PersistentVolumeClaim", metadata() + field(2, field(7, number(1, 1))), "spec.dataSource"),
    ],
)
def test_what_has_no_text_needs_json_and_is_never_shown(message: str, data: bytes, field: str) -> None:
    with pytest.raises(Unreadable):
        masked(message, data, under("pods", field))


def test_a_kind_cannot_be_masked() -> None:
    plan = compile_plan([Entry(Root.OBJECT, (), Hide("a/b"))])
    with pytest.raises(NotInProtobuf, match="kind is masked"):
        masked("core.v1.ConfigMap", config_map(), plan)


@pytest.mark.parametrize(
    "data",
    [
        config_map() + metadata(),
        config_map() + field(99, "planted"),
        config_map() + b"\x9b\x06",
        metadata() + field(2, b"\x0a\xff"),
        metadata() + field(2, field(1, "k") + field(2, "planted") + field(3, "x")),
        metadata() + number(2, 1),
        metadata() + entry(2, "k", "planted") * 2,
        metadata() + entry(2, "k", b"\xff"),
    ],
)
def test_what_has_two_readings_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        masked("core.v1.ConfigMap", data, under("configmaps", "data"))
    assert "planted" not in str(refused.value)


@pytest.mark.parametrize("raw", [b'{"a": "x", "a": "planted"}', b"k8s\x00planted", b"{", b'{"a": "\xff"}'])
def test_json_within_that_is_none_or_has_a_key_twice_is_refused(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        masked("apps.v1.ControllerRevision", field(2, field(1, raw)), under("controllerrevisions", group="apps"))


def test_a_copy_of_the_object_in_an_annotation_is_masked_as_the_object() -> None:
    copy = json.dumps({"apiVersion": "v1", "kind": "Secret", "data": {"k": base64.b64encode(b"planted").decode()}})
    name = "kubectl.kubernetes.io/last-applied-configuration"
    data = field(1, field(1, "a") + field(12, field(1, name) + field(2, copy)))
    left = masked("core.v1.Secret", data, under("secrets"))
    hidden = VALUES.of_base64("narrowgate/secret-data", base64.b64encode(b"planted").decode())
    assert json.loads(everything("core.v1.Secret", left)["metadata"]["annotations"][name])["data"] == {"k": hidden}


def test_scanning_alone_changes_what_looks_like_a_secret_and_nothing_beside_it() -> None:
    plan = compile_plan([Entry(Root.OBJECT, (), Scan())], {"narrowgate/url-password"})
    data = container(field(1, "postgres://app:planted@db/app"), field(2, "image"), number(16, 1))
    left = masked("core.v1.Pod", data, plan)
    assert b"planted" not in left
    assert [number for number, *_ in located(left)] == [1, 2]
    assert everything("core.v1.Pod", left)["spec"]["containers"][0]["image"] == "image"


def test_messages_within_maps_are_masked_as_deep_as_they_go() -> None:
    docs = field(35, field(1, "stays") + field(2, "planted"))
    inner = field(29, field(1, "b") + field(2, field(1, "id") + docs))
    schema = field(1, field(29, field(1, "a") + field(2, inner + docs)) + docs)
    data = metadata() + field(2, field(7, field(1, "v1") + field(4, schema)))
    top = "spec.versions[*].schema.openAPIV3Schema.**.externalDocs.url"
    left = masked("apiextensions.v1.CustomResourceDefinition", data, under("pods", top))
    assert b"planted" not in left
    assert left.count(MASKED.encode()) == 3
    assert left.count(b"stays") == 3


def test_what_was_said_of_a_message_is_said_and_counted_again() -> None:
    plan = under("pods")
    assert plan is not None
    assert plan.objects is not None
    counts: dict[str, int] = {}
    masker = ProtobufMasker(JsonMasker(ObjectMasker(plan, VALUES, counts).mask, counts))
    data = container(*(field(7, field(1, "DB_PASSWORD") + field(2, "planted")) for _ in range(3)))
    once = masker.document("core.v1.Pod", data, plan.objects, {})
    assert counts == {"narrowgate/env": 3}
    assert masker.document("core.v1.Pod", data, plan.objects, {}) == once
    assert counts == {"narrowgate/env": 6}
    assert masker.document("core.v1.Pod", once, plan.objects, {}) is once


def test_no_more_is_remembered_than_may_be() -> None:
    plan = under("pods")
    assert plan is not None
    assert plan.objects is not None
    masker = ProtobufMasker(JsonMasker(ObjectMasker(plan, VALUES, {}).mask, {}, remembers=2_000))
    for at in range(50):
        data = container(field(7, field(1, "DB_PASSWORD") + field(2, f"planted-{at}")))
        assert b"planted" not in masker.document("core.v1.Pod", data, plan.objects, {})
        assert masker.remembered <= 2_000


def test_what_is_nested_without_end_is_refused() -> None:
    schema = field(2, "planted")
    for _ in range(2 * MAX_DEPTH):
        schema = field(29, field(1, "a") + field(2, schema))
    data = metadata() + field(2, field(7, field(4, field(1, schema))))
    with pytest.raises(Unreadable, match="nested too deeply"):
        masked(
            "apiextensions.v1.CustomResourceDefinition", data, under("pods", "spec.versions[*].schema.**.description")
        )


def test_messages_within_messages_without_end_are_refused() -> None:
    schema = field(2, "planted")
    for _ in range(2 * MAX_DEPTH):
        schema = field(28, schema)
    data = metadata() + field(2, field(7, field(4, field(1, schema))))
    with pytest.raises(Unreadable, match="nested too deeply"):
        masked(
            "apiextensions.v1.CustomResourceDefinition", data, under("pods", "spec.versions[*].schema.**.description")
        )


def test_fields_are_counted_over_all_of_an_object() -> None:
    variables = b"".join(field(7, field(1, f"V{at}") + field(2, "x")) for at in range(FIELDS_IN_ALL // 4))
    many = metadata() + field(2, field(2, variables) + field(2, field(1, "c") + variables))
    with pytest.raises(Unreadable, match=f"more than {FIELDS_IN_ALL} fields"):
        masked("core.v1.Pod", many, under("pods"))
