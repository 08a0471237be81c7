"""The plan of one resource: the masks that hold for it, the gate's own and the policies', as one.

Both sorts become entries (`plan`); what neither could know alone is added here: where the object is repeated (a copy in
an annotation, the keys of managed fields, the cells of a Table, the message of a refusal).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Final

import msgspec

from narrowgate.core.masking.built_in import BUILT_IN_RULES, entries_of, is_known, structure_of
from narrowgate.core.masking.field_paths import parse_field_path
from narrowgate.core.masking.patterns import TEXT_RULES
from narrowgate.core.masking.plan import (
    Anywhere,
    Entry,
    Every,
    Forget,
    Hide,
    Key,
    KeyGlob,
    OtherThan,
    Plan,
    Prose,
    Root,
    Scan,
    Step,
    compile_plan,
)

PLANS_LIMIT: Final = 256
"""Plans that are remembered: some resources times some sets of masks that hold for somebody."""

SHOWN_COLUMNS: Final = frozenset({
    "Name", "Namespace", "Age", "Created At", "Ready", "Status", "Phase", "Restarts", "Type", "Data", "Up-to-date",
    "Available", "Desired", "Current", "Completions", "Duration", "Last Schedule", "Active", "Suspend", "Last Seen",
})  # fmt: skip
"""Columns of a Table that stay where a policy masks fields: which field a column shows is not in the answer, and these
show none that anybody would mask."""

SHOWN_CUSTOM: Final = frozenset({"Name", "Namespace", "Age", "Created At"})
"""The same for resources whose columns are somebody else's to define."""

_MANAGED: Final[tuple[Step, ...]] = (Key("metadata"), Key("managedFields"), Every(), Key("fieldsV1"))


class HeldMask(msgspec.Struct, frozen=True):
    """A mask that holds: its name as `policy/id`, and the paths of its fields; the gate's own have none."""

    rule: str
    fields: tuple[str, ...] = ()


@functools.lru_cache(maxsize=PLANS_LIMIT)
def plan_for(group: str, resource: str, held: tuple[HeldMask, ...]) -> Plan | None:
    """What is masked in answers about a resource (`pods`, `pods/log`) while these masks hold; None where nothing is.

    Raises FieldPathInvalid for a field that no policy file could have brought, LookupError for a mask without fields
    that is not one of the gate's own.
    """
    if not held:
        return None
    for mask in held:
        if not mask.fields and mask.rule not in BUILT_IN_RULES:
            raise LookupError(f'there is no built-in mask "{mask.rule}"')
    shown = SHOWN_COLUMNS if is_known(group, resource) else SHOWN_CUSTOM
    rules = frozenset(mask.rule for mask in held if not mask.fields)
    written = [entry for mask in held for field in mask.fields for entry in _entries_of_field(mask.rule, field, shown)]
    if resource.endswith("/scale"):
        custom = not is_known(group, resource)
        written += [one for mask in held for field in mask.fields for one in _scale_of(mask.rule, field, custom=custom)]
    return compile_plan(
        (*structure_of(group, resource), *entries_of(group, resource, rules), *written), rules & TEXT_RULES.keys()
    )


def _scale_of(rule: str, field: str, *, custom: bool) -> Iterator[Entry]:
    """Where a Scale repeats fields of its object. A CRD says which (`specReplicasPath`, `labelSelectorPath`:
    k8s.io/apiextensions-apiserver, CustomResourceSubresourceScale), any below `spec` and `status`; Kubernetes' own
    kinds write their selector as a text.
    """
    steps = parse_field_path(field)
    shown: list[tuple[str, str]] = []
    if custom:
        shown += [("spec", "replicas"), ("status", "selector")] if _may_be(steps[0], "spec") else []
        shown += [("status", "replicas"), ("status", "selector")] if _may_be(steps[0], "status") else []
    elif _may_be(steps[0], "spec") and (len(steps) == 1 or _may_be(steps[1], "selector")):
        shown.append(("status", "selector"))
    for path in shown:
        yield Entry(Root.OBJECT, tuple(map(Key, path)), Hide(rule))


def _may_be(step: Step, key: str) -> bool:
    return not isinstance(step, Key) or step.name == key


def _entries_of_field(rule: str, field: str, shown: frozenset[str]) -> Iterator[Entry]:
    steps = parse_field_path(field)
    yield Entry(Root.OBJECT, steps, Hide(rule))
    # Copies of the object, or of parts of it, that operators keep in annotations.
    yield Entry(Root.ANYTHING, (Anywhere(), *steps), Hide(rule))
    yield from _managed(rule, steps)
    yield Entry(Root.CELL, (OtherThan(shown),), Hide(rule))
    for path in ((Key("message"),), (Key("details"), Key("causes"), Every(), Key("message"))):
        yield Entry(Root.STATUS, path, Scan(Prose.STATUS))


def _managed(rule: str, steps: tuple[Step, ...]) -> Iterator[Entry]:
    """The lists in managed fields whose keys would repeat the field's value. Between two keys there may be an element's
    (`k:{...}`), whether or not the path says that there is a list.
    """
    last = next((step for step in reversed(steps) if not isinstance(step, Every)), None)
    field = last.name if isinstance(last, Key) else ""
    path: tuple[Step, ...] = (*_MANAGED, Anywhere())
    for step in steps:
        yield Entry(Root.OBJECT, path, Forget(rule, field))
        match step:
            case Key(name=name):
                path = (*path, Key(f"f:{name}"), Anywhere())
            case KeyGlob(glob=glob):
                path = (*path, KeyGlob(f"f:{glob}"), Anywhere())
            case _:
                pass
    yield Entry(Root.OBJECT, path, Forget(rule))
