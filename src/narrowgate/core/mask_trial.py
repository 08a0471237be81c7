"""An object as somebody would see it: masked outside of the data path, for whoever writes masks.

The object is theirs already. What it may be read by is not asked here: only what would be masked of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from narrowgate.core.identity import Chain
from narrowgate.core.intent import Intent
from narrowgate.core.known_resources import GROUPS_OF, KNOWN_RESOURCES
from narrowgate.core.malformed import Malformed
from narrowgate.core.masking.choosing import MaskChoice, Where
from narrowgate.core.masking.masked_value import ValueMasker
from narrowgate.core.masking.objects import ObjectMasker
from narrowgate.core.matching import question_of
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import Rulebook

_LIST: Final = "List"
_PLAIN_KEY: Final = re.compile(r"[^.\[\]\"*?\s]+\Z")
"""Keys that a field path writes without quotes."""


class ResourceName(msgspec.Struct, frozen=True):
    """A resource in its group, with its subresource if it has one: `pods/log`."""

    group: str
    resource: str


class KindUnknown(Exception):
    """No resource is known for a kind; the text is `apiVersion/kind`."""


class Difference(msgspec.Struct, frozen=True):
    """One value that is masked."""

    path: str
    """As masks of policies write it, but with the number of a list's element."""
    before: Any
    after: Any


class SeenObject(msgspec.Struct, frozen=True):
    """One object before and after."""

    title: str
    """`Secret default/app`."""
    differences: tuple[Difference, ...]


class Seen(msgspec.Struct, frozen=True):
    """A document as it is seen."""

    document: Any
    objects: tuple[SeenObject, ...]
    """Each object in it, also where nothing of it is masked."""
    counts: dict[str, int]
    """How many values each mask has masked."""


def resource_of_kind(api_version: str, kind: str) -> ResourceName:
    """The resource of one of Kubernetes' own kinds. Raises KindUnknown for every other."""
    group = api_version.rpartition("/")[0]
    for known in KNOWN_RESOURCES:
        if known.also and known.also[0] == kind.lower() and group in GROUPS_OF[known.plural]:
            return ResourceName(group, known.plural)
    raise KindUnknown(f"{api_version}/{kind}")


def see(
    document: Any, chain: Chain, cluster: str, policy: Rulebook, values: ValueMasker, resource: ResourceName | None
) -> Seen:
    """The object or list as this chain sees it on that cluster, before anybody was asked to reveal something.

    `resource` is what it is an object of; None: its kind says it. Raises Malformed for what is no Kubernetes object or
    cannot be masked, KindUnknown where its kind does not say what it is.
    """
    counts: dict[str, int] = {}
    seen: list[SeenObject] = []

    def one(item: Any, listed: dict[str, Any]) -> Any:
        if not isinstance(item, dict):
            raise Malformed("it is no Kubernetes object")
        # The items of a SecretList say no kind of their own.
        kind = _text(item, "kind") or _text(listed, "kind").removesuffix(_LIST)
        version = _text(item, "apiVersion") or _text(listed, "apiVersion")
        if not kind or not version:
            raise Malformed("it is no Kubernetes object: it has no kind and apiVersion")
        choice = _choice(chain, cluster, policy, resource or resource_of_kind(version, kind))
        metadata = item.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        namespace, name = _text(metadata, "namespace"), _text(metadata, "name")
        plan = choice.plan(Where(namespace, name)) if choice is not None else None
        masked = item
        if plan is not None and plan.objects is not None:
            masked = ObjectMasker(plan, values, counts).mask(item, plan.objects)
        title = f"{kind} {namespace + '/' if namespace else ''}{name or '(no name)'}"
        seen.append(SeenObject(title, tuple(differences(item, masked))))
        return masked

    if isinstance(document, dict) and _text(document, "kind").endswith(_LIST) and _is_list(document.get("items")):
        whole = document | {"items": [one(item, document) for item in document["items"]]}
    else:
        whole = one(document, {})
    return Seen(whole, tuple(seen), counts)


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """What a mask changed: values, and the few objects that it empties. Keys and lengths of lists stay."""
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key, value in before.items():
            yield from differences(value, after[key], _below(path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, value in enumerate(before):
            yield from differences(value, after[at], f"{path}[{at}]")
    elif before != after:
        yield Difference(path, before, after)


def _choice(chain: Chain, cluster: str, policy: Rulebook, resource: ResourceName) -> MaskChoice | None:
    base, _, subresource = resource.resource.partition("/")
    info = RequestInfo(
        is_resource_request=True,
        path="",
        verb="get",
        api_group=resource.group,
        resource=base,
        subresource=subresource,
    )
    return policy.masks_of(chain, cluster, question_of(Intent(cluster=cluster, info=info)), ())


def _below(path: str, key: str) -> str:
    if _PLAIN_KEY.match(key):
        return f"{path}.{key}" if path else key
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'{path}["{quoted}"]'


def _text(entries: dict[str, Any], key: str) -> str:
    value = entries.get(key)
    return value if isinstance(value, str) else ""


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
