"""Who may make which call of the gate's own API: one closed table. What is not in it, nobody may.

A right has a reach: everything, or only what is the caller's own (the agents a person answers for, a person's own
sign-ins). Roles of different reach do not add up to more than the widest of them.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from types import MappingProxyType

import msgspec

from narrowgate.core.agent import AgentRecord
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.roles import Role


class Action(enum.Enum):
    """What a call does."""

    WHOAMI = "whoami"
    LIST_AGENTS = "list agents"
    GET_AGENT = "get an agent"
    CREATE_AGENT = "create agents"
    CHANGE_AGENT = "change agents"
    PAUSE_AGENT = "pause agents"
    RESUME_AGENT = "resume agents"
    ROTATE_AGENT = "rotate credentials of agents"
    ADD_AGENT_KEY = "add keys to agents"
    REMOVE_AGENT_KEY = "remove keys of agents"
    DELETE_AGENT = "remove agents"
    LIST_SIGN_INS = "list sign-ins"
    END_SIGN_IN = "end sign-ins"
    LIST_ROLES = "list roles"
    GIVE_ROLE = "give roles"
    TAKE_ROLE = "take roles"
    LIST_REVISIONS = "list policy revisions"
    GET_REVISION = "read policies"
    CHECK_POLICIES = "check policies"
    LIST_CLUSTERS = "list clusters"
    LIST_CHANGES = "list changes"
    CHECK_TASK = "ask what would be granted"
    REQUEST_TASK = "ask for tasks"
    COLLECT_TASK = "collect tasks"
    CHECK_EMERGENCY = "ask what an emergency would open"
    TAKE_EMERGENCY = "take emergency access"
    LIST_TASKS = "list tasks"
    GET_TASK = "look at a task"
    COMPLETE_TASK = "complete tasks"
    REVOKE_TASK = "revoke tasks"
    NARROW_TASK = "narrow tasks"
    DELEGATE_TASK = "delegate tasks"
    GET_DENIED = "look at refused requests"
    LIST_APPROVALS = "list approvals"
    GET_APPROVAL = "look at an approval"
    ANSWER_APPROVAL = "answer approvals"
    WITHDRAW_APPROVAL = "withdraw approvals"
    LIST_STANDING = "list standing access"
    LIST_DELEGATIONS = "list delegations"
    DELEGATE = "delegate their answers"
    END_DELEGATION = "end delegations"
    SEARCH_RECORD = "search the record"
    GET_RECORD = "look at the record"
    LIST_SESSIONS = "list sessions"
    END_SESSION = "end sessions"
    HOLD_RECORDING = "put recordings on hold"
    LIFT_HOLD = "lift holds"


class Reach(enum.IntEnum):
    """How far a right goes."""

    OWN = 1
    ALL = 2


class Right(msgspec.Struct, frozen=True):
    """The leave to make one call."""

    reach: Reach
    role: Role
    """The role that it rests on; where several give it, the one that reaches furthest."""

    def __str__(self) -> str:
        return f"role {self.role.value}" + (", for what is their own" if self.reach is Reach.OWN else "")


def _row(**reaches: Reach) -> Mapping[Role, Reach]:
    return MappingProxyType({Role(role.replace("_", "-")): reach for role, reach in reaches.items()})


RIGHTS: Mapping[Action, Mapping[Role, Reach]] = MappingProxyType(
    {
        Action.WHOAMI: _row(member=Reach.OWN),
        Action.LIST_AGENTS: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        Action.GET_AGENT: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        Action.CREATE_AGENT: _row(admin=Reach.ALL),
        # Whoever answers for an agent can always make it less, and never more: what an agent may be given (a cluster,
        # a group, a later end, another way to prove itself) is an admin's to give.
        Action.CHANGE_AGENT: _row(admin=Reach.ALL),
        Action.PAUSE_AGENT: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.RESUME_AGENT: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.ROTATE_AGENT: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.ADD_AGENT_KEY: _row(admin=Reach.ALL),
        Action.REMOVE_AGENT_KEY: _row(admin=Reach.ALL),
        Action.DELETE_AGENT: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.LIST_SIGN_INS: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.END_SIGN_IN: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.LIST_ROLES: _row(auditor=Reach.ALL, admin=Reach.ALL),
        Action.GIVE_ROLE: _row(admin=Reach.ALL),
        Action.TAKE_ROLE: _row(admin=Reach.ALL),
        Action.LIST_REVISIONS: _row(policy_author=Reach.ALL, auditor=Reach.ALL, admin=Reach.ALL),
        Action.GET_REVISION: _row(policy_author=Reach.ALL, auditor=Reach.ALL, admin=Reach.ALL),
        Action.CHECK_POLICIES: _row(policy_author=Reach.ALL),
        Action.LIST_CLUSTERS: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.LIST_CHANGES: _row(auditor=Reach.ALL, admin=Reach.ALL),
        # Own: an agent's tasks to itself and to whoever answers for it; whoever asked may look at it and end it, too.
        Action.CHECK_TASK: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.REQUEST_TASK: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.COLLECT_TASK: _row(member=Reach.OWN, admin=Reach.ALL),
        # For themselves, whatever they are: no role takes one for somebody else.
        Action.CHECK_EMERGENCY: _row(member=Reach.OWN),
        Action.TAKE_EMERGENCY: _row(member=Reach.OWN),
        Action.LIST_TASKS: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        Action.GET_TASK: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        Action.COMPLETE_TASK: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.REVOKE_TASK: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.NARROW_TASK: _row(member=Reach.OWN, admin=Reach.ALL),
        # Whoever works on a task, and nobody in their place: it is their own access that they hand on.
        Action.DELEGATE_TASK: _row(member=Reach.OWN),
        Action.GET_DENIED: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.LIST_APPROVALS: _row(member=Reach.OWN, approver=Reach.ALL, auditor=Reach.ALL, admin=Reach.ALL),
        Action.GET_APPROVAL: _row(member=Reach.OWN, approver=Reach.ALL, auditor=Reach.ALL, admin=Reach.ALL),
        # No role lets anybody answer: the policies name groups, and only who is in one of them does.
        Action.ANSWER_APPROVAL: _row(member=Reach.OWN),
        Action.WITHDRAW_APPROVAL: _row(member=Reach.OWN, admin=Reach.ALL),
        Action.LIST_STANDING: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        Action.LIST_DELEGATIONS: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        # Nobody says for another one who answers in their place, no admin either.
        Action.DELEGATE: _row(member=Reach.OWN),
        Action.END_DELEGATION: _row(member=Reach.OWN, admin=Reach.ALL),
        # Own: of people, what they did, and what agents did while they answered for them.
        Action.SEARCH_RECORD: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        Action.GET_RECORD: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        Action.LIST_SESSIONS: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        # Whoever may watch a session may stop it: what it does wrong cannot wait for somebody with another role.
        Action.END_SESSION: _row(member=Reach.OWN, auditor=Reach.ALL, admin=Reach.ALL),
        # Not to those whom a recording may speak against: they could let retention remove it.
        Action.HOLD_RECORDING: _row(auditor=Reach.ALL, admin=Reach.ALL),
        Action.LIFT_HOLD: _row(auditor=Reach.ALL, admin=Reach.ALL),
    }
)

AT_WORK: frozenset[Action] = frozenset(
    {Action.WHOAMI, Action.GET_TASK, Action.COMPLETE_TASK, Action.GET_APPROVAL, Action.DELEGATE_TASK}
)
"""What a task's own credential may do here: look at its task and end it, see what its requests wait for, hand on a part
of it, and look at and end what it handed on. It never gets anything more by itself."""


def right_of(action: Action, roles: Collection[Role]) -> Right | None:
    """The furthest right that these roles give to the action; None where they give none."""
    row = RIGHTS.get(action, {})
    held = [Right(row[role], role) for role in Role if role in row and role in roles]
    return max(held, key=lambda right: right.reach, default=None)


def roles_for(action: Action) -> tuple[Role, ...]:
    """The roles that may do it at all, in the order of the enum."""
    row = RIGHTS.get(action, {})
    return tuple(role for role in Role if role in row)


def answers_for(who: Identity, agent: AgentRecord) -> bool:
    """Whether `who` is the agent's owner or belongs to the group that is.

    People only: an agent in a group of its owner's name answers for nobody, least of all for itself.
    """
    if who.kind is not Kind.PERSON:
        return False
    kind, _, name = agent.owner.partition(":")
    return (kind == "person" and name == who.name) or (kind == "group" and name in who.groups)
