"""What approvers are shown of a held request, in lines: what it would change, delete, make or run.

All of it is taken from what was judged and from what its sender may see: nobody says yes to anything but what would be
forwarded, and the sender, who may read its own question, learns nothing by asking. Values of a Secret are never in it.
Lines are bounded, in number and length, and have nothing in them that moves a cursor or hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.documents import parse_yaml
from narrowgate.core.duration import duration_text
from narrowgate.core.entering import new_debug_containers
from narrowgate.core.explain_pods import explained_account, explained_pod
from narrowgate.core.intent import Intent
from narrowgate.core.malformed import Malformed
from narrowgate.core.moment import moment_of
from narrowgate.core.object_difference import difference
from narrowgate.core.pod_judging import pod_is_there
from narrowgate.core.pod_templates import templates_of
from narrowgate.core.target import Target
from narrowgate.core.typed_lines import asks_for
from narrowgate.core.understand import is_streaming

MAX_LINES: Final = 200
"""Lines that are shown: more than anybody reads before answering; what is left out is said."""
MAX_COUNTED: Final = 10_000
"""Lines that are counted beyond those: an object of three megabytes has some hundred thousand."""
MAX_LINE: Final = 360
"""Characters of such a line: a path in an object, and what is shown of a value."""
MAX_PIECE: Final = 200
"""Characters of a command's argument in one line; the rest of it follows in further ones."""

MAX_PODS: Final = 20
"""Pods of one object that are shown before all else, so that there is room for it."""

SECRET: Final = ("", "secrets")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster shows, in the sender's name, of the object that a held request is about."""

    old: Any = None
    """As it is now; None where there is none, or where it was not shown."""
    new: Any = None
    """As the cluster says that the write would make it; None where it does not say."""
    hidden: str = ""
    """Why nobody is shown what is there now; empty where they are."""
    refused: str = ""
    """Why the cluster would not take the write as it is; empty where it would."""


def summary_of(intent: Intent, target: Target, body: bytes, seen: Seen | None, now: float) -> tuple[str, ...]:
    """What the request would do, in lines. `seen` is None for requests that are about no object that is there."""
    info = intent.info
    if info.is_resource_request and is_streaming(info):
        lines: Iterable[str] = _stream(target)
    elif seen is None:
        lines = _as_sent(intent, body)
    elif info.verb == "delete":
        lines = chain(_deleted(seen, now), _as_sent(intent, body))
    else:
        lines = chain(_debugged(intent), _changed(intent, seen, body))
    # First: whoever sends the request decides how long the rest of it is.
    return _bounded(chain(_pods(intent), lines))


def _pods(intent: Intent) -> Iterator[str]:
    """What the pods would be that it makes, and what their accounts may do which not everybody may."""
    if intent.pods is None:
        return
    info = intent.info
    # A pod that is there stays what it is, whatever is written; of what would change the rest tells.
    if intent.object is not None and not info.subresource and not pod_is_there(intent):
        templates = intent.pods.templates or templates_of(info, intent.object)
        yield from (str(explained_pod(template)) for template in templates[:MAX_PODS])
        if len(templates) > MAX_PODS:
            yield f"pods at {len(templates) - MAX_PODS} more places"
    for account in (*intent.pods.accounts, *intent.pods.named):
        if account.rights or account.unknown:
            yield from explained_account(account).lines()


