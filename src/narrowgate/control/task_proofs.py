"""What knows the credentials of tasks on the control port: the store as it is now, and not a snapshot.

Kept out of the snapshot's authenticator, which the token endpoint asks for other tokens, too: a task's credential is
worth there what this module's callers make of it, and never an access credential that outlives the task.
"""

from __future__ import annotations

import time

from narrowgate.authenticators.port import Authenticator
from narrowgate.authenticators.task_credential import task_named
from narrowgate.authenticators.task_credentials import TaskCredentials
from narrowgate.core.delegated_task import in_force, root_of
from narrowgate.core.identity import Kind
from narrowgate.store.port import NotThere, Store
from narrowgate.store.presence import people_present
from narrowgate.store.task_trees import ancestors_of


def knows_task_of(store: Store, bearer: str, longest_chain: int) -> Authenticator:
    """What knows this task's credential, from the store as it is now; of no chain with more members than
    `longest_chain`. It blocks. Raises StoreUnavailable.
    """
    try:
        task = store.tasks.get(task_named(bearer))
        agents = (store.agent(root_of(task.name)),) if task.kind is Kind.AGENT else ()
        line = in_force((task, *ancestors_of(store.tasks, task)))
        return TaskCredentials(line, agents, people_present(store.sign_ins, (task,), time.time()), longest_chain)
    except NotThere:
        return TaskCredentials((), ())
