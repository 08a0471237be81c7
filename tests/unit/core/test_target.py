"""Targets: what is read, what is refused, and what is written for the API server."""

from __future__ import annotations

import pytest

from narrowgate.core.malformed import Malformed
from narrowgate.core.target import (
    MAX_CACHED_TARGET_BYTES,
    MAX_QUERY_PAIRS,
    MAX_TARGET_BYTES,
    Target,
    parse_target,
    rebuild,
    split_cluster,
)


@pytest.mark.parametrize(
    ("raw", "segments", "path"),
    [
        (b"/", (), "/"),
        (b"/api", ("api",), "/api"),
        (b"/api/v1/", ("api", "v1"), "/api/v1/"),
        (b"/apis/", ("apis",), "/apis/"),
        (b"/api/v1/namespaces/x/pods", ("api", "v1", "namespaces", "x", "pods"), "/api/v1/namespaces/x/pods"),
        (b"/x/system:node:a", ("x", "system:node:a"), "/x/system:node:a"),
        (b"/x/system%3anode%3Aa", ("x", "system:node:a"), "/x/system:node:a"),
        (b"/x/a%20b", ("x", "a b"), "/x/a b"),
        (b"/x/a+b", ("x", "a+b"), "/x/a+b"),
        (b"/x/%C3%BC", ("x", "ü"), "/x/ü"),
        (b"/x/a%23b%3fc", ("x", "a#b?c"), "/x/a#b?c"),
        (b"/x/%7euser", ("x", "~user"), "/x/~user"),
        (b"/x/...", ("x", "..."), "/x/..."),
        (b"/x/..a/.b", ("x", "..a", ".b"), "/x/..a/.b"),
        (b"/x/100%25", ("x", "100%"), "/x/100%"),
        (
            b"/api/v1/namespaces/m/services/https:web:443/proxy/a/b/",
            ("api", "v1", "namespaces", "m", "services", "https:web:443", "proxy", "a", "b"),
            "/api/v1/namespaces/m/services/https:web:443/proxy/a/b/",
        ),
    ],
)
def test_a_path_is_decoded_and_split(raw: bytes, segments: tuple[str, ...], path: str) -> None:
    assert parse_target(raw) == Target(segments, path)


@pytest.mark.parametrize(
    ("raw", "query"),
    [
        (b"/a?limit=500", (("limit", "500"),)),
        (b"/a?", ()),
        (b"/a?&&", ()),
        (b"/a?watch", (("watch", ""),)),
        (b"/a?watch=", (("watch", ""),)),
        (b"/a?=x", (("", "x"),)),
        (b"/a?a=b=c", (("a", "b=c"),)),
        (b"/a?a=b?c", (("a", "b?c"),)),
        (b"/a?a=x+y%20z%2B", (("a", "x y z+"),)),
        (b"/a?%77atch=1", (("watch", "1"),)),
        (b"/a?a=%3B", (("a", ";"),)),
        (b"/a?a=%2e%2e%2f", (("a", "../"),)),
        (b"/a?a=%2525", (("a", "%25"),)),
        (b"/a?hash=C8B54F3D%3D", (("hash", "C8B54F3D="),)),
        (b"/a?command=sh&command=-c&command=ls%0Aid", (("command", "sh"), ("command", "-c"), ("command", "ls\nid"))),
        (b"/a?labelSelector=app+in+%28a%2Cb%29%2C%21c", (("labelSelector", "app in (a,b),!c"),)),
    ],
)
def test_a_query_is_decoded_in_order_with_its_repeats(raw: bytes, query: tuple[tuple[str, str], ...]) -> None:
    assert parse_target(raw).query == query


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"*",
        b"api/v1",
        b"?a=b",
        b"http://cluster/api",
        b"https://cluster",
        b"cluster:443",
        b"//api/v1",
        b"/api//v1",
        b"/api/v1//",
        b"/api/./v1",
        b"/api/../v1",
        b"/api/v1/.",
        b"/api/v1/..",
        b"/api/%2e/v1",
        b"/api/%2E%2e/v1",
        b"/api/.%2e/v1",
        b"/api/a%2eb",
        b"/api/v1%2fpods",
        b"/api/v1%2Fpods",
        b"/api/v1%5cpods",
        b"/api/v1\\pods",
        b"/api/v1/%00",
        b"/api/v1/%0a",
        b"/api/v1/%7f",
        b"/api/v1/%C2%85",
        b"/api/v1/a%E2%80%8Bb",
        b"/api/%252e%252e/v1",
        b"/api/%252f",
        b"/api/%25%32%65",
        b"/api/%",
        b"/api/%4",
        b"/api/%zz",
        b"/api/%u0041",
        b"/api/%ff",
        b"/api/%C0%AF",
        b"/api/%ED%A0%80",
        b"/api/v1#fragment",
        b"/api?a=b#fragment",
        b"/api?a=1;b=2",
        b"/api?;",
        b"/api?a=%zz",
        b"/api?%=1",
        b"/api?a=%ff",
        b"/api?a=%00",
        b"/api?wat%0ach=1",
        b"/api v1",
        b"/api\tv1",
        b"/api\x00",
        b"/api\x7f",
        b"/api/\xc3\xbc",
        b"/api?a=\xff",
        b"/api\r\nX: y",
    ],
)
def test_a_target_that_is_not_canonical_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        parse_target(raw)
    assert refused.value.code == 400
    assert refused.value.message[:1].islower()


