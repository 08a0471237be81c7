"""How a value may be written in a text: as it is, in base64, in hex, escaped for URLs and for JSON.

A form is what stands in the text for certain, wherever the value begins: of base64 at the second and third alignment
that is without the characters which depend on what is beside it. Long forms are looked for by pieces, since they are
wrapped, cut and printed in part; what is found is then extended as far as text and form agree.
"""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

import msgspec

from narrowgate.core.masking.secret_parts import MIN_DISTINCT, MIN_LENGTH, Known

SHORT: Final = 64
"""Bytes of a form that is looked for as a whole."""

PIECE: Final = 24
"""Bytes of a piece of a longer form: every stretch of 47 bytes holds a whole one, so that neither base64 in lines of 64
or 76 characters nor hex in lines of 60 (`xxd -p`) escapes."""

THOROUGH: Final = 2_048
"""Bytes from the beginning of a raw or base64 form in which every piece is looked for: a private key of RSA with 3,072
bits, encoded."""

SPARING: Final = 256
"""The same for forms that are rarer: hex, and base64 that begins in the middle of something else."""

FORM_LIMIT: Final = 64 * 1024
"""Bytes of a form to which a find is extended."""

_DROPPED: Final = (0, 2, 3)
"""Characters of base64 at each alignment that depend on the bytes before."""

_ALPHABET: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")


class Alphabet(enum.Enum):
    """What may stand right beside a form and tell of the value."""

    PLAIN = "plain"
    """Nothing."""
    BASE64 = "base64"
    """The characters of base64 that hold a part of the value and a part of something else, and the padding."""


class Form(msgspec.Struct, frozen=True):
    """One way to write one value."""

    text: bytes
    alphabet: Alphabet
    thorough: int
    """How much of it is looked for in pieces, in bytes from the beginning."""


def forms_of(known: Known) -> tuple[Form, ...]:
    """All forms of a value, each once, always in the same order."""
    found: dict[bytes, Form] = {}
    for form in _forms(known):
        if len(form.text) >= MIN_LENGTH and b"\n" not in form.text:
            found.setdefault(form.text, form)
    return tuple(found.values())


def pieces_of(form: Form) -> Iterator[tuple[int, bytes]]:
    """What is looked for of a form: where it begins in the form, and its bytes."""
    text = form.text
    if len(text) <= SHORT:
        yield 0, text
        return
    last = min(len(text), form.thorough) - PIECE
    for at in (*range(0, last, PIECE), last):
        piece = text[at : at + PIECE]
        if len(set(piece)) >= 2 * MIN_DISTINCT:
            yield at, piece


def beside(form: Form, text: bytes, start: int, end: int) -> tuple[int, int]:
    """The span of a form found whole, with the characters beside it that hold a part of the value."""
    if form.alphabet is Alphabet.PLAIN:
        return start, end
    if start and text[start - 1] in _ALPHABET:
        start -= 1
    if end < len(text) and text[end] in _ALPHABET:
        end += 1
    while end < len(text) and text[end] == ord("=") and text[end - 2 : end] != b"==":
        end += 1
    return start, end


def _forms(known: Known) -> Iterator[Form]:
    text = known.text[:FORM_LIMIT]
    lines = text.split(b"\n") if not known.is_line else [text]
    if len(lines) == 1:
        # The lines of a longer value are known by themselves.
        for written in _escaped(text):
            yield Form(written, Alphabet.PLAIN, THOROUGH)
    elif not known.is_line:
        for written in _escaped(text):
            yield Form(written.replace(b"\n", b"\\n"), Alphabet.PLAIN, THOROUGH)
    if known.is_line:
        return
    for alignment in range(3):
        whole = (alignment + len(text)) * 8 // 6
        encoded = base64.b64encode(b"\0" * alignment + text)[_DROPPED[alignment] : whole]
        thorough = THOROUGH if not alignment else SPARING
        yield Form(encoded, Alphabet.BASE64, thorough)
        yield Form(encoded.replace(b"+", b"-").replace(b"/", b"_"), Alphabet.BASE64, thorough)
    yield Form(text.hex().encode(), Alphabet.PLAIN, SPARING)
    yield Form(text.hex().upper().encode(), Alphabet.PLAIN, SPARING)


def _escaped(text: bytes) -> Iterator[bytes]:
    """As it is, and as programs escape it."""
    yield text
    if text.isalnum():
        return
    for safe in ("", "/"):
        yield (quoted := quote(text, safe=safe).encode())
        yield _lower_hex(quoted)
        yield quote_plus(text, safe=safe).encode()
    yield text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b'"', b"&quot;")
    try:
        string = text.decode()
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        # As it stands in JSON, as Go writes that, and in JSON within JSON.
        once = json.dumps(string, ensure_ascii=ascii_only)[1:-1]
        yield once.encode()
        yield once.replace("/", "\\/").encode()
        yield (go := _as_go(once)).encode()
        for again in (once, go):
            yield json.dumps(again, ensure_ascii=ascii_only)[1:-1].encode()


def _as_go(escaped: str) -> str:
    """encoding/json escapes what HTML would take for markup (`HTMLEscape`)."""
    return escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _lower_hex(quoted: bytes) -> bytes:
    parts = quoted.split(b"%")
    return b"%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])
