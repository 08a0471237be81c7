"""Random bodies: nothing but Malformed may come out, and what is read is read again from another spelling.

    python tests/fuzz/fuzz_body.py --seconds 60 [--seed 7]

Prints the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz

from narrowgate.core.body import with_body, with_patched
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.status import of_malformed, to_json
from narrowgate.wire.protobuf import read_names

# fmt: off
KEYS = (
    "spec", "template", "metadata", "name", "namespace", "generateName", "annotations", "labels", "uid", "kind",
    "apiVersion", "items", "volumes", "secret", "secretName", "configMap", "projected", "sources",
    "serviceAccountToken", "audience", "persistentVolumeClaim", "claimName", "containers", "initContainers", "env",
    "envFrom", "valueFrom", "secretKeyRef", "securityContext", "privileged", "capabilities", "add", "seLinuxOptions",
    "sysctls", "ports", "hostPort", "hostPath", "serviceAccountName", "imagePullSecrets", "roleRef", "type",
    "dataSource", "op", "path", "from", "value", "$patch", "Metadata", "KIND", "<<", "",
)
SCALARS = (
    None, True, False, 0, 1, -1, 1.5, 1e+300, 9223372036854775808, "", "x", "default", "Role", "List", "add", "move",
    "replace", "test", "v1", "/spec/template/spec/volumes/0/secret/secretName", "/spec", "", "/metadata/name", "a/b",
    "\u2028", "\ud83d\ude00",
)
ODD = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\x00", b"1e999", b"NaN",
    b"&a ", b"*a", b"!!x ", b"---\n", b"\n", b"\t", b"<<: ", b"'", b"|\n", b"#", b"k8s\x00", b'"a":1,"a":1',
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b'{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":',
)
FORMS = (
    "application/json", "", "application/yaml", "application/vnd.kubernetes.protobuf", "application/merge-patch+json",
    "application/json-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
    "application/cbor", "text/html; x=y",
)
PATHS = ("", "/spec", "/metadata", "/spec/template/spec", "/spec/template/spec/volumes/-", "/data/x", "/spec/0")
RESOURCES = (
    ("", "pods", ""), ("", "pods", "ephemeralcontainers"), ("", "pods", "eviction"), ("apps", "deployments", ""),
    ("batch", "cronjobs", ""), ("", "secrets", ""), ("", "persistentvolumes", ""), ("example.com", "things", ""),
    ("rbac.authorization.k8s.io", "rolebindings", ""), ("", "configmaps", ""), ("", "namespaces", ""),
)
# fmt: on


def document(source: random.Random, depth: int = 0) -> object:
    """A value of the keys and scalars that bodies are judged by, in any order and place."""
    kind = source.random()
    if depth > 7 or kind < 0.3:
        return source.choice(SCALARS)
    if kind < 0.45:
        return [document(source, depth + 1) for _ in range(source.randint(0, 3))]
    return {source.choice(KEYS): document(source, depth + 1) for _ in range(source.randint(0, 4))}


def make(source: random.Random) -> bytes:
    """A body: mostly JSON, in half of all cases with something odd in it."""
    said = {source.choice(KEYS): document(source) for _ in range(source.randint(0, 4))}
    whole = said if source.random() < 0.4 else {"metadata": {"name": "x"}, "spec": {"template": {"spec": said}}}
    patch = [{"op": "add", "path": source.choice(PATHS), "value": whole}]
    raw = bytearray(json.dumps(patch if source.random() < 0.15 else whole, indent=source.choice((None, 1))).encode())
    for _ in range(source.choice((0, 0, 0, 1, 1, 2))):
        at = source.randint(0, len(raw))
        raw[at:at] = source.choice(ODD)
    for _ in range(source.choice((0, 0, 0, 0, 1, 4))):
        if raw:
            raw[source.randrange(len(raw))] = source.randrange(256)
    return bytes(raw)


def intent(source: random.Random) -> Intent:
    """A write of something."""
    group, resource, subresource = source.choice(RESOURCES)
    verb = source.choice(("create", "update", "patch", "delete", "deletecollection"))
    name = "" if verb in ("create", "deletecollection") else "x"
    info = RequestInfo(
        is_resource_request=True, path="/", verb=verb, api_group=group, api_version="v1", namespace="ci",
        resource=resource, subresource=subresource, name=name,
    )  # fmt: skip
    return Intent(cluster="c", info=info, namespaced=True)


def form_of(what: Intent, source: random.Random) -> str:
    """A content type that goes with the verb, mostly."""
    if source.random() < 0.1:
        return source.choice(FORMS)
    return source.choice(FORMS[4:8] if what.info.verb == "patch" else FORMS[:3])


def check(what: Intent, form: str, raw: bytes) -> str:
    """Put one body through everything; what became of it, for the count."""
    try:
        read = with_body(what, form, raw, read_names)
    except Malformed as error:
        status = of_malformed(error)
        if not status.message.isprintable() or not to_json(status):
            raise AssertionError(f"{status} cannot be shown") from error
        return f"refused with {error.code}"
    if read.object is not None:
        again = with_body(what, "application/json", json.dumps(read.object, indent=2).encode())
        assert again == read, (again, read)
    seen = with_patched(read, read.object, None)
    assert not seen.unseen, seen
    return f"read {what.info.verb}"


def tried(source: random.Random) -> tuple[Intent, str, bytes]:
    """A request, the form that it says its body has, and the body."""
    what = intent(source)
    return what, form_of(what, source), make(source)


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "bodies", tried, lambda _, made: check(*made)))
