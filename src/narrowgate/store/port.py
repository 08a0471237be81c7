"""The port: what the gate asks of a store, and the few ways in which it may fail.

All calls are blocking and thread-safe: the data plane makes them in a thread, and only to refresh its snapshots. `by`
is who asked for a change (`local:alice`, `person:alice`), `at` when, in Unix seconds; each change is kept with both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from narrowgate.core.agent import AgentRecord
from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.core.delegation import Delegation
from narrowgate.core.denied_request import DeniedRequest
from narrowgate.core.leftovers import Leftover
from narrowgate.core.lineage import PendingWrite, Placement
from narrowgate.core.sighting import Sighting
from narrowgate.core.sign_in import SignIn
from narrowgate.core.standing import RuleUse, RuleUses
from narrowgate.core.task_limits import TaskUse
from narrowgate.core.tasks import Task

PolicyFiles = tuple[tuple[str, str], ...]
"""Name and text of each policy file, sorted by name."""


class StoreUnavailable(Exception):
    """The store cannot be read or written now. The text is one line: which store, why, what to do."""


class AlreadyThere(Exception):
    """What was to be added exists. The text names it and says what to do."""


class ChangedMeanwhile(Exception):
    """What was to be changed is not any more what the change was made from. The text names it and says what to do."""


class NotThere(Exception):
    """What was to be changed, removed or shown does not exist. The text names it."""


class PolicyRevision(msgspec.Struct, frozen=True, kw_only=True):
    """One set of policy files that was in force, as it was written."""

    number: int
    """1, 2, 3, ...; never used twice."""
    made_at: float
    made_by: str
    digest: str
    """SHA-256 over names and texts, in hex."""
    files: PolicyFiles


class RevisionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A revision without its texts, for lists."""

    number: int
    made_at: float
    made_by: str
    digest: str
    file_count: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change to the store: the control plane's own audit. Only ever added."""

    number: int
    at: float
    by: str
    action: str
    """`agent.added`, `agent.changed`, `agent.removed`, `policies.revised`, `signin.added`, `signin.ended`,
    `role.given`, `role.taken`,
    `task.requested`, `task.changed`, `approval.asked`, `approval.changed`, `delegation.added`, `delegation.changed`,
    `session.ended`."""
    subject: str
    """What was changed: the agent's name, the revision's number, the sign-in's id, who has the role."""
    detail: str
    """JSON of what matters about it; never a secret or its hash."""


class RoleGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A role in the gate that one person was given by name; roles of groups are in the configuration."""

    person: str
    role: str
    given_by: str
    given_at: float


class SignIns(Protocol):
    """People's sign-ins. Ending one is a change that the data plane must hear of (`Store.change_stamp`), and so is a
    new one of somebody who is at work on a task."""

    def add(self, sign_in: SignIn, *, by: str, at: float) -> None:
        """Keep a new one. Raises AlreadyThere when its id or secret is taken."""
        ...

    def get(self, sign_in_id: str) -> SignIn:
        """That sign-in, ended ones too. Raises NotThere."""
        ...

    def by_secret(self, secret_hash: bytes) -> SignIn:
        """The sign-in whose current or previous secret this is, ended ones too. Raises NotThere."""
        ...

    def renew(self, sign_in_id: str, old_hash: bytes, new_hash: bytes, *, at: float) -> bool:
        """Put a new secret in the place of the current one; False where `old_hash` is not the current one any more."""
        ...

    def end(self, sign_in_id: str, because: str, *, by: str, at: float) -> None:
        """End it; ending it again changes nothing. Raises NotThere."""
        ...

    def listed(
        self,
        person: str = "",
        *,
        running_at: float | None = None,
        limit: int = 100,
        behind: tuple[float, str] | None = None,
    ) -> tuple[SignIn, ...]:
        """The newest, newest first: of one person where named, only those that run then where a time is given.

        `behind` is the `created_at` and id of the last one that the caller has seen: only those after it come.
        """
        ...

    def ended_since(self, at: float) -> frozenset[str]:
        """Ids of all that were ended at or after `at`: whose credentials must not be believed although they verify."""
        ...


class Once(Protocol):
    """Things that count once and not for long: codes, states, ids of assertions, idempotency keys.

    `key` is secret more often than not, so what is kept is its SHA-256 together with `purpose`.
    """

    def put(self, purpose: str, key: str, payload: str, *, expires_at: float, now: float) -> bool:
        """Keep it until then; False, changing nothing, where an unexpired one is there already."""
        ...

    def look(self, purpose: str, key: str, *, now: float) -> str | None:
        """The payload, which stays; None where there is none, or not any more."""
        ...

    def take(self, purpose: str, key: str, *, now: float) -> str | None:
        """The payload, for the one caller who gets it; None for everybody after."""
        ...

    def change(self, purpose: str, key: str, payload: str, *, now: float) -> bool:
        """Replace the payload of one that is there; False where it is not (any more)."""
        ...


class Roles(Protocol):
    """Roles given to people by name."""

    def give(self, grant: RoleGrant) -> None:
        """Give it; giving it again changes nothing."""
        ...

    def take(self, person: str, role: str, *, by: str, at: float) -> None:
        """Take it. Raises NotThere."""
        ...

    def listed(self) -> tuple[RoleGrant, ...]:
        """All, by person and role."""
        ...


class Tasks(Protocol):
    """Tasks, those that are over too. Every change of one is a change that the data plane must hear of."""

    def add(self, task: Task, *, by: str, at: float) -> None:
        """Keep a new one. Raises AlreadyThere when its id or credential is taken, ChangedMeanwhile where the task that
        it is delegated from is not active in that moment.
        """
        ...

    def get(self, task_id: str) -> Task:
        """That task. Raises NotThere."""
        ...

    def change(self, task: Task, *, was: Task, by: str, at: float) -> None:
        """Put it in the place of `was`. Raises NotThere, or ChangedMeanwhile where another one is there by now."""
        ...

    def active(self) -> tuple[Task, ...]:
        """All that are kept as active, by id; time may have ended some of them since."""
        ...

    def waiting(self) -> tuple[Task, ...]:
        """All that are kept as waiting for people, by id; time may have ended some of them since."""
        ...

    def listed(self, names: Collection[str] | None = None, *, behind: str = "", limit: int = 100) -> tuple[Task, ...]:
        """The newest, newest first: of these identities' names and of their delegates' alone where they are given;
        `behind` that id.
        """
        ...

    def delegated_from(self, task_id: str) -> tuple[Task, ...]:
        """Those that were delegated from that task itself, the oldest first; none for an empty id."""
        ...


class Approvals(Protocol):
    """Questions put to people, those that are over too. The data plane hears when one changes its state."""

    def add(self, question: ApprovalQuestion, *, by: str, at: float) -> None:
        """Keep a new one. Raises AlreadyThere when its id is taken, or when one about the same request (its digest)
        is open and has not lapsed at `at`: of any number of callers one asks.
        """
        ...

    def get(self, approval_id: str) -> ApprovalQuestion:
        """That question. Raises NotThere."""
        ...

    def change(self, question: ApprovalQuestion, *, was: ApprovalQuestion, by: str, at: float) -> None:
        """Put it in the place of `was`. Raises NotThere, or ChangedMeanwhile where another one is there by now: what
        is spent so is spent once, whichever process does it.
        """
        ...

    def open(self) -> tuple[ApprovalQuestion, ...]:
        """All that are kept as pending or approved, by id; time may have ended some of them since."""
        ...

    def about_request(self, digest: str, limit: int = 10) -> tuple[ApprovalQuestion, ...]:
        """The newest about that request, newest first; none for an empty digest."""
        ...

    def about_task(self, task_id: str, limit: int = 10) -> tuple[ApprovalQuestion, ...]:
        """The newest about that task, newest first; none for an empty id."""
        ...

    def listed(
        self,
        holders: Collection[str] | None = None,
        *,
        states: Collection[ApprovalState] | None = None,
        behind: str = "",
        limit: int = 100,
    ) -> tuple[ApprovalQuestion, ...]:
        """The newest, newest first: for these holders (`agent:bot`), in these states, where they are given; `behind`
        that id.
        """
        ...


class Delegations(Protocol):
    """Who answers in whose place while they are away; those that are over are kept for a month."""

    def add(self, delegation: Delegation, *, by: str, at: float) -> None:
        """Keep a new one. Raises AlreadyThere when its id is taken, or when another one of the same person, not over
        at `at`, has a time in common with it: a place is filled by one person.
        """
        ...

    def get(self, delegation_id: str) -> Delegation:
        """That delegation. Raises NotThere."""
        ...

    def change(self, delegation: Delegation, *, was: Delegation, by: str, at: float) -> None:
        """Put it in the place of `was`. Raises NotThere, or ChangedMeanwhile where another one is there by now."""
        ...

    def filled_by(self, delegate: str, *, at: float) -> tuple[Delegation, ...]:
        """Those by which this person answers for others then, by who is away."""
        ...

    def listed(self, people: Collection[str] | None = None) -> tuple[Delegation, ...]:
        """All, by id; those to or from these people alone, where they are given."""
        ...


class Sightings(Protocol):
    """Where agents' credentials are used, between the processes of a gate. No change that anybody is told of."""

    def tell(self, seen: Sequence[Sighting], *, by: str, forget_before: float) -> None:
        """Keep what the process `by` saw, in the place of what it told before; drop what is older (Unix seconds)."""
        ...

    def others(self, *, by: str, since: float) -> tuple[Sighting, ...]:
        """What all other processes saw at or after `since`, the latest first."""
        ...


