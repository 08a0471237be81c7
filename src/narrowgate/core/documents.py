"""JSON and YAML as the API server reads them: bytes to plain values, or Malformed.

What two readers could understand differently is refused, since the gate judges what it reads and the API server does
what it reads: duplicate keys (Go keeps the last and merges structs, others keep the first), trailing data, NaN, broken
UTF-8 and lone surrogates (Go repairs them), depth without end; and in YAML whatever has a meaning of its own in one
version or library: aliases, tags, merge keys, several documents, `yes` and `0x1f` and `1_000`.

Keys are compared exactly: k8s.io/apimachinery decodes with `sigs.k8s.io/json.UnmarshalCaseSensitivePreserveInts`. Only
the search for `kind` and `apiVersion` (serializer/json/meta.go, plain encoding/json) ignores case; `core/body.py`
refuses spellings that would be found by it alone.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson
import yaml

from narrowgate.core.malformed import Malformed

DEPTH_LIMIT = 200
"""Levels of nesting. Schemas in CRDs, the deepest documents people write, nest in tens; Python's own stack ends at
1,000."""

CONTAINERS_LIMIT = 100_000
"""Objects and lists in one body: one for every fifteen bytes of the largest object that etcd takes (1.5 MiB). Going
through this many takes a tenth of a second; three megabytes could hold a million."""

YAML_LIMIT = 256 * 1024
"""Bytes of a body that is YAML and not also JSON. Events are read at some 3 MB/s, so that the longest holds up the
process for a tenth of a second; kubectl and client-go write JSON even where they say YAML."""

_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
"""Characters that are text in JSON and line breaks (or nothing) in YAML 1.1."""

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_OTHER_NUMBER = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+"
    r"|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
"""What go-yaml (resolve.go) takes for a number besides JSON's own, once underscores are dropped."""
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT64 = range(-(1 << 63), 1 << 63)
_INT64_DIGITS = len("-9223372036854775808")
"""Whole numbers within 64 bits are kept exactly by Go, all others become floats."""
_AMBIGUOUS_WORDS = frozenset({"y", "n", "yes", "no", "on", "off"})


def parse_json(body: bytes) -> Any:
    """Read one JSON value.

    Raises Malformed: 400 for all that is named at the top of this file, 413 beyond CONTAINERS_LIMIT.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not valid JSON: {error}") from error
    _check_shape(document, body)
    # A body that is byte for byte what orjson would write has no key twice; only the others are read again, slowly.
    written = orjson.dumps(document)
    if written != body and written != body.rstrip():
        json.loads(body.decode(), object_pairs_hook=_refuse_duplicates)
    return document


def parse_yaml(body: bytes) -> Any:
    """Read one YAML document: JSON where it is that (kubectl's applies are), else the plain part of YAML 1.1.

    Raises Malformed: 400, or 413 where it is longer than YAML_LIMIT.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed("the body is not UTF-8") from error
    if _BREAKS.search(text):
        raise Malformed("the body holds characters that YAML reads as line breaks: escape them, or send JSON")
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        if len(body) > YAML_LIMIT:
            raise Malformed(
                f"Request entity too large: YAML is read up to {YAML_LIMIT} bytes; send JSON", 413
            ) from None
        return _read_yaml(text)
    return parse_json(body)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    """See one object's keys; the values were already read by a faster parser."""
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _twice(key)
        seen.add(key)


def _twice(key: str) -> Malformed:
    return Malformed(f'the body has the key "{key[:100]}" twice in one object: keep one of them')


def _check_shape(document: Any, body: bytes) -> None:
    """Raise Malformed when the document is nested deeper than DEPTH_LIMIT, or has more than CONTAINERS_LIMIT parts."""
    if body.count(b"{") + body.count(b"[") <= DEPTH_LIMIT:
        return
    level = [document]
    containers = 0
    for _ in range(DEPTH_LIMIT):
        below: list[Any] = []
        for value in level:
            if type(value) is dict:
                below.extend(v for v in value.values() if type(v) in (dict, list))
            elif type(value) is list:
                below.extend(v for v in value if type(v) in (dict, list))
        if not below:
            return
        containers += len(below)
        if containers > CONTAINERS_LIMIT:
            raise Malformed(
                f"the body has more than {CONTAINERS_LIMIT} objects and lists in it, too many to judge", 413
            )
        level = below
    raise _too_deep()


def _too_deep() -> Malformed:
    return Malformed(f"the body is nested deeper than {DEPTH_LIMIT} levels")


_NO_KEY = object()


class _Building:
    """One mapping or sequence that is not finished yet."""

    __slots__ = ("key", "value")

    def __init__(self, value: dict[str, Any] | list[Any]) -> None:
        self.value = value
        self.key: Any = _NO_KEY

    def add(self, value: Any) -> None:
        """Take the next key, value or item, in the order in which they are written."""
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is _NO_KEY:
            self.key = _yaml_key(value)
            if self.key in self.value:
                raise _twice(self.key)
        else:
            self.value[self.key] = value
            self.key = _NO_KEY


def _read_yaml(text: str) -> Any:
    """Build the document from the parser's events, so that nothing is ever expanded."""
    root = _Building([])
    stack = [root]
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            _take(event, stack)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise Malformed(
            f"the body is not valid YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}"
        ) from None
    documents = root.value
    if len(documents) != 1:
        raise Malformed(f"the body holds {len(documents)} YAML documents: send one")
    return documents[0]  # type: ignore[index]  # a list: it was made one above


def _take(event: yaml.Event, stack: list[_Building]) -> None:
    """Let one parser event grow the document; `stack` holds what is open, outermost first."""
    match event:
        case yaml.AliasEvent():
            raise Malformed("the body uses a YAML alias: write the value out")
        case yaml.ScalarEvent():
            _plain(event)
            stack[-1].add(_scalar(event))
        case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
            _plain(event)
            if len(stack) > DEPTH_LIMIT:
                raise _too_deep()
            opened = _Building({} if isinstance(event, yaml.MappingStartEvent) else [])
            stack[-1].add(opened.value)
            stack.append(opened)
        case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
            stack.pop()
        case _:
            pass  # beginnings and ends of stream and document hold nothing


def _plain(event: Any) -> None:
    """Refuse what gives a node a meaning that is not written in it."""
    if event.anchor is not None:
        raise Malformed("the body uses a YAML anchor: write the value out")
    if event.tag is not None:
        raise Malformed(f'the body uses the YAML tag "{event.tag[:100]}": leave it out')


def _yaml_key(value: Any) -> str:
    if isinstance(value, str) and value != "<<":
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Malformed("the body has a YAML key that is not plain text: put it in quotes")


def _scalar(event: Any) -> Any:
    """What a scalar means in JSON: quoted ones are text, plain ones may be a word or a number."""
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if number := _JSON_NUMBER.fullmatch(text):
        if number[1] is None and number[2] is None and len(text) <= _INT64_DIGITS and int(text) in _INT64:
            return int(text)
        return _finite(text)
    if text.lower() in _AMBIGUOUS_WORDS or _OTHER_NUMBER.fullmatch(text.replace("_", "")):
        raise Malformed(
            f"the body has the YAML value {text[:100]}, which is not the same to every reader: put it in quotes"
        )
    return text


def _finite(text: str) -> float:
    """A number that is too large for a float is text to go-yaml, and infinity to Python."""
    number = float(text)
    if math.isinf(number):
        raise Malformed(f"the body has the number {text[:100]}, which is larger than numbers can be")
    return number
