"""Lines that wait for people, in a session under way: each is a question like any other, bound to the credential, the
session and the line, and used up by the one line that it was asked about.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.core.asked_line import needs_for_line, shown_line
from narrowgate.core.decision import Allow, Decision, Deny, NeedsApproval
from narrowgate.core.digest import line_digest
from narrowgate.core.request_question import HeldRequest, told
from narrowgate.core.request_summary import Seen
from narrowgate.core.typed_lines import MOST_AHEAD, LineAsked
from narrowgate.proxy.state import StateStale
from narrowgate.proxy.waiting import Asked, Waiting
from narrowgate.store.port import StoreUnavailable
from narrowgate.trail.segment_file import TrailUnwritable

NO_LONGER = "what may be typed into this session has changed: open it again"
ENDED = "the session that the line was typed into has ended"

log = logging.getLogger("narrowgate.lines")


class LineApprovals:
    """Asks people about the lines of one session."""

    def __init__(
        self,
        waiting: Waiting,
        held: Callable[[], HeldRequest],
        allowed: Allow,
        record: Callable[[Decision], Awaitable[None]],
        decide_again: Callable[[], Awaitable[Decision]],
    ) -> None:
        """`held` makes the request that opened the session, `allowed` is what it was opened by. `record` has a decision
        about it in the journal, on the disk; it raises TrailUnwritable.
        """
        self._waiting = waiting
        self._held = held
        self._allowed = allowed
        self._record = record
        self._decide_again = decide_again
        self._open = ""
        """The digest of the line that waits now."""

    async def ask(self, line: LineAsked, text: str, say: Callable[[str], None]) -> str:
        """See `session_lines.Ask`."""
        try:
            return await self._asked(line, text, say)
        except (StoreUnavailable, TrailUnwritable, StateStale) as error:
            return str(error)
        except Exception:
            # The end of this session, never of the gate; and never a line that is entered unasked.
            log.exception("people could not be asked about a line")
            return "the gate failed to ask people about a line that was typed"
        finally:
            if self._open:
                # Whoever is asked would answer for nothing. Where the store is away the question lapses by itself.
                with suppress(StoreUnavailable):
                    await self._waiting.take_back(self._open, ENDED)

    async def _asked(self, line: LineAsked, text: str, say: Callable[[str], None]) -> str:
        needs = needs_for_line(line.guards, self._allowed.rule.revision)
        if not needs.asks:
            return f"{needs.message}, and names nobody to be asked"

        def put(question: ApprovalQuestion) -> None:
            say(f"waiting for approval {question.id}: narrowgate approvals show {question.id} (^C ends the session)")

        async def judge_again() -> Decision:
            decision = await self._decide_again()
            return needs if self._is_unchanged(decision) else Deny(message=NO_LONGER)

        async def record(asked: NeedsApproval) -> None:
            await self._record(asked)

        opened = self._held()
        self._open = digest = line_digest(opened.digest, opened.audit_id, line.text)
        held = msgspec.structs.replace(opened, digest=digest, typed=tuple(shown_line(text, opened.audit_id)))
        asked = Asked(held, needs, MOST_AHEAD, record, judge_again, _nothing_to_see, put, waits_on=True)
        question = await self._waiting.answer_to(asked)
        if isinstance(question, Deny):
            return question.message
        if question.state is not ApprovalState.APPROVED:
            unchanged = question.state is not ApprovalState.PENDING or self._is_unchanged(await self._decide_again())
            return self._why_not(question, needs) if unchanged else NO_LONGER
        if why := await self._spent(question, needs):
            return why
        self._open = ""
        say(f"approval {question.id}: approved")
        return ""

    async def _spent(self, question: ApprovalQuestion, needs: NeedsApproval) -> str:
        """Use the approval up, for every process of every gate, before the line is entered. Empty, or why not."""
        if not self._is_unchanged(await self._decide_again()):
            return NO_LONGER
        if not await self._waiting.spend(question):
            return self._why_not(question, needs)
        await self._record(msgspec.structs.replace(self._allowed, approval=question.id))
        # The disk and the store were waited for: for whoever was revoked meanwhile nothing is entered.
        return "" if self._is_unchanged(await self._decide_again()) else NO_LONGER

    def _why_not(self, question: ApprovalQuestion, needs: NeedsApproval) -> str:
        answer = told(question, needs, time.time())
        if isinstance(answer, Deny):
            return answer.message
        return f"{needs.message}, and nobody can wait for approval {question.id} now"

    def _is_unchanged(self, decision: Decision) -> bool:
        return isinstance(decision, Allow) and decision.lines == self._allowed.lines


async def _nothing_to_see() -> Seen | None:
    """A line is about no object."""
    return None
