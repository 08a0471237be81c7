"""What a write would change of an object, field by field, in lines that people read before they say yes to it.

    - spec.replicas: 2
    + spec.replicas: 5
    - spec.template.spec.containers[web].image: "nginx:1.26"
    ~ spec.template.spec.initContainers: in another order

Lists whose items have names are compared by those, as strategic merge patches do (the `patchMergeKey` of Kubernetes'
types); others by what is in them. What is in `metadata` comes last, so that no number of labels hides a command. Left
out is what the API server keeps for itself; nothing else is, and of a Secret names alone are told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import chain, zip_longest
from typing import Any, Final

MAX_COMPARED: Final = 200
"""Items of a list, or lines of a text, that are matched with each other where they differ; of more, place by place.
Matching takes a tenth of a second at worst for so many, and grows with their cube."""
MAX_MATCHED: Final = 3 * MAX_COMPARED**2
"""Pairs of them in one object: whoever makes up the worst object costs the gate a quarter of a second."""
MAX_TEXT: Final = 120
"""Characters of one value that are shown, around the first that differs; a line has some more for its path."""
BEFORE: Final = 30
"""Characters of those that come before it, so that it is found."""

MAX_PATH: Final = 200
"""Characters of a path: names of labels have some 300 at most, of which the beginning and the end are shown."""

MERGE_KEYS: Final = (
    "name",
    "containerPort",
    "port",
    "mountPath",
    "devicePath",
    "ip",
    "topologyKey",
    "type",
    "uid",
    "key",
)
"""By which Kubernetes tells items of its own lists apart (`patchMergeKey` in k8s.io/api), the most usual first."""

KEPT_BY_SERVER: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"}
)
"""In `metadata`: a write cannot choose them."""
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Where kubectl keeps the whole object once more, in one line, for itself."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def difference(old: Any, new: Any, *, values: bool = True, status: bool = False) -> Iterator[str]:
    """The lines, of any number and length, for two objects as plain JSON values.

    `values` False: no value of either is in any line. `status` False: of `status`, only whether it would change.
    """
    try:
        yield from _Lines(values=values).of_objects(old, new, status=status)
    except RecursionError:
        yield "~ it is nested deeper than can be compared"


class _Lines:
    def __init__(self, *, values: bool) -> None:
        self._values = values
        self._left = MAX_MATCHED

    def of_objects(self, old: Any, new: Any, *, status: bool) -> Iterator[str]:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            yield from self.changed("", old, new)
            return
        names = dict.fromkeys(chain(old, new))
        for name in sorted(names, key=lambda name: name in ("metadata", "status")):
            if name == "metadata":
                yield from self._of_metadata(old.get(name), new.get(name))
            elif name == "status" and not status:
                if not _same(old.get(name), new.get(name)):
                    yield "~ status: it would be another one, too (not shown)"
            else:
                yield from self._of_field(name, old, new)

    def _of_metadata(self, old: Any, new: Any) -> Iterator[str]:
        before, after = _own(old), _own(new)
        notes = [part["annotations"].pop(LAST_APPLIED, None) for part in (before, after) if "annotations" in part]
        if len(notes) == 2 and not _same(*notes):
            yield f"~ metadata.annotations[{LAST_APPLIED}]: kubectl's own copy of the object changes, too"
        for name in dict.fromkeys(chain(before, after)):
            yield from self._of_field(name, before, after, "metadata")

    def _of_field(self, name: str, old: dict[str, Any], new: dict[str, Any], path: str = "") -> Iterator[str]:
        place = _beneath(path, name)
        if name not in new:
            yield from self._leaves("-", place, old[name])
        elif name not in old:
            yield from self._leaves("+", place, new[name])
        else:
            yield from self.changed(place, old[name], new[name])

    def changed(self, path: str, old: Any, new: Any) -> Iterator[str]:
        match old, new:
            case dict(), dict():
                for name in dict.fromkeys(chain(old, new)):
                    yield from self._of_field(name, old, new, path)
            case list(), list():
                yield from self._of_lists(path, old, new)
            case str(), str() if old != new and self._values and "\n" in old + new:
                yield from self._of_texts(path, old, new)
            case _ if _same(old, new):
                return
            case _ if not isinstance(old, dict | list) and not isinstance(new, dict | list):
                yield from self._pair(path, path, old, new)
            case _:
                yield from self._leaves("-", path, old)
                yield from self._leaves("+", path, new)

    def _of_lists(self, path: str, old: list[Any], new: list[Any]) -> Iterator[str]:
        if key := _merge_key(old, new):
            before, after = ({item[key]: item for item in items} for items in (old, new))
            both = [name for name in before if name in after]
            if both != [name for name in after if name in before]:
                yield f"~ {_short(path)}: in another order"
            for name in dict.fromkeys(chain(before, after)):
                place = f"{path}[{_quoted(name)}]"
                if name not in after:
                    yield from self._leaves("-", place, before[name])
                elif name not in before:
                    yield from self._leaves("+", place, after[name])
                else:
                    yield from self.changed(place, before[name], after[name])
            return
        for begun, ended, began, done in self._blocks(
            [_canonical(one) for one in old], [_canonical(one) for one in new]
        ):
            paired = ended - begun == done - began
            for at in range(ended - begun if paired else 0):
                yield from self._exchanged((path, begun + at, began + at), old[begun + at], new[began + at])
            for at in range(begun, begun if paired else ended):
                yield from self._leaves("-", f"{path}[{at}]", old[at])
            for at in range(began, began if paired else done):
                yield from self._leaves("+", f"{path}[{at}]", new[at])

    def _exchanged(self, where: tuple[str, int, int], old: Any, new: Any) -> Iterator[str]:
        """One item in the place of another; what stands before them may have moved the one against the other."""
        path, was, becomes = where
        if isinstance(old, dict | list) or isinstance(new, dict | list) or "\n" in f"{old}{new}":
            yield from self.changed(f"{path}[{becomes}]", old, new)
        else:
            yield from self._pair(f"{path}[{was}]", f"{path}[{becomes}]", old, new)

    def _of_texts(self, path: str, old: str, new: str) -> Iterator[str]:
        """A text of several lines: those that differ, with their numbers."""
        before, after = old.split("\n"), new.split("\n")
        for begun, ended, began, done in self._blocks(before, after):
            for at, (was, becomes) in enumerate(zip_longest(before[begun:ended], after[began:done])):
                gone, come = _around(was or "", becomes or "")
                if was is not None:
                    yield f"- {_short(path)} line {begun + at + 1}: {gone}"
                if becomes is not None:
                    yield f"+ {_short(path)} line {began + at + 1}: {come}"

    def _blocks(self, old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
        """Where two sequences differ: from and until in the one, from and until in the other."""
        begin, ends = 0, (len(old), len(new))
        while begin < min(ends) and old[begin] == new[begin]:
            begin += 1
        while begin < min(ends) and old[ends[0] - 1] == new[ends[1] - 1]:
            ends = ends[0] - 1, ends[1] - 1
        gone, come = ends[0] - begin, ends[1] - begin
        self._left -= gone * come
        if gone > MAX_COMPARED or come > MAX_COMPARED or self._left < 0:
            shorter = begin + min(gone, come)
            yield from ((at, at + 1, at, at + 1) for at in range(begin, shorter) if old[at] != new[at])
            if gone != come:
                yield shorter, ends[0], shorter, ends[1]
            return
        matcher = SequenceMatcher(None, old[begin : ends[0]], new[begin : ends[1]], autojunk=False)
        for word, was, until, becomes, done in matcher.get_opcodes():
            if word != "equal":
                yield begin + was, begin + until, begin + becomes, begin + done

    def _pair(self, was: str, becomes: str, old: Any, new: Any) -> Iterator[str]:
        if not self._values:
            yield f"~ {_short(becomes)}: changed"
            return
        gone, come = _around(_text(old), _text(new))
        yield f"- {_short(was)}: {gone}"
        yield f"+ {_short(becomes)}: {come}"

    def _leaves(self, sign: str, path: str, value: Any) -> Iterator[str]:
        match value:
            case dict() if value:
                for name, one in value.items():
                    yield from self._leaves(sign, _beneath(path, name), one)
            case list() if value:
                key = _merge_key(value, [])
                for at, one in enumerate(value):
                    yield from self._leaves(sign, f"{path}[{_quoted(one[key]) if key else at}]", one)
            case _ if not self._values:
                yield f"{sign} {_short(path)}: {'added' if sign == '+' else 'removed'}"
            case str() if "\n" in value:
                for number, line in enumerate(value.split("\n"), 1):
                    yield f"{sign} {_short(path)} line {number}: {_around(line, line)[0]}"
            case _:
                yield f"{sign} {_short(path)}: {_around(_text(value), _text(value))[0]}"


def _own(metadata: Any) -> dict[str, Any]:
    """What of `metadata` a write can choose, to be changed by whoever asks."""
    if not isinstance(metadata, dict):
        return {}
    own = {name: value for name, value in metadata.items() if name not in KEPT_BY_SERVER}
    annotations = own.get("annotations")
    own["annotations"] = dict(annotations) if isinstance(annotations, dict) else {}
    return own


def _merge_key(old: Sequence[Any], new: Sequence[Any]) -> str:
    """By which the items of both lists are told apart; empty where nothing does."""
    items = [*old, *new]
    if not items or not all(isinstance(one, dict) for one in items):
        return ""
    for key in MERGE_KEYS:
        if all(_is_name(one.get(key)) for one in items) and all(
            len({one[key] for one in part}) == len(part) for part in (old, new)
        ):
            return key
    return ""


def _is_name(value: Any) -> bool:
    # A boolean is a number to Python, and 1.0 is 1.
    return type(value) in (str, int)


def _same(old: Any, new: Any) -> bool:
    """Whether two values are the same JSON; to Python True is 1, and 1.0 is, too."""
    return _canonical(old) == _canonical(new)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _beneath(path: str, name: str) -> str:
    if not _PLAIN.fullmatch(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def _short(path: str) -> str:
    half = MAX_PATH // 2
    return path if len(path) <= MAX_PATH else f"{path[:half]}...{path[-half:]}"


def _quoted(name: str | int) -> str:
    text = str(name)
    return text if _PLAIN.fullmatch(text) else json.dumps(name, ensure_ascii=False)


def _around(old: str, new: str) -> tuple[str, str]:
    """Both, cut to what is shown around the first character that differs (the beginning, where none does)."""
    if len(old) <= MAX_TEXT and len(new) <= MAX_TEXT:
        return old, new
    differs = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), None)
    if differs is None:
        differs = 0 if len(old) == len(new) else min(len(old), len(new))
    begin = max(0, differs - BEFORE)
    return _window(old, begin), _window(new, begin)


def _window(text: str, begin: int) -> str:
    end = begin + MAX_TEXT
    shown = f"{'...' if begin else ''}{text[begin:end]}{'...' if end < len(text) else ''}"
    return shown if shown == text else f"{shown} ({len(text)} characters)"
