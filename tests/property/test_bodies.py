"""Laws of bodies: one reading however a document is spelled, no doubt passed on, no patch that hides what it uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.writes import facts, info_of, intent_of

from narrowgate.core.body import PROTOBUF, with_body
from narrowgate.core.documents import parse_json, parse_yaml
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.status import CONTENT_TYPE, MESSAGE_LIMIT, of_malformed, to_json
from narrowgate.core.uses import JSON_PATCH, uses_of, uses_of_patch
from narrowgate.wire.protobuf import read_names

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, min_size=1, max_size=4)
SPELLINGS = st.fixed_dictionaries(
    {
        "indent": st.none() | st.integers(0, 2),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
        "ensure_ascii": st.booleans(),
    }
)


@given(OBJECTS, SPELLINGS)
def test_json_means_the_same_however_it_is_spelled(document: dict[str, Any], spelling: dict[str, Any]):
    assert parse_json(json.dumps(document, **spelling).encode()) == document


@given(OBJECTS, SPELLINGS, st.data())
def test_a_key_that_is_there_twice_is_found_wherever_it_is(
    document: dict[str, Any], spelling: dict[str, Any], data: st.DataObject
):
    key = data.draw(st.sampled_from(sorted(document)))
    inner = json.dumps(document, **spelling)
    twice = f"{inner.rstrip()[:-1]},{json.dumps(key)}:1}}"
    depth = data.draw(st.integers(0, 3))
    with pytest.raises(Malformed, match="twice"):
        parse_json((depth * '{"x":[' + twice + depth * "]}").encode())


PLAIN = st.text("abc xyz-/.:#é'\"\\\n\t1", max_size=12)
PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(PLAIN, PLAIN_VALUES, min_size=1, max_size=4), st.booleans())
def test_yaml_means_what_was_written_or_is_refused(document: dict[str, Any], flow: bool):
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True)
    try:
        read = parse_yaml(text.encode())
    except Malformed:
        # PyYAML leaves aliases out of such documents, but not every number-like text in plain style.
        return
    assert read == document


FORMS = st.sampled_from(
    [
        "", "application/json", "application/yaml", PROTOBUF, "application/cbor", "application/merge-patch+json",
        "application/strategic-merge-patch+json", "application/apply-patch+yaml", JSON_PATCH, "x/y; charset=utf-8",
    ]
)  # fmt: skip
INTENTS = st.sampled_from(
    [
        intent_of(verb, resource, name)
        for verb, name in (("create", ""), ("update", "x"), ("patch", "x"), ("delete", "x"), ("deletecollection", ""))
        for resource in ("pods", "deployments.apps", "configmaps", "secrets", "things.example.com", "pods/status",
                         "rolebindings.rbac.authorization.k8s.io", "persistentvolumes")
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "spec", "template", "volumes", "containers", "secret", "secretName", "metadata", "name", "namespace",
        "annotations", "roleRef", "kind", "env", "valueFrom", "securityContext", "op", "path", "value", "items",
    ]
)  # fmt: skip
ODD_OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["add", "move", "/spec/template", "x", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(
    INTENTS,
    FORMS,
    st.binary(max_size=60)
    | ODD_OBJECTS.map(lambda o: json.dumps(o).encode())
    | st.binary(max_size=40).map(b"k8s\0".__add__),
)
def test_whatever_comes_is_read_or_refused_with_a_status(intent: Intent, form: str, body: bytes):
    try:
        read = with_body(intent, form, body, read_names)
    except Malformed as error:
        status = of_malformed(error)
        assert status.code in (400, 413, 415)
        assert json.loads(to_json(status))["message"] == status.message
        assert status.message.isprintable()
        assert len(status.message) <= MESSAGE_LIMIT
        assert CONTENT_TYPE == "application/json"
    else:
        assert read.cluster == intent.cluster
        if read.info != intent.info:
            assert (intent.info.verb, intent.info.name) == ("create", "")


NAMES = st.sampled_from(["a", "b", "c"])
FLAG = st.just(True)
SECURITY = st.fixed_dictionaries({}, optional={
    "privileged": FLAG,
    "capabilities": st.fixed_dictionaries({"add": st.lists(st.sampled_from(["CHOWN", "SYS_ADMIN"]), max_size=2)}),
    "seccompProfile": st.fixed_dictionaries({"type": st.sampled_from(["Unconfined", "RuntimeDefault"])}),
})  # fmt: skip
SOURCES = st.one_of(
    st.fixed_dictionaries({"secretKeyRef": st.fixed_dictionaries({"name": NAMES, "key": NAMES})}),
    st.fixed_dictionaries({"configMapKeyRef": st.fixed_dictionaries({"name": NAMES})}),
)
CONTAINERS = st.lists(st.fixed_dictionaries({"name": NAMES}, optional={
    "image": NAMES,
    "env": st.lists(st.fixed_dictionaries({"name": NAMES, "valueFrom": SOURCES}), max_size=2),
    "envFrom": st.lists(st.fixed_dictionaries({"secretRef": st.fixed_dictionaries({"name": NAMES})}), max_size=2),
    "ports": st.lists(st.fixed_dictionaries({"hostPort": st.integers(0, 2)}), max_size=2),
    "securityContext": SECURITY,
}), max_size=2)  # fmt: skip
VOLUMES = st.lists(st.one_of(
    st.fixed_dictionaries({"name": NAMES, "secret": st.fixed_dictionaries({"secretName": NAMES})}),
    st.fixed_dictionaries({"name": NAMES, "configMap": st.fixed_dictionaries({"name": NAMES})}),
    st.fixed_dictionaries({"name": NAMES, "hostPath": st.fixed_dictionaries({"path": NAMES})}),
    st.fixed_dictionaries({"name": NAMES, "csi": st.fixed_dictionaries({
        "nodePublishSecretRef": st.fixed_dictionaries({"name": NAMES})})}),
    st.fixed_dictionaries({"name": NAMES, "projected": st.fixed_dictionaries({"sources": st.lists(
        st.fixed_dictionaries({"secret": st.fixed_dictionaries({"name": NAMES})}), max_size=2)})}),
), max_size=2)  # fmt: skip
POD_SPECS = st.fixed_dictionaries({}, optional={
    "serviceAccountName": NAMES,
    "hostNetwork": FLAG,
    "hostPID": FLAG,
    "nodeName": NAMES,
    "imagePullSecrets": st.lists(st.fixed_dictionaries({"name": NAMES}), max_size=2),
    "volumes": VOLUMES,
    "containers": CONTAINERS,
    "initContainers": CONTAINERS,
    "securityContext": SECURITY,
})  # fmt: skip
INFO = info_of("patch", "deployments.apps", "web")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar, with the pointer to it."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, f"{path}/{key}")
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from leaves(below, f"{path}/{index}")
    else:
        yield path, value


@given(POD_SPECS)
def test_a_patch_of_small_steps_uses_what_writing_it_at_once_uses(spec: dict[str, Any]):
    whole = {"spec": {"template": {"spec": spec}}}
    steps = [{"op": "add", "path": path, "value": value} for path, value in leaves(whole)]
    at_once = facts(uses_of(INFO, whole))
    assert facts(uses_of_patch(INFO, JSON_PATCH, steps)) == at_once
    assert facts(uses_of_patch(INFO, "application/merge-patch+json", whole)) == at_once
    assert facts(uses_of_patch(INFO, JSON_PATCH, [{"op": "replace", "path": "", "value": whole}])) == at_once


@given(POD_SPECS)
def test_a_template_uses_the_same_wherever_an_unknown_kind_keeps_it(spec: dict[str, Any]):
    known = facts(uses_of(INFO, {"spec": {"template": {"spec": spec}}}))
    unknown = info_of("create", "things.example.com")
    assert known <= facts(uses_of(unknown, {"spec": [{"deep": {"containers": [], **spec}}]}))


@given(POD_SPECS, st.sampled_from(["move", "copy"]), st.data())
def test_no_value_that_is_not_shown_gets_into_a_template(spec: dict[str, Any], op: str, data: st.DataObject):
    paths = [path for path, _ in leaves({"spec": {"template": {"spec": spec}}})] or ["/spec/template/spec"]
    path = data.draw(st.sampled_from(paths))
    cut = data.draw(st.integers(0, path.count("/")))
    target = "/".join(path.split("/")[: cut + 1])
    with pytest.raises(Malformed):
        uses_of_patch(INFO, JSON_PATCH, [{"op": op, "from": "/metadata/annotations/a", "path": target}])
