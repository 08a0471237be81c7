"""Understanding: what becomes an intent, what is refused, and in which words."""

from __future__ import annotations

import pytest

from narrowgate.core.discovery import EMPTY, Discovery, ResourceType
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import request_info
from narrowgate.core.target import parse_target
from narrowgate.core.understand import UnknownResource, proxied_name, same_risk_verbs, understand


def resource(name: str, kind: str, subresources: str = "", *, group: str = "", cluster: bool = False) -> ResourceType:
    return ResourceType(
        group=group,
        version="v1",
        resource=name,
        kind=kind,
        namespaced=not cluster,
        verbs=("get",),
        subresources=dict.fromkeys(subresources.split(), ("get",)),
        singular=kind.lower(),
        short_names=(name[:2],),
    )


DISCOVERY = Discovery(
    [
        resource("pods", "Pod", "attach binding ephemeralcontainers eviction exec log portforward proxy status"),
        resource("services", "Service", "proxy status"),
        resource("secrets", "Secret"),
        resource("nodes", "Node", "proxy status", cluster=True),
        resource("namespaces", "Namespace", "finalize status", cluster=True),
        resource("deployments", "Deployment", "scale status", group="apps"),
        resource("clusterroles", "ClusterRole", group="rbac.authorization.k8s.io", cluster=True),
    ]
)


def read(method: str, raw: str, discovery: Discovery = DISCOVERY) -> Intent:
    return understand(method, parse_target(raw.encode()), discovery, "prod")


@pytest.mark.parametrize(
    ("method", "raw", "verb", "namespaced"),
    [
        ("GET", "/api/v1/namespaces/x/pods?limit=500", "list", True),
        ("GET", "/api/v1/pods", "list", True),
        ("GET", "/api/v1/pods?watch=1", "watch", True),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list", True),
        ("GET", "/api/v1/watch/pods", "watch", True),
        ("GET", "/api/v1/watch/namespaces/x/pods", "watch", True),
        ("GET", "/api/v1/watch/namespaces/x/pods/p", "watch", True),
        ("GET", "/api/v1/watch/namespaces/x", "watch", False),
        ("GET", "/api/v1/watch/namespaces", "watch", False),
        ("POST", "/api/v1/namespaces/x/pods?dryRun=All&dryRun=All", "create", True),
        ("DELETE", "/api/v1/namespaces/x/pods", "deletecollection", True),
        ("GET", "/api/v1/namespaces/x/pods/p/log?follow=true", "get", True),
        ("POST", "/api/v1/namespaces/x/pods/p/eviction", "create", True),
        ("GET", "/api/v1/namespaces", "list", False),
        ("GET", "/api/v1/namespaces/x", "get", False),
        ("PUT", "/api/v1/namespaces/x/finalize", "update", False),
        ("DELETE", "/api/v1/namespaces/x", "delete", False),
        ("PATCH", "/api/v1/nodes/n/status", "patch", False),
        ("GET", "/api/v1/nodes/n:10250/proxy/pods/", "get", False),
        ("GET", "/api/v1/namespaces/x/services/https:s:443/proxy/a/b?t=1&t=2", "get", True),
        ("POST", "/api/v1/namespaces/x/services/s/proxy", "create", True),
        ("PATCH", "/apis/apps/v1/namespaces/x/deployments/d/scale", "patch", True),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node", "get", False),
    ],
)
def test_what_a_client_ordinarily_sends_becomes_an_intent(method: str, raw: str, verb: str, namespaced: bool) -> None:
    intent = read(method, raw)
    assert (intent.cluster, intent.info.verb, intent.namespaced) == ("prod", verb, namespaced)
    assert intent.info == request_info(method, parse_target(raw.encode()))


