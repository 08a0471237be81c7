"""The API server is sent bodies that invite two readings: what the gate reads must be what the API server reads.

Bodies go to a resource that keeps whatever it is sent, with dryRun, so nothing is stored. Where the gate reads a body,
the API server must have read the same object under the same name, or have refused it; where the gate refuses, there is
nothing to compare, and a bound on how often keeps the agreement from being bought by refusing.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.contract.api_server import Answer, ApiServer

from narrowgate.core.body import read_body, with_body
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo

SEED = 20261121
ROUNDS = 400
LEAST_READ = 0.3
ESTABLISHED_SECONDS = 90.0

JSON, YAML, APPLY = "application/json", "application/yaml", "application/apply-patch+yaml"
GROUP = f"{secrets.token_hex(4)}.bodies.narrowgate.dev"
ROOM: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"things.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {**ROOM, "properties": {"spec": ROOM}}},
            }
        ],
    },
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Things(NamedTuple):
    server: ApiServer
    path: str

    def intent(self, verb: str, name: str) -> Intent:
        return Intent(
            cluster="c",
            namespaced=True,
            info=RequestInfo(
                is_resource_request=True, path=self.path, verb=verb, api_prefix="apis", api_group=GROUP,
                api_version="v1", resource="things", namespace=self.server.namespace, name=name,
            ),
        )  # fmt: skip

    def create(self, body: bytes, content_type: str) -> Answer:
        return self.server.ask("POST", f"{self.path}?dryRun=All", body, content_type)

    def apply(self, name: str, body: bytes) -> Answer:
        query = "dryRun=All&fieldManager=test&force=true"
        return self.server.ask("PATCH", f"{self.path}/{name}?{query}", body, APPLY)


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Things]:
    with ApiServer(tmp_path_factory.mktemp("admin")) as server:
        assert server.ask("POST", DEFINITIONS, DEFINITION).code == 201
        path = f"/apis/{GROUP}/v1/namespaces/{server.namespace}/things"
        deadline = time.monotonic() + ESTABLISHED_SECONDS
        probe = {"apiVersion": f"{GROUP}/v1", "kind": "Thing", "metadata": {"name": "probe"}}
        while server.ask("POST", f"{path}?dryRun=All", probe).code != 201:
            assert time.monotonic() < deadline, "the resource was not established"
            time.sleep(0.1)
        yield Things(server, path)
        server.ask("DELETE", f"{DEFINITIONS}/things.{GROUP}")


INT64 = range(-(1 << 63), 1 << 63)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same JSON; 1 and 1.0 are, 1 and true are not, and beyond 64 bits all are floats."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, int) and ours not in INT64:
        return bool(float(ours) == float(theirs))
    if isinstance(theirs, int) and theirs not in INT64:
        return bool(float(ours) == float(theirs))
    return isinstance(ours, bool) == isinstance(theirs, bool) and ours == theirs


def judged(things: Things, body: bytes, content_type: str) -> str:
    """Read a body on both sides and compare; how it went, for the count."""
    apply = content_type == APPLY
    try:
        read = read_body(content_type, body, things.intent("patch", "x") if apply else things.intent("create", ""))
    except Malformed:
        return "refused"
    answer = things.apply("x", body) if apply else things.create(body, content_type)
    if answer.code >= 300:
        return "refused by the API server"
    ours, theirs = read.patch if apply else read.object, answer.json
    assert read.names.name == theirs["metadata"]["name"] or (apply and not read.names.name) or read.names.generate_name
    assert same(ours.get("spec"), theirs.get("spec")), (body, ours, theirs)
    return "read"


HEAD = f'"apiVersion":"{GROUP}/v1","kind":"Thing"'
YAML_HEAD = f"apiVersion: {GROUP}/v1\nkind: Thing\n"
NAMED = '"metadata":{"name":"x"}'


@pytest.mark.parametrize(
    "body",
    [
        f'{{{HEAD},{NAMED},"spec":{{"a":1}}}}',
        f'{{{HEAD},{NAMED},"metadata":{{"name":"y"}}}}',
        f'{{{HEAD},"metadata":{{"name":"x","name":"y"}}}}',
        f'{{{HEAD},"metadata":{{"name":"x","Name":"y"}}}}',
        f'{{{HEAD},{NAMED},"Metadata":{{"name":"y"}}}}',
        f'{{{HEAD},{NAMED},"KIND":"Other"}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":1,"a":2}}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":1,"A":2}}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":"\\ud83d\\ude00","b":"\\u0041"}}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":"\\ud83d"}}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":1e5,"b":-0,"c":1E-7,"d":9007199254740993,"e":9223372036854775807}}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":18446744073709551615}}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":1e400}}}}',
        f'{{{HEAD},{NAMED}}} {{}}',
        f'{{{HEAD},{NAMED}}}garbage',
        f'\ufeff{{{HEAD},{NAMED}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":NaN}}}}',
        f'{{{HEAD},"metadata":null}}',
        f'{{{HEAD},"metadata":{{"generateName":"x-"}}}}',
        f'{{{HEAD},{NAMED},"items":[]}}',
        f'[{{{HEAD},{NAMED}}}]',
        "null",
        '"x"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("content_type", [JSON, "", YAML])
def test_tricky_json_is_read_as_the_api_server_reads_it_or_refused(things: Things, body: str, content_type: str):
    assert judged(things, body.encode(), content_type) in ("read", "refused", "refused by the API server")


@pytest.mark.parametrize(
    "body",
    [
        f'{YAML_HEAD}metadata:\n  name: x\n---\n{YAML_HEAD}metadata:\n  name: y\n',
        f"{YAML_HEAD}metadata:\n  name: x\nmetadata:\n  name: y\n",
        f"{YAML_HEAD}metadata: &m\n  name: x\nspec:\n  <<: *m\n  a: 1\n",
        f"{YAML_HEAD}metadata: {{name: x}}\nspec: {{<<: {{name: y}}}}\n",
        f'{{{HEAD},{NAMED},"spec":{{"<<":{{"a":1}}}}}}',
        f'{{{HEAD},{NAMED},"spec":{{"a":"x\u2028y\u0085z"}}}}',
        f"{YAML_HEAD}metadata:\n  name: x\nspec:\n  a: !!binary aGVsbG8=\n",
        f"%YAML 1.2\n---\n{YAML_HEAD}metadata:\n  name: x\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("content_type", [YAML, APPLY])
def test_tricky_yaml_is_read_as_the_api_server_reads_it_or_refused(things: Things, body: str, content_type: str):
    assert judged(things, body.encode(), content_type) in ("read", "refused", "refused by the API server")


# fmt: off
SCALARS = (
    "yes", "no", "on", "off", "y", "n", "Y", "N", "yES", "true", "True", "TRUE", "tRUE", "false", "~", "null", "Null",
    "NULL", "nULL", "0", "-0", "+1", "1", "-7", "1.0", "1.", ".5", "-.5", "1e3", "1E+3", "1e-3", "1e400", "1_000",
    "0x1F", "0o17", "017", "08", "09.5", "0b11", "-0b1", "0x", "1:30", "1:30:45", "190:20:30.15", ".inf", "-.inf",
    "+.inf", ".Inf", ".NaN", "nan", "inf", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "18446744073709551616", "123456789012345678901234567890", "9007199254740993", "2026-01-01",
    "2026-01-01T00:00:00Z", "2026-01-01 00:00:00", "100m", "1Gi", "10.0.0.1", "1.2.3", "v1", "=", "<<", "-", "--",
    "...x", "a b", "a  b", "a#b", "a #b", "a:b", "http://x/y", "@x", "`x`", "%x", "!x", "!!str 1", "*x", "&x y",
    "'it''s'", "'a\n\n  b'", '"a\\x41\\u00e9\\/\\n"', '"a\\\n   b"', "'yes'", '"1"', "|\n    a\n    b\n",
    ">-\n    a\n    b\n", "|+\n    a\n\n", "{a: 1, b: [x, yes]}", "[1, 1.0, '1', ~]", "[a, b,]", "{a, b}", "[]", "{}",
    "é", "\t", "a\tb", "0.1e1", "1e", "e1", "1__0", "_1", "1_", "0x1_F", "-0x1", "+0x1", "+.5", "1.e3", "00", "0.0",
    "-1_0.5",
)
# fmt: on
PLAIN_KEYS = ("a", "B", "1", "'q'")
KEYS = (*PLAIN_KEYS, "1.5", "true", "yes", "null", "~", '"d"', "a b", "<<", "=", "0x1", "017", "-1", "é", "2026-01-01")


def thing(source: random.Random) -> str:
    """A YAML body with odd keys and scalars; each scalar is tried, with a random neighbour."""
    lines = [f"  {key}: {source.choice(SCALARS)}" for key in source.sample(PLAIN_KEYS, 2)]
    if source.random() < 0.2:
        lines.append(f"  {source.choice(KEYS)}: x")
    return f"{YAML_HEAD}metadata:\n  name: x\nspec:\n" + "\n".join(lines) + "\n"


def test_every_yaml_scalar_means_what_it_means_to_the_api_server(things: Things):
    count: Counter[str] = Counter()
    for scalar in SCALARS:
        for key in ("a", *(KEYS if scalar == "1" else ())):
            body = f"{YAML_HEAD}metadata:\n  name: x\nspec:\n  {key}: {scalar}\n"
            count[judged(things, body.encode(), YAML)] += 1
    assert count["read"] / count.total() >= LEAST_READ, count


def test_yaml_of_random_parts_means_what_it_means_to_the_api_server(things: Things):
    source = random.Random(SEED)
    count = Counter(judged(things, thing(source).encode(), YAML) for _ in range(ROUNDS))
    assert count["read"] / ROUNDS >= LEAST_READ, count


NUMBERS = ("0", "-0", "1", "1.0", "1e2", "1E-2", "-1.5e+3", "9007199254740993", "1e400", "18446744073709551616")
STRINGS = ('""', '"a"', '"\\u0061"', '"\\u2028"', '"\\/"', '"é"', '"\\ud83d\\ude00"', '"\\u0000"', '"a\\tb"')


def value(source: random.Random, depth: int = 0) -> str:
    """JSON of random parts, spelled oddly."""
    kind = source.randrange(9 if depth < 3 else 7)
    if kind < 3:
        return source.choice(NUMBERS)
    if kind < 6:
        return source.choice(STRINGS)
    if kind == 6:
        return source.choice(("true", "false", "null"))
    parts = [value(source, depth + 1) for _ in range(source.randrange(3))]
    if kind == 7:
        return "[" + source.choice((",", " , ")).join(parts) + "]"
    keys = [source.choice(('"a"', '"\\u0061"', '"A"', '"b"', '""', '"a.b"')) for _ in parts]
    return "{" + ",".join(key + source.choice((":", " : ")) + part for key, part in zip(keys, parts, strict=True)) + "}"


@pytest.mark.parametrize("content_type", [JSON, YAML])
def test_json_of_random_parts_means_what_it_means_to_the_api_server(things: Things, content_type: str):
    source = random.Random(SEED)
    bodies = [f'{{{HEAD},{NAMED},"spec":{{"v":{value(source)}}}}}' for _ in range(ROUNDS)]
    count = Counter(judged(things, body.encode(), content_type) for body in bodies)
    assert count["read"] / ROUNDS >= LEAST_READ, count


@pytest.mark.parametrize(
    ("verb", "metadata", "agreed"),
    [
        ("create", {"name": "n"}, 201),
        ("create", {"name": "n", "namespace": "HERE"}, 201),
        ("create", {"name": "n", "namespace": "elsewhere"}, 400),
        ("create", {"generateName": "n-"}, 201),
        ("update", {"name": "other"}, 400),
        ("update", {"name": "m", "namespace": "elsewhere"}, 400),
        ("update", {}, 400),
        ("update", {"name": 5}, 400),
        ("create", {"name": "n", "labels": 5}, 400),
    ],
)
def test_names_and_namespaces_are_held_against_the_path_alike(
    things: Things, verb: str, metadata: dict[str, Any], agreed: int
):
    metadata = json.loads(json.dumps(metadata).replace("HERE", things.server.namespace))
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).encode()
    path = f"/api/v1/namespaces/{things.server.namespace}/configmaps"
    if verb == "update":
        things.server.ask("POST", path, {"metadata": {"name": "m"}})
        answer = things.server.ask("PUT", f"{path}/m?dryRun=All", body)
    else:
        answer = things.server.ask("POST", f"{path}?dryRun=All", body)
    assert answer.code == agreed, answer
    info = RequestInfo(
        is_resource_request=True, path=path, verb=verb, api_version="v1", resource="configmaps",
        namespace=things.server.namespace, name="m" if verb == "update" else "",
    )  # fmt: skip
    if agreed == 201 or "labels" in metadata:
        assert with_body(Intent(cluster="c", info=info), JSON, body).info.name == metadata.get("name", "")
    else:
        with pytest.raises(Malformed) as caught:
            with_body(Intent(cluster="c", info=info), JSON, body)
        assert caught.value.code == agreed