def cut(text: str, limit: int) -> str:
    """The text on one line, with nothing that hides or turns the writing around, and at most so long."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _bounded(lines: Iterable[str]) -> tuple[str, ...]:
    rest = iter(lines)
    shown = [cut(line, MAX_LINE) for line in islice(rest, MAX_LINES)]
    left_out = sum(1 for _ in islice(rest, MAX_COUNTED))
    if left_out:
        more = f"{left_out} lines" if left_out < MAX_COUNTED else f"at least {left_out} lines"
        shown.append(f"... and {more} more, not shown")
    return tuple(shown)


def _changed(intent: Intent, seen: Seen, body: bytes) -> Iterator[str]:
    secret = _is_secret(intent)
    if seen.hidden:
        yield f"what is there now is not shown: {seen.hidden}"
    elif seen.old is None:
        yield "there is no such object now: this would make it"
    if seen.refused:
        yield f"a dry run of it fails: {seen.refused}"
    if seen.hidden or seen.old is None or seen.new is None:
        yield from _as_sent(intent, body)
        return
    changes = difference(seen.old, seen.new, values=not secret, status=intent.info.subresource == "status")
    first = next(changes, None)
    if first is None:
        yield "nothing would change"
        return
    if secret:
        yield "values of a Secret are not shown"
    yield first
    yield from changes


def _deleted(seen: Seen, now: float) -> Iterator[str]:
    if seen.hidden:
        yield f"what it would delete is not shown: {seen.hidden}"
        return
    if not isinstance(seen.old, dict):
        yield "there is no such object now"
        return
    metadata = seen.old.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    made = metadata.get("creationTimestamp")
    yield f'deletes {seen.old.get("kind") or "object"} "{metadata.get("name", "")}"{_age(made, now)}'
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict):
            yield f'owned by {owner.get("kind")} "{owner.get("name")}"'
    finalizers = metadata.get("finalizers")
    for finalizer in finalizers if isinstance(finalizers, list) else ():
        yield f"waits, once deleted, for {finalizer}"
    if metadata.get("deletionTimestamp"):
        yield "is being deleted already"


def _age(made: object, now: float) -> str:
    try:
        began = moment_of(str(made))
    except ValueError:
        return ""
    # To the minute: nobody needs more, and less is read at a glance.
    minutes = max(0, int((now - began) // 60))
    return f", {duration_text(60.0 * minutes) if minutes else 'less than a minute'} old"


def _stream(target: Target) -> Iterator[str]:
    """What exec, attach and port-forward say in their query (core/v1 PodExecOptions, PodPortForwardOptions)."""
    yield f"container: {target.first('container') or 'the one that the cluster chooses'}"
    opened = [name for name in ("stdin", "tty") if asks_for(target.query, name)]
    yield f"input: {' and '.join(opened) or 'none'}"
    for number, value in enumerate((value for key, value in target.query if key == "command"), 1):
        yield from in_pieces(f"argument {number}", value)
    for value in (value for key, value in target.query if key == "ports"):
        yield f"port: {value}"


def _debugged(intent: Intent) -> Iterator[str]:
    """What a debug container would run, before all else that the write sets."""
    for entry, image in new_debug_containers(intent):
        yield f"debug container: {entry.container}"
        yield from in_pieces("image", image)
        if entry.target:
            yield f"sees the processes of: {entry.target}"
        if not entry.command:
            yield "runs what its image says, or what is not told"
        for number, word in enumerate(entry.command, 1):
            yield from in_pieces(f"argument {number}", word)


def in_pieces(title: str, text: str) -> Iterator[str]:
    """A text in as many lines as it takes: what a shell is told to do may stand at the end of a very long one."""
    yield f"{title}: {text[:MAX_PIECE]}"
    for begin in range(MAX_PIECE, len(text), MAX_PIECE):
        yield f"{title}, further: {text[begin : begin + MAX_PIECE]}"


def _as_sent(intent: Intent, body: bytes) -> Iterator[str]:
    """The body as it is; of a Secret the names of what it sets, never a value."""
    if not body:
        return
    written = _read(body, intent)
    if _is_secret(intent):
        yield "values of a Secret are not shown"
        yield from _names(written)
        return
    try:
        text = "" if written is None else orjson.dumps(written, option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONEncodeError:
        # Nested deeper, or with larger numbers, than is ever written by people.
        text = ""
    # No other separator of lines counts: within a string it would make a line of its own.
    yield from text.split("\n") if text else (f"{len(body)} bytes that cannot be shown",)


def _read(body: bytes, intent: Intent) -> Any:
    """The body as plain values, as it was sent where that can be told; None where nothing can."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    if intent.object is not None and intent.info.verb != "patch":
        # Of a patch it would be all that comes of it, which was not sent.
        return intent.object
    try:
        return parse_yaml(body)
    except Malformed:
        return None


def _is_secret(intent: Intent) -> bool:
    return (intent.info.api_group, intent.info.resource) == SECRET


def _names(written: Any) -> Iterator[str]:
    """The names of what is set in a Secret."""
    if isinstance(written, list):
        # A JSON patch: a path names a key, or all of them, and the value is left out.
        yield from (f"{one.get('op')} {one.get('path')}" for one in written if isinstance(one, dict))
        return
    for part in ("data", "stringData"):
        values = written.get(part) if isinstance(written, dict) else None
        yield from (f"{part}.{name}" for name in sorted(values)) if isinstance(values, dict) else ()
