"""What stands for one agent by the rules in force and the tasks that run, as the gate's own store has it."""

from __future__ import annotations

import msgspec

from narrowgate.cli.doctor_report import Line, Outcome, plain
from narrowgate.cli.doctor_resting import RESTING, standing_lines
from narrowgate.config import Config
from narrowgate.control.api.standing import document_of
from narrowgate.control.api.standing_ages import StandingAges
from narrowgate.control.api.tasks import holder_of
from narrowgate.core.moment import moment_text
from narrowgate.core.standing import standing_of, without_former
from narrowgate.main.policy_folder import rulebook_of
from narrowgate.store.open import open_store
from narrowgate.store.port import Store


def held_by_agent(config: Config, name: str, now: float, *, was_tried: bool) -> list[Line]:
    """Findings for every rule and task that gives the agent something now. Raises NotThere, StoreUnavailable.

    `was_tried`: whether a credential was tried as well; rules alone say what should be, not what is.
    """
    store = open_store(config.store, config.data_dir)
    try:
        lines = [*_rules(store, name), *_tasks(store, name, now)]
    finally:
        store.close()
    where = f"agent {plain(name)}"
    if not lines:
        said = "no rule stands for it, and no task of it is active"
        lines.append(Line(check="rules in force", where=where, outcome=Outcome.OK, found=said))
    if not was_tried:
        said = "no credential of it is at hand to try; add --kubeconfig FILE"
        lines.append(Line(check=RESTING, where=where, outcome=Outcome.NOT_TRIED, found=said))
    return lines


def _rules(store: Store, name: str) -> list[Line]:
    rulebook = rulebook_of(store.revision())
    aged = StandingAges().of(rulebook, store)
    agent = store.agent(name)
    known = without_former(store.rule_uses.known(), [agent])
    found = standing_of([holder_of(agent)], rulebook.policies, aged, known)
    return standing_lines([msgspec.to_builtins(document_of(line)) for line in found])


def _tasks(store: Store, name: str, now: float) -> list[Line]:
    running = [task.at(now) for task in store.tasks.active() if task.name == name]
    return [
        Line(
            check="active task",
            where=task.id,
            outcome=Outcome.FINDING,
            found=f"{plain(task.purpose)}: active until {moment_text(task.ends_at or 0.0)}",
            to_do=f"when its work is done: narrowgate tasks complete {task.id}, or revoke it",
        )
        for task in running
        if not task.is_final
    ]
