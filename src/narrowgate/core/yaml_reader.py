"""Reading YAML for people who made a mistake: values with their lines, and all mistakes at once.

A `Reader` walks the nodes of one document. Whatever it refuses it notes with file, line and path and goes on with a
stand-in value, so that one run shows all there is to repair. Nothing here knows what a policy is.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec
import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader as TextReader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
"""One file. Some 8,000 policies of ordinary size; larger files are mistakes or attacks on the reader's memory."""

MAX_NODES: Final = 500_000
"""Values in one file, aliases counted each time they are used, so that a small file cannot unfold into a large one."""

MAX_ERRORS: Final = 100
"""After so many mistakes the rest of the file is not worth reading."""


MAX_COUNT: Final = 1000
"""More approvers than any group that could be asked has."""


class _PureParser(TextReader, Scanner, Parser):
    """PyYAML's own parser, put together as its SafeLoader does."""

    def __init__(self, text: str) -> None:
        TextReader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


_STRING_TAG: Final = "tag:yaml.org,2002:str"
_INTEGER_TAG: Final = "tag:yaml.org,2002:int"
_BOOLEAN_TAG: Final = "tag:yaml.org,2002:bool"

# libyaml's parser is some ten times faster than the pure one, which is there where PyYAML was built without it.
_Parser: Any = yaml.cyaml.CParser if yaml.__with_libyaml__ else _PureParser  # type: ignore[attr-defined]


class _Loader(Composer, _Parser, Resolver):  # type: ignore[misc]
    """A parser under the pure composer.

    libyaml's own composer calls itself for each level of the file, in C, so that a file of brackets ends the process.
    The pure one ends with a RecursionError.
    """

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        Resolver.__init__(self)


class PolicyError(msgspec.Struct, frozen=True):
    """One mistake in a policy file: where it is, what is wrong, and what was probably meant (or nothing)."""

    file: str
    line: int
    path: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " + (f"{self.path}: " if self.path else "")
        return place + self.message + (f", {self.suggestion}" if self.suggestion else "")


