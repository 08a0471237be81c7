"""Laws of targets: what is read is one thing only, however it was spelled; nothing is understood beyond discovery."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote

from hypothesis import example, given, settings
from hypothesis import strategies as st

from narrowgate.core.discovery import Discovery, ResourceType
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.target import Target, parse_target, rebuild, split_cluster
from narrowgate.core.understand import proxied_name, same_risk_verbs, understand

# 300 examples each keep the file under ten seconds; no deadline, since the machine may be busy.
LAW = settings(max_examples=300, deadline=None)

# fmt: off
WORDS = st.sampled_from([
    "api", "apis", "v1", "apps", "namespaces", "pods", "nodes", "deployments", "exec", "proxy", "watch", "status",
    "log", "clusters", "x", "a:b", "https:a:1",
])
SEPARATORS = st.sampled_from([
    "/", "/", "/", "/", "//", "?", "&", "=", ";", "#", "%", "%2e", "%2F", "%00", "%25", ".", "..", "\\", "+", "ü",
])
# fmt: on
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
VISIBLE = st.characters(categories=("L", "M", "N", "P", "S"), exclude_characters="/\\%")
SEGMENTS = st.text(VISIBLE | st.just(" "), min_size=1, max_size=12).filter(lambda segment: segment not in (".", ".."))
QUERIES = st.lists(st.tuples(st.text(VISIBLE, max_size=12), TEXT), max_size=5).map(tuple)
RAW = st.one_of(
    st.binary(max_size=60),
    st.lists(st.one_of(WORDS, SEPARATORS), max_size=20).map(lambda parts: ("/" + "".join(parts)).encode()),
    st.lists(WORDS, max_size=10).map(lambda parts: ("/" + "/".join(parts)).encode()),
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"])


def kind(group: str, name: str, subresources: str, namespaced: bool) -> ResourceType:
    listed = dict.fromkeys(subresources.split(), ("get",))
    return ResourceType(
        group=group, version="v1", resource=name, kind="K", namespaced=namespaced, verbs=(), subresources=listed
    )


DISCOVERY = Discovery(
    [
        kind("", "pods", "exec log proxy status", True),
        kind("", "nodes", "proxy status", False),
        kind("", "namespaces", "status finalize", False),
        kind("apps", "deployments", "status", True),
    ]
)


def targets() -> st.SearchStrategy[Target]:
    def make(segments: list[str], slash: bool, query: tuple[tuple[str, str], ...]) -> Target:
        path = "/" + "/".join(segments) + ("/" if slash and segments else "")
        return Target(tuple(segments), path, query)

    return st.builds(make, st.lists(SEGMENTS, max_size=6), st.booleans(), QUERIES)


@LAW
@given(RAW)
@example(b"/%25%32%65")
@example(b"/%2525")
def test_whatever_is_read_is_read_the_same_after_it_was_rebuilt(raw: bytes) -> None:
    try:
        target = parse_target(raw)
    except Malformed:
        return
    written = rebuild(target)
    assert parse_target(written) == target
    assert rebuild(parse_target(written)) == written


@LAW
@given(targets())
def test_every_canonical_target_can_be_written_and_read(target: Target) -> None:
    assert parse_target(rebuild(target)) == target


@LAW
@given(RAW)
def test_what_is_written_leaves_nothing_to_interpretation(raw: bytes) -> None:
    try:
        written = rebuild(parse_target(raw)).decode("ascii")
    except Malformed:
        return
    path, _, query = written.partition("?")
    assert written.startswith("/")
    assert not written.startswith("//")
    assert all("!" <= character <= "~" for character in written)
    assert not set(path) & set("\\#;?")
    assert not set(query) & set("\\#;?/")
    for segment in path.split("/")[1:-1]:
        assert segment not in ("", ".", "..")
        assert not set(unquote(segment)) & set("/\\\0")
        assert unquote(segment) not in (".", "..")


@LAW
@given(RAW)
def test_another_decoder_reads_the_same(raw: bytes) -> None:
    try:
        target = parse_target(raw)
    except Malformed:
        return
    path, _, query = raw.decode("ascii").partition("?")
    assert target.path == unquote(path, errors="strict")
    assert "/" + "/".join(target.segments) in (target.path, target.path.removesuffix("/"), "/")
    assert list(target.query) == parse_qsl(query, keep_blank_values=True, errors="strict")


@LAW
@given(targets(), st.data())
def test_encoding_more_than_needed_changes_nothing(target: Target, data: st.DataObject) -> None:
    every = [f"%{byte:02X}" for byte in range(256)]
    keep = set("/.")

    def spell(character: str) -> str:
        if character in keep or data.draw(st.booleans()):
            return quote(character, safe="/")
        return "".join(every[byte] for byte in character.encode())

    assert parse_target("".join(map(spell, target.path)).encode()) == Target(target.segments, target.path)


@LAW
@given(targets(), SEGMENTS)
def test_a_cluster_prefix_comes_off_and_leaves_the_target_as_it_was(target: Target, name: str) -> None:
    prefixed = Target(("clusters", name, *target.segments), f"/clusters/{name}{target.path}", target.query)
    assert split_cluster(parse_target(rebuild(prefixed))) == (name, target)


@LAW
@given(METHODS, RAW)
def test_understanding_never_goes_beyond_discovery(method: str, raw: bytes) -> None:
    try:
        target = parse_target(raw)
        intent = understand(method, target, DISCOVERY, "c")
    except Malformed as refusal:
        refused = refusal
    else:
        require_within_discovery(intent)
        return
    assert refused.code in (400, 403, 405)
    assert len(refused.message) < 600


def require_within_discovery(intent: Intent) -> None:
    info = intent.info
    assert info.verb in same_risk_verbs(info)
    if not info.is_resource_request:
        assert not intent.namespaced
        return
    found = DISCOVERY.lookup(info.api_group, info.api_version, info.resource)
    assert found is not None
    assert found.namespaced == intent.namespaced
    assert not info.subresource or info.subresource in found.subresources
    assert not info.name or proxied_name(info) in info.name
    if intent.namespaced:
        assert info.namespace or (info.verb in ("list", "watch") and not info.subresource)
    else:
        assert info.namespace in ("", info.name)


@LAW
@given(METHODS, RAW)
def test_what_is_sent_upstream_is_understood_as_what_was_received(method: str, raw: bytes) -> None:
    try:
        target = parse_target(raw)
        received = understand(method, target, DISCOVERY, "c")
    except Malformed:
        return
    assert understand(method, parse_target(rebuild(target)), DISCOVERY, "c") == received