def test_a_target_beyond_the_limit_is_too_long() -> None:
    parse_target(b"/" + b"a" * (MAX_TARGET_BYTES - 1))
    with pytest.raises(Malformed) as refused:
        parse_target(b"/" + b"a" * MAX_TARGET_BYTES)
    assert refused.value.code == 414


def test_more_parameters_than_the_limit_are_refused() -> None:
    parse_target(b"/?" + b"&".join([b"a"] * MAX_QUERY_PAIRS))
    with pytest.raises(Malformed, match="parameters"):
        parse_target(b"/?" + b"&".join([b"a"] * (MAX_QUERY_PAIRS + 1)))


def test_only_short_targets_are_remembered() -> None:
    short, long = b"/remembered", b"/" + b"l" * MAX_CACHED_TARGET_BYTES
    assert parse_target(short) is parse_target(short)
    assert parse_target(long) is not parse_target(long)
    assert parse_target(long) == parse_target(long)


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        (b"/", b"/"),
        (b"/api/v1/", b"/api/v1/"),
        (b"/x/system%3anode%3Aa", b"/x/system:node:a"),
        (b"/x/%61%7e", b"/x/a~"),
        (b"/x/a%20b%23%3F", b"/x/a%20b%23%3F"),
        (b"/x/%C3%bc", b"/x/%C3%BC"),
        (b"/x/100%25", b"/x/100%25"),
        (b"/x/a!(b)'*", b"/x/a%21%28b%29%27%2A"),
        (b"/x/a;b", b"/x/a%3Bb"),
        (b"/x/$&+,:=@-_.~", b"/x/$&+,:=@-_.~"),
        (b"/x?a=x%20y+z&&b", b"/x?a=x+y+z&b="),
        (b"/x?a=%3B%26%3D%25%2B%23", b"/x?a=%3B%26%3D%25%2B%23"),
        (b"/x?a=,:/@!()", b"/x?a=%2C%3A%2F%40%21%28%29"),
        (b"/x?", b"/x"),
    ],
)
def test_a_target_is_written_as_go_writes_it(raw: bytes, written: bytes) -> None:
    assert rebuild(parse_target(raw)) == written
    assert parse_target(written) == parse_target(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dweb&limit=500&watch=true",
        b"/api/v1/namespaces/d/pods/p/exec?command=sh&command=-c&command=echo+%22a+b%22&container=c&stdin=true&tty=true",
        b"/api/v1/namespaces/m/services/https:grafana:443/proxy/api/search?query=%26&tag=a&tag=b",
        b"/openapi/v3/apis/apps/v1?hash=0F1D2C&timeout=32s",
        b"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:controller:job-controller",
    ],
)
def test_what_go_clients_send_is_passed_on_byte_for_byte(raw: bytes) -> None:
    assert rebuild(parse_target(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "name", "rest"),
    [
        (b"/api/v1/pods?a=b", "", b"/api/v1/pods?a=b"),
        (b"/clusters/prod/api/v1/pods?a=b", "prod", b"/api/v1/pods?a=b"),
        (b"/clusters/prod/api/v1/", "prod", b"/api/v1/"),
        (b"/clusters/prod", "prod", b"/"),
        (b"/clusters/prod/", "prod", b"/"),
        (b"/clusters/prod?a", "prod", b"/?a="),
        (b"/clusters/a%20b/version", "a b", b"/version"),
        (b"/clusters/a/clusters/b", "a", b"/clusters/b"),
        (b"/clustersx/prod/api", "", b"/clustersx/prod/api"),
        (b"/api/clusters/prod", "", b"/api/clusters/prod"),
    ],
)
def test_the_cluster_prefix_is_taken_off_as_if_it_had_never_been_there(raw: bytes, name: str, rest: bytes) -> None:
    assert split_cluster(parse_target(raw)) == (name, parse_target(rest))


@pytest.mark.parametrize("raw", [b"/clusters", b"/clusters/", b"/clusters?a=b"])
def test_a_cluster_prefix_without_a_name_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed, match="name of a cluster"):
        split_cluster(parse_target(raw))


def test_the_first_value_of_a_parameter_counts() -> None:
    target = parse_target(b"/a?x=1&y=&x=2")
    assert (target.first("x"), target.first("y"), target.first("z")) == ("1", "", None)
