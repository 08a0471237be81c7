"""Calls about policies: what is in force, what was, and whether files would be taken.

Nothing here puts policies in force: that stays with the folder (or `narrowgate policy apply`) for now.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from narrowgate.control.api.calls import Answered, Sent
from narrowgate.control.api.paging import ListMeta, Page, page_of, read_token
from narrowgate.control.api.parts import ApiParts
from narrowgate.control.problems import Problem, Trouble
from narrowgate.core.lint import Finding
from narrowgate.core.moment import moment_text
from narrowgate.core.policy_set import check_files
from narrowgate.core.yaml_reader import PolicyError
from narrowgate.store.port import NotThere, PolicyRevision

MOST_FILES = 256
"""In one check; a large installation has some dozens."""

_LIST = "revisions"

LARGEST_NUMBER = (1 << 63) - 1
"""Of a revision or change: the database keeps no larger one."""


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a set."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    text: str


class RevisionDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A set of policy files that was, or is, in force."""

    number: int
    made_at: str
    made_by: str
    digest: str
    file_count: int


class RevisionWithFiles(RevisionDocument, frozen=True, kw_only=True, rename="camel"):
    """The same with its files."""

    files: tuple[PolicyFile, ...]


class RevisionList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of revisions, newest first."""

    items: tuple[RevisionDocument, ...]
    metadata: ListMeta


class PolicyCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files to be checked as one set: what is not among them does not count."""

    files: Annotated[tuple[PolicyFile, ...], msgspec.Meta(min_length=1, max_length=MOST_FILES)]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the gate would take the files."""

    good: bool
    errors: tuple[PolicyError, ...]
    warnings: tuple[Finding, ...]
    """What works and gives more than people mean to; only for good files."""


def current_policies(parts: ApiParts, sent: Sent) -> Answered:  # noqa: ARG001 (every call has the same signature)
    """The revision in force, with its files."""
    return Answered(document=_with_files(parts.store.revision()))


def get_revision(parts: ApiParts, sent: Sent) -> Answered:
    """One revision, with its files."""
    text = sent.path["number"]
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LARGEST_NUMBER)) or int(text) > LARGEST_NUMBER:
        raise Problem(Trouble.NOT_FOUND, f'"{text}" is no number of a revision; look at the list of revisions')
    try:
        return Answered(document=_with_files(parts.store.revision(int(text))))
    except NotThere as error:
        raise Problem(Trouble.NOT_FOUND, f"{error}; look at the list of revisions") from None


def list_revisions(parts: ApiParts, sent: Sent) -> Answered:
    """The revisions, newest first."""
    page: Page = sent.query
    found = parts.store.revisions(page.limit + 1, before=number_in(read_token(page, _LIST)))
    shown, meta = page_of(found, page, _LIST, lambda one: str(one.number))
    items = tuple(
        RevisionDocument(
            number=one.number,
            made_at=moment_text(one.made_at),
            made_by=one.made_by,
            digest=one.digest,
            file_count=one.file_count,
        )
        for one in shown
    )
    return Answered(document=RevisionList(items=items, metadata=meta))


def check_policies(parts: ApiParts, sent: Sent) -> Answered:
    """Say everything that is wrong with some files; nothing is changed."""
    asked: PolicyCheck = sent.body
    names = [file.name for file in asked.files]
    if len(set(names)) < len(names):
        raise Problem(Trouble.INVALID, "two files have the same name; give each its own")
    if not parts.checking.acquire(blocking=False):
        raise Problem(Trouble.BUSY, "other files are being checked; send yours again in a moment", {"Retry-After": "2"})
    try:
        checked = check_files([(file.name, file.text) for file in asked.files])
    finally:
        parts.checking.release()
    return Answered(document=Checked(good=not checked.errors, errors=checked.errors, warnings=checked.warnings))


def number_in(behind: str) -> int | None:
    """The number in a `continue` token; None for the first page. Raises Problem."""
    if not behind:
        return None
    if not (behind.isascii() and behind.isdigit()) or int(behind) > LARGEST_NUMBER:
        raise Problem(Trouble.UNREADABLE, "`continue` is not one that this gate gave out; begin the list anew")
    return int(behind)


def _with_files(revision: PolicyRevision) -> RevisionWithFiles:
    return RevisionWithFiles(
        number=revision.number,
        made_at=moment_text(revision.made_at),
        made_by=revision.made_by,
        digest=revision.digest,
        file_count=len(revision.files),
        files=tuple(PolicyFile(name=name, text=text) for name, text in revision.files),
    )