class PolicyErrors(Exception):
    """A policy file, or a set of them, cannot be used; `errors` are all the reasons, in the order of the files."""

    def __init__(self, errors: Collection[PolicyError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class TooManyErrors(Exception):
    """The reader stops here; what it has collected is enough."""


class Field(msgspec.Struct, frozen=True):
    """A node of the document and the path that leads to it (`spec.rules[0].verbs`)."""

    node: yaml.Node
    path: str

    @property
    def line(self) -> int:
        """Line in the file, counted from 1."""
        return int(self.node.start_mark.line) + 1


class Reader:
    """Reads one file's nodes and remembers what was wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[PolicyError] = []
        self._nodes_left = MAX_NODES

    def refuse(self, field: Field, message: str, suggestion: str = "", *, line: int = 0) -> None:
        """Note a mistake at `field` (or at another line of the file). Raises TooManyErrors when there are enough."""
        self.errors.append(PolicyError(self.file, line or field.line, field.path, message, suggestion))
        if len(self.errors) >= MAX_ERRORS:
            raise TooManyErrors

    def mapping(self, field: Field, known: Collection[str]) -> dict[str, Field]:
        """The entries of a mapping whose keys must be among `known`; what is refused is left out."""
        if not isinstance(field.node, yaml.MappingNode):
            self.refuse(field, f"must be a mapping with the keys {', '.join(known)}, not {_sort_of(field.node)}")
            return {}
        entries: dict[str, Field] = {}
        for key_node, value_node in field.node.value:
            self._count()
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            entry = Field(value_node, f"{field.path}.{key}".lstrip("."))
            here = int(key_node.start_mark.line) + 1
            if key not in known:
                self.refuse(entry, "unknown key", meant(key, known) or f"known are {', '.join(known)}", line=here)
            elif key in entries:
                self.refuse(entry, f"written twice, first on line {entries[key].line}", line=here)
            else:
                entries[key] = entry
        return entries

    def items(self, field: Field, of_what: str) -> Iterator[Field]:
        """The items of a list that must have some; `of_what` says what they are, for the refusal."""
        if not isinstance(field.node, yaml.SequenceNode):
            shown = f"[{field.node.value}]" if isinstance(field.node, yaml.ScalarNode) and field.node.value else ""
            self.refuse(
                field, f"must be a list of {of_what}, not {_sort_of(field.node)}", f"write {shown}" if shown else ""
            )
            return
        if not field.node.value:
            self.refuse(field, f"is empty, and an empty list of {of_what} matches nothing")
        for index, node in enumerate(field.node.value):
            self._count()
            yield Field(node, f"{field.path}[{index}]")

    def text(self, field: Field, *, empty: bool = False) -> str:
        """A text; "" stands in for what is none. Numbers, booleans and dates must be quoted to be texts."""
        node = field.node
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(field, f"must be a text, not {_sort_of(node)}")
        elif node.tag != _STRING_TAG:
            suggestion = f'write "{node.value}"' if node.value else ""
            self.refuse(field, f"must be a text, and YAML reads this as {_sort_of(node)}", suggestion)
        elif not node.value and not empty:
            self.refuse(field, "is empty")
        else:
            return str(node.value)
        return ""

    def texts(self, field: Field, of_what: str, *, empty: bool = False) -> list[tuple[Field, str]]:
        """A list of texts, each once, with where each is written; refused ones are left out."""
        found: list[tuple[Field, str]] = []
        seen: set[str] = set()
        for item in self.items(field, of_what):
            text = self.text(item, empty=empty)
            if text in seen:
                self.refuse(item, f'"{text}" is in the list already')
            elif text or (empty and isinstance(item.node, yaml.ScalarNode) and item.node.tag == _STRING_TAG):
                seen.add(text)
                found.append((item, text))
        return found

    def count(self, field: Field, most: int = MAX_COUNT) -> int:
        """A whole number from 1 to `most`; 1 stands in for what is none."""
        node = field.node
        if not isinstance(node, yaml.ScalarNode) or node.tag != _INTEGER_TAG or not node.value.isdecimal():
            self.refuse(field, "must be a whole number")
        elif node.value[0] == "0" or len(node.value) > len(str(most)) or int(node.value) > most:
            # A leading zero would make it an octal number to some readers of YAML, and not to others.
            self.refuse(field, f"must be between 1 and {most}")
        else:
            return int(node.value)
        return 1

    def flag(self, field: Field) -> bool:
        """`true` or `false`; true stands in for what is neither, because flags here switch guards on."""
        node = field.node
        if isinstance(node, yaml.ScalarNode) and node.tag == _BOOLEAN_TAG and node.value in ("true", "false"):
            return bool(node.value == "true")
        self.refuse(field, "must be true or false")
        return True

    def _count(self) -> None:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            self.errors.append(PolicyError(self.file, 1, "", f"has more than {MAX_NODES} values", "split it"))
            raise TooManyErrors


def documents(text: str, file: str) -> list[yaml.Node]:
    """The YAML documents of a file, empty ones left out. Raises PolicyErrors where it is not YAML or too large."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        raise PolicyErrors([PolicyError(file, 1, "", f"is {size} bytes, more than {MAX_TEXT_BYTES}", "split it")])
    try:
        return [node for node in yaml.compose_all(text, Loader=_Loader) if not _is_nothing(node)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise PolicyErrors([PolicyError(file, line, "", f"is not YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise PolicyErrors([PolicyError(file, 1, "", f"is not YAML: {' '.join(str(error).split())}")]) from None
    except RecursionError:
        raise PolicyErrors([PolicyError(file, 1, "", "is nested too deeply to be a policy")]) from None


def meant(word: str, known: Collection[str]) -> str:
    """`did you mean "verbs"?` for a word close to a known one; empty where none is close."""
    lowered = {name.lower(): name for name in known if name}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f'did you mean "{lowered[close[0]]}"?' if close else ""


def _is_nothing(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _sort_of(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    sorts = {"str": "a text", "int": "a number", "float": "a number", "bool": "a yes or no", "null": "nothing"}
    return sorts.get(node.tag.rpartition(":")[2], "a date" if node.tag.endswith("timestamp") else "something else")
