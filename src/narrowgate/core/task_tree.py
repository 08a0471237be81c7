"""A task with everything that came of it, as a tree: its delegates and theirs, what each did, what is still alive.

The tree is a value of nodes of several kinds, so that whoever draws it (as text, as a picture) asks no questions.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from narrowgate.core.delegated_task import as_delegated
from narrowgate.core.moment import moment_text
from narrowgate.core.sign_in import SignIn
from narrowgate.core.tasks import Task, TaskState
from narrowgate.core.tree_doings import Did, Doings, Stream, stream_text, to_the_second
from narrowgate.core.wanted import wanted_text

MOST_NODES: Final = 500
"""Nodes of one tree that are shown; it says so where there are more."""


class NodeKind(enum.Enum):
    """What a node stands for."""

    SIGN_IN = "sign-in"
    """A person's, with the tasks that they asked for meanwhile."""
    TASK = "task"
    POD = "pod"
    """A pod that somebody above it made through the gate."""


class Node(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One node of a tree."""

    kind: NodeKind
    id: str
    """Of the task or sign-in, or the pod's UID."""
    name: str
    """Who works on it, or the pod as `namespace/name`."""
    state: str
    is_alive: bool
    """Whether it is let in by now."""
    purpose: str
    allow: tuple[str, ...]
    ends_at: str | None
    ended_because: str
    did: Did | None
    """Null where nobody looked, or the record could not be read now."""
    is_named: bool = False
    """Whether the tree was asked for by this node."""
    runs_on: str = ""
    """Of a pod: its node, as the cluster vouched for it when the pod last asked; empty while it has asked nothing."""
    streams: tuple[Stream, ...] = ()
    """Sessions, followed logs and watches: those that run, and the newest that are over and recorded."""
    more_streams: int = 0
    """Those left out."""
    left_out: int = 0
    """Nodes of the tree that are not shown; the root says it for all."""
    children: tuple[Node, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        """The node and all that hangs on it, each behind what it hangs on."""
        yield self
        for child in self.children:
            yield from child

    def with_doings(self, doings: Doings | None) -> Node:
        """The same with what it did."""
        if doings is None:
            return self
        told = {name: getattr(doings, name) for name in ("did", "streams", "more_streams", "runs_on")}
        return msgspec.structs.replace(self, **told)


class Totals(msgspec.Struct, frozen=True):
    """A whole tree in numbers."""

    tasks: int
    pods: int
    alive: int
    """Of both."""
    requests: int
    denied: int
    running: int
    """Streams of those alive that have not ended, as far as they are told."""


class Tone(enum.Enum):
    """What a part of a line is about, for whoever colours it."""

    PLAIN = ""
    NAMED = "named"
    REFUSED = "refused"
    RUNNING = "running"
    OVER = "over"


Line = tuple[tuple[Tone, str], ...]
"""A line of text in parts."""

NAMED: Final = "  <- this one"


def tree_of(
    root: Task, below: Iterable[Task], now: float, did: Mapping[str, Doings] | None = None, named: str = ""
) -> Node:
    """The tree that begins with a task, from the tasks that hang on it, as time leaves them at `now` (Unix seconds).

    `did` is by the ids of tasks, and `named` that of the task the tree was asked for by.
    """
    by_parent: dict[str, list[Task]] = {}
    listed = list(below)
    for task in listed[: MOST_NODES - 1]:
        by_parent.setdefault(task.parent, []).append(task)
    tree = _node(root, by_parent, now, did or {}, named)
    return msgspec.structs.replace(tree, left_out=max(0, len(listed) - MOST_NODES + 1))


def _node(task: Task, by_parent: Mapping[str, list[Task]], now: float, did: Mapping[str, Doings], named: str) -> Node:
    task = task.at(now)
    return Node(
        kind=NodeKind.TASK,
        id=task.id,
        name=task.name,
        state=task.state.value,
        is_alive=task.state is TaskState.ACTIVE,
        purpose=task.purpose,
        allow=tuple(wanted_text(rule) for rule in task.rules),
        ends_at=None if task.ends_at is None else moment_text(task.ends_at),
        ended_because=task.ended_because,
        did=None,
        is_named=task.id == named,
        # What ended with a task counts as over before anybody has written it down.
        children=tuple(
            _node(as_delegated(child, task, now), by_parent, now, did, named) for child in by_parent.get(task.id, ())
        ),
    ).with_doings(did.get(task.id))


def sign_in_node(sign_in: SignIn, children: tuple[Node, ...], now: float, doings: Doings | None, named: str) -> Node:
    """A person's sign-in at `now` (Unix seconds), above the trees of what they asked for in it."""
    is_alive = sign_in.ended_at is None and now < sign_in.expires_at
    return Node(
        kind=NodeKind.SIGN_IN,
        id=sign_in.id,
        name=sign_in.person,
        state="active" if is_alive else "ended" if sign_in.ended_at is not None else "expired",
        is_alive=is_alive,
        purpose="",
        allow=(),
        ends_at=moment_text(sign_in.expires_at),
        ended_because=sign_in.ended_because,
        did=None,
        is_named=sign_in.id == named,
        children=children,
    ).with_doings(doings)


def totals_of(root: Node) -> Totals:
    """A tree in numbers."""
    nodes = list(root)
    done = [node.did for node in nodes if node.did is not None]
    return Totals(
        tasks=sum(node.kind is NodeKind.TASK for node in nodes),
        pods=sum(node.kind is NodeKind.POD for node in nodes),
        alive=sum(node.is_alive for node in nodes if node.kind is not NodeKind.SIGN_IN),
        requests=sum(did.requests for did in done),
        denied=sum(did.denied for did in done),
        running=sum(len(running_of(node)) for node in nodes),
    )


def running_of(node: Node) -> tuple[Stream, ...]:
    """Its streams that run. Those of a node that is over have ended, whether or not somebody was there to note it."""
    return tuple(stream for stream in node.streams if stream.ended_at is None) if node.is_alive else ()


def tree_lines(node: Node) -> Iterator[Line]:
    """The tree as text: a line for each node, and one for each of its streams."""
    yield node_line(node)
    yield from _below(node, "")
    if node.left_out:
        yield ((Tone.PLAIN, left_out_text(node)),)


def _below(node: Node, indent: str) -> Iterator[Line]:
    beside = f"{indent}{'│' if node.children else ' '}    "
    for stream in node.streams:
        yield _stream_line(stream, beside, is_running=stream in running_of(node))
    if node.more_streams:
        yield ((Tone.PLAIN, f"{beside}... and {node.more_streams} more"),)
    for child in node.children:
        last = child is node.children[-1]
        yield ((Tone.PLAIN, f"{indent}{'└─ ' if last else '├─ '}"), *node_line(child))
        yield from _below(child, indent + ("   " if last else "│  "))


def _stream_line(stream: Stream, beside: str, *, is_running: bool) -> Line:
    tone, mark = (Tone.RUNNING, "●") if is_running else (Tone.PLAIN, "○")
    named = ((Tone.NAMED, NAMED),) if stream.is_named else ()
    unended = stream.ended_at is None and not is_running
    text = f" {stream_text(stream)}" + (", whose end nobody noted" if unended else "")
    return ((Tone.PLAIN, beside), (tone, mark), (Tone.PLAIN, text), *named)


def node_line(node: Node) -> Line:
    """One node on one line: `bot/helper  task t2  active until 10:00  12 requests, 1 refused: count pods`."""
    until = f" until {node.ends_at}" if node.is_alive and node.ends_at else ""
    tone = Tone.PLAIN if node.is_alive else Tone.OVER
    line = [(Tone.PLAIN, f"{node.name}  {node.kind.value} {node.id}  "), (tone, f"{node.state}{until}")]
    if node.runs_on:
        line.append((Tone.PLAIN, f"  on {node.runs_on}"))
    if node.did is not None:
        line += [(Tone.PLAIN, "  "), *_did_line(node.did)]
    if node.purpose:
        line.append((Tone.PLAIN, f": {node.purpose}"))
    if because := over_because(node):
        line.append((Tone.OVER, f" ({because})"))
    if node.is_named:
        line.append((Tone.NAMED, NAMED))
    return tuple(line)


def _did_line(did: Did) -> Iterator[tuple[Tone, str]]:
    yield Tone.PLAIN, requests_text(did)
    if did.denied:
        yield Tone.PLAIN, ", "
        yield Tone.REFUSED, f"{did.denied} refused"
    if did.last_at:
        yield Tone.PLAIN, f", last {to_the_second(did.last_at)}"


def over_because(node: Node) -> str:
    """Why it is over, where its state does not say so; empty while it is not."""
    return "" if node.is_alive or node.ended_because == node.state else node.ended_because


def left_out_text(root: Node) -> str:
    """How much of a tree is not shown."""
    return f"and {root.left_out} more that {'is' if root.left_out == 1 else 'are'} not shown"


def requests_text(did: Did) -> str:
    """How many requests somebody made: `1 request`, `50 requests at least`."""
    return f"{did.requests} request{'' if did.requests == 1 else 's'}{' at least' if did.is_cut_off else ''}"


def text_of(line: Line) -> str:
    """A line without its colours."""
    return "".join(text for _, text in line)
