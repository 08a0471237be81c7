"""What a task's credential looks like: `ngt1_<task id>_<256 random bits><checksum>` (`secret_form` says why)."""

from __future__ import annotations

import base64
import secrets

import msgspec

from narrowgate.authenticators.secret_form import RandomBytes, SecretForm, secret_hash

PREFIX = "ngt1_"
"""Begins every task's credential; the digit is the version of this format."""

_ID_BYTES = 10
_ID_LETTERS = 16
"""80 random bits: ids of tasks never meet, and guessing one tells nothing."""

_FORM = SecretForm(PREFIX, _ID_LETTERS)


class NewTaskCredential(msgspec.Struct, frozen=True):
    """A task's id and credential, at the one moment when the credential's text is known."""

    task: str
    text: str
    """To be shown once and forgotten."""
    hash: bytes


def new_task_credential(random_bytes: RandomBytes = secrets.token_bytes) -> NewTaskCredential:
    """A new id for a task, and its credential, from `random_bytes`, which must be fit for secrets."""
    return new_credential_of(new_task_id(random_bytes), random_bytes)


def new_task_id(random_bytes: RandomBytes = secrets.token_bytes) -> str:
    """An id for a task that has no credential yet."""
    return base64.b32encode(random_bytes(_ID_BYTES)).decode().lower()


def new_credential_of(task: str, random_bytes: RandomBytes = secrets.token_bytes) -> NewTaskCredential:
    """The credential of a task whose id was made before (`new_task_id`)."""
    text = _FORM.new(task, random_bytes)
    return NewTaskCredential(task, text, secret_hash(text))


def task_credential_problem(text: str) -> str:
    """Why `text` cannot be any task's credential; empty when it could. Worded to follow "this task's credential"."""
    return _FORM.problem(text)


def task_named(text: str) -> str:
    """The id of the task that a credential says it is of; empty for what cannot be one."""
    return "" if _FORM.problem(text) else text[len(PREFIX) : len(PREFIX) + _ID_LETTERS]
