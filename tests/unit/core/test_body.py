from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from tests.unit.core.writes import RBAC, facts, info_of, intent_of

from narrowgate.core.body import (
    APPLY,
    BODY_LIMIT,
    MAY_CREATE,
    ObjectNames,
    may_create,
    must_read_body,
    with_body,
    with_old,
    with_patched,
)
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"serviceAccountName": "deployer"}}


def read(intent: Intent, document: Any, content_type: str = JSON) -> Intent:
    return with_body(intent, content_type, orjson.dumps(document))


def refused(intent: Intent, document: Any, content_type: str = JSON) -> Malformed:
    with pytest.raises(Malformed) as caught:
        read(intent, document, content_type)
    return caught.value


@pytest.mark.parametrize(
    ("verb", "resource", "expected"),
    [
        ("create", "pods", True),
        ("update", "pods", True),
        ("patch", "pods", True),
        ("delete", "pods", True),
        ("deletecollection", "pods", True),
        ("update", "pods/status", True),
        ("update", "deployments.apps/scale", True),
        ("create", "pods/binding", True),
        ("create", "pods/eviction", True),
        ("create", "serviceaccounts/token", True),
        ("patch", "pods/ephemeralcontainers", True),
        ("update", "certificatesigningrequests.certificates.k8s.io/approval", True),
        ("create", "pods/exec", False),
        ("create", "pods/attach", False),
        ("create", "pods/portforward", False),
        ("create", "pods/proxy", False),
        ("update", "services/proxy", False),
        ("delete", "nodes/proxy", False),
        ("create", "things.example.com/exec", True),
        ("create", "things.example.com/proxy", True),
        ("get", "pods", False),
        ("list", "pods", False),
        ("watch", "pods", False),
    ],
)
def test_bodies_of_writes_are_read_and_streams_are_not(verb: str, resource: str, expected: bool):
    assert must_read_body(info_of(verb, resource, "web")) is expected


def test_bodies_outside_of_resources_are_not_read():
    assert not must_read_body(RequestInfo(is_resource_request=False, path="/x", verb="create"))


def test_a_created_object_gives_the_intent_its_name_object_and_uses():
    intent = read(intent_of("create", "pods"), POD)
    assert intent.info.name == "web"
    assert intent.object == POD
    assert facts(intent.uses) == {"use serviceaccounts/deployer -n ci"}
    assert (intent.object_missing, intent.unseen) == ("", "")


def test_a_name_that_the_api_server_makes_up_is_no_name():
    intent = read(intent_of("create", "pods"), {"metadata": {"generateName": "web-"}, "spec": {}})
    assert intent.info.name == ""


def test_a_created_namespace_is_in_itself():
    intent = read(intent_of("create", "namespaces", namespace=""), {"metadata": {"name": "dev"}})
    assert (intent.info.name, intent.info.namespace) == ("dev", "dev")


