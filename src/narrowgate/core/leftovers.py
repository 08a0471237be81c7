"""What a task leaves behind: workloads that were created under it, and whether they are the gate's to delete.

Deleted is what was created under the task, or under what was delegated from it, and what nobody else has had a hand in
since. What was merely changed stays, and so does whatever is in doubt. Values and decisions; who deletes is
`main.workload_ends`.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from narrowgate.core.identity import Kind
from narrowgate.core.lineage import MOST_AUTHORS, Author, PendingWrite, Placement
from narrowgate.core.tasks import Task

FIRST_RETRY_SECONDS: Final = 2.0
"""After the first attempt that failed; each further one waits twice as long."""

LONGEST_RETRY_SECONDS: Final = 600.0
"""Between two attempts: a cluster that is away for a night is asked a hundred times, and each attempt is recorded."""

ORPHAN_SECONDS: Final = 30.0
"""After the end of a task: by then the garbage collector has taken what was owned by what was deleted at once."""

GIVE_UP_SECONDS: Final = 7 * 86_400.0
"""After the end of the task nothing is tried any more: whoever is to mend what keeps failing has had a week."""


class Fate(enum.Enum):
    """What has become of a workload that a task left behind."""

    WAITS = "waits"
    """Nothing yet; its task may still be under way."""
    DELETED = "deleted"
    GONE = "gone"
    """It was not there any more, or another object has its name."""
    LEFT = "left"
    """Somebody else has had a hand in it."""
    GIVEN_UP = "given up"
    """It could not be deleted for a week."""


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """One object that was created under a task, by the cluster's own UID."""

    task: str
    cluster: str
    uid: str
    is_owned: bool = False
    """Whether controllers made it of what was created: it goes with that, and is looked at only where it did not."""
    fate: Fate = Fate.WAITS
    tries: int = 0
    """Attempts to delete it that failed."""
    next_at: float = 0.0
    """Unix seconds before which it is not tried again."""
    why: str = ""
    """Of its fate, or why the last attempt failed; in a sentence."""

    def after_failure(self, why: str, now: float) -> Leftover:
        """As it is kept once an attempt has failed at `now`."""
        wait = min(FIRST_RETRY_SECONDS * 2.0 ** min(self.tries, 30), LONGEST_RETRY_SECONDS)
        return msgspec.structs.replace(self, tries=self.tries + 1, next_at=now + wait, why=why)

    def ended(self, fate: Fate, why: str = "") -> Leftover:
        """As it is kept for good."""
        return msgspec.structs.replace(self, fate=fate, why=why)


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """A task with the tasks around it, by their ids."""

    task: str
    around: frozenset[str]
    """Itself, what it was delegated from, and what was delegated from it."""


def tree_of(task: Task, above: Iterable[Task], below: Iterable[Task]) -> Tree:
    """The tree that a task stands in; `above` and `below` are all that it hangs on, and that hangs on it."""
    return Tree(task=task.id, around=frozenset({task.id, *(one.id for one in above), *(one.id for one in below)}))


def created_under(authors: Iterable[Author]) -> tuple[str, ...]:
    """The tasks under which something was created, by the chains of whoever did; sorted."""
    return tuple(sorted({member.task for author in authors for member in author if member.task}))


def foreign_hand(placement: Placement, tree: Tree) -> str:
    """Who else has had a hand in an object than those who worked on the task; empty where nobody has.

    A pod that was made by several speaks for all of them: what it writes is nobody's alone.
    """
    if len(placement.authors) > MOST_AUTHORS:
        return "more have changed it than are remembered"
    strange = [author for author in placement.authors if not _is_of(author, tree)]
    return f"{_in_words(strange[0], tree)} had a hand in it" if strange else ""


def doubtful_write(placement: Placement, tree: Tree, pending: Collection[PendingWrite]) -> str:
    """Why it is not known yet whether somebody else has changed the object; empty where nobody may have."""
    doubtful = (write for write in pending if write.may_have_changed(placement) and not _is_of(write.author, tree))
    return next((f"request {write.audit_id} may have changed it, and is not answered" for write in doubtful), "")


def _is_of(author: Author, tree: Tree) -> bool:
    agents = [member for member in author if member.kind is Kind.AGENT]
    on_it = any(member.task == tree.task for member in agents)
    return on_it and all(member.task in tree.around for member in agents)


def _in_words(author: Author, tree: Tree) -> str:
    """The first of a chain who did not work on the task, else its root."""
    strangers = (member for member in author if member.kind is Kind.AGENT and member.task not in tree.around)
    member = next(strangers, author[0])
    under = f" under task {member.task}" if member.task else ""
    return f"{member.kind.value.lower()}:{member.name}{under}"
