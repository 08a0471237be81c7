"""What of a cluster's Secrets is looked for in text: which values, and which parts of values that hold several.

Everything of MIN_LENGTH bytes is, but what is public and what is a word: a mask over `production` would spoil every
text of the cluster, and tell what the Secret says by doing so. Left out are

* certificates and public keys in PEM, and whole values that are nothing else;
* what has fewer than MIN_DISTINCT different bytes (`00000000`, `********`);
* words that everybody writes (`COMMON`), whatever key they are under;
* under keys that are not named like secrets: one word of up to 11 letters, a host's name (`db.prod.svc`), or a number;
  under the keys of `DESCRIBING` also words in a row and a URL without a password;
* Helm's releases: an archive of a whole chart, whose form gives it away (`patterns.ARCHIVE`).

A value of several lines or of JSON (a `.env` file, a registry's credentials, a private key) is seldom printed whole. So
the values in it are looked for as well, by the same rules, and its lines where they are no plain text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import orjson

from narrowgate.core.masking.secret_names import is_secret_name

MIN_LENGTH: Final = 8
"""Bytes of a value at least: shorter ones stand in ordinary text by chance."""

MIN_DISTINCT: Final = 4
"""Different bytes in a value, or a part of its form, at least."""

PARTS_LIMIT: Final = 512
"""Parts of one value that are looked for besides the whole of it; a private key of 16,384 bits has some 200 lines."""

LOOKED_LIMIT: Final = 4_096
"""Lines, or values of JSON, of one value that are looked at for parts: this runs between two requests."""

ASSIGNED_LIMIT: Final = 4_096
"""Bytes of a line that is read as a name and its value."""

DEPTH: Final = 8
"""Levels of JSON that are gone down."""

RELEASE: Final = "helm.sh/release.v1"
"""The type of Helm's release Secrets (helm.sh/helm, pkg/storage/driver/secrets.go)."""

COMMON: Final = frozenset({
    b"administrator", b"changeit", b"changeme", b"database", b"default-token", b"disabled", b"elasticsearch",
    b"kubernetes", b"localhost", b"password", b"passw0rd", b"postgres", b"postgresql", b"production", b"rabbitmq",
    b"required", b"undefined", b"username", b"127.0.0.1",
})  # fmt: skip
"""Words that are no secret even where they are somebody's password."""

DESCRIBING: Final = frozenset({
    "ca.crt", "tls.crt", "client.crt", "username", "user", "login", "host", "hostname", "server", "endpoint", "url",
    "uri", "port", "database", "dbname", "db", "name", "namespace", "type", "provider", "region", "bucket", "email",
    "description", "auth-extra-groups", "expiration", "engine", "scheme", "environment", "env", "realm", "issuer",
    "project", "project_id", "auth_uri", "token_uri",
})  # fmt: skip
"""Keys of Secrets under which people write what describes a secret."""

_PUBLIC: Final = re.compile(
    rb"-----BEGIN (?P<what>(?:TRUSTED |X509 )?CERTIFICATE|CERTIFICATE REQUEST|(?:[A-Z0-9]+ )?PUBLIC KEY|DH PARAMETERS"
    rb"|X509 CRL)-----[^-]*-----END (?P=what)-----"
)
_WORD: Final = re.compile(rb"(?:[A-Z]?[a-z]{1,11}|[A-Z]{1,11})[0-9]{0,2}")
_RUN: Final = re.compile(rb"[A-Za-z0-9]+")
_READABLE: Final = re.compile(rb"(?:[A-Z]?[a-z]{0,15}|[A-Z]{1,15})[0-9]{0,3}|[0-9]{1,6}")
_HOST: Final = re.compile(rb"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]{1,5})?")
_NUMBER: Final = re.compile(rb"[0-9]{8,11}|[0-9.:TZ+-]{10,35}")
_URL: Final = re.compile(rb"[a-z][a-z0-9+.-]*://[^\s@?#]*")
_ASSIGNED: Final = re.compile(rb"[ \t-]*(?:export[ \t]+)?[\"']?([\w./-]{1,128})[\"']?[ \t]*[:=][ \t]*(\S.*)", re.DOTALL)


