"""Cluster entries of a configuration file, added and removed in its text, so that comments and order stay as they were.

YAML tells where an entry begins and ends; everything outside it is copied byte for byte. What cannot be edited safely
(a list on one line, say) is refused with the words of what to write by hand. The caller checks the result as a whole
before it replaces the file.
"""

from __future__ import annotations

import re

import yaml

from narrowgate.cli.failure import Failed

KEY = "clusters"

_PLAIN = re.compile(r"[A-Za-z0-9./~][A-Za-z0-9./~_@-]*")
_NOT_TEXT = re.compile(r"(?i)(true|false|yes|no|on|off|null|~|[-+.0-9][-+.0-9_exo:]*)")

Entry = dict[str, str | bool | dict[str, str]]
"""One cluster as it is written: keys and values in the order in which people read them."""


def entry_lines(entry: Entry, indent: str) -> str:
    """One entry as YAML lines, the dash at `indent`."""
    lines: list[str] = []
    for key, value in entry.items():
        match value:
            case dict():
                inner = ", ".join(f"{name}: {_scalar(text)}" for name, text in value.items())
                lines.append(f"{key}: {{{inner}}}")
            case bool():
                lines.append(f"{key}: {'true' if value else 'false'}")
            case str():
                lines.append(f"{key}: {_scalar(value)}")
    head, *rest = lines
    return "".join([f"{indent}- {head}\n", *(f"{indent}  {line}\n" for line in rest)])


def with_entry(text: str, entry: Entry, file: str) -> str:
    """The text with one more cluster, behind those that are there. Raises Failed where that cannot be done safely."""
    found = _list(text, file)
    if found is None:
        return f"{_ended(text)}{KEY}:\n{entry_lines(entry, '  ')}"
    key, value = found
    if not isinstance(value, yaml.SequenceNode) or not value.value:
        if isinstance(value, yaml.SequenceNode) or _is_null(value):
            return _filled(text, key, value, entry)
        raise Failed(f"`{KEY}` is not a list", _place(file, value), "write the clusters as a list")
    _refuse_flow(value, file)
    indent = " " * value.start_mark.column
    # The end mark of a block list is where the next key begins: comments in between belong to that key.
    last = value.value[-1]
    end = _line_end(text, _content_end(text, last))
    return f"{_ended(text[:end])}{entry_lines(entry, indent)}{text[end:]}"


def without_entry(text: str, name: str, file: str) -> str:
    """The text without the cluster of that name. Raises Failed where there is none, or it cannot be done safely."""
    found = _list(text, file)
    items = found[1].value if found and isinstance(found[1], yaml.SequenceNode) else []
    place = next((index for index, item in enumerate(items) if _name(item) == name), None)
    if found is None or place is None:
        known = ", ".join(filter(None, (_name(item) for item in items))) or "none"
        raise Failed(f'no cluster "{name}"', file, f"registered are: {known}")
    key, value = found
    assert isinstance(value, yaml.SequenceNode)
    _refuse_flow(value, file)
    item = items[place]
    begin = text.rfind("\n", 0, item.start_mark.index) + 1
    end = _line_end(text, _content_end(text, item))
    rest = text[:begin] + text[end:]
    if len(items) > 1:
        return rest
    key_end = key.end_mark.index
    return f"{rest[:key_end]}: []{rest[_line_content_end(rest, key_end) :]}"


def entry_names(text: str, file: str) -> list[str]:
    """The names of the clusters in the text, in its order."""
    found = _list(text, file)
    items = found[1].value if found and isinstance(found[1], yaml.SequenceNode) else []
    return [name for name in (_name(item) for item in items) if name]


def _list(text: str, file: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value of `clusters`, or None where there is no such key."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise Failed("this is not YAML", file, f"mend it first: {' '.join(str(error).split())}") from None
    if not isinstance(root, yaml.MappingNode):
        raise Failed("not a configuration", file, "begin it with apiVersion: narrowgate.dev/v1alpha1")
    if root.flow_style:
        raise Failed("the whole file is one {...}", file, "write each key on a line of its own")
    return next(((key, value) for key, value in root.value if key.value == KEY), None)


def _filled(text: str, key: yaml.Node, value: yaml.Node, entry: Entry) -> str:
    """Replace an empty list (`[]` or nothing) by one that holds the entry."""
    begin = key.end_mark.index
    end = max(_line_content_end(text, begin), value.end_mark.index)
    rest = text[end:] or "\n"
    comment = rest[: rest.find("\n") + 1]
    return f"{text[:begin]}:{comment}{entry_lines(entry, '  ')}{rest[len(comment) :]}"


def _name(item: yaml.Node) -> str:
    if not isinstance(item, yaml.MappingNode):
        return ""
    return next((str(value.value) for key, value in item.value if key.value == "name"), "")


def _refuse_flow(value: yaml.CollectionNode, file: str) -> None:
    if value.flow_style:
        raise Failed(f"`{KEY}` is written on one line", _place(file, value), "write it as a list with one `- ` each")


def _content_end(text: str, node: yaml.Node) -> int:
    """Where the last character of a node is: the end mark of a block lies behind blank lines and comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _content_end(text, last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    """The index behind the line break of the line that holds `at`."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _line_content_end(text: str, at: int) -> int:
    """Where the line that holds `at` ends, its comment and line break left out."""
    line = text[at : _line_end(text, at)]
    bare = re.split(r"\s#|\n", line, maxsplit=1)[0]
    return at + len(bare.rstrip())


def _is_null(value: yaml.Node) -> bool:
    return isinstance(value, yaml.ScalarNode) and value.tag == "tag:yaml.org,2002:null"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _place(file: str, node: yaml.Node) -> str:
    return f"{file}:{node.start_mark.line + 1}"


def _scalar(text: str) -> str:
    """A text as a YAML scalar: bare where it cannot be taken for anything else, in double quotes where it could."""
    if _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