@pytest.mark.parametrize("content_type", ["", JSON, "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_read_under_each_of_its_names(content_type: str):
    assert read(intent_of("create", "pods"), POD, content_type).object == POD


def test_yaml_is_read_too():
    body = b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  serviceAccountName: deployer\n"
    assert with_body(intent_of("create", "pods"), YAML, body).object == POD


@pytest.mark.parametrize(
    ("verb", "path_name", "document", "message"),
    [
        ("update", "web", {"metadata": {"name": "other"}},
         "the name of the object (other) does not match the name on the URL (web)"),
        ("update", "web", {"spec": {}},
         "the name of the object (web based on URL) was undeterminable: name must be provided"),
        ("update", "web", {"metadata": {"name": "web", "namespace": "prod"}},
         "the namespace of the provided object does not match the namespace sent on the request"),
        ("create", "", {"metadata": {"name": "web", "namespace": "prod"}},
         "the namespace of the provided object does not match the namespace sent on the request"),
        ("create", "", {"apiVersion": "v2", "metadata": {"name": "web"}},
         "the API version in the data (v2) does not match the expected API version (v1)"),
        ("create", "", {"kind": "List", "items": []}, "the body is a List: write its items one by one"),
        ("create", "", {"kind": "PodList", "apiVersion": "v1", "items": [POD]},
         "the body is a PodList: write its items one by one"),
        ("create", "", [POD], "the body is not an object"),
        ("create", "", {"metadata": []}, "metadata in the body is not an object"),
        ("create", "", {"metadata": {"name": 5}}, "metadata.name in the body is not a string"),
        ("create", "", {"kind": None, "apiVersion": 1}, "apiVersion in the body is not a string"),
        ("create", "", {"Metadata": {"name": "x"}}, 'the body has the key "Metadata": write metadata'),
        ("create", "", {"KIND": "Secret"}, 'the body has the key "KIND": write kind'),
        ("create", "", {"apiversion": "v1"}, 'the body has the key "apiversion": write apiVersion'),
    ],
)  # fmt: skip
def test_a_body_that_is_not_what_the_path_says_is_refused(verb: str, path_name: str, document: Any, message: str):
    error = refused(intent_of(verb, "pods", path_name), document)
    assert (error.code, error.message) == (400, message)


def test_a_body_may_repeat_the_path_or_leave_it_out():
    whole = {"metadata": {"name": "web", "namespace": "ci"}}
    assert read(intent_of("update", "configmaps", "web"), whole).object == whole
    assert read(intent_of("create", "configmaps"), {"metadata": None}).info.name == ""


@pytest.mark.parametrize(
    ("resource", "document"),
    [
        ("pods/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}),
        ("serviceaccounts/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
        ("pods/binding", {"apiVersion": "v1", "kind": "Binding", "target": {"name": "node-1"}}),
    ],
)
def test_subresources_have_kinds_of_their_own(resource: str, document: Any):
    assert read(intent_of("create", resource, "web"), document).object == document


def test_a_subresource_of_another_object_is_refused():
    error = refused(intent_of("create", "pods/eviction", "web"), {"metadata": {"name": "other"}})
    assert "does not match the name on the URL" in error.message


def test_an_object_must_have_a_body_and_a_subresource_need_not():
    with pytest.raises(Malformed, match="no body"):
        with_body(intent_of("create", "pods"), JSON, b"")
    intent = with_body(intent_of("update", "virtualmachines.subresources.kubevirt.io/start", "vm"), "", b"")
    assert (intent.object, intent.object_missing) == (None, "the request has no body")


def test_a_body_longer_than_the_api_server_takes_is_refused():
    body = b'{"data":"' + b"x" * BODY_LIMIT + b'"}'
    with pytest.raises(Malformed) as caught:
        with_body(intent_of("create", "configmaps"), JSON, body)
    assert caught.value.code == 413


@pytest.mark.parametrize(
    "content_type", ["application/cbor", "text/plain", "application/x-www-form-urlencoded", "application/json,x", MERGE]
)
@pytest.mark.parametrize("verb", ["create", "delete"])
def test_forms_that_are_not_read_are_refused(content_type: str, verb: str):
    error = refused(intent_of(verb, "configmaps", "m" if verb == "delete" else ""), {}, content_type)
    assert error.code == 415


@pytest.mark.parametrize("content_type", [JSON, YAML, "", "application/apply-patch+cbor", "application/patch"])
def test_patches_of_unknown_types_are_refused(content_type: str):
    assert refused(intent_of("patch", "configmaps", "m"), {}, content_type).code == 415


def reader(body: bytes) -> ObjectNames:
    return ObjectNames(name=body.decode(), namespace="ci")


def test_protobuf_gives_names_and_no_object():
    intent = with_body(intent_of("create", "configmaps"), PROTOBUF, b"m", reader)
    assert intent.info.name == "m"
    assert intent.object is None
    assert "protobuf" in intent.object_missing


def test_protobuf_is_held_against_the_path():
    with pytest.raises(Malformed, match="does not match"):
        with_body(intent_of("update", "configmaps", "other"), PROTOBUF, b"m", reader)


@pytest.mark.parametrize(
    "resource",
    [
        "pods",
        "deployments.apps",
        "secrets",
        f"rolebindings.{RBAC}",
        f"roles.{RBAC}",
        "persistentvolumes",
        "x.example.com",
    ],
)
def test_protobuf_of_what_may_use_something_is_refused(resource: str):
    with pytest.raises(Malformed) as caught:
        with_body(intent_of("create", resource), PROTOBUF, b"m", reader)
    assert caught.value.code == 415


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_protobuf_without_a_reader_is_refused(verb: str):
    with pytest.raises(Malformed) as caught:
        with_body(intent_of(verb, "configmaps", "m"), PROTOBUF, b"m")
    assert caught.value.code == 415


@pytest.mark.parametrize("verb", ["delete", "deletecollection"])
def test_a_delete_may_have_options_or_none(verb: str):
    intent = intent_of(verb, "pods", "web" if verb == "delete" else "")
    assert with_body(intent, "", b"") == intent
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"], "preconditions": {"uid": "1"}}
    assert read(intent, options) == intent
    assert with_body(intent, PROTOBUF, b"", reader) == intent


def test_a_delete_with_another_body_is_refused():
    assert "DeleteOptions" in refused(intent_of("delete", "pods", "web"), POD).message


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_a_patch_has_uses_and_no_object_yet(content_type: str):
    patch = {"spec": {"template": {"spec": {"hostPID": True}}}}
    intent = read(intent_of("patch", "deployments.apps", "web"), patch, content_type)
    assert facts(intent.uses) == {"use hostaccess.narrowgate.dev/hostPID -n ci"}
    assert (intent.object, intent.object_missing) == (None, "the result of the patch is not known")


@pytest.mark.parametrize(
    ("patch", "content_type"),
    [
        ({"metadata": {"name": "other"}}, MERGE),
        ({"metadata": {"namespace": "prod"}}, STRATEGIC),
        ({"metadata": {"name": "other"}}, APPLY),
        ([{"op": "replace", "path": "/metadata/name", "value": "other"}], JSON_PATCH),
        ([{"op": "add", "path": "/metadata", "value": {"namespace": "prod"}}], JSON_PATCH),
        ([{"op": "replace", "path": "", "value": {"metadata": {"name": "other"}}}], JSON_PATCH),
        ([{"op": "replace", "path": "", "value": [1]}], JSON_PATCH),
        ([], MERGE),
        ({}, JSON_PATCH),
        ("x", APPLY),
    ],
)
def test_a_patch_neither_renames_nor_moves_nor_is_something_else(patch: Any, content_type: str):
    assert refused(intent_of("patch", "configmaps", "m"), patch, content_type).code == 400


CREATES = "create configmaps/m -n ci"


def test_an_apply_may_create():
    intent = read(intent_of("patch", "configmaps", "m"), {"metadata": {"name": "m"}}, APPLY)
    assert facts(intent.uses) == {CREATES}
    assert facts(read(intent_of("patch", "configmaps/status", "m"), {}, APPLY).uses) == set()
    assert facts(read(intent_of("patch", "configmaps", "m"), {}, MERGE).uses) == set()


def test_an_apply_to_what_exists_creates_nothing():
    intent = read(intent_of("patch", "configmaps", "m"), {"data": {"a": "b"}}, APPLY)
    assert facts(with_patched(intent, {"data": {"a": "b"}}, {"data": {}}).uses) == set()
    assert facts(with_patched(intent, {"data": {"a": "b"}}, None).uses) == {CREATES}


def test_whether_an_object_exists_decides_whether_an_apply_creates_it():
    intent = read(intent_of("patch", "configmaps", "m"), {"data": {"a": "b"}}, APPLY)
    assert may_create(intent)
    assert not may_create(read(intent_of("patch", "configmaps", "m"), {}, MERGE))
    existing = with_old(intent, {"data": {}})
    assert (existing.old_object, existing.uses) == ({"data": {}}, ())
    assert facts(with_old(intent, None).uses) == {CREATES}


def test_an_update_of_some_kinds_may_create_unless_it_says_which_object_it_means():
    service = {"metadata": {"name": "web"}}
    intent = read(intent_of("update", "services", "web"), service)
    assert [use.because for use in intent.uses] == [MAY_CREATE]
    meant = {"metadata": {"name": "web", "uid": "1"}}
    assert read(intent_of("update", "services", "web"), meant).uses == ()
    assert read(intent_of("update", "configmaps", "web"), service).uses == ()


def test_a_patch_of_a_binding_is_not_decided_before_its_role_is_seen():
    intent = read(intent_of("patch", f"rolebindings.{RBAC}", "b"), {"subjects": []}, STRATEGIC)
    assert "roleRef" in intent.unseen
    binding = {"roleRef": {"kind": "ClusterRole", "name": "view"}}
    seen = with_patched(intent, binding, binding)
    assert seen.unseen == ""
    assert facts(seen.uses) == {f"bind clusterroles.{RBAC}/view -n ci"}


def test_a_patched_object_uses_what_it_did_not_use_before():
    def deployment(*secrets: str) -> dict[str, Any]:
        volumes = [{"name": s, "secret": {"secretName": s}} for s in secrets]
        return {"spec": {"template": {"spec": {"volumes": volumes}}}}

    intent = read(intent_of("patch", "deployments.apps", "web"), deployment("b"), STRATEGIC)
    seen = with_patched(intent, deployment("a", "b", "c"), deployment("a"))
    assert facts(seen.uses) == {"use|get secrets/b -n ci", "use|get secrets/c -n ci"}
    assert seen.object == deployment("a", "b", "c")
    assert seen.old_object == deployment("a")
    assert seen.object_missing == ""


def test_what_the_intent_had_stays_as_it_was():
    intent = msgspec.structs.replace(intent_of("create", "pods"), user_agent="kubectl")
    assert read(intent, POD).user_agent == "kubectl"
