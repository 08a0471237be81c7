"""Calls about tasks: asked for by an agent itself, or by a person who answers for it; looked at, made less, ended.

Whatever needs nobody's approval is active at once, and its credential is shown that once. Nothing here makes a task
wider or longer: a wider one is a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec

from narrowgate.authenticators.task_credential import new_task_credential, new_task_id
from narrowgate.authenticators.task_credentials import PROVEN_BY
from narrowgate.control.api.asking_people import ask_people
from narrowgate.control.api.calls import PREFIX, Answered, Sent
from narrowgate.control.api.collect_pace import INTERVAL_SECONDS
from narrowgate.control.api.paging import LONGEST_PAGE, ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.api.wishes import Details, RequestLimit, StreamLimit, Words, seconds_wanted, words_wanted
from narrowgate.control.delegating import refuse_too_many
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.agent import AgentRecord, refusal_of
from narrowgate.core.answering import owner_groups
from narrowgate.core.approval_document import ApproversDocument
from narrowgate.core.approvals import unanswerable
from narrowgate.core.call_rights import answers_for
from narrowgate.core.delegated_task import root_of
from narrowgate.core.duration import duration_text
from narrowgate.core.identity import Identity, Kind
from narrowgate.core.moment import moment_of
from narrowgate.core.policy import OnEnd, Rule
from narrowgate.core.task_document import NOTHING_USED, TaskDocument, task_document
from narrowgate.core.task_fields import DEFAULT_SECONDS, link_problem, task_purpose_problem
from narrowgate.core.task_limits import TaskUse, least
from narrowgate.core.tasks import NotPossible, Task, TaskEvent
from narrowgate.core.wanted import MOST_WANTED, NotOffered, Offer, WantedRefused, longest_offered, offer_of, read_wanted
from narrowgate.store.port import ChangedMeanwhile, NotThere
from narrowgate.store.task_trees import ancestors_of, write_down

ATTEMPTS = 5
"""A change is made anew where another one came first; more than five at once is nobody's work."""

_LIST = "tasks"


class NewTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of work that access is asked for."""

    agent: Annotated[str, msgspec.Meta(description="Who is to do it; may be left out by the agent itself.")] = ""
    cluster: Annotated[str, msgspec.Meta(description="May be left out: an agent has one.")] = ""
    purpose: Annotated[str, msgspec.Meta(description="One line for people.")]
    link: Annotated[str, msgspec.Meta(description="Where more is written about it, https.")] = ""
    for_: Annotated[str, msgspec.Meta(description="How long, like 20m; left out: 20m, or as long as is offered.")] = (
        msgspec.field(name="for", default="")
    )
    allow: Annotated[
        Words,
        msgspec.Meta(max_length=MOST_WANTED, description='Like "get,list pods -n ci".'),
    ] = ()
    authorization_details: Details = ()
    max_requests: Annotated[
        RequestLimit | None, msgspec.Meta(description="At most so many in all; fewer where a rule says so.")
    ] = msgspec.field(name="maxRequests", default=None)
    max_streams: Annotated[
        StreamLimit | None, msgspec.Meta(description="At most so many at one time; fewer where a rule says so.")
    ] = msgspec.field(name="maxStreams", default=None)


class Because(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a task is revoked."""

    because: Annotated[str, msgspec.Meta(max_length=200, description="One line; whoever works on it is shown it.")] = ""


