"""Request info against the table of k8s.io/apiserver's requestinfo_test.go, and what that table leaves out."""

from __future__ import annotations

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo, exact_name, field_requirements, request_info
from narrowgate.core.target import parse_target


def read(method: str, raw: str) -> RequestInfo:
    return request_info(method, parse_target(raw.encode()))


# method, path, verb, prefix, group, version, namespace, resource, subresource, name, parts: TestGetAPIRequestInfo
UPSTREAM = [
    ("GET", "/api/v1/namespaces", "list", "api", "", "v1", "", "namespaces", "", "", ("namespaces",)),
    ("GET", "/api/v1/namespaces/other", "get", "api", "", "v1", "other", "namespaces", "", "other",
     ("namespaces", "other")),
    ("GET", "/api/v1/namespaces/other/pods", "list", "api", "", "v1", "other", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/namespaces/other/pods/foo", "get", "api", "", "v1", "other", "pods", "", "foo", ("pods", "foo")),
    ("HEAD", "/api/v1/namespaces/other/pods/foo", "get", "api", "", "v1", "other", "pods", "", "foo", ("pods", "foo")),
    ("GET", "/api/v1/pods", "list", "api", "", "v1", "", "pods", "", "", ("pods",)),
    ("HEAD", "/api/v1/pods", "list", "api", "", "v1", "", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/proxy/namespaces/other/pods/foo", "proxy", "api", "", "v1", "other", "pods", "", "foo",
     ("pods", "foo")),
    ("GET", "/api/v1/proxy/namespaces/other/pods/foo/subpath/not/a/subresource", "proxy", "api", "", "v1", "other",
     "pods", "", "foo", ("pods", "foo", "subpath", "not", "a", "subresource")),
    ("GET", "/api/v1/watch/pods", "watch", "api", "", "v1", "", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/pods?watch=true", "watch", "api", "", "v1", "", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/pods?watch=false", "list", "api", "", "v1", "", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/watch/namespaces/other/pods", "watch", "api", "", "v1", "other", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/namespaces/other/pods?watch=1", "watch", "api", "", "v1", "other", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/namespaces/other/pods?watch=0", "list", "api", "", "v1", "other", "pods", "", "", ("pods",)),
    ("GET", "/api/v1/namespaces/other/pods/foo/status", "get", "api", "", "v1", "other", "pods", "status", "foo",
     ("pods", "foo", "status")),
    ("GET", "/api/v1/namespaces/other/pods/foo/proxy/subpath", "get", "api", "", "v1", "other", "pods", "proxy", "foo",
     ("pods", "foo", "proxy", "subpath")),
    ("PUT", "/api/v1/namespaces/other/finalize", "update", "api", "", "v1", "other", "namespaces", "finalize", "other",
     ("namespaces", "other", "finalize")),
    ("PUT", "/api/v1/namespaces/other/status", "update", "api", "", "v1", "other", "namespaces", "status", "other",
     ("namespaces", "other", "status")),
    ("PATCH", "/api/v1/namespaces/other/pods/foo", "patch", "api", "", "v1", "other", "pods", "", "foo",
     ("pods", "foo")),
    ("DELETE", "/api/v1/namespaces/other/pods/foo", "delete", "api", "", "v1", "other", "pods", "", "foo",
     ("pods", "foo")),
    ("POST", "/api/v1/namespaces/other/pods", "create", "api", "", "v1", "other", "pods", "", "", ("pods",)),
    ("DELETE", "/api/v1/nodes", "deletecollection", "api", "", "v1", "", "nodes", "", "", ("nodes",)),
    ("DELETE", "/api/v1/namespaces", "deletecollection", "api", "", "v1", "", "namespaces", "", "", ("namespaces",)),
    ("DELETE", "/api/v1/namespaces/other/pods", "deletecollection", "api", "", "v1", "other", "pods", "", "",
     ("pods",)),
    ("DELETE", "/apis/extensions/v1/namespaces/other/pods", "deletecollection", "apis", "extensions", "v1", "other",
     "pods", "", "", ("pods",)),
    ("POST", "/apis/extensions/v1/namespaces/other/pods", "create", "apis", "extensions", "v1", "other", "pods", "",
     "", ("pods",)),
    ("GET", "/apis/extensions/v1/proxy/pods/foo/a", "proxy", "apis", "extensions", "v1", "", "pods", "", "foo",
     ("pods", "foo", "a")),
]  # fmt: skip


@pytest.mark.parametrize("row", UPSTREAM, ids=lambda row: f"{row[0]} {row[1]}")
def test_resource_requests_are_read_as_upstream_tests_them(row: tuple[object, ...]) -> None:
    info = read(str(row[0]), str(row[1]))
    assert info.is_resource_request
    assert (
        info.verb, info.api_prefix, info.api_group, info.api_version, info.namespace, info.resource, info.subresource,
        info.name, info.parts,
    ) == row[2:]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/", "/api/v1", "/api/v1/", "/apis", "/apis/apps", "/apis/apps/v1", "/apis/apps/v1/", "/healthz",
     "/version", "/openapi/v3/apis/apps/v1", "/logs/x", "/apix/v1/pods", "/API/v1/pods", "/not/api/v1/pods"],
)  # fmt: skip
def test_other_paths_are_no_resource_requests_and_keep_the_method_as_verb(path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PATCH"):
        info = read(method, path)
        assert not info.is_resource_request
        assert (info.verb, info.path, info.resource) == (method.lower(), path, "")


@pytest.mark.parametrize(
    ("query", "verb"),
    [("", "list"), ("?watch", "watch"), ("?watch=", "watch"), ("?watch=yes", "watch"), ("?watch=no", "watch"),
     ("?watch=0", "list"), ("?watch=00", "watch"), ("?watch=false", "list"), ("?watch=FALSE", "list"),
     ("?watch=f", "watch"), ("?Watch=true", "list"), ("?%77atch=true", "watch"), ("?watch=1&watch=0", "watch"),
     ("?watch=0&watch=1", "list"), ("?limit=abc&watch=1", "watch")],
)  # fmt: skip
def test_watch_is_read_with_the_api_servers_idea_of_a_boolean(query: str, verb: str) -> None:
    assert read("GET", f"/api/v1/namespaces/x/pods{query}").verb == verb
    assert read("GET", f"/api/v1/namespaces/x/pods/named{query}").verb == "get"
    assert read("DELETE", f"/api/v1/namespaces/x/pods{query}").verb == "deletecollection"


@pytest.mark.parametrize(
    ("selector", "name"),
    [("metadata.name=x", "x"), ("metadata.name==x", "x"), ("metadata.name!=x", ""), ("metadata.name=", ""),
     ("metadata.name", ""), ("", ""), ("spec.nodeName=n,metadata.name=x", "x"),
     ("metadata.name=b,metadata.name=a", "a"),
     (",metadata.name=x,", "x"), ("metadata.name=a/b", ""), ("metadata.name=..", ""), ("metadata.name=a%b", ""),
     (r"metadata.name=a\,b", "a,b"), (r"metadata.name=a\\b", r"a\b"), (r"metadata.name=a\b", ""),
     ("metadata.name=a=b", ""), ("metadata.name=x\\", ""), ("metadata.name =x", ""), ("a!b=c,metadata.name=x", "x"),
     ("metadata.name=x,nonsense", ""), ("metadata.namespace=x", ""), (r"spec.a=\,,metadata.name=x", "x")],
)  # fmt: skip
def test_a_field_selector_names_an_object_as_fields_parse_selector_would(selector: str, name: str) -> None:
    assert exact_name(selector) == name


def test_the_name_in_a_field_selector_is_the_name_of_the_request() -> None:
    path = "/api/v1/namespaces/x/secrets?fieldSelector=metadata.name%3Dkey"
    assert (read("GET", path).verb, read("GET", path).name) == ("list", "key")
    assert (read("GET", f"{path}&watch=1").verb, read("GET", f"{path}&watch=1").name) == ("watch", "key")
    assert read("DELETE", path).name == ""


@pytest.mark.parametrize(
    "other",
    ["limit=abc", "limit=", "timeoutSeconds=1e3", "labelSelector=app+in+()", "labelSelector=a+b", "labelSelector=%3D",
     "labelSelector=" + "a" * 64, "labelSelector=a," + "b," * 3000],
)  # fmt: skip
def test_options_that_do_not_parse_beside_a_named_object_are_refused(other: str) -> None:
    with pytest.raises(Malformed):
        read("GET", f"/api/v1/pods?fieldSelector=metadata.name%3Dx&{other}")


@pytest.mark.parametrize(
    "selector",
    ["app", "!app", "app%3Dweb", "app%3D%3Dweb,tier!%3Dx", "app+in+(a,b),x+notin+(c)", "a.example.com/b%3D", "app%3D"],
)
def test_ordinary_label_selectors_beside_a_named_object_are_read(selector: str) -> None:
    info = read("GET", f"/api/v1/pods?fieldSelector=metadata.name%3Dx&labelSelector={selector}&limit=500")
    assert (info.name, info.label_selector) == ("x", parse_target(f"/?a={selector}".encode()).query[0][1])


def test_selectors_are_kept_only_where_the_authorizer_sees_them() -> None:
    query = "?fieldSelector=a%3Db&labelSelector=c"
    for method, path in (("GET", "/api/v1/pods"), ("DELETE", "/api/v1/namespaces/x/pods")):
        info = read(method, path + query)
        assert (info.field_selector, info.label_selector) == ("a=b", "c")
    for method, path in (
        ("GET", "/api/v1/watch/pods"),
        ("POST", "/api/v1/namespaces/x/pods"),
        ("GET", "/api/v1/nodes/n"),
    ):
        info = read(method, path + query)
        assert (info.field_selector, info.label_selector) == ("", "")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "get", "Patch", "PROPFIND", ""])
