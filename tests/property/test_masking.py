"""Laws of masks: what was planted is not found again in any writing, the rest is as it was, twice is as once."""

from __future__ import annotations

import base64
import binascii
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.built_in import LAST_APPLIED, built_in_rules
from narrowgate.core.masking.masked_value import MASKED, ValueMasker, decoded
from narrowgate.core.masking.objects import mask_document
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.plan import DEPTH_LIMIT, Plan
from narrowgate.core.masking.resource_plan import HeldMask, plan_for
from narrowgate.core.masking.text import TextMasker, mask_text

BOUNDED = settings(max_examples=150, deadline=None)

VALUES = ValueMasker(b"0" * 32)
PATTERNS = text_patterns(frozenset(TEXT_RULES))

Planted = tuple[str, str, Any]
"""Group and resource, and an object of it with secrets."""


def plan_of(group: str, resource: str, *extra: HeldMask) -> Plan | None:
    return plan_for(group, resource, (*(HeldMask(rule) for rule in built_in_rules(group, resource)), *extra))


def always(plan: Plan | None) -> Callable[[str | None, str | None], Plan | None]:
    return lambda *_where: plan


def masked(group: str, resource: str, document: Any, *extra: HeldMask) -> Any:
    plan = plan_of(group, resource, *extra)
    return mask_document(document, always(plan), VALUES, {})