class Narrowing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left of a task."""

    keep: Annotated[tuple[str, ...] | None, msgspec.Meta(description="Ids of the rules that stay; left out: all.")] = (
        None
    )
    until: Annotated[str | None, msgspec.Meta(description="Its new end, RFC 3339, never later than the old.")] = None
    max_requests: Annotated[
        RequestLimit | None, msgspec.Meta(description="Requests in all, those of before counted; never more than now.")
    ] = msgspec.field(name="maxRequests", default=None)
    max_streams: Annotated[
        StreamLimit | None, msgspec.Meta(description="Streams at one time, never more than now.")
    ] = msgspec.field(name="maxStreams", default=None)


class TaskWithCredential(TaskDocument, frozen=True, kw_only=True, rename="camel"):
    """A task and its credential, at the one moment when that is known."""

    credential: str | msgspec.UnsetType = msgspec.UNSET
    """Shown this once. Left out while the task waits for people, and where an idempotency key replays the answer."""
    interval: int | msgspec.UnsetType = msgspec.UNSET
    """While it waits: seconds from one question whether people have answered to the next, at least."""
    expires_in: int | msgspec.UnsetType = msgspec.field(name="expires_in", default=msgspec.UNSET)
    """While it waits: seconds until it has to be asked anew. Both as CIBA names them (Core 1.0, section 7.3)."""


class OfferDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What would be granted, and by which rules."""

    agent: str
    cluster: str
    lasts: str
    rules: tuple[str, ...]
    """The grantable rules, `policy/rule`."""
    approvers: tuple[ApproversDocument, ...]
    """Everybody who would have to say yes; empty where it would begin at once."""
    max_requests: int | None
    """Requests that it would cover in all; null: any number."""
    max_streams: int | None
    """Streams that it would cover at one time; null: any number."""
    on_end: OnEnd
    """What would become of the workloads that it leaves behind when it is over: `leave`, `deleteWorkloads`."""


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tasks, newest first."""

    items: tuple[TaskDocument, ...]
    metadata: ListMeta


class _Asked(msgspec.Struct, frozen=True):
    """What was asked for, checked, and what the policies say to it."""

    agent: AgentRecord
    rules: tuple[Rule, ...]
    seconds: float
    offer: Offer
    max_requests: int | None
    """What was asked for, or what the rules give where that is less."""
    max_streams: int | None


def check_task(parts: ApiParts, sent: Sent) -> Answered:
    """Say what would be granted; nothing is changed."""
    asked = _asked(parts, sent)
    if nobody := unanswerable(asked.offer.approvals, owner_groups((asked.agent.owner,))):
        raise Problem(Trouble.FORBIDDEN, nobody)
    needed = [one for approval in asked.offer.approvals for one in approval.approvers]
    return Answered(
        document=OfferDocument(
            agent=asked.agent.name,
            cluster=asked.agent.cluster,
            lasts=duration_text(asked.seconds),
            rules=asked.offer.rules,
            approvers=tuple(ApproversDocument(group=one.group, count=one.count) for one in dict.fromkeys(needed)),
            max_requests=asked.max_requests,
            max_streams=asked.max_streams,
            on_end=asked.offer.on_end,
        )
    )


def request_task(parts: ApiParts, sent: Sent) -> Answered:
    """Ask for a task."""
    wish: NewTask = sent.body
    asked = _asked(parts, sent)
    if asked.offer.approvals:
        return _ask_people(parts, sent, asked)
    made = new_task_credential()
    requested = Task(
        id=made.task,
        kind=Kind.AGENT,
        name=asked.agent.name,
        requested_by=sent.by,
        cluster=asked.agent.cluster,
        purpose=wish.purpose,
        link=wish.link,
        rules=asked.rules,
        credential_id=made.task,
        credential_hash=made.hash,
        handed_to=(sent.by, *asked.agent.handed_to),
        seconds=asked.seconds,
        max_requests=asked.max_requests,
        max_streams=asked.max_streams,
        on_end=asked.offer.on_end,
        requested_at=sent.now,
        # Nobody is asked: it begins in this moment or never.
        lapses_at=sent.now + 1.0,
    )
    task = requested.after(TaskEvent.ACTIVATED, sent.now)
    with parts.requesting:
        refuse_too_many(parts.store, task, sent.now)
        parts.store.tasks.add(task, by=sent.by, at=sent.now)
    fields = msgspec.structs.asdict(task_document(task, sent.now))
    return Answered(
        document=TaskWithCredential(**fields, credential=made.text),
        headers={"Location": f"{PREFIX}/tasks/{task.id}"},
        kept=TaskWithCredential(**fields),
    )


def _ask_people(parts: ApiParts, sent: Sent, asked: _Asked) -> Answered:
    """The task waits, and holds nothing: whoever asked collects it once people have said yes."""
    wish: NewTask = sent.body
    task = Task(
        id=new_task_id(),
        kind=Kind.AGENT,
        name=asked.agent.name,
        requested_by=sent.by,
        cluster=asked.agent.cluster,
        purpose=wish.purpose,
        link=wish.link,
        rules=asked.rules,
        seconds=asked.seconds,
        max_requests=asked.max_requests,
        max_streams=asked.max_streams,
        on_end=asked.offer.on_end,
        requested_at=sent.now,
        lapses_at=sent.now + min(approval.within for approval in asked.offer.approvals),
    )
    ask_people(parts, sent, task, asked.offer, asked.agent)
    fields = msgspec.structs.asdict(task_document(task, sent.now))
    waiting = TaskWithCredential(**fields, interval=INTERVAL_SECONDS, expires_in=max(0, int(task.lapses_at - sent.now)))
    return Answered(document=waiting, headers={"Location": f"{PREFIX}/tasks/{task.id}"})


def list_tasks(parts: ApiParts, sent: Sent) -> Answered:
    """All tasks, or those that are the caller's own."""
    page: Page = sent.query
    agents = {agent.name: agent for agent in parts.store.agents()}
    names = None if sent.reaches_all else _names(sent.caller.identity, agents.values())
    behind, found = read_token(page, _LIST), list[Task]()
    while len(found) <= page.limit:
        read = parts.store.tasks.listed(names, behind=behind, limit=LONGEST_PAGE)
        found += [task for task in read if sent.reaches_all or _is_own(sent, task, agents.get(agent_of(task)))]
        if len(read) < LONGEST_PAGE:
            break
        behind = read[-1].id
    shown, meta = page_of(found, page, _LIST, lambda task: task.id)
    used = _used(parts, shown, sent.now)
    items = tuple(task_document(task, sent.now, used.get(task.id, NOTHING_USED)) for task in shown)
    return Answered(document=TaskList(items=items, metadata=meta))


