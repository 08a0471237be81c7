"""`authentication.saml`: the identity providers that people sign in with by SAML 2.0.

Their metadata is read and checked here, with the configuration: a file that cannot be used is told of at start, and not
to the first person who wants to sign in.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from narrowgate.authenticators.jwt_issuer import JWTIssuer
from narrowgate.config.document import Document, Path_, read_text
from narrowgate.control.saml.metadata import LONGEST_ENTITY_ID, check_valid, read_metadata
from narrowgate.control.saml.provider import SAMLProvider
from narrowgate.control.saml.xml import SAMLRefused
from narrowgate.core.identity import Kind
from narrowgate.core.names import name_problem

LONGEST_TITLE = 64
"""Characters; it stands on a button."""

LONGEST_ATTRIBUTE = 256
"""Characters of an attribute's name; the longest in use are addresses of some eighty."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
"""It becomes a path segment and a word in the record."""


class SAMLEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One entry as written."""

    name: str
    metadata: str
    title: str = ""
    username: str = "NameID"
    username_prefix: str = ""
    groups: str = ""
    groups_prefix: str = ""
    entity_id: str = msgspec.field(default="", name="entityID")


def read_saml_providers(
    document: Document, here: Path_, written: Sequence[SAMLEntry], folder: Path, issuers: Sequence[JWTIssuer] = ()
) -> tuple[SAMLProvider, ...]:
    """The providers, checked, also against the JWT issuers whose people have names beside theirs.

    Raises ConfigError with file, line and key.
    """
    named: dict[str, int] = {}
    for index, entry in enumerate(written):
        _check_entry(document, (*here, index), entry)
        if entry.name in named:
            at = named[entry.name]
            document.refuse((*here, index, "name"), f'"{entry.name}" is already saml[{at}]; give each its own name')
        named[entry.name] = index
    users = _Prefixes(written, "usernamePrefix", _user_prefixes(issuers))
    groups = _Prefixes(written, "groupsPrefix", _group_prefixes(issuers))
    users.check(document, here)
    groups.check(document, here)
    return tuple(
        SAMLProvider(
            name=entry.name,
            title=entry.title or entry.name,
            metadata=_metadata(document, (*here, index, "metadata"), entry.metadata, folder),
            username=entry.username,
            username_prefix=entry.username_prefix,
            groups=entry.groups,
            groups_prefix=entry.groups_prefix,
            entity_id=entry.entity_id,
            foreign_prefixes=users.longer(entry.username_prefix),
            foreign_group_prefixes=groups.longer(entry.groups_prefix),
            where=document.place((*here, index)),
        )
        for index, entry in enumerate(written)
    )


def _check_entry(document: Document, here: Path_, entry: SAMLEntry) -> None:
    if not _NAME.fullmatch(entry.name):
        document.refuse((*here, "name"), f'"{entry.name}" is no name; use up to 63 lower case letters, digits and "-"')
    if len(entry.title) > LONGEST_TITLE or not entry.title.isprintable():
        document.refuse((*here, "title"), f"longer than {LONGEST_TITLE} characters, or not printable; shorten it")
    for key, name, may_lack in (("username", entry.username, False), ("groups", entry.groups, True)):
        if not (name or may_lack) or len(name) > LONGEST_ATTRIBUTE or not name.isprintable():
            document.refuse(
                (*here, key), f"expected an attribute's name of up to {LONGEST_ATTRIBUTE} characters; correct it"
            )
    for key, prefix in (("usernamePrefix", entry.username_prefix), ("groupsPrefix", entry.groups_prefix)):
        # A prefix alone is not a name; with any letter after it, it must be able to become one.
        if problem := name_problem(prefix + "x"):
            document.refuse((*here, key), f'"{prefix}" cannot begin a name: it {problem}')
    if entry.groups_prefix and not entry.groups:
        document.refuse((*here, "groupsPrefix"), "goes with groups only; add that, or remove this")
    entity_id = entry.entity_id
    if len(entity_id) > LONGEST_ENTITY_ID or not all("!" <= character <= "~" for character in entity_id):
        document.refuse((*here, "entityID"), f"expected an address of up to {LONGEST_ENTITY_ID} characters, no spaces")


class _Prefixes:
    """What the names of people, or of their groups, begin with, by source.

    Two sources whose names begin alike could each vouch for the other's. Where a name is made by an expression, its
    beginning is the expression's business.
    """

    def __init__(self, written: Sequence[SAMLEntry], key: str, others: Sequence[tuple[str, str]]) -> None:
        """`others` are prefixes of JWT issuers, each with what the issuer is called."""
        self._key = key
        self._others = others
        self._ours = [
            (index, entry.username_prefix if key == "usernamePrefix" else entry.groups_prefix)
            for index, entry in enumerate(written)
            if key == "usernamePrefix" or entry.groups
        ]

    def check(self, document: Document, here: Path_) -> None:
        """That no two are the same. Raises ConfigError."""
        taken = {prefix: f'the JWT issuer "{called}"' for prefix, called in self._others}
        for index, prefix in self._ours:
            if prefix in taken:
                document.refuse(
                    (*here, index, self._key),
                    f'"{prefix}" is also the prefix of {taken[prefix]}, so that somebody of the one could be taken for '
                    'somebody of the other; give each its own, like "corp:" and "partner:"',
                )
            taken[prefix] = f"saml[{index}]"

    def longer(self, own: str) -> tuple[str, ...]:
        """Those of other sources that begin with `own`."""
        known = {prefix for prefix, _ in self._others} | {prefix for _, prefix in self._ours}
        return tuple(sorted(prefix for prefix in known if prefix.startswith(own) and prefix != own))


def _user_prefixes(issuers: Sequence[JWTIssuer]) -> list[tuple[str, str]]:
    return [
        (issuer.username.prefix, issuer.called)
        for issuer in issuers
        if issuer.subject is Kind.PERSON and issuer.username.claim
    ]


def _group_prefixes(issuers: Sequence[JWTIssuer]) -> list[tuple[str, str]]:
    return [
        (issuer.groups.prefix, issuer.called)
        for issuer in issuers
        if issuer.subject is Kind.PERSON and issuer.groups and issuer.groups.claim
    ]


def _metadata(document: Document, here: Path_, path: str, folder: Path) -> str:
    if not path or "\0" in path:
        document.refuse(here, "expected the path of the identity provider's metadata file; write it")
    file = Path(os.path.normpath(folder / Path(path).expanduser()))
    text = read_text(file, "the identity provider's metadata")
    try:
        check_valid(read_metadata(text), time.time())
    except SAMLRefused as refused:
        document.refuse(here, f"{file} cannot be used: {refused}")
    return text