class Known(msgspec.Struct, frozen=True, order=True):
    """One text to look for."""

    text: bytes
    """Without line ends, and without space around it."""
    stands_for: bytes
    """What its masked value is the hash of: the Secret's value as it is, or the part itself."""
    is_line: bool = False
    """Whether it is only a line of a value, which nobody encodes by itself."""


def known_parts(kind: str, data: Mapping[str, bytes]) -> Iterator[Known]:
    """What is looked for of a Secret of type `kind` with these values."""
    if kind == RELEASE:
        return
    for key, value in data.items():
        yield from _of_value(key, value)


def _of_value(key: str, value: bytes) -> Iterator[Known]:
    text = _PUBLIC.sub(b"", value).strip() if b"-----BEGIN" in value else value.strip()
    if len(text) < MIN_LENGTH:
        return
    if _counts(key, text):
        yield Known(value.strip(), value)
    if b"\n" in text or text[:1] in (b"{", b"["):
        yield from itertools.islice(_within(key, text), PARTS_LIMIT)


def _within(key: str, text: bytes) -> Iterator[Known]:
    """What is in a value of JSON or of several lines."""
    if text[:1] in (b"{", b"["):
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # Then it is lines, as anything else is.
        else:
            for name, leaf in itertools.islice(_leaves(key, document, 0), LOOKED_LIMIT):
                yield from _of_leaf(name, leaf)
            return
    for line in text.split(b"\n", LOOKED_LIMIT)[:LOOKED_LIMIT]:
        line = line.strip()
        if len(line) >= MIN_LENGTH and len(set(line)) >= MIN_DISTINCT and not _is_readable(line):
            yield Known(line, line, is_line=True)
        elif is_secret_name(key) and _counts(key, line):
            # Recovery codes and passphrases, one on each line.
            yield Known(line, line)
        if len(line) <= ASSIGNED_LIMIT and (assigned := _ASSIGNED.fullmatch(line)) is not None:
            name, part = assigned[1].decode("latin-1"), assigned[2].rstrip(b" \t,;").strip(b"\"'")
            if _counts(name, part):
                yield Known(part, part)


def _leaves(key: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """The texts in a document, each with the key that it is under."""
    if depth > DEPTH:
        return
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves(name, below, depth + 1)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(key, below, depth + 1)
    elif isinstance(value, str):
        yield key, value


def _of_leaf(key: str, value: str) -> Iterator[Known]:
    """One text of a document. A document within it is a text like any other."""
    text = value.encode("utf-8", "surrogatepass")
    stripped = text.strip()
    if b"\n" in stripped and stripped[:1] not in (b"{", b"["):
        yield from _of_value(key, text)
    elif _counts(key, stripped):
        yield Known(stripped, text)


def _counts(key: str, text: bytes) -> bool:
    """Whether a text under this key is looked for."""
    if len(text) < MIN_LENGTH or len(set(text)) < MIN_DISTINCT or text.lower() in COMMON:
        return False
    if is_secret_name(key):
        return True
    if _WORD.fullmatch(text) or _NUMBER.fullmatch(text) or (_HOST.fullmatch(text) and _is_readable(text)):
        return False
    if key.lower() not in DESCRIBING:
        return True
    return not (_is_readable(text) and (_URL.fullmatch(text) or b"://" not in text))


def _is_readable(text: bytes) -> bool:
    """Whether it is made of words and short numbers alone. A word with digits is `utf8`; two of them are a code."""
    runs = _RUN.findall(text) if text.isascii() else []
    mixed = sum(not run.isalpha() and not run.isdigit() for run in runs)
    return bool(runs) and mixed < 2 and all(_READABLE.fullmatch(run) for run in runs)