def get_task(parts: ApiParts, sent: Sent) -> Answered:
    """One task."""
    task = found_task(parts, sent)
    return Answered(document=task_document(task, sent.now, _used(parts, [task], sent.now).get(task.id, NOTHING_USED)))


def complete_task(parts: ApiParts, sent: Sent) -> Answered:
    """End a task because its work is done."""
    return _change(parts, sent, lambda task: task.after(TaskEvent.COMPLETED, sent.now))


def revoke_task(parts: ApiParts, sent: Sent) -> Answered:
    """End a task before its work is done."""
    asked: Because = sent.body
    if not asked.because.isprintable():
        raise Problem(Trouble.INVALID, "because: write one line")
    return _change(parts, sent, lambda task: task.after(TaskEvent.REVOKED, sent.now, asked.because))


def narrow_task(parts: ApiParts, sent: Sent) -> Answered:
    """Leave less of a task."""
    asked: Narrowing = sent.body

    def narrowed(task: Task) -> Task:
        until = task.ends_at or sent.now
        if asked.until is not None:
            until = _moment(asked.until)
            if not sent.now < until:
                raise Problem(Trouble.INVALID, "until: this has passed; complete or revoke the task to end it now")
        return task.narrowed(_kept(task, asked.keep), until, asked.max_requests, asked.max_streams)

    return _change(parts, sent, narrowed)


