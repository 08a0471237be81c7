"""A tree as one may look after an hour of work: what the picture in the documentation is drawn of.

python -m tests.drawn_tree > docs/task-tree.svg
"""

from __future__ import annotations

import sys

from narrowgate.core.task_tree import Node, NodeKind
from narrowgate.core.tree_doings import Did, Stream
from narrowgate.core.tree_picture import tree_svg


def did(requests: int, denied: int = 0, minute: int = 31) -> Did:
    """What somebody did until that minute."""
    return Did(requests=requests, denied=denied, last_at=f"2026-11-21T10:{minute:02}:07.104812Z", is_cut_off=False)


def stream(session: str, kind: str, what: str, began: int, ended: int | None = None, *, named: bool = False) -> Stream:
    """A session from one minute to another."""
    return Stream(
        id=f"6b2a1f9e-{session}",
        kind=kind,
        what=what,
        began_at=f"2026-11-21T10:{began:02}:00.000000Z",
        ended_at=None if ended is None else f"2026-11-21T10:{ended:02}:41.000000Z",
        recording="" if ended is None else f"2026-11-21/{session}.recording",
        is_named=named,
    )


def task(name: str, about: str, done: Did, *streams: Stream, ended: str = "", below: tuple[Node, ...] = ()) -> Node:
    """A task, `about` its id and what it is for; active unless it is said how it ended."""
    task_id, _, purpose = about.partition(": ")
    state, _, because = ended.partition(": ")
    return Node(
        kind=NodeKind.TASK,
        id=task_id,
        name=name,
        state=state or "active",
        is_alive=not ended,
        purpose=purpose,
        allow=("get,list,watch pods -n checkout",),
        ends_at="2026-11-21T11:00:00Z",
        ended_because=because,
        did=done,
        streams=streams,
        children=below,
    )


def pod(name: str, uid: str, state: str, done: Did, *streams: Stream, below: tuple[Node, ...] = ()) -> Node:
    """A pod in one of its states."""
    return Node(
        kind=NodeKind.POD,
        id=uid,
        name=f"checkout/{name}",
        state=state,
        is_alive=state == "there",
        purpose="",
        allow=(),
        ends_at=None,
        ended_because="",
        did=done,
        runs_on="node-eu-west-1b-07" if done.requests else "",
        streams=streams,
        children=below,
    )


BISECT = pod(
    "bisect-payment-timeouts-since-release-2026-11-20-4x9vq",
    "0b7d5f0e-6f0c-4a8e-9a51-2f6e1b1c7d10",
    "there",
    did(212, 2, 33),
    stream("0031", "exec", "`psql -c 'select count(*) from pg_stat_activity'` in checkout/payments-db-0", 24, 25),
    stream("0044", "watch", "deployments.apps checkout", 26),
    below=(
        pod("bisect-step-1-zn7wl", "5c0e5a52-0c39-4f0e-8f1c-11b0de1a7a01", "gone", did(31, 0, 27)),
        pod("bisect-step-2-ks84d", "5c0e5a52-0c39-4f0e-8f1c-11b0de1a7a02", "gone", did(29, 5, 29)),
        pod("bisect-step-3-p0c2x", "5c0e5a52-0c39-4f0e-8f1c-11b0de1a7a03", "there", did(8, 0, 33)),
    ),
)

REPORT = pod("render-report-tq6rb", "9a3f2b44-7d55-4e0b-bc7d-3f3f7e2a9f21", "there, not let in", did(2, 2, 16))

EXAMPLE = task(
    "incident-bot",
    "7xk2mfqd4hpw3zna: find out why payments time out since the release of last night",
    did(143, 1, 32),
    stream("0012", "exec", "`sh` in checkout/payments-5f6d7c9b8-hx2lq (container app)", 12),
    stream("0009", "log", "checkout/payments-5f6d7c9b8-hx2lq", 9, 11),
    below=(
        task(
            "incident-bot/logs",
            "c5q7wmz2ahr4tnxe: read what the pods wrote between two and three",
            did(64, 0, 30),
            stream("0020", "log", "checkout/payments-5f6d7c9b8-hx2lq", 20, named=True),
            stream("0021", "log", "checkout/gateway-7c5b8d6f9-9k4zt", 21),
            below=(
                task("incident-bot/logs/count-timeouts-by-customer-and-region", "pd3xk6sgzq2v5rju: count", did(18)),
                task(
                    "incident-bot/logs/ask-the-database",
                    "nb4ty7ce2wq5mhkz: look at slow queries",
                    did(7, 7, 22),
                    ended="revoked: revoked by person:alice: the database is not its business",
                ),
            ),
        ),
        task(
            "incident-bot/bisect",
            "v6zr3jdm5kxw2qya: find the change by rolling back one service at a time, in copies",
            did(22, 0, 31),
            below=(BISECT,),
        ),
        task(
            "incident-bot/report",
            "h2mx7qbe4vt5kzcs: write down what was found",
            did(3, 0, 15),
            ended="completed",
            below=(REPORT,),
        ),
    ),
)

if __name__ == "__main__":
    sys.stdout.write(tree_svg(EXAMPLE))