class DeniedRequests(Protocol):
    """What agents were refused lately, for asking for just that. No change that anybody is told of."""

    def tell(self, denied: Sequence[DeniedRequest], *, now: float) -> None:
        """Keep these, the newest of each identity and in all; what is older than an hour goes."""
        ...

    def get(self, audit_id: str, *, now: float) -> DeniedRequest:
        """The refused request of that id. Raises NotThere, also for one that is older than an hour."""
        ...


class NotificationCursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a receiver of notifications has been told the list of changes, and how telling goes."""

    receiver: str
    change: int
    """The number of the last change that it was told, or that it need not be told; 0 before the first."""
    attempts: int = 0
    """How often telling the next one has failed."""
    next_at: float = 0.0
    """Unix seconds before which it is not tried again."""
    trouble: str = ""
    """Why it failed the last time, in one line; empty while all is well."""


class Notifications(Protocol):
    """The list of changes as a queue: read in order by each receiver, at its own pace. Nobody hears of a cursor."""

    def newest(self) -> int:
        """The number of the newest change; 0 where there is none."""
        ...

    def after(self, change: int, limit: int = 100) -> tuple[Change, ...]:
        """The changes with a higher number, lowest first."""
        ...

    def before(self, change: Change) -> Change | None:
        """The last change to the same thing (same subject, same word before the dot) before that one."""
        ...

    def cursor(self, receiver: str) -> NotificationCursor:
        """Where that receiver is. One that is seen for the first time begins behind the newest change."""
        ...

    def move(self, cursor: NotificationCursor, *, was: NotificationCursor) -> None:
        """Put it in the place of `was`. Raises ChangedMeanwhile where another one is there by now."""
        ...

    def ask_test(self, receiver: str, *, by: str, at: float) -> int:
        """Add to the list of changes what is told to this receiver alone, to see whether it hears; its number."""
        ...

    def cursors(self) -> tuple[NotificationCursor, ...]:
        """All, by receiver."""
        ...


class TaskLimits(Protocol):
    """What tasks with limits have used. No change that anybody is told of."""

    def hand_out(self, task: str, limit: int, *, returned: int = 0) -> int:
        """A block of requests for the caller to use, 0 where `limit` in all have been handed out; `returned` are those
        that the caller had and will not use. Of any number of callers all together never get more than the limit.
        """
        ...

    def take_back(self, returned: Mapping[str, int]) -> None:
        """Requests that their process had and will not use, by task."""
        ...

    def add_stream(self, task: str, limit: int, own: int, *, by: str, now: float) -> bool:
        """Count one more stream of the process `by`, which has `own` of that task; False where that would be more than
        `limit` with those that the others have told of lately (`core.task_limits.STALE_SECONDS`).
        """
        ...

    def tell_streams(self, running: Mapping[str, int], *, by: str, now: float) -> None:
        """How many streams the process `by` has of each of these tasks."""
        ...

    def used(self, tasks: Collection[str], *, now: float) -> dict[str, TaskUse]:
        """What each of these tasks has used."""
        ...


class RuleUseLog(Protocol):
    """When rules last let somebody through, for people to read. No change that anybody is told of."""

    def begin(self, at: float) -> None:
        """From now on (Unix seconds) uses are told of; where they were before, this changes nothing."""
        ...

    def tell(self, uses: Sequence[RuleUse], *, lost_at: float | None = None) -> None:
        """Keep the latest use of each rule by each identity; the oldest go where there are too many. `lost_at` is
        when a use happened that is not among them.
        """
        ...

    def known(self) -> RuleUses:
        """All that is kept, the latest first, and since when nothing is missing."""
        ...


class Pruning(Protocol):
    """What was over long ago goes, a little at a time; the trail has the story. No change that anybody is told of.

    Each call says how many went: fewer than `limit` where nothing is left to go. Times are Unix seconds.
    """

    def tasks(self, over_before: float, limit: int) -> int:
        """Drop tasks that ended before then, and what is kept of their limits."""
        ...

    def questions(self, over_before: float, limit: int) -> int:
        """Drop questions to which nothing happens any more, and whose time was over before then."""
        ...

    def changes(self, made_before: float, limit: int) -> int:
        """Drop changes to tasks and questions that were made before then. All others stay for good, and so does the
        newest one, from which the next gets its number.
        """
        ...


class SessionEnds(Protocol):
    """Sessions that somebody ended while they ran. Ending one is a change that the data plane must hear of."""

    def end(self, session: str, because: str, *, by: str, at: float) -> None:
        """End the session of this audit id, in whichever process it runs, for `because` (may be empty).

        Ending it again changes nothing: the first reason counts.
        """
        ...

    def since(self, at: float) -> Mapping[str, str]:
        """All that were ended at or after `at`, by their audit id, with a sentence that says by whom and why."""
        ...


class Lineage(Protocol):
    """Who had which object of a cluster made. Authors are only ever added, whichever process adds them."""

    def begin(self, write: PendingWrite) -> None:
        """Keep a write before it is sent. Whoever remembers what it may change hears of that."""
        ...

    def drop(self, audit_id: str) -> None:
        """That write has made nothing, and whoever heard of it hears that; where it is not kept nothing changes."""
        ...

    def pending(self, cluster: str, resource: str, namespace: str) -> tuple[PendingWrite, ...]:
        """The writes at that place of which nobody knows yet what they made."""
        ...

    def lost(self, cluster: str, begun_before: float, *, limit: int = 1000) -> tuple[PendingWrite, ...]:
        """The writes of that cluster from before then of which nobody knows yet what they made, oldest first."""
        ...

    def add(self, placement: Placement, *, answered: str = "", created: bool = False) -> Placement:
        """Add these authors and owners to what is kept of the object, or keep it as new; what is kept by then.

        `answered` is the audit id of the write that is known by this: it is dropped in the same transaction. Where that
        adds authors to an object whose owners were looked at, everybody who remembers it hears of a change. With
        `created` these authors have created it: it is what their tasks leave behind.
        """
        ...

    def changed_by_a_person(self, cluster: str, uid: str, *, answered: str, at: float) -> None:
        """A person has changed that object at that time (Unix seconds), who is nobody's author: no task's end deletes
        it any more, also where only afterwards it becomes known that it was created under one.

        `answered` is the audit id of that write; it is dropped in the same transaction.
        """
        ...

    def get(self, cluster: str, uid: str) -> Placement | None:
        """What is kept of that object."""
        ...

    def is_there(self, cluster: str, uid: str) -> bool:
        """Whether that object is kept, and not known to be gone."""
        ...

    def grown_since(self, number: int) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Which settled objects (cluster, UID) got authors after that number, or may get or may have got them, and the
        number to ask with next.
        """
        ...

    def listed(
        self, cluster: str, resource: str = "", *, limit: int = 1000, with_gone: bool = False
    ) -> tuple[Placement, ...]:
        """The newest, newest first, without those that are gone unless they are asked for; of that resource where one
        is named.
        """
        ...

    def gone(self, cluster: str, uid: str, *, at: float) -> None:
        """The object was deleted; what is kept of it stays for a while, for what it owned."""
        ...

    def prune(self, gone_before: float, begun_before: float, limit: int) -> int:
        """Drop objects that were gone, and writes that were begun, before then; how many went."""
        ...