def _asked(parts: ApiParts, sent: Sent) -> _Asked:
    """What the body asks for, and the offer for it. Raises Problem."""
    wish: NewTask = sent.body
    agent = _agent(parts, sent, wish.agent)
    if problem := task_purpose_problem(wish.purpose) or link_problem(wish.link):
        raise Problem(Trouble.INVALID, problem)
    if wish.cluster and wish.cluster != agent.cluster:
        raise Problem(Trouble.INVALID, f'cluster: agent "{agent.name}" works on "{agent.cluster}" and on no other')
    if refusal := refusal_of(agent, sent.now):
        raise Problem(Trouble.CONFLICT, refusal)
    words = words_wanted(wish.allow, wish.authorization_details, agent.cluster)
    try:
        rules = tuple(read_wanted(text, number) for number, text in enumerate(words, 1))
    except WantedRefused as error:
        field = "allow" if wish.allow else "authorization_details"
        raise Problem(Trouble.INVALID, f"{field}: {error}") from None
    if sent.rulebook is None:
        raise Problem(Trouble.UNAVAILABLE, "the policies in force are not known now; try again soon")
    holding = sent.rulebook.holding(holder_of(agent), agent.cluster)
    seconds = (
        seconds_wanted(wish.for_) if wish.for_ else min(DEFAULT_SECONDS, longest_offered(holding, rules, wish.link))
    )
    if agent.ends_at is not None:
        seconds = min(seconds, agent.ends_at - sent.now)
    try:
        offer = offer_of(holding, rules, seconds, wish.link)
    except NotOffered as error:
        raise Problem(Trouble.FORBIDDEN, str(error)) from None
    refuse_forgetful(parts, agent.cluster, offer)
    requests, streams = least(wish.max_requests, offer.max_requests), least(wish.max_streams, offer.max_streams)
    return _Asked(agent, rules, seconds, offer, requests, streams)


def refuse_forgetful(parts: ApiParts, cluster: str, offer: Offer) -> None:
    """Raise Problem where workloads would have to be deleted of which nobody remembers who created them."""
    if offer.on_end is OnEnd.DELETE_WORKLOADS and cluster not in parts.settings.remembered:
        raise Problem(
            Trouble.FORBIDDEN,
            "this rests on a rule that has what is created deleted in the end (onEnd), and nobody remembers what is "
            f'created on cluster "{cluster}": the gate\'s operator turns authentication.serviceAccounts on for it',
        )


def _agent(parts: ApiParts, sent: Sent, name: str) -> AgentRecord:
    """The agent that a task is asked for. Whoever may not ask for it is told what they would be told without it."""
    who = sent.caller.identity
    if who.kind is Kind.AGENT:
        name = name or who.name
    if not name:
        raise Problem(Trouble.INVALID, "agent: tasks are for agents; name the one that is to do it")
    try:
        agent = parts.store.agent(name)
    except NotThere:
        agent = None
    if agent is None or not (sent.reaches_all or _is(who, agent) or answers_for(who, agent)):
        more = "" if sent.reaches_all else ", or you do not answer for it"
        raise Problem(Trouble.NOT_FOUND, f'there is no agent "{name}"{more}; look at the list of agents')
    return agent


def holder_of(agent: AgentRecord) -> Identity:
    """The agent as it will come with the task's credential: what it is offered is judged for this identity."""
    return Identity(
        kind=Kind.AGENT,
        name=agent.name,
        groups=agent.groups,
        owner=agent.owner,
        proven_by=PROVEN_BY,
        credential="",
        cluster=agent.cluster,
    )


def _is(who: Identity, agent: AgentRecord) -> bool:
    return who.kind is Kind.AGENT and who.name == agent.name


def _is_own(sent: Sent, task: Task, agent: AgentRecord | None, line: Iterable[str] = ()) -> bool:
    """Whether a task is the caller's: its holder, whoever answers for the holder, or the person who asked for it.

    A task's own credential speaks for that task and for all that hangs on it (`line` are the tasks that this one hangs
    on). An agent that was removed and made anew under its old name is
    another one, and so are its tasks.
    """
    who = sent.caller.identity
    if who.task:
        return who.task in (task.id, *line)
    if who.kind is Kind.PERSON and task.requested_by == sent.by:
        return True
    if agent is None or task.kind is not Kind.AGENT or not agent.created_at <= task.requested_at:
        return False
    return _is(who, agent) or answers_for(who, agent)


