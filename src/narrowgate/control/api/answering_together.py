"""One call that answers several questions, each by itself: what one command of a client asks, people answer at once.

Every question is named: one that came after the caller looked is not among them, whatever it belongs to. One that
cannot be answered keeps none of the others from it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from narrowgate.control.api.approvals import LONGEST_COMMENT, No, Yes, approve, deny
from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem
from narrowgate.core.approval_document import ApprovalDocument
from narrowgate.core.approvals import Voice
from narrowgate.store.port import ChangedMeanwhile

MOST_TOGETHER = 25
"""Questions of one call: more than that nobody has read before they answer, and their ids stand in the record."""


class Answers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer to several questions."""

    ids: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...],
        msgspec.Meta(min_length=1, max_length=MOST_TOGETHER, description="Each that is answered, and no other."),
    ]
    answer: Annotated[Voice, msgspec.Meta(description="One no is enough for each of them.")]
    comment: Annotated[
        str, msgspec.Meta(max_length=LONGEST_COMMENT, description="One line; whoever asked is told why not.")
    ] = ""

    @property
    def name(self) -> str:
        """What the entry in the record names: all of them."""
        return ",".join(self.ids)


class OneAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one."""

    id: str
    approval: ApprovalDocument | None
    """The question as it is now; null where it could not be answered."""
    problem: str
    """Why it could not; empty where it was."""


class AnswersDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What came of each, in the order of the ids."""

    items: tuple[OneAnswered, ...]


def answer_together(parts: ApiParts, sent: Sent) -> Answered:
    """Answer each of the questions that are named."""
    asked: Answers = sent.body
    return Answered(document=AnswersDocument(items=tuple(_one(parts, sent, one) for one in dict.fromkeys(asked.ids))))


def _one(parts: ApiParts, sent: Sent, approval: str) -> OneAnswered:
    asked: Answers = sent.body
    yes = asked.answer is Voice.YES
    body = Yes(comment=asked.comment) if yes else No(reason=asked.comment)
    alone = msgspec.structs.replace(sent, path={"id": approval}, body=body)
    try:
        heard = approve(parts, alone) if yes else deny(parts, alone)
    except Problem as problem:
        return OneAnswered(id=approval, approval=None, problem=problem.detail)
    except ChangedMeanwhile as error:
        return OneAnswered(id=approval, approval=None, problem=str(error))
    return OneAnswered(id=approval, approval=heard.document, problem="")
