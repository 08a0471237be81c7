"""Messages of a `metav1.Status`, in which the API server repeats the values that it refuses.

    Pod "web" is invalid: spec.containers[0].env[0].value: Invalid value: "hunter2": must be no more than ...

What stands before the value is the path of the field (k8s.io/apimachinery, pkg/util/validation/field/errors.go): the
plan can be asked whether it masks it. A value that cannot be told from what follows it (a whole structure, in Go's
or JSON's words) hides the rest of the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from narrowgate.core.masking.plan import Place, Scan

STATUS_VALUE: Final = "narrowgate/status-value"
"""The rule of values that a refusal repeats; reveals of the field lift it, because the plan then does not mask it."""

_REPEATED: Final = re.compile(r"(?:(?:Invalid|Unsupported|Duplicate) value|Not found): ?")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN: Final = re.compile(r"[\w.+-]+(?=[:,;\s]|\Z)")
_STRUCTURE: Final = re.compile(r"\b[a-z]\w*\.\w+\{|&\{|\bmap\[|\{\"|\n@@ |(?<=\n)[-+ ]*[\[{]")
"""A Go value, a JSON object or a difference of two in the midst of a message."""

_REFUSED: Final = "Forbidden:"
"""A refused change of a pod says so on one line, and on those that follow the difference of the two specs, with what is
around it (k8s.io/kubernetes, pkg/apis/core/validation, ValidatePodUpdate).
"""

SHOWN_LIMIT: Final = 253
"""Characters of a repeated value that is shown where its field is not masked. Fields that are worth showing are names;
a patch that fails (`patch: Invalid value: "{...}"`) is repeated with all of the object around it."""

_PATH: Final = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")

PATH_LIMIT: Final = 64
"""Steps of a field's path; one that is longer is taken for a masked one."""


def mask_repeated_values(message: str, objects: Place | None, hide: Callable[[str], str]) -> str:
    """The message with the values of masked fields hidden; `hide` makes the masked value for a text. `objects` is where
    the plan's objects begin.
    """
    written: list[str] = []
    at = 0
    for found in _REPEATED.finditer(message):
        if found.start() < at:
            continue
        path = _path_before(message, at, found.start())
        start = found.end()
        quoted = _QUOTED.match(message, start)
        if quoted is not None:
            if (objects is not None and _is_document(quoted[1])) or _hides(objects, path, whole=False):
                written += [message[at : quoted.start(1)], hide(quoted[1])]
                at = quoted.end(1)
            continue
        plain = _PLAIN.match(message, start)
        if plain is not None:
            if _hides(objects, path, whole=False):
                written += [message[at:start], hide(plain[0])]
                at = plain.end()
            continue
        if message[start:] and _hides(objects, path, whole=True):
            return "".join([*written, message[at:start], hide(message[start:])])
    rest = message[at:]
    cut = _structure_in(rest) if objects is not None else len(rest)
    return "".join([*written, rest[:cut], *([hide(rest[cut:])] if cut < len(rest) else [])])


def _path_before(message: str, start: int, end: int) -> str:
    """The path of the field whose error begins at `end`; empty where there is none after `start`."""
    if not message.endswith(": ", start, end):
        return ""
    begin = max(start, message.rfind(" ", start, end - len(": ")) + 1)
    return message[begin : end - len(": ")].lstrip("[")


def _is_document(value: str) -> bool:
    return len(value) > SHOWN_LIMIT or value.lstrip()[:1] in ("{", "[")


def _structure_in(text: str) -> int:
    """Where something begins that may hold a masked value and cannot be told apart; the length where nothing does."""
    found = _STRUCTURE.search(text)
    refused = text.find(_REFUSED)
    line_end = text.find("\n", refused) if refused >= 0 else -1
    cut = min(found.start() if found is not None else len(text), line_end + 1 if line_end >= 0 else len(text))
    # White space is no part of it: so what is hidden is found again as what it is, and stays.
    return len(text) - len(text[cut:].lstrip())


def _hides(objects: Place | None, path: str, *, whole: bool) -> bool:
    """Whether the plan masks the field at `path`, or something below it; in doubt it does. A text (not `whole`) that is
    only scanned is scanned here as well.
    """
    if objects is None:
        return False
    if not path:
        return True
    place = _place_at(objects, path)
    return place is not None and (whole or place.hides is not None or not isinstance(place.text, Scan))


def _place_at(objects: Place, path: str) -> Place | None:
    """The place of a field, or the one above it that hides all that lies below."""
    place: Place | None = objects
    for step, (index, key) in enumerate(_PATH.findall(path)):
        if place is None or place.hides is not None or step >= PATH_LIMIT:
            break
        if place.by_name:
            place = place.named(None)
        if place is not None:
            place = place.element if index.isdigit() else place.child(index or key)
    return place
