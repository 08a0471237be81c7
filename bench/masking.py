"""`python -m bench.masking`: what it costs to mask answers, beside passing them on and beside the plain way to mask.

Processor time for lists of 5,000 Secrets and of 5,000 pods, a watch of pods and a log, each in pieces as they come from
a socket: copied (`copy`), masked in their bytes as the gate does it (`gate`), the same with 5,000 known values to look
for in text (`known`), and read into Python objects, masked there and written again (`objects`, the whole list at once,
as nothing else can be done with them). One list is also reduced to what its reader may see. Then what single objects
cost, when they come for the first time and when they come again, and the memory that a list takes which is much larger
than what may be held of it. No network takes part.
"""

from __future__ import annotations

import argparse
import base64
import functools
import gc
import random
import resource
import statistics
import string
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from narrowgate.core.masking.built_in import built_in_rules
from narrowgate.core.masking.choosing import MaskChoice, Where, masks_of_member
from narrowgate.core.masking.known_values import NOTHING_KNOWN, KnownValues
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker, mask_document
from narrowgate.core.masking.patterns import text_patterns
from narrowgate.core.masking.plan import Plan
from narrowgate.core.masking.resource_plan import HeldMask, plan_for
from narrowgate.core.masking.secret_parts import Known
from narrowgate.core.masking.text import TextMasker
from narrowgate.core.request_info import RequestInfo
from narrowgate.proxy.masking import Masking
from narrowgate.wire.http1 import Framing, ResponseHead
from narrowgate.wire.json_mask import REMEMBERED_BYTES, REMEMBERED_OF_WATCH, JsonMasker
from narrowgate.wire.masked_answer import Form, MaskedAnswer, masked_answer

ITEMS: Final = 5_000
HIDDEN: Final = 301
"""Of ITEMS + 1 objects, in the list that is reduced: 4,700 are shown, as others have measured their own filters."""
ELSEWHERE: Final = "elsewhere"
"""The namespace of the hidden ones."""
PODS_EACH: Final = 20
"""Pods of one workload. They come one after the other, as etcd has them, by namespace and name."""
WORKLOADS: Final = ITEMS // PODS_EACH
EVENTS: Final = 2_000
LOG_LINES: Final = 60_000
PIECE: Final = 256 * 1024
"""Bytes that come at one time: what the gate reads from a socket."""
ROUNDS: Final = 5
"""Each goes through all ways; the median counts, for what is beside it on the machine changes from round to round."""
MEBIBYTE: Final = 1024 * 1024
LARGE: Final = 500
"""MiB of the list whose memory is measured."""
SINGLES: Final = 200
"""Single objects in each round."""
KEY: Final = b"0" * 32
"""Of masked values."""
KNOWN: Final = 5_000
"""Known values of the column of that name."""
LENGTHS: Final = (12, 16, 20, 24, 32, 40)
"""Their characters."""
MOST_GROWTH: Final = 64.0
"""MiB that it may take: what is promised."""


class Answer(NamedTuple):
    """One answer to be masked."""

    name: str
    resource: str
    form: Form | None
    body: bytes
    is_reduced: bool = False
    """Whether what is ELSEWHERE does not leave."""


class HeldMasks:
    """The built-in masks of one resource, all of which hold for every object."""

    varies = False

    def __init__(self, plan: Plan, form: Form, known: KnownValues, *, is_reduced: bool = False) -> None:
        self.shows = _is_shown if is_reduced else None
        self._plan = plan
        counts: dict[str, int] = {}
        remembers = REMEMBERED_OF_WATCH if form is Form.WATCH else REMEMBERED_BYTES
        objects = ObjectMasker(plan, ValueMasker(KEY), counts, known)
        self._masker = JsonMasker(objects.mask, counts, remembers, objects.leaves)

    def plan(self, where: Where) -> Plan | None:  # noqa: ARG002 (wherever that is)
        """See `Masks`."""
        return self._plan

    def masker(self, plan: Plan) -> JsonMasker:  # noqa: ARG002 (there is one)
        """See `Masks`."""
        return self._masker


