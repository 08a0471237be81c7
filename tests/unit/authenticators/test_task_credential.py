"""What a task's credential looks like."""

from __future__ import annotations

from narrowgate.authenticators.secret_form import secret_hash
from narrowgate.authenticators.task_credential import (
    PREFIX,
    new_credential_of,
    new_task_credential,
    new_task_id,
    task_credential_problem,
    task_named,
)


def test_a_new_one_names_its_task_and_nothing_else() -> None:
    made = new_task_credential(lambda length: bytes(range(length)))
    assert made.text.startswith(f"{PREFIX}{made.task}_")
    assert made.hash == secret_hash(made.text)
    assert task_credential_problem(made.text) == ""


def test_no_two_are_the_same() -> None:
    made = [new_task_credential() for _ in range(100)]
    assert len({one.task for one in made}) == len({one.hash for one in made}) == 100


def test_what_is_cut_or_misspelt_is_told() -> None:
    text = new_task_credential().text
    assert "cut short" in task_credential_problem(text[:-1])
    assert "misspelt" in task_credential_problem(text[:-1] + ("A" if text[-1] != "A" else "B"))
    assert "cut short" in task_credential_problem("ng1_" + text[5:])


def test_a_credential_says_of_which_task_it_is() -> None:
    made = new_task_credential()
    assert task_named(made.text) == made.task
    assert task_named(made.text[:-1]) == task_named("") == task_named("ngt1_é") == ""


def test_a_task_that_has_waited_gets_a_credential_under_its_own_id_and_another_each_time() -> None:
    task = new_task_id()
    first, second = new_credential_of(task), new_credential_of(task)
    assert first.task == second.task == task_named(first.text) == task_named(second.text) == task
    assert first.hash != second.hash