def test_methods_without_a_verb_are_not_served(method: str) -> None:
    for path in ("/api/v1/pods", "/healthz"):
        with pytest.raises(Malformed) as refused:
            read(method, path)
        assert refused.value.code == 405


@pytest.mark.parametrize("path", ["/api/v1/watch", "/api/v1/proxy", "/apis/apps/v1/watch/", "/apis/apps/v1/proxy"])
def test_a_legacy_prefix_with_nothing_behind_it_is_refused(path: str) -> None:
    with pytest.raises(Malformed, match="has to follow"):
        read("GET", path)


def test_a_watch_value_that_case_folding_would_turn_into_false_is_refused() -> None:
    with pytest.raises(Malformed, match="ASCII"):
        read("GET", "/api/v1/pods?watch=fal%C5%BFe")


@pytest.mark.parametrize(
    ("selector", "required"),
    [
        ("", ()),
        ("spec.a=1", (("spec.a", "1"),)),
        ("spec.a==1,b!=x", (("spec.a", "1"), ("b", "x"))),
        (r"a=b\,c\=d", (("a", "b,c=d"),)),
        ("a=b=c", (("a", "b=c"),)),
        ("a", (("a", ""),)),
        (",,a=", (("a", ""),)),
    ],
)
def test_a_field_selector_tells_each_field_with_the_value_it_compares(
    selector: str, required: tuple[tuple[str, str], ...]
) -> None:
    assert field_requirements(selector) == required