def _is_shown(where: Where) -> bool:
    return where.namespace != ELSEWHERE


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when it kept to its memory, 1 when it did not."""
    parser = argparse.ArgumentParser(prog="python -m bench.masking", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"(default: {ROUNDS})")
    parser.add_argument("--only", default="", metavar="TEXT", help="only answers whose name holds this; no memory")
    options = parser.parse_args(arguments)
    # First, while nothing else has grown the process.
    grown = 0.0 if options.only else _growth(LARGE * MEBIBYTE)
    answers = [answer for answer in _answers(random.Random(5)) if options.only in answer.name]
    print(f"processor time, MB/s (median of {options.rounds} rounds)")
    print(f"  {'':24} {'MB':>5} {'copy':>9} {'gate':>9} {'known':>9} {'objects':>9}   gate to objects")
    for answer in answers:
        _print(answer, options.rounds)
    if options.only:
        return 0
    print("\ntime, µs for a single object as a whole answer (least of all)")
    print(f"  {'':24} {'KB':>5} {'first':>9} {'again':>9}")
    for name, body in _objects(random.Random(5)):
        _print_single(name, body, options.rounds)
    print(f"\na list of {LARGE} MiB: resident memory grew by {grown:.1f} MiB")
    print("bounded" if grown <= MOST_GROWTH else f"more than the {MOST_GROWTH:g} MiB that are promised")
    return 0 if grown <= MOST_GROWTH else 1


def _print(answer: Answer, rounds: int) -> None:
    ways: dict[str, Callable[[Answer], int]] = {
        "copy": _copied,
        "gate": _masked,
        "known": _masked_with_known,
        "objects": _by_objects,
    }
    if answer.form is None:
        del ways["objects"]
    took: dict[str, list[float]] = {name: [] for name in ways}
    _known()
    for _ in range(rounds):
        for name, way in ways.items():
            gc.collect()
            began = time.process_time()
            way(answer)
            took[name].append(time.process_time() - began)
    speeds = {name: len(answer.body) / 1e6 / max(statistics.median(times), 1e-6) for name, times in took.items()}
    ratio = f"{speeds['gate'] / speeds['objects']:.1f}x" if "objects" in speeds else ""
    shown = (
        f"{speeds[name]:9,.0f}" if name in speeds else f"{'-':>9}" for name in ("copy", "gate", "known", "objects")
    )
    print(f"  {answer.name:24} {len(answer.body) / 1e6:5.1f} {' '.join(shown)}   {ratio}", flush=True)


def _print_single(name: str, body: bytes, rounds: int) -> None:
    """What the gate does with an answer that has come whole, from what `decide` said to what is written."""
    masks = masks_of_member((), (), ("", name), is_person=False)
    choice = MaskChoice("", name, (masks,) if masks is not None else ())
    info = RequestInfo(is_resource_request=True, path="/", verb="get", resource=name)
    relayed = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    head = ResponseHead(200, relayed, Framing(len(body)), keep_alive=True)

    def microseconds(masking: Callable[[], Masking]) -> float:
        least = float("inf")
        for _ in range(rounds * SINGLES):
            made = masking()
            began = time.perf_counter()
            answer = made.of(choice, info)
            assert answer is not None
            answer.require_readable(head)
            answer.whole(head, body)
            least = min(least, time.perf_counter() - began)
        return least * 1e6

    one = Masking(KEY)
    first, again = microseconds(lambda: Masking(KEY)), microseconds(lambda: one)
    print(f"  {name:24} {len(body) / 1e3:5.1f} {first:9.1f} {again:9.1f}", flush=True)


# --- ways


def _copied(answer: Answer) -> int:
    return sum(len(bytes(bytearray(piece))) for piece in _pieces(answer.body))


@functools.cache
def _known() -> KnownValues:
    """Random passwords, none of which is in any answer."""
    source = random.Random(7)
    letters = string.ascii_letters + string.digits + "!$%+/"
    passwords = ("".join(source.choices(letters, k=source.choice(LENGTHS))).encode() for _ in range(KNOWN))
    return KnownValues(Known(password, password) for password in passwords)


def _masked_with_known(answer: Answer) -> int:
    return _masked(answer, _known())


def _masked(answer: Answer, known: KnownValues = NOTHING_KNOWN) -> int:
    masker: MaskedAnswer | TextMasker
    if answer.form is None:
        rules = _plan(answer.resource).text_rules
        masker = TextMasker(text_patterns(rules), ValueMasker(KEY), {}, known)
    else:
        masker = masked_answer(
            answer.form, HeldMasks(_plan(answer.resource), answer.form, known, is_reduced=answer.is_reduced)
        )
    return sum(len(masker.feed(piece)) for piece in _pieces(answer.body)) + len(masker.finish())


def _by_objects(answer: Answer) -> int:
    plan, values = _plan(answer.resource), ValueMasker(KEY)
    documents = answer.body.splitlines() if answer.form is Form.WATCH else [answer.body]
    length = 0
    for written in documents:
        document = orjson.loads(written)
        if answer.is_reduced:
            document["items"] = [one for one in document["items"] if one["metadata"]["namespace"] != ELSEWHERE]
        length += len(orjson.dumps(mask_document(document, lambda *_where: plan, values, {})))
    return length


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), PIECE):
        yield body[at : at + PIECE]


def _plan(resource: str) -> Plan:
    plan = plan_for("", resource, tuple(HeldMask(rule) for rule in built_in_rules("", resource)))
    assert plan is not None
    return plan


# --- memory


def _growth(size: int) -> float:
    """MiB that a list of pods takes which is made as it is masked."""
    source = random.Random(7)
    specs = [_pod_parts(source, number) for number in range(WORKLOADS)]
    answer = masked_answer(Form.LIST, HeldMasks(_plan("pods"), Form.LIST, NOTHING_KNOWN))
    answer.feed(b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[')
    before = _peak()
    made = number = 0
    while made < size:
        piece = b"".join(_written(_pod(source, specs, number + extra)) + b"," for extra in range(100))
        number += 100
        made += len(piece)
        answer.feed(piece)
    answer.feed(_written(_pod(source, specs, number)) + b"]}\n")
    answer.finish()
    return _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- what is masked


def _answers(source: random.Random) -> Iterator[Answer]:
    secrets = [_secret(source, number) for number in range(ITEMS)]
    yield Answer("LIST of 5,000 Secrets", "secrets", Form.LIST, _list("SecretList", secrets))
    specs = [_pod_parts(source, number) for number in range(WORKLOADS)]
    pods = [_pod(source, specs, number) for number in range(ITEMS)]
    yield Answer("LIST of 5,000 pods", "pods", Form.LIST, _list("PodList", pods))
    others = [_elsewhere(pod) if at % 16 == 0 and at // 16 < HIDDEN else pod for at, pod in enumerate([*pods, pods[0]])]
    reduced = _list("PodList", others)
    yield Answer("4,700 of 5,001 pods", "pods", Form.LIST, reduced, is_reduced=True)
    events = [{"type": "MODIFIED", "object": pod | {"kind": "Pod", "apiVersion": "v1"}} for pod in pods[:EVENTS]]
    yield Answer("watch of pods", "pods", Form.WATCH, b"".join(_written(event) + b"\n" for event in events))
    yield Answer("log", "pods/log", None, b"".join(_log_line(source, number) for number in range(LOG_LINES)))


def _objects(source: random.Random) -> Iterator[tuple[str, bytes]]:
    """A resource, and an object of it."""
    metadata = _metadata(source, "settings", "kubectl", {"f:data": {"f:a": {}}})
    text = "".join(f"setting-{number}=value of {number}\n" for number in range(20))
    settings = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"a": "1", "settings": text}}
    yield "configmaps", _written(settings)
    yield "secrets", _written({"kind": "Secret", "apiVersion": "v1", **_secret(source, 0)})
    yield "pods", _written({"kind": "Pod", "apiVersion": "v1", **_pod(source, [_pod_parts(source, 0)], 0)})


def _elsewhere(pod: dict[str, Any]) -> dict[str, Any]:
    return pod | {"metadata": pod["metadata"] | {"namespace": ELSEWHERE}}


def _written(value: Any) -> bytes:
    return orjson.dumps(value)


def _list(kind: str, items: list[Any]) -> bytes:
    return _written({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}) + b"\n"


def _secret(source: random.Random, number: int) -> dict[str, Any]:
    """A certificate with its key, the settings of an application or a Helm release, as clusters have them."""
    lengths = ((1_100, 1_300, 1_700), (24, 32, 64), (4_500,))[number % 3]
    data = {f"setting-{at}": base64.b64encode(source.randbytes(length)).decode() for at, length in enumerate(lengths)}
    fields: dict[str, Any] = {"f:data": {".": {}, **{f"f:{key}": {} for key in data}}, "f:type": {}}
    return {
        "metadata": _metadata(source, f"secret-{number}", "Secret", fields),
        "data": data,
        "type": "Opaque",
    }


def _metadata(source: random.Random, name: str, manager: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": f"team-{source.randrange(40)}",
        "uid": _uid(source),
        "resourceVersion": str(source.randrange(10**8)),
        "creationTimestamp": "2026-05-05T10:00:00Z",
        "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "release", "checksum/config": source.randbytes(32).hex()},
        "managedFields": [
            {
                "manager": manager,
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-05-05T10:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            }
        ],
    }


def _uid(source: random.Random) -> str:
    digits = source.randbytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _pod_parts(source: random.Random, number: int) -> dict[str, Any]:
    """The spec of one workload's pods."""
    variables: list[Any] = [
        {
            "name": f"SETTING_{key}",
            "value": source.choice(("true", "8080", f"http://service-{number}.team.svc:8080/v1")),
        }
        for key in range(8)
    ]
    variables.append(
        {"name": "DATABASE_URL", "value": f"postgres://app:{source.randbytes(9).hex()}@db-{number}:5432/x"}
    )
    variables.append({"name": "API_TOKEN", "value": source.randbytes(16).hex()})
    reference = {"secretKeyRef": {"name": f"secret-{number}", "key": "setting-a"}}
    variables.append({"name": "DB_PASSWORD", "valueFrom": reference})
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10}
    container = {
        "name": "app",
        "image": f"registry.corp/team/app-{number}:1.{number}.0",
        "command": ["/usr/bin/app", "--listen=:8080", "--config", "/etc/app/config.yaml"],
        "args": ["--log-level=info", f"--name=app-{number}"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": variables,
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "volumes": [{"name": "config", "configMap": {"name": f"app-{number}", "defaultMode": 420}}],
        "containers": [container],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": f"app-{number}",
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
    }


def _pod(source: random.Random, specs: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """About 4 KB: one of a workload's pods, somewhere."""
    workload = number // PODS_EACH % len(specs)
    spec = specs[workload] | {"nodeName": f"node-{source.randrange(200)}"}
    names = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    conditions = [{"type": name, "status": "True", "lastTransitionTime": "2026-05-05T10:00:00Z"} for name in names]
    address = f"10.{source.randrange(256)}.{source.randrange(256)}.{source.randrange(256)}"
    image = spec["containers"][0]["image"]
    container = {
        "name": "app",
        "state": {"running": {"startedAt": "2026-05-05T10:00:00Z"}},
        "lastState": {},
        "ready": True,
        "restartCount": source.randrange(3),
        "image": image,
        "imageID": f"{image}@sha256:{source.randbytes(32).hex()}",
        "containerID": f"containerd://{source.randbytes(32).hex()}",
        "started": True,
    }
    status = {
        "phase": "Running",
        "conditions": conditions,
        "hostIP": address,
        "podIP": address,
        "startTime": "2026-05-05T10:00:00Z",
        "containerStatuses": [container],
        "qosClass": "Burstable",
    }
    env: dict[str, Any] = {f'k:{{"name":"SETTING_{key}"}}': {".": {}, "f:name": {}, "f:value": {}} for key in range(8)}
    fields = {"f:spec": {"f:containers": {'k:{"name":"app"}': {"f:env": env, "f:image": {}}}}}
    metadata = _metadata(source, f"app-{workload}-{number}", "kube-controller-manager", fields)
    return {"metadata": metadata, "spec": spec, "status": status}


def _log_line(source: random.Random, number: int) -> bytes:
    """Mostly nothing; now and then what had better not be in a log."""
    if source.random() < 1 / 100:
        return f"2026-05-05T10:00:00Z ERROR cannot connect: token={source.randbytes(16).hex()} refused\n".encode()
    address = f"10.1.{source.randrange(256)}.{source.randrange(256)}"
    path = f"/api/items/{source.randrange(10**6)}"
    took = f"{source.randrange(900)}ms"
    return f'2026-05-05T10:00:00Z INFO {address} "GET {path} HTTP/1.1" 200 {took} request={number} user=web\n'.encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