def writings(secret: str) -> list[bytes]:
    """How a secret may be written in an answer: plain, base64 at each alignment, hex, escaped."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), urllib.parse.quote(secret).encode(), json.dumps(secret)[1:-1].encode()]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        # The characters at both ends depend on what is beside the secret.
        found.append(encoded[4 if offset else 0 : len(encoded) // 4 * 4 - 4])
    return found


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# One shape for each place: given a secret, an object that has it there, and beside it what may stay.
SHAPES: dict[str, Callable[[str], Planted]] = {}


def shape(function: Callable[[str], Planted]) -> Callable[[str], Planted]:
    SHAPES[function.__name__] = function
    return function


def named(kind: str, version: str = "v1", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "it", "namespace": "here"}, **fields}


def copied(document: dict[str, Any]) -> dict[str, Any]:
    """The object with a copy of itself, as kubectl apply leaves it."""
    annotations = {LAST_APPLIED: json.dumps(document) + "\n"}
    return document | {"metadata": document["metadata"] | {"annotations": annotations}}


@shape
def secret_data(secret: str) -> Planted:
    return "", "secrets", named("Secret", type="Opaque", data={"any": b64(secret)}, stringData={"other": secret})


@shape
def secret_copied(secret: str) -> Planted:
    return "", "secrets", copied(named("Secret", data={"any": b64(secret)}, stringData={"other": secret}))


@shape
def secret_copy_unreadable(secret: str) -> Planted:
    copy = json.dumps(named("Secret", stringData={"a": secret}))[:-1]
    return "", "secrets", named("Secret") | {"metadata": {"name": "it", "annotations": {LAST_APPLIED: copy}}}


@shape
def secret_copied_without_its_kind(secret: str) -> Planted:
    copies = {"operator.example.com/last": json.dumps({"x": {"data": {"any": b64(secret)}}})}
    return "", "secrets", named("Secret") | {"metadata": {"name": "it", "annotations": copies}}


@shape
def secret_copy_with_a_key_twice(secret: str) -> Planted:
    copy = f'{{"stringData": {{"a": "{secret}"}}, "stringData": {{}}}}'
    return "", "secrets", named("Secret") | {"metadata": {"name": "it", "annotations": {LAST_APPLIED: copy}}}


@shape
def secrets_listed(secret: str) -> Planted:
    return "", "secrets", {"apiVersion": "v1", "kind": "SecretList", "items": [secret_copied(secret)[2]]}


@shape
def secret_watched(secret: str) -> Planted:
    return "", "secrets", {"type": "MODIFIED", "object": secret_copied(secret)[2]}


@shape
def secret_in_a_row(secret: str) -> Planted:
    table = {"apiVersion": "meta.k8s.io/v1", "kind": "Table", "columnDefinitions": [{"name": "Name", "type": "string"}]}
    return "", "secrets", table | {"rows": [{"cells": ["it"], "object": secret_copied(secret)[2]}]}


@shape
def secret_of_odd_types(secret: str) -> Planted:
    return "", "secrets", named("Secret", data=[secret, {"deep": [{"er": secret}]}], stringData=secret)


@shape
def token_request(secret: str) -> Planted:
    document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "status": {"token": secret}}
    return "", "serviceaccounts/token", document


@shape
def token_review(secret: str) -> Planted:
    document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": secret}}
    return "authentication.k8s.io", "tokenreviews", document


def container(secret: str) -> dict[str, Any]:
    return {
        "name": "c",
        "image": "registry.corp/app:1",
        "env": [
            {"name": "DB_PASSWORD", "value": secret},
            {"value": secret, "name": "apiToken"},
            {"name": "DATABASE_URL", "value": f"postgres://app:{secret}@db:5432/app"},
            {"name": "KUBECONFIG_CONTENT", "value": b64(f"users:\n- name: me\n  user:\n    token: {secret}\n")},
            {"name": "CONFIG", "value": json.dumps({"clientSecret": secret, "pool": 4})},
        ],
        "command": ["app", "--password", secret, f"--token={secret}"],
        "args": ["sh", "-c", f"PGPASSWORD={secret} psql\ncurl -u me:{secret} http://x"],
        "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": secret}]}},
        "lifecycle": {"preStop": {"exec": {"command": ["app", "--api-key", secret]}}},
    }


def pod_spec(secret: str) -> dict[str, Any]:
    repository = {"name": "g", "gitRepo": {"repository": f"https://me:{secret}@git.corp/x"}}
    volume = {"name": "v", "csi": {"driver": "d", "volumeAttributes": {"password": secret, "size": "1Gi"}}}
    return {
        "containers": [container(secret)],
        "initContainers": [container(secret)],
        "ephemeralContainers": [container(secret)],
        "volumes": [volume, repository],
    }


@shape
def pod(secret: str) -> Planted:
    terminated = {"terminated": {"message": f"panic: token={secret}\n"}}
    status = {"containerStatuses": [{"name": "c", "lastState": terminated}]}
    return "", "pods", copied(named("Pod", spec=pod_spec(secret), status=status))


@shape
def deployment(secret: str) -> Planted:
    template = {"metadata": {"annotations": {"a": json.dumps({"password": secret})}}, "spec": pod_spec(secret)}
    return "apps", "deployments", copied(named("Deployment", "apps/v1", spec={"replicas": 1, "template": template}))


@shape
def cron_job(secret: str) -> Planted:
    template = {"spec": {"template": {"spec": pod_spec(secret)}}}
    return "batch", "cronjobs", copied(named("CronJob", "batch/v1", spec={"jobTemplate": template}))


@shape
def pod_template(secret: str) -> Planted:
    return "", "podtemplates", named("PodTemplate", template={"spec": pod_spec(secret)})


@shape
def controller_revision(secret: str) -> Planted:
    data = {"spec": {"template": {"$patch": "replace", "spec": pod_spec(secret)}}}
    return "apps", "controllerrevisions", named("ControllerRevision", "apps/v1", data=data, revision=1)


@shape
def custom_resource(secret: str) -> Planted:
    manifest = named("Secret", data={"any": b64(secret)}, stringData={"b": secret})
    fields = {"f:spec": {"f:tokens": {f'v:"{secret}"': {}}, "f:users": {f'k:{{"token":"{secret}"}}': {}}}}
    document = named(
        "Widget",
        "example.com/v1",
        spec={"deep": {"er": [{"containers": [container(secret)]}]}, "authToken": secret, "manifests": [manifest]},
        status={"conditions": [{"type": "Ready", "message": f"dial: password={secret}"}]},
    )
    document["metadata"]["managedFields"] = [{"fieldsType": "FieldsV1", "fieldsV1": fields}]
    return "example.com", "widgets", copied(document)


@shape
def config_map(secret: str) -> Planted:
    kubeconfig = f"users:\n- name: me\n  user:\n    token: {secret}\n    client-key-data: {b64(secret)}\n"
    data = {
        "password": secret,
        "application.properties": f"db.url=x\ndb.password={secret}\n",
        "kubeconfig": kubeconfig,
        ".dockerconfigjson": json.dumps({"auths": {"r.corp": {"username": "u", "auth": b64("u:" + secret)}}}),
        "settings.json": json.dumps({"a": [{"name": "API_KEY", "value": secret}]}, indent=2),
        "settings.xml": f"<server>\n<password>{secret}</password>\n</server>",
        "values.yaml": f"password: |\n  {secret}\n  {secret}\nreplicas: 2\n",
        "env.yaml": f"env:\n- name: DB_PASSWORD\n  value: {secret}\n",
    }
    return "", "configmaps", copied(named("ConfigMap", data=data, binaryData={"b": b64(f"\xfftoken={secret}\n")}))


@shape
def event(secret: str) -> Planted:
    return "", "events", named("Event", message=f"Error: failed with --password={secret}", reason="Failed")


@shape
def refusal(secret: str) -> Planted:
    field = "spec.template.spec.containers[0].env[0].value"
    message = f'Deployment.apps "it" is invalid: {field}: Invalid value: "{secret}": must be shorter'
    details = {"causes": [{"field": field, "message": f'Invalid value: "{secret}": must be shorter'}]}
    return "apps", "deployments", {"apiVersion": "v1", "kind": "Status", "message": message, "details": details}


@shape
def refusal_with_a_difference(secret: str) -> Planted:
    message = f'Pod "it" is invalid: spec: Forbidden: no\n core.PodSpec{{Env: {{Name: "A", Value: "{secret}"}}}}'
    return "", "pods", {"apiVersion": "v1", "kind": "Status", "message": message}


@shape
def refusal_in_a_watch(secret: str) -> Planted:
    return "", "pods", {"type": "ERROR", "object": refusal_with_a_difference(secret)[2]}


@shape
def storage_class(secret: str) -> Planted:
    return (
        "storage.k8s.io",
        "storageclasses",
        named("StorageClass", "v1", parameters={"restuserkey": secret, "pw": secret}),
    )


@shape
def conditions_of_anything(secret: str) -> Planted:
    conditions = [{"type": "Resizing", "message": f"rpc error: token={secret}"}]
    return "", "persistentvolumeclaims", named("PersistentVolumeClaim", status={"conditions": conditions})


@shape
def attachment(secret: str) -> Planted:
    status = {
        "attachError": {"message": f"rpc error: password={secret}"},
        "attachmentMetadata": {"t": f"token={secret}"},
    }
    return "storage.k8s.io", "volumeattachments", named("VolumeAttachment", "storage.k8s.io/v1", status=status)


@shape
def webhook_with_a_key(secret: str) -> Planted:
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{b64(secret)}\n-----END RSA PRIVATE KEY-----\n"
    hook = {"clientConfig": {"caBundle": b64(pem), "url": f"https://u:{secret}@hook"}}
    return "admissionregistration.k8s.io", "validatingwebhookconfigurations", named("V", "v1", webhooks=[hook])


secrets = st.text("abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=16, max_size=32).map(
    lambda text: f"Zq7{text}"
)


@pytest.mark.parametrize("name", SHAPES)
@given(secret=secrets)
@settings(max_examples=25, deadline=None)
def test_no_planted_secret_remains(name: str, secret: str) -> None:
    group, resource, document = SHAPES[name](secret)
    before = orjson.dumps(document)
    after = orjson.dumps(masked(group, resource, document))
    assert any(writing in before for writing in writings(secret))
    assert [writing for writing in writings(secret) if writing in after] == []
    # Encoded texts within the answer, decoded as far as they go.
    assert [text for text in inner_texts(masked(group, resource, document)) if secret in text] == []


def inner_texts(value: Any) -> list[str]:
    """Every string of a document, and what it is where it is base64."""
    match value:
        case dict():
            return [text for key, below in value.items() for text in (key, *inner_texts(below))]
        case list():
            return [text for below in value for text in inner_texts(below)]
        case str():
            try:
                return [value, base64.b64decode(value, validate=True).decode("latin-1")]
            except ValueError:
                return [value]
        case _:
            return []


@pytest.mark.parametrize("name", SHAPES)
@given(secret=secrets)
@settings(max_examples=5, deadline=None)
def test_masking_twice_is_masking_once(name: str, secret: str) -> None:
    group, resource, document = SHAPES[name](secret)
    once = masked(group, resource, document)
    assert masked(group, resource, once) == once


@pytest.mark.parametrize("name", SHAPES)
def test_the_document_that_was_given_is_not_written_to(name: str) -> None:
    group, resource, document = SHAPES[name]("Zq7-a-secret-value")
    before = orjson.dumps(document)
    masked(group, resource, document)
    assert orjson.dumps(document) == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "x", "web-1", "10.0.0.1", "Ready", "{}", "[1]"]),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.sampled_from("abcdefgh"), below, max_size=4),
    max_leaves=25,
)


@given(json_values)
@BOUNDED
def test_what_holds_no_secret_is_the_very_same(value: Any) -> None:
    document = named("Widget", "example.com/v1", spec=value)
    for group, resource in (("example.com", "widgets"), ("apps", "deployments"), ("", "pods"), ("", "events")):
        plan = plan_of(group, resource)
        assert mask_document(document, always(plan), VALUES, {}) is document


@given(json_values, st.sampled_from(["spec.a", "spec.**.b", "spec.a[*].c", "spec.*", "spec", "spec.?", "**.d.e"]))
@BOUNDED
def test_a_policy_mask_changes_its_fields_and_nothing_beside_them(value: Any, path: str) -> None:
    document = named("Widget", "example.com/v1", spec=value)
    plan = plan_for("example.com", "widgets", (HeldMask("team/it", (path,)),))
    after = mask_document(document, always(plan), VALUES, {})
    assert shapes_agree(document, after)
    assert mask_document(after, always(plan), VALUES, {}) == after


def shapes_agree(before: Any, after: Any) -> bool:
    """Whether the two are the same but for masked values in the place of plain ones."""
    match before, after:
        case dict(), dict():
            return list(before) == list(after) and all(shapes_agree(before[key], after[key]) for key in before)
        case list(), list():
            return len(before) == len(after) and all(map(shapes_agree, before, after))
        case _:
            return before is after or (before is not None and isinstance(after, str) and bool(MASKED.fullmatch(after)))


@given(json_values)
@BOUNDED
def test_masking_everything_leaves_no_value(value: Any) -> None:
    plan = plan_for("example.com", "widgets", (HeldMask("team/it", ("spec",)),))
    after = mask_document({"spec": value}, always(plan), VALUES, {})
    assert all(text is None or MASKED.fullmatch(text) for text in leaves(after["spec"]))


def leaves(value: Any) -> list[Any]:
    match value:
        case dict():
            return [leaf for below in value.values() for leaf in leaves(below)]
        case list():
            return [leaf for below in value for leaf in leaves(below)]
        case _:
            return [value]


@given(st.integers(DEPTH_LIMIT + 1, DEPTH_LIMIT + 700), st.sampled_from(["list", "object"]))
@settings(max_examples=20, deadline=None)
def test_what_is_nested_too_deeply_is_refused(depth: int, sort: str) -> None:
    value: Any = "Zq7-planted-deep-down"
    for _ in range(depth):
        value = [value] if sort == "list" else {"a": value}
    for group, resource, document in (
        ("example.com", "widgets", named("Widget", "example.com/v1", spec=value)),
        ("", "secrets", named("Secret", data=value)),
    ):
        with pytest.raises(Malformed, match="nested deeper"):
            masked(group, resource, document)


FRAGMENTS = [
    "password=", "password: ", "token: |\n", "  ", "\n", "hunter2", " ", "-----BEGIN RSA PRIVATE KEY-----", "MIIE\n",
    "-----END RSA PRIVATE KEY-----", "name: DB_PASSWORD", "value: ", '"', "'", '\\"', "[masked:a/secret:01234567]",
    "https://u:", "p@h", "x", " - ", "curl -u a:b ", "--token ", "abc", ",", "}", "Bearer abcdefghijklmnop1", "\r",
    "eyJabcdefghij.abcdefgh.x", "null", "$(X)", "AKIAABCDEFGHIJKLMNOP", "{", "secret-data:", "stringData:\n", "\0",
    "<password>", "</password>", "\u00e9", "user:$2a$10$abcdefghijk",
]  # fmt: skip
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


@given(texts)
@settings(max_examples=400, deadline=None)
def test_text_masked_twice_is_text_masked_once(text: str) -> None:
    once = mask_text(text, PATTERNS, VALUES, {})
    assert mask_text(once, PATTERNS, VALUES, {}) == once


@given(texts, st.data())
@settings(max_examples=300, deadline=None)
def test_any_cut_of_a_text_is_masked_alike(text: str, data: st.DataObject) -> None:
    plain = text.encode()
    masker = TextMasker(PATTERNS, VALUES, {})
    written = b""
    at = 0
    while at < len(plain):
        size = data.draw(st.integers(1, 24))
        written += masker.feed(plain[at : at + size])
        at += size
    written += masker.finish()
    assert written.decode() == mask_text(text, PATTERNS, VALUES, {})


@given(
    st.text("ABQZabz019+/=-_ \n\ré", max_size=9)
    | st.binary(max_size=12).map(lambda raw: base64.b64encode(raw).decode())
)
@settings(max_examples=1_000, deadline=None)
def test_base64_is_what_the_strict_reading_of_it_is(text: str) -> None:
    try:
        expected = binascii.a2b_base64(text.replace("\n", "").replace("\r", ""), strict_mode=True)
    except ValueError:
        expected = text.encode()
    assert decoded(text) == expected


@given(st.binary(max_size=200), st.binary(max_size=200))
@BOUNDED
def test_bytes_that_are_no_text_pass_or_are_masked_but_never_fail(before: bytes, after: bytes) -> None:
    masker = TextMasker(PATTERNS, VALUES, {})
    written = masker.feed(before + b"\npassword=Zq7planted\n" + after) + masker.finish()
    assert b"Zq7planted" not in written
