"""A YAML file as a typed value: every complaint names file, line and key, and unknown keys come with a suggestion.

Knows nothing about what the file is for. The shapes are msgspec structs; the rules on top of them live with the shapes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import yaml

from narrowgate.config.errors import ConfigError

LARGEST_FILE = 1 << 20
"""Bytes. A hundred clusters need some 20 KB; a file beyond this is a mistake, and parsing it would take minutes."""

DEEPEST = 32
"""Levels of nesting. The deepest file read here has six; without a limit a hostile file ends in a stack overflow."""

Path_ = tuple[str | int, ...]
Shape = TypeVar("Shape")

# The C loader is not used: it is missing where PyYAML was built without libyaml, and these files are small.
_RESOLVE = yaml.SafeLoader("")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "null")}
_EXPECTED = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "keys with values",
    "array": "a list",
    "null": "nothing",
}
_WRONG_TYPE = re.compile(r"Expected `([a-z]+)(?: \| null)?`, got `([a-z]+)`")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_AT = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class Document:
    """The plain values of one YAML document, and the line each of them stands on."""

    def __init__(self, text: str, file: str) -> None:
        """Read `text`; `file` is how complaints call it. Raises ConfigError when it is not one plain YAML document."""
        self.file = file
        self._lines: dict[Path_, int] = {}
        self._seen: set[int] = set()
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{file}:{mark.line + 1}" if mark else file
            raise ConfigError(f"{where}: this is not YAML: {error.problem or error.context}; mend that line") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"{file}: this is not YAML: {' '.join(str(error).split())}; mend the file") from error
        self.value: Any = None if node is None else self._plain(node, ())

    def refuse(self, path: Path_, complaint: str) -> NoReturn:
        """Raise ConfigError for the value at `path`: `file:line: clusters[0].name: complaint`."""
        raise ConfigError(f"{self.place(path)}: {complaint}")

    def place(self, path: Path_) -> str:
        """Where the value at `path` is, as complaints begin: `file:line: clusters[0].name`."""
        at = path
        while at and at not in self._lines:
            at = at[:-1]
        line = self._lines.get(at)
        where = f"{self.file}:{line}" if line else self.file
        named = _written(path)
        return f"{where}: {named}" if named else where

    def as_shape(self, shape: type[Shape]) -> Shape:
        """The value as `shape`. Raises ConfigError for unknown keys, missing keys and values of the wrong type."""
        self._check_keys(self.value, msgspec.inspect.type_info(shape), ())
        try:
            return msgspec.convert(self.value, shape)
        except msgspec.ValidationError as error:
            text = str(error)
            at = _AT.search(text)
            path = _parsed(at.group(1)) if at else ()
            if missing := _MISSING.match(text):
                self.refuse(path, f'"{missing.group(1)}" is missing; add it')
            if wrong := _WRONG_TYPE.match(text):
                expected, got = (_EXPECTED.get(kind, kind) for kind in wrong.groups())
                quote = "; put it in quotes" if expected == "text" else ""
                self.refuse(path, f"expected {expected}, found {got}{quote}")
            self.refuse(path, _AT.sub("", text).lower())

    def _plain(self, node: yaml.Node, path: Path_) -> Any:
        self._lines[path] = node.start_mark.line + 1
        # An alias is the same node met twice. Nothing here needs one, and they are how small files become huge values.
        if id(node) in self._seen:
            self.refuse(path, "YAML aliases (*name) are not read here; write the value out")
        self._seen.add(id(node))
        if len(path) > DEEPEST:
            self.refuse(path, f"nested more than {DEEPEST} levels deep; flatten it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                self._lines[path] = key_node.start_mark.line + 1
                self.refuse(path, "a key must be a plain word; write the keys out one by one")
            key = key_node.value
            here = (*path, key)
            if key in made:
                first = self._lines[here]
                self._lines[here] = key_node.start_mark.line + 1
                self.refuse(here, f"written twice, first in line {first}; keep one")
            made[key] = self._plain(value_node, here)
            self._lines[here] = key_node.start_mark.line + 1
        return made

    def _scalar(self, node: yaml.Node, path: Path_) -> Any:
        # Dates, binary and the like stay the text that was written: no shape here has such values.
        if node.tag not in _PLAIN_TAGS:
            return node.value
        try:
            return _RESOLVE.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError):
            self.refuse(path, f'"{node.value}" cannot be read as {node.tag.rpartition(":")[2]}; put text in quotes')

    def _check_keys(self, value: Any, kind: msgspec.inspect.Type, path: Path_) -> None:
        match kind:
            case msgspec.inspect.StructType() if isinstance(value, dict):
                self._check_members(value, kind, path)
            case msgspec.inspect.ListType() if isinstance(value, list):
                for index, inner in enumerate(value):
                    self._check_keys(inner, kind.item_type, (*path, index))
            case msgspec.inspect.UnionType():
                # What may be left out: `Shape | None`.
                for member in kind.types:
                    self._check_keys(value, member, path)
            case _:
                pass

    def _check_members(self, value: dict[str, Any], kind: msgspec.inspect.StructType, path: Path_) -> None:
        fields = {field.encode_name: field.type for field in kind.fields}
        for key, inner in value.items():
            if key in fields:
                self._check_keys(inner, fields[key], (*path, key))
            elif kind.forbid_unknown_fields:
                self.refuse((*path, key), f"unknown key{suggestion(key, fields)}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """What to do about an unknown `word`: `, did you mean "x"?` when one of `known` is near, else the list of them."""
    words = list(known)
    by_lower = {candidate.lower(): candidate for candidate in words}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if near:
        return f', did you mean "{by_lower[near[0]]}"?'
    return f"; known here: {', '.join(words)}"


def read_text(path: Path, what: str) -> str:
    """The text of a file that the operator named as `what`. Raises ConfigError, one line, when it cannot be had."""
    return _decoded(read_bytes(path, what), path, what)


def read_bytes(path: Path, what: str) -> bytes:
    """The bytes of a file that the operator named as `what`. Raises ConfigError, one line, when they cannot be had."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: {what} does not exist; make it, or correct the path") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: {what} is a folder; name a file in it") from None
    except PermissionError:
        raise ConfigError(f"{path}: {what} may not be read by this user; change its owner or mode") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {what} cannot be read: {error}; correct the path") from error
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"{path}: {what} is larger than {LARGEST_FILE} bytes; is it the right file?")
    return content


def _decoded(content: bytes, path: Path, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {what} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _written(path: Path_) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _parsed(path: str) -> Path_:
    return tuple(key or int(index) for key, index in _STEP.findall(path))