def _names(who: Identity, agents: Iterable[AgentRecord]) -> list[str]:
    """Whose tasks are listed for the caller: its own, or a person's and those of the agents they answer for now."""
    own = [who.name] if who.kind is Kind.PERSON else []
    return own + [agent.name for agent in agents if _is(who, agent) or answers_for(who, agent)]


def found_task(parts: ApiParts, sent: Sent) -> Task:
    """The task of the path. Whoever may not see it is told what they would be told if it were not there."""
    task_id = sent.path["id"]
    try:
        task = parts.store.tasks.get(task_id)
    except NotThere:
        task = None
    if task is None or not (sent.reaches_all or is_of_caller(parts, sent, task)):
        more = "" if sent.reaches_all else ", or it is not yours"
        raise Problem(Trouble.NOT_FOUND, f'there is no task "{task_id}"{more}; look at the list of tasks')
    return task


def is_of_caller(parts: ApiParts, sent: Sent, task: Task) -> bool:
    """Whether a task is the caller's own: to look at, and to end."""
    return _is_own(sent, task, _agent_of(parts, task), _line(parts, task))


def agent_of(task: Task) -> str:
    """The name of the agent whose it is in the end: its holder's, or that of the root of its chain of delegates."""
    return root_of(task.name) if task.parent else task.name


def _line(parts: ApiParts, task: Task) -> tuple[str, ...]:
    """The ids of the tasks that it hangs on."""
    return tuple(one.id for one in ancestors_of(parts.store.tasks, task)) if task.parent else ()


def _agent_of(parts: ApiParts, task: Task) -> AgentRecord | None:
    try:
        return parts.store.agent(agent_of(task))
    except NotThere:
        return None


def _change(parts: ApiParts, sent: Sent, change: Callable[[Task], Task]) -> Answered:
    """The task of the path, changed and kept."""
    for _ in range(ATTEMPTS):
        was = found_task(parts, sent)
        try:
            task = change(was.at(sent.now))
        except NotPossible as error:
            raise Problem(Trouble.CONFLICT, str(error)) from None
        try:
            parts.store.tasks.change(task, was=was, by=sent.by, at=sent.now)
        except ChangedMeanwhile:
            continue
        write_down(parts.store.tasks, task, by=sent.by, at=sent.now)
        used = _used(parts, [task], sent.now).get(task.id, NOTHING_USED)
        return Answered(document=task_document(task, sent.now, used))
    raise Problem(Trouble.CONFLICT, f'task "{sent.path["id"]}" is being changed by others again and again; wait')


def _used(parts: ApiParts, tasks: Iterable[Task], now: float) -> dict[str, TaskUse]:
    """What those that have limits have used of them."""
    limited = [task.id for task in tasks if task.max_requests is not None or task.max_streams is not None]
    return parts.store.task_limits.used(limited, now=now) if limited else {}


def _kept(task: Task, keep: tuple[str, ...] | None) -> tuple[Rule, ...]:
    if keep is None:
        return task.rules
    if not keep:
        raise Problem(Trouble.INVALID, "keep: nothing would be left; complete or revoke the task")
    unknown = sorted(set(keep) - {rule.id for rule in task.rules})
    if unknown:
        held = ", ".join(rule.id for rule in task.rules)
        raise Problem(Trouble.INVALID, f'keep: the task has no rule "{unknown[0]}"; it has: {held}')
    return tuple(rule for rule in task.rules if rule.id in keep)


def _moment(text: str) -> float:
    try:
        return moment_of(text)
    except ValueError as error:
        raise Problem(Trouble.INVALID, f"until: {error}") from None
