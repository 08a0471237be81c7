"""Policy files: YAML in, policies out, or every mistake in it with its line.

`parse_policies` reads one file of any number of documents, `check_set` looks at all files together. Both raise
`PolicyErrors` and leave nothing half-read: what cannot be used entirely is not used, and the caller keeps the
policies it has. The format is the one `policy` describes; keys are checked, texts must be texts, each mistake says
what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import yaml

from narrowgate.core.mask_file import is_reveal, read_mask, read_reveal
from narrowgate.core.policy import API_VERSION, BUILT_IN, EVERYTHING, Mask, Policy, Reveal, Rule, Subject, SubjectKind
from narrowgate.core.rule_file import read_rule
from narrowgate.core.yaml_reader import (
    Field,
    PolicyError,
    PolicyErrors,
    Reader,
    TooManyErrors,
    documents,
    meant,
)

__all__ = ["PolicyError", "PolicyErrors", "check_set", "parse_policies"]

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_ACCOUNT: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_KIND_MEANT: Final[Mapping[str, str]] = {
    "User": 'write "Person"',
    "Human": 'write "Person"',
    "Workload": 'write "ServiceAccount"',
}


def parse_policies(text: str, file: str) -> list[Policy]:
    """The policies in `text`, in its order. Raises PolicyErrors, with all mistakes found; `file` names it in them."""
    reader = Reader(file)
    policies: list[Policy] = []
    try:
        for node in documents(text, file):
            policy = _policy(reader, Field(node, ""))
            if policy is not None:
                policies.append(policy)
    except TooManyErrors:
        pass
    except RecursionError:
        reader.errors.append(PolicyError(file, 1, "", "is nested too deeply to be a policy"))
    if not reader.errors:
        reader.errors.extend(_repeated_names(policies))
    if reader.errors:
        raise PolicyErrors(sorted(reader.errors, key=lambda error: error.line))
    return policies


def check_set(policies: Iterable[Policy]) -> None:
    """Check what only all files together can show. Raises PolicyErrors where two policies have the same name."""
    repeated = _repeated_names(policies)
    if repeated:
        raise PolicyErrors(repeated)


def _repeated_names(policies: Iterable[Policy]) -> list[PolicyError]:
    first: dict[str, Policy] = {}
    errors = []
    for policy in policies:
        earlier = first.setdefault(policy.name, policy)
        if earlier is not policy:
            message = f'the policy "{policy.name}" is written twice, first in {earlier.file}:{earlier.line}'
            errors.append(PolicyError(policy.file, policy.line, "metadata.name", message, "rename one"))
    return errors


def _policy(reader: Reader, document: Field) -> Policy | None:
    mistakes = len(reader.errors)
    entries = reader.mapping(document, ("apiVersion", "kind", "metadata", "spec"))
    _check_type(reader, document, entries)
    name = _name(reader, document, entries)
    if "spec" not in entries:
        if isinstance(document.node, yaml.MappingNode):
            reader.refuse(document, "has no spec")
        return None
    spec_field = entries["spec"]
    spec = reader.mapping(spec_field, ("subjects", "clusters", "rules", "masks"))
    subjects = _subjects(reader, spec_field, spec)
    clusters = _clusters(reader, spec_field, spec)
    rules, masks, reveals = _rules(reader, spec_field, spec)
    if len(reader.errors) > mistakes:
        return None
    return Policy(
        name=name,
        subjects=subjects,
        clusters=clusters,
        rules=rules,
        masks=masks,
        reveals=reveals,
        file=reader.file,
        line=document.line,
    )


def _check_type(reader: Reader, document: Field, entries: Mapping[str, Field]) -> None:
    for key, wanted in (("apiVersion", API_VERSION), ("kind", "Policy")):
        if key not in entries:
            if isinstance(document.node, yaml.MappingNode):
                reader.refuse(document, f"has no {key}", f"write {key}: {wanted}")
            continue
        text = reader.text(entries[key])
        if text and text != wanted:
            reader.refuse(entries[key], f'"{text}" is not known here', f"write {key}: {wanted}")


def _name(reader: Reader, document: Field, entries: Mapping[str, Field]) -> str:
    if "metadata" not in entries:
        if isinstance(document.node, yaml.MappingNode):
            reader.refuse(document, "has no metadata", "write metadata: {name: ...}")
        return ""
    metadata = reader.mapping(entries["metadata"], ("name",))
    if "name" not in metadata:
        reader.refuse(entries["metadata"], "has no name", "write metadata: {name: ...}")
        return ""
    name = reader.text(metadata["name"])
    if name == BUILT_IN:
        reader.refuse(metadata["name"], f'"{BUILT_IN}" is the name of the built-in rules', "choose another")
    elif name and not _NAME.match(name):
        reader.refuse(metadata["name"], f'"{name}" is no name: lower-case letters, digits, "-" and "."')
    return name


def _subjects(reader: Reader, spec_field: Field, spec: Mapping[str, Field]) -> tuple[Subject, ...]:
    if "subjects" not in spec:
        if isinstance(spec_field.node, yaml.MappingNode):
            reader.refuse(
                spec_field, "has no subjects, so it is about nobody", "write subjects: [{kind: Agent, name: ...}]"
            )
        return ()
    found = [_subject(reader, item) for item in reader.items(spec["subjects"], "subjects")]
    return tuple(subject for subject in found if subject is not None)


def _subject(reader: Reader, field: Field) -> Subject | None:
    entries = reader.mapping(field, ("kind", "name"))
    for key in ("kind", "name"):
        if key not in entries and isinstance(field.node, yaml.MappingNode):
            reader.refuse(field, f"has no {key}", "write {kind: Agent, name: ...}")
    if not entries.keys() >= {"kind", "name"}:
        return None
    kind = reader.text(entries["kind"])
    name = reader.text(entries["name"])
    known = [known.value for known in SubjectKind]
    if kind not in known:
        if kind:
            suggestion = _KIND_MEANT.get(kind) or meant(kind, known) or f"known are {', '.join(known)}"
            reader.refuse(entries["kind"], f'"{kind}" is no kind of subject', suggestion)
        return None
    if kind == "ServiceAccount" and name not in ("", EVERYTHING) and not _ACCOUNT.match(name):
        reader.refuse(entries["name"], f'"{name}" is no ServiceAccount', "write namespace/name")
    elif name.startswith("system:"):
        reader.refuse(entries["name"], f'"{name}": nobody who comes through the gate has a name with "system:"')
    elif "*" in name and name != EVERYTHING:
        reader.refuse(entries["name"], f'"{name}" is a pattern, and names are exact', '"*" alone means every one')
    return Subject(SubjectKind(kind), name)


def _clusters(reader: Reader, spec_field: Field, spec: Mapping[str, Field]) -> tuple[str, ...]:
    if "clusters" not in spec:
        if isinstance(spec_field.node, yaml.MappingNode):
            reader.refuse(spec_field, "has no clusters, so it holds nowhere", "write clusters: [...]")
        return ()
    if isinstance(spec["clusters"].node, yaml.SequenceNode) and not spec["clusters"].node.value:
        reader.refuse(spec["clusters"], "is empty, so the policy holds nowhere", "write clusters: [...]")
        return ()
    found = reader.texts(spec["clusters"], "clusters")
    for item, cluster in found:
        if cluster != EVERYTHING and not _NAME.match(cluster):
            reader.refuse(item, f'"{cluster}" is no name of a cluster', 'names are exact; "*" alone means all')
    return tuple(cluster for _, cluster in found)


class _Written(NamedTuple):
    rules: tuple[Rule, ...] = ()
    masks: tuple[Mask, ...] = ()
    reveals: tuple[Reveal, ...] = ()


def _rules(reader: Reader, spec_field: Field, spec: Mapping[str, Field]) -> _Written:
    if not spec.keys() & {"rules", "masks"}:
        if isinstance(spec_field.node, yaml.MappingNode):
            reader.refuse(spec_field, "has neither rules nor masks, so it says nothing")
        return _Written()
    lines: dict[str, int] = {}
    rules, reveals = [], []
    for item in reader.items(spec["rules"], "rules") if "rules" in spec else ():
        read: Rule | Reveal | None = read_reveal(reader, item) if is_reveal(item) else read_rule(reader, item)
        if read is None or not _is_new(reader, item, read.id, lines):
            continue
        if isinstance(read, Reveal):
            reveals.append(read)
        else:
            rules.append(read)
    masks = []
    for item in reader.items(spec["masks"], "masks") if "masks" in spec else ():
        mask = read_mask(reader, item)
        if mask is not None and _is_new(reader, item, mask.id, lines):
            masks.append(mask)
    return _Written(tuple(rules), tuple(masks), tuple(reveals))


def _is_new(reader: Reader, item: Field, identifier: str, lines: dict[str, int]) -> bool:
    if identifier in lines:
        reader.refuse(
            item, f'the id "{identifier}" is taken, on line {lines[identifier]}', "ids are unique in a policy"
        )
        return False
    lines[identifier] = item.line
    return True