class Leftovers(Protocol):
    """What was created under tasks, and what has become of it since they ended."""

    def due(self, now: float, limit: int = 100) -> tuple[Leftover, ...]:
        """What is to be deleted now (Unix seconds): left behind by tasks that are over, where the task says so, and not
        known to be gone. What has waited longest comes first.
        """
        ...

    def keep(self, leftover: Leftover) -> None:
        """Put it in the place of what is kept of the same; where its fate is known already this changes nothing."""
        ...

    def of_object(self, cluster: str, uid: str) -> tuple[Leftover, ...]:
        """What is kept of that object, by task."""
        ...

    def of_task(self, task: str, limit: int = 100) -> tuple[Leftover, ...]:
        """All that was created under that task, or made of it by controllers, by cluster and UID."""
        ...


class Store(Protocol):
    """Every call may raise StoreUnavailable; a call that raises has changed nothing."""

    @property
    def sign_ins(self) -> SignIns:
        """People's sign-ins."""
        ...

    @property
    def once(self) -> Once:
        """What counts once."""
        ...

    @property
    def roles(self) -> Roles:
        """Roles of people by name."""
        ...

    @property
    def tasks(self) -> Tasks:
        """Tasks and what they hold."""
        ...

    @property
    def task_limits(self) -> TaskLimits:
        """What tasks with limits have used."""
        ...

    @property
    def approvals(self) -> Approvals:
        """Questions put to people."""
        ...

    @property
    def denied_requests(self) -> DeniedRequests:
        """What agents were refused lately."""
        ...

    @property
    def delegations(self) -> Delegations:
        """Who answers in whose place."""
        ...

    @property
    def notifications(self) -> Notifications:
        """How far people were told of changes."""
        ...

    @property
    def rule_uses(self) -> RuleUseLog:
        """When rules were last used."""
        ...

    @property
    def session_ends(self) -> SessionEnds:
        """Sessions that were ended."""
        ...

    @property
    def lineage(self) -> Lineage:
        """Who had which object made."""
        ...

    @property
    def leftovers(self) -> Leftovers:
        """What tasks leave behind."""
        ...

    @property
    def pruning(self) -> Pruning:
        """What goes once it was over long ago."""
        ...

    @property
    def sightings(self) -> Sightings:
        """Where agents' credentials are used."""
        ...

    def agents(self) -> tuple[AgentRecord, ...]:
        """All agents, by name."""
        ...

    def agent(self, name: str) -> AgentRecord:
        """The agent of that name. Raises NotThere."""
        ...

    def add_agent(self, agent: AgentRecord, *, by: str, at: float) -> None:
        """Add an agent. Raises AlreadyThere when the name, the credential's id or its hash is taken."""
        ...

    def change_agent(self, agent: AgentRecord, *, by: str, at: float, was: AgentRecord | None = None) -> None:
        """Replace the agent of that name (a rotated credential, a pause). Raises NotThere, or AlreadyThere as above.

        `was` is the record that the new one was made from: where another one is there by now, ChangedMeanwhile is
        raised, so that no change undoes another (a new purpose, a pause). None replaces whatever is there.
        """
        ...

    def remove_agent(self, name: str, *, by: str, at: float) -> None:
        """Remove the agent; its credential is worth nothing from then on. Raises NotThere."""
        ...

    def add_revision(self, files: Sequence[tuple[str, str]], *, by: str, at: float) -> PolicyRevision:
        """Keep these policy files as the newest revision; the newest itself when it holds the very same files."""
        ...

    def revision(self, number: int | None = None) -> PolicyRevision:
        """That revision, or the newest. Raises NotThere."""
        ...

    def revisions(self, limit: int = 100, *, before: int | None = None) -> tuple[RevisionSummary, ...]:
        """The newest revisions (of those with a number below `before`), newest first."""
        ...

    def changes(self, limit: int = 100, *, before: int | None = None) -> tuple[Change, ...]:
        """The newest changes (of those with a number below `before`), newest first."""
        ...

    def change_stamp(self) -> int | str:
        """A value that differs from the last one when anybody, in any process, has changed since what requests are
        judged by: agents, policies, the end of a sign-in.

        Cheap (under 50 µs), so that it can be asked several times a second. Compare stamps of one Store object only.
        """
        ...

    def close(self) -> None:
        """Give everything back. Any call after it raises StoreUnavailable."""
        ...


def digest_of(files: Sequence[tuple[str, str]]) -> str:
    """SHA-256 in hex over the names and texts of `files`, whatever order they come in."""
    digest = hashlib.sha256()
    for name, text in sorted(files):
        # Lengths before contents: no two different sets write the same bytes.
        for part in (name.encode(), text.encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
