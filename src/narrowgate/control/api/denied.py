"""Calls about refused requests: what an agent lacked, by the id of the refusal, so that just that can be asked for."""

from __future__ import annotations

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.agent import AgentRecord
from narrowgate.core.call_rights import answers_for
from narrowgate.core.denied_request import DeniedRequest
from narrowgate.core.identity import Kind
from narrowgate.core.moment import moment_text
from narrowgate.store.port import NotThere


class DeniedDocument(msgspec.Struct, frozen=True, kw_only=True, rename={"audit_id": "auditId"}):
    """A request that was refused because nothing covers it."""

    audit_id: str
    agent: str
    cluster: str
    at: str
    """RFC 3339."""
    allow: tuple[str, ...]
    """All that it lacked, as `POST /tasks` reads it: the smallest task that would have let it pass."""


def get_denied(parts: ApiParts, sent: Sent) -> Answered:
    """One refused request of the caller's, or of an agent that they answer for."""
    denied, agent = _found(parts, sent)
    document = DeniedDocument(
        audit_id=denied.audit_id,
        agent=agent.name,
        cluster=denied.cluster,
        at=moment_text(denied.at),
        allow=denied.wanted,
    )
    return Answered(document=document)


def _found(parts: ApiParts, sent: Sent) -> tuple[DeniedRequest, AgentRecord]:
    """Whoever may not see it is told what they would be told if it were not there."""
    audit_id, who = sent.path["id"], sent.caller.identity
    missing = Problem(
        Trouble.NOT_FOUND,
        f'no request "{audit_id}" of yours, or of an agent you answer for, was refused within the last hour for '
        "want of what a task can be asked for",
    )
    try:
        denied = parts.store.denied_requests.get(audit_id, now=sent.now)
        agent = parts.store.agent(denied.holder.partition(":")[2])
    except NotThere:
        raise missing from None
    is_agent = who.kind is Kind.AGENT and who.name == agent.name
    # An agent that was removed and made anew under its old name is another one.
    if not agent.created_at <= denied.at or not (is_agent or sent.reaches_all or answers_for(who, agent)):
        raise missing
    return denied, agent
