"""Calls about delegated tasks: an agent hands a part of its task to a helper of its own.

People and other agents delegate nothing here: whoever works on a task does, with its credential or as its agent.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from narrowgate.control.api.calls import PREFIX, Answered, Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.tasks import TaskWithCredential
from narrowgate.control.api.wishes import Details, RequestLimit, StreamLimit, Words, seconds_wanted, words_wanted
from narrowgate.control.delegating import Delegating, Wish
from narrowgate.core.task_document import task_document
from narrowgate.core.wanted import MOST_WANTED


class NewDelegate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a task, for a delegate."""

    name: Annotated[str, msgspec.Meta(max_length=63, description="What the delegate is called: a DNS label.")]
    purpose: Annotated[str, msgspec.Meta(description="One line for people.")]
    for_: Annotated[str, msgspec.Meta(description="How long, like 10m; left out: 20m, or what is left.")] = (
        msgspec.field(name="for", default="")
    )
    allow: Annotated[
        Words,
        msgspec.Meta(max_length=MOST_WANTED, description='Like "get,list pods -n ci"; no more than the task has.'),
    ] = ()
    authorization_details: Details = ()
    max_requests: Annotated[
        RequestLimit | None, msgspec.Meta(description="At most so many in all; they count for the task as well.")
    ] = msgspec.field(name="maxRequests", default=None)
    max_streams: Annotated[StreamLimit | None, msgspec.Meta(description="At most so many at one time.")] = (
        msgspec.field(name="maxStreams", default=None)
    )


def delegate_task(parts: ApiParts, sent: Sent) -> Answered:
    """Delegate a part of the task of the path."""
    asked: NewDelegate = sent.body
    who = sent.caller.identity
    wish = Wish(
        name=asked.name,
        purpose=asked.purpose,
        allow=words_wanted(asked.allow, asked.authorization_details, who.cluster),
        seconds=seconds_wanted(asked.for_) if asked.for_ else None,
        max_requests=asked.max_requests,
        max_streams=asked.max_streams,
    )
    delegating = Delegating(parts.store, parts.requesting, parts.settings.longest_chain)
    made = delegating.delegate(sent.path["id"], who, wish, sent.now)
    fields = msgspec.structs.asdict(task_document(made.task, sent.now))
    return Answered(
        document=TaskWithCredential(**fields, credential=made.credential),
        headers={"Location": f"{PREFIX}/tasks/{made.task.id}"},
        kept=TaskWithCredential(**fields),
    )
