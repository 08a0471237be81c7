"""The gate as a pod of its cluster meets it: with its own token, alone, and judged by an agent that had it made.

The two differ in lineage and in nothing else: who had the pod made is one of 10,000 pods that the gate remembers, and
the agent of its chain has to be covered as well.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from bench.contenders import gate
from bench.contenders.contender import Contender, Running, Stage
from bench.furniture import NAMESPACE, ensure_namespace, gated_pod
from narrowgate.core.identity import Kind
from narrowgate.core.lineage import Ancestor, Placement
from narrowgate.store.sqlite import SQLiteStore

ACCOUNT: Final = "bench-pod"
AUDIENCE: Final = "narrowgate"
REMEMBERED: Final = 10_000
"""Pods that the gate remembers, the one that asks among them."""
TOKEN_SECONDS: Final = 24 * 3600
WORKLOADS: Final = frozenset({"get-1", "get-8", "get-plain-8", "patch-1"})
"""Small requests, where a look at who had a pod made could be seen at all."""


@contextmanager
def _start(stage: Stage, *, is_placed: bool) -> Iterator[Running]:
    accounts: dict[str, Any] = {"audience": AUDIENCE} if is_placed else {"audience": AUDIENCE, "lineage": False}
    prepared = gate.prepare(stage, settings={"authentication": {"serviceAccounts": accounts}})
    configuration, address, _ = prepared
    policy = gate.policy(reveals=False)
    policy["metadata"]["name"] = ACCOUNT
    policy["spec"]["subjects"] = [{"kind": "ServiceAccount", "name": f"{NAMESPACE}/{ACCOUNT}"}]
    (configuration.parent / "policies" / "pod.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    uid, token_file = _pod(stage), configuration.parent / "pod.token"
    token_file.touch(mode=0o600)
    token_file.write_text(_token(stage, uid))
    if is_placed:
        remember(configuration.parent / "data" / "gate.db", uid)
    with gate.running(prepared) as started:
        yield Running(replace(address, token_file=token_file), started.pid)


def _pod(stage: Stage) -> str:
    """UID of a pod that never runs: a token says which pod it is for, and nobody asks where that comes from."""
    ensure_namespace(stage.cluster, NAMESPACE)
    account = {"metadata": {"name": ACCOUNT}}
    pod = gated_pod()
    pod["metadata"] = {"name": ACCOUNT}
    pod["spec"]["serviceAccountName"] = ACCOUNT
    found: Mapping[str, Any] = {}
    for kind, document in (("serviceaccounts", account), ("pods", pod)):
        collection = f"/api/v1/namespaces/{NAMESPACE}/{kind}"
        found = stage.cluster.request("GET", f"{collection}/{ACCOUNT}") or stage.cluster.request(
            "POST", collection, document
        )
    return str(found["metadata"]["uid"])


def _token(stage: Stage, uid: str) -> str:
    bound = {"apiVersion": "v1", "kind": "Pod", "name": ACCOUNT, "uid": uid}
    spec = {"audiences": [AUDIENCE], "expirationSeconds": TOKEN_SECONDS, "boundObjectRef": bound}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    return str(stage.cluster.request("POST", path, {"spec": spec})["status"]["token"])


def remember(database: Path, uid: str) -> None:
    """Have the bench's agent be the author of that pod, and of as many others as are remembered besides."""
    with closing(SQLiteStore(database)) as store:
        author = (Ancestor(kind=Kind.AGENT, name=gate.AGENT, since=time.time()),)
        store.lineage.add(
            Placement(
                cluster=gate.CLUSTER, uid=uid, resource="pods", namespace=NAMESPACE, name=ACCOUNT, authors=(author,),
                is_settled=True, first_at=time.time(),
            )
        )  # fmt: skip
    # One transaction for all the others, which are like it but for their UIDs.
    with closing(sqlite3.connect(database)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(lineage)")]
        values = ", ".join("'other-' || n" if name == "uid" else name for name in names)
        connection.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {REMEMBERED - 1}) "
            f"INSERT INTO lineage ({', '.join(names)}) SELECT {values} FROM lineage, numbers WHERE uid = ?",
            (uid,),
        )


GATE_POD = Contender(
    "gate-pod", "Narrowgate: a pod's own token, lineage off", partial(_start, is_placed=False), WORKLOADS
)
GATE_POD_PLACED = Contender(
    "gate-pod-placed",
    f"the same, and the pod speaks for the agent that made it: one of {REMEMBERED:,} that are remembered",
    partial(_start, is_placed=True),
    WORKLOADS,
)