@pytest.mark.parametrize(
    "raw", ["/", "/api", "/api/v1/", "/apis/unknown/v1", "/healthz/", "/openapi/v3?x=1&x=2", "/logs/"]
)
def test_other_paths_need_no_discovery(raw: str) -> None:
    intent = read("GET", raw, EMPTY)
    assert not intent.info.is_resource_request
    assert not intent.namespaced
    assert intent.info.path == parse_target(raw.encode()).path


@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_opening_a_stream_is_create_by_either_method(method: str, subresource: str) -> None:
    intent = read(method, f"/api/v1/namespaces/x/pods/p/{subresource}?command=ls&command=-l&container=c")
    assert intent.info.verb == "create"
    assert same_risk_verbs(intent.info) == ("create", "get")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE"])
def test_a_stream_is_opened_by_no_other_method(method: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(method, "/api/v1/namespaces/x/pods/p/exec")
    assert refused.value.code == 405


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("/api/v1/widgets", "'widgets' in v1 is not a resource"),
        ("/api/v2/pods", "did you mean pods in v1?"),
        ("/api/v1/pod", "did you mean pods in v1?"),
        ("/api/v1/Pods", "did you mean pods in v1?"),
        ("/api/v1/namespaces/x/deployments/d", "did you mean deployments in apps/v1?"),
        ("/apis/apps/v1/namespaces/x/deploymens", "did you mean deployments in apps/v1?"),
        ("/apis/unknown.example.com/v1/things", "'things' in unknown.example.com/v1"),
        ("/api/v1/namespaces/x/pods/p/shell", "no subresource 'shell'"),
        ("/api/v1/namespaces/x/secrets/s/status", "known: none"),
        ("/api/v1/namespaces/x/deployments/d/scale", "did you mean deployments in apps/v1?"),
    ],
)
def test_what_discovery_does_not_list_is_denied_in_words_that_help(raw: str, words: str) -> None:
    with pytest.raises(UnknownResource) as refused:
        read("GET", raw)
    assert refused.value.code == 403
    assert words in refused.value.message
    assert "denies what it does not know" in refused.value.message


def test_before_discovery_was_read_every_resource_is_unknown() -> None:
    with pytest.raises(UnknownResource):
        read("GET", "/api/v1/namespaces/x/pods", EMPTY)


def test_a_message_about_a_very_long_name_is_short() -> None:
    with pytest.raises(UnknownResource) as refused:
        read("GET", f"/apis/{'g' * 900}/{'v' * 900}/{'r' * 900}")
    assert len(refused.value.message) < 400


