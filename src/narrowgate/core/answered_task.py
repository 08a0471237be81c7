"""What an answer does to the task that it is about: one that waits is denied or lapses, an emergency is ended."""

from __future__ import annotations

from narrowgate.core.approvals import ApprovalQuestion, ApprovalState
from narrowgate.core.tasks import Task, TaskEvent, TaskState

_ENDS_WAITING = {
    ApprovalState.DENIED: TaskEvent.DENIED,
    ApprovalState.WITHDRAWN: TaskEvent.LAPSED,
    ApprovalState.LAPSED: TaskEvent.LAPSED,
}
"""What becomes of a task that waits once its question is no more. A yes begins nothing: the task is collected."""


def task_after_answer(task: Task, question: ApprovalQuestion, now: float) -> Task:
    """The task at `now` (Unix seconds), as its question has left it; itself where nothing has happened to it.

    An emergency that was found not in order is over at once; one that nobody looked at, or that was in order, ends at
    its own time.
    """
    if question.task != task.id:
        return task
    if question.about.review:
        if question.state is not ApprovalState.DENIED or task.state is not TaskState.ACTIVE:
            return task
        return task.after(TaskEvent.REVOKED, now, f"found not in order: {question.ended_because}")
    event = _ENDS_WAITING.get(question.state)
    if event is None or task.state is not TaskState.REQUESTED:
        return task
    return task.after(event, now, question.ended_because)
