"""Request lines for the oracle: ordinary ones, ordinary ones in odd spelling, and ones nobody should send.

Everything comes from one seeded generator, so that a difference can be found again. Names are those of objects that do
not exist; the oracle besides sends every request as an identity that may do nothing.
"""

from __future__ import annotations

import random
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from narrowgate.core.discovery import Discovery, ResourceType

NAMES = (
    "absent",
    "absent-2",
    "a.b.c",
    "system:absent",
    "ABSENT",
    "x",
    "absent_1",
    "watch",
    "proxy",
    "namespaces",
    "v1",
)
NAMESPACES = ("default", "kube-system", "absent-ns", "watch", "proxy", "namespaces", "status", "finalize")
METHODS = ("GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ODD_METHODS = ("OPTIONS", "TRACE", "CONNECT", "FOO", "get", "Patch", "PROPFIND", "PRI")
NON_RESOURCE = (
    "/", "/api", "/api/", "/apis", "/apis/", "/api/v1", "/api/v1/", "/apis/apps", "/apis/apps/v1", "/apis/apps/v1/",
    "/healthz", "/healthz/", "/livez/etcd", "/readyz", "/version", "/version/", "/openapi/v2", "/openapi/v3",
    "/openapi/v3/apis/apps/v1", "/metrics", "/logs", "/logs/", "/logs/kube-apiserver.log",
    "/.well-known/openid-configuration", "/openid/v1/jwks", "/foo/bar/baz/quux", "/apis/unknown.example.com",
    "/apix/v1/pods", "/API/v1/pods", "/debug/pprof/", "/swagger.json", "/api/v9", "/apis/apps/v9",
)  # fmt: skip
BOOLEANS = ("true", "false", "1", "0", "", "yes", "no", "True", "FALSE", "t", "f", "fAlSe", "00", "2", "null", "off")
FIELD_SELECTORS = (
    "metadata.name=absent", "metadata.name==absent", "metadata.name!=absent", "metadata.name=", "metadata.name",
    "metadata.name=absent,spec.nodeName=n", "spec.nodeName=n,metadata.name=absent", "metadata.name=a,metadata.name=b",
    "metadata.name=b,metadata.name=a", "metadata.namespace=default", ",metadata.name=absent,", "metadata.name=a/b",
    "metadata.name=..", "metadata.name=a%b", r"metadata.name=a\,b", r"metadata.name=a\\b", r"metadata.name=a\b",
    r"metadata.name=a\=b", "metadata.name=a=b", "metadata.name = absent", " metadata.name=absent",
    "status.phase=Running", "a!b=c,metadata.name=x", "!=,metadata.name=x", "=", "=,metadata.name=x",
    "metadata.name==b,metadata.name=a", "\\", "metadata.name=a,metadata.name=b,", "metadata.name=ü",
    "metadata.name=a b", "Metadata.Name=x", "metadata.name=x\\", "metadata.name!=b,metadata.name=a",
    "metadata.name===x", "metadata.name=%2e",
)  # fmt: skip
LABEL_SELECTORS = (
    "app=web", "app==web", "app!=web", "!app", "app", "app in (a,b)", "app notin (a, b)", "app in (a,b),tier=x",
    "x/y=z", "app in ()", "app>1", "=", "app=web,", ",", "a b", "app=(", "app in", "-app=x", "a.example.com/b in (c)",
    "! app", "in", "in=x", "A/b=c", "app=-", "app = web", "  app  ", "", "notin (a)", "é=x",
)  # fmt: skip
NUMBERS = ("500", "0", "-1", "abc", "", "1e3", "9223372036854775808", "+5", "1_000", " 5")
OTHER_PARAMETERS = (
    "limit=500", "timeout=32s", "resourceVersion=0", "pretty=true", "dryRun=All", "fieldManager=oracle",
    "continue=abc", "allowWatchBookmarks=true", "resourceVersionMatch=NotOlderThan", "fieldValidation=Strict",
    "force=true", "export=true", "propagationPolicy=Background", "gracePeriodSeconds=0", "includeObject=Metadata",
    "sendInitialEvents=true", "x=%zz", "command=ls&command=-l&container=c&stdin=true&stdout=true&tty=false",
    "ports=80&ports=81", "follow=true&tailLines=5", "as=APIResourceList", "=x", "&&", "a=b=c", "plus=a+b",
    "space=a%20b", "%77atch=1", "wat%63h=0", "watch%00=1", "path=/x",
)  # fmt: skip
UNKNOWN_GROUPS = ("unknown.example.com", "APPS", "apps.", "core", "v1", "namespaces", "watch", "extensions")
PROXY_PATHS = (
    "",
    "/",
    "/metrics",
    "/a/b/",
    "/a/b/c?x=1&x=2",
    "/namespaces/x/pods/y",
    "/exec",
    "/~user/a+b",
    "/%C3%BC",
    "/a:b",
)


class Case(NamedTuple):
    """One request line."""

    method: str
    raw: bytes


def generate(count: int, seed: int, discovery: Discovery) -> list[Case]:
    """`count` different cases; two thirds ordinary in meaning, one third not."""
    source = random.Random(seed)
    types = sorted(discovery.types(), key=lambda t: (t.group, t.version, t.resource))
    cases: dict[Case, None] = {}
    while len(cases) < count:
        case = _ordinary(source, types) if source.random() < 0.72 else _odd(source, types)
        cases[case] = None
    return list(cases)


def _ordinary(source: random.Random, types: list[ResourceType]) -> Case:
    if source.random() < 0.06:
        return Case(source.choice(("GET", "GET", "HEAD", "POST", "DELETE")), source.choice(NON_RESOURCE).encode())
    method, path = _resource_path(source, source.choice(types))
    if "?" in path:
        return Case(method, path.encode())
    spelled = _spell_path(source, path) if source.random() < 0.3 else quote(path, safe="/:")
    return Case(method, (spelled + _query(source)).encode())


def _resource_path(source: random.Random, kind: ResourceType) -> tuple[str, str]:
    """A method and a path (decoded) that the API server may well serve for this resource."""
    prefix = _prefix(kind)
    inside = f"{prefix}/namespaces/{source.choice(NAMESPACES)}" if kind.namespaced else prefix
    collection, name = f"{inside}/{kind.resource}", source.choice(NAMES)
    if kind.resource == "namespaces" and name in ("watch", "proxy"):
        name = "absent"
    form = source.random()
    if form < 0.12:
        return "GET", f"{prefix}/{kind.resource}"
    if form < 0.2:
        legacy = source.choice((f"{inside}/{kind.resource}/{name}", f"{prefix}/{kind.resource}", collection))
        if kind.namespaced and legacy.startswith(inside):
            return "GET", legacy.replace(prefix, f"{prefix}/watch", 1)
        return "GET", f"{prefix}/watch/{kind.resource}"
    if form < 0.45:
        return source.choice(("GET", "GET", "GET", "HEAD", "POST", "DELETE")), collection
    if form < 0.7 or not kind.subresources:
        return source.choice(METHODS), f"{collection}/{name}"
    subresource = source.choice(sorted(kind.subresources))
    method = source.choice(METHODS)
    if subresource in ("exec", "attach", "portforward"):
        method = source.choice(("GET", "POST"))
    if subresource != "proxy":
        return method, f"{collection}/{name}/{subresource}"
    spelled = source.choice(
        ("absent", "absent:8080", "https:absent:443", "http:absent:", ":absent:80", "https:absent:web")
    )
    return method, f"{collection}/{spelled}/proxy{source.choice(PROXY_PATHS)}"


def _query(source: random.Random) -> str:
    if source.random() < 0.4:
        return ""
    made: dict[str, str] = {}
    for _ in range(source.randint(1, 3)):
        kind = source.random()
        if kind < 0.3:
            made["watch"] = source.choice(("watch", f"watch={source.choice(BOOLEANS)}"))
        elif kind < 0.55:
            made["field"] = f"fieldSelector={_spell_value(source, source.choice(FIELD_SELECTORS))}"
        elif kind < 0.65:
            made["label"] = f"labelSelector={_spell_value(source, source.choice(LABEL_SELECTORS))}"
        elif kind < 0.7:
            option = source.choice(("limit", "timeoutSeconds"))
            made[option] = f"{option}={_spell_value(source, source.choice(NUMBERS))}"
        else:
            made["other"] = source.choice(OTHER_PARAMETERS)
    pairs = list(made.values())
    source.shuffle(pairs)
    return "?" + "&".join(pairs)


def _spell_value(source: random.Random, value: str) -> str:
    return source.choice((quote_plus(value), quote(value, safe=""), quote(value, safe="=,!()").replace("%2E", ".")))


def _spell_path(source: random.Random, path: str) -> str:
    """Encode some of the characters that need it least; what it means stays the same."""
    spelled = []
    for character in path:
        if character.isalnum() and character.isascii() and source.random() < 0.1:
            escape = f"%{ord(character):02x}"
            spelled.append(source.choice((escape, escape.upper())))
        else:
            spelled.append(quote(character, safe="/:" if source.random() < 0.5 else "/"))
    return "".join(spelled)


def _odd(source: random.Random, types: list[ResourceType]) -> Case:
    kind = source.choice(types)
    method, path = _resource_path(source, kind)
    path = quote(path.partition("?")[0], safe="/:") + _query(source)
    if source.random() < 0.08:
        return Case(source.choice(ODD_METHODS), path.encode())
    if source.random() < 0.35:
        return Case(method, _wrong_path(source, kind).encode())
    return Case(method, _mutate(source, path.encode()))


def _prefix(kind: ResourceType) -> str:
    return f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"


_PATHS = (
    "/apis/{group}/v1/{resource}",
    "/apis/apps/v9/{resource}/{name}",
    "/api/{version}/{resource}",
    "{prefix}/{resource}s",
    "{prefix}/{capitals}",
    "{prefix}/namespaces/default/{resource}/{name}/{sub}",
    "{prefix}/namespaces/default/{resource}/{name}/status/{sub}",
    "{prefix}/namespaces/default/{resource}/{name}/{sub}/a/b",
    "{prefix}/namespaces/{namespace}/{resource}/{name}",
    "{prefix}/namespaces/{namespace}/{resource}/",
    "{prefix}/{resource}/{name}",
    "{prefix}/{resource}/{name}/{sub}",
    "{prefix}/namespaces/{namespace}/namespaces/{name}",
    "{prefix}/namespaces/{namespace}/status/{name}",
    "{prefix}/namespaces/{namespace}/finalize/{name}",
    "/api/v1/namespaces/{namespace}/{sub}",
    "/api/v1/namespaces/{namespace}",
    "/api/v1/namespaces/{namespace}/",
    "{prefix}/watch",
    "{prefix}/proxy",
    "{prefix}/watch/watch/{resource}",
    "{prefix}/watch/proxy/{resource}/{name}",
    "{prefix}/proxy/watch/{resource}",
    "{prefix}/proxy/{resource}/{name}/a/b",
    "{prefix}/proxy/{resource}/{name}",
    "{prefix}/proxy/namespaces/{namespace}/{resource}/{name}/a/b",
    "{prefix}/watch/namespaces/{namespace}/{resource}/{name}/status",
    "{prefix}/watch/namespaces/{namespace}/{sub}",
    "{prefix}/watch/namespaces/{namespace}/",
    "{prefix}/watch/{resource}/{name}",
    "/api{prefix}/{resource}",
    "/clusters/{name}{prefix}/{resource}",
    "{prefix}/{resource}/{strange}",
    "{prefix}/{resource}/{long}",
    "/api/v1/nodes/{spelled}/proxy/{name}",
)
"""Paths of the right words in the wrong order."""

STRANGE_NAMES = ("ü", "a b", "a#b", "a?b", "名", "a\u200bb", "a\x85b", "%", "100%")
STRANGE_SPELLINGS = ("a:b:c", "a:b:c:d", "ftp:a:1", ":", "::", "https::1", "https:a")


def _wrong_path(source: random.Random, kind: ResourceType) -> str:
    return source.choice(_PATHS).format(
        prefix=_prefix(kind),
        resource=kind.resource,
        capitals=kind.resource.upper(),
        group=source.choice(UNKNOWN_GROUPS),
        version=source.choice(("v2", "v1beta1", "V1", "watch")),
        name=source.choice(NAMES),
        namespace=source.choice(NAMESPACES),
        sub=source.choice(("status", "finalize", "scale", "log", "Status", "proxy", "pods", "sub")),
        strange=quote(source.choice(STRANGE_NAMES)),
        long="x" * source.choice((200, 3000)),
        spelled=source.choice(STRANGE_SPELLINGS),
    )


_INSERTS = (
    b"/", b"//", b"/./", b"/../", b"%2e", b"%2E%2e", b"/%2e%2e/", b"%2f", b"%2F", b"%5c", b"\\", b"%00", b"%25",
    b"%252e", b"%252f", b";", b";x=1", b"%3b", b"#", b"%23", b"%3f", b"?", b"%", b"%z1", b"%4", b"%ff", b"%c3%28",
    b"%ed%a0%80", b"%C0%AF", "\u00fc".encode(), b"\xff", b"\x01", b"\t", b"\x7f", b"%7f", b"%0a", b"%0d%0a", b" ",
    b"%20", b"+", b"*", b"..", b".", b"...", b"&", b"=", b"%26", b"%3d", b"{}", b"|", b"^", b"`", b"\"", b"<", b"@",
    b"$", b"~", b"'", b"%u0041",
)  # fmt: skip


def _mutate(source: random.Random, raw: bytes) -> bytes:
    kind = source.random()
    path, mark, query = raw.partition(b"?")
    if kind < 0.5:
        whole = path if source.random() < 0.8 else raw
        at = source.randint(1, len(whole))
        mutated = whole[:at] + source.choice(_INSERTS) + whole[at:]
        return mutated + mark + query if whole is path else mutated
    if kind < 0.65:
        return path + source.choice((b"/", b"//", b"/.", b"/..", b"%2f", b"/%2e", b";", b"/?")) + mark + query
    if kind < 0.8:
        extra = source.choice(
            (b"watch=1", b"watch=0;", b"watch=0", b"fieldSelector=metadata.name%3Dy", b"a;watch=1", b"%zz=1")
        )
        first = source.choice((b"watch=true", b"watch=false", b"fieldSelector=metadata.name%3Dx", b"a=1"))
        return path + b"?" + source.choice((first + b"&" + extra, extra + b"&" + first))
    if kind < 0.9:
        return source.choice((b"", b"/", b"//", b"/.", b"http://127.0.0.1", b"https://kubernetes.default", b"x:")) + raw
    return source.choice((b"*", b"127.0.0.1:443", b"api/v1/pods", b"?watch=1", b"/" + raw, path[1:], path[:-1] + b"%"))