@pytest.mark.parametrize(
    ("method", "raw", "words"),
    [
        ("GET", "/api/v1/namespaces/x/nodes", "does not live in a namespace"),
        ("GET", "/api/v1/namespaces/x/nodes/n", "does not live in a namespace"),
        ("GET", "/api/v1/namespaces/x/namespaces/y", "twice"),
        ("DELETE", "/api/v1/namespaces/x/namespaces/x", "twice"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/x/clusterroles/r", "does not live in a namespace"),
        ("GET", "/api/v1/pods/p", "lives in namespaces"),
        ("GET", "/api/v1/pods/p/log", "lives in namespaces"),
        ("POST", "/api/v1/pods", "lives in namespaces"),
        ("DELETE", "/api/v1/pods", "lives in namespaces"),
        ("DELETE", "/api/v1/secrets", "lives in namespaces"),
        ("GET", "/api/v1/watch/pods/p", "lives in namespaces"),
        ("GET", "/api/v1/namespaces/x/pods/", "slash"),
        ("GET", "/api/v1/namespaces/", "slash"),
        ("GET", "/api/v1/namespaces/x/pods/p/log/", "slash"),
        ("GET", "/api/v1/namespaces/x/pods/p/log/more", "goes on"),
        ("GET", "/api/v1/namespaces/x/pods/p/exec/more", "goes on"),
        ("GET", "/api/v1/namespaces/x/status/more", "goes on"),
        ("DELETE", "/api/v1/watch/namespaces/x/pods", "no meaning"),
        ("POST", "/api/v1/watch/namespaces/x/pods", "no meaning"),
        ("GET", "/api/v1/watch/namespaces/x/pods/p/exec", "no subresource"),
        ("GET", "/api/v1/watch/namespaces/x/status", "no subresource"),
        ("GET", "/api/v1/proxy/namespaces/x/pods/p/a", "no longer served"),
        ("GET", "/api/v1/proxy/nodes/n", "no longer served"),
        ("GET", "/api/v1/namespaces/x/services/ftp:s:1/proxy", "before /proxy"),
        ("GET", "/api/v1/namespaces/x/services/a:b:c:d/proxy", "before /proxy"),
        ("GET", "/api/v1/namespaces/x/services/:80/proxy", "before /proxy"),
        ("GET", "/api/v1/pods?watch=0&watch=1", "more than once"),
        ("GET", "/api/v1/pods?labelSelector=a&limit=1&labelSelector=b", "more than once"),
        (
            "DELETE",
            "/api/v1/namespaces/x/pods/p?propagationPolicy=Orphan&propagationPolicy=Foreground",
            "more than once",
        ),
        ("GET", "/api/v1/namespaces/x/pods/p/exec?container=a&container=b", "more than once"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(method: str, raw: str, words: str) -> None:
    with pytest.raises(Malformed, match=words) as refused:
        read(method, raw)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("method", "raw", "verbs"),
    [
        ("GET", "/api/v1/nodes/n/proxy/run", ("get", "create", "update", "patch", "delete")),
        ("POST", "/api/v1/namespaces/x/services/s/proxy/", ("get", "create", "update", "patch", "delete")),
        ("PATCH", "/api/v1/namespaces/x/pods/p/ephemeralcontainers", ("patch", "update")),
        ("GET", "/api/v1/namespaces/x/pods/p/ephemeralcontainers", ("get",)),
        ("GET", "/api/v1/namespaces/x/pods/p", ("get",)),
        ("DELETE", "/api/v1/namespaces/x/pods", ("deletecollection", "delete")),
        ("GET", "/api/v1/namespaces/x/pods", ("list", "get")),
        ("GET", "/api/v1/pods?watch=1", ("watch", "get", "list")),
        ("GET", "/healthz", ("get",)),
    ],
)
def test_verbs_that_reach_the_same_thing_are_told(method: str, raw: str, verbs: tuple[str, ...]) -> None:
    info = read(method, raw).info
    assert same_risk_verbs(info) == verbs
    assert info.verb in verbs


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("/api/v1/namespaces/x/services/s/proxy", "s"),
        ("/api/v1/namespaces/x/services/s:80/proxy/a", "s"),
        ("/api/v1/namespaces/x/services/https:s:443/proxy", "s"),
        ("/api/v1/namespaces/x/services/:s:/proxy", "s"),
        ("/api/v1/namespaces/x/services/https:s/proxy", "https"),
        ("/api/v1/nodes/n:10250/proxy", "n"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node", "system:node"),
        ("/api/v1/namespaces/x/services/s:80", "s:80"),
    ],
)
def test_the_object_behind_a_proxy_is_told_from_scheme_and_port(raw: str, name: str) -> None:
    assert proxied_name(read("GET", raw).info) == name


def test_the_same_request_is_understood_anew_when_discovery_changes() -> None:
    raw = "/api/v1/namespaces/x/pods"
    assert read("GET", raw) is read("GET", raw)
    cluster_scoped = Discovery([resource("pods", "Pod", cluster=True)])
    with pytest.raises(Malformed):
        read("GET", raw, cluster_scoped)
    assert read("GET", raw).namespaced


def test_intents_of_long_targets_are_not_remembered() -> None:
    raw = f"/api/v1/namespaces/x/pods?continue={'c' * 1024}"
    assert read("GET", raw) is not read("GET", raw)
    assert read("GET", raw) == read("GET", raw)
