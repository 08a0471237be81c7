"""What a rule file says of pods (`pods`), and what makes that impossible."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, Final

import yaml

from narrowgate.core.entry_file import SHELLS
from narrowgate.core.minted_tokens import TOKENS
from narrowgate.core.named_templates import PATHS_LIMIT, TemplatePath, path_of
from narrowgate.core.pod_rules import Action, Level, PodRules
from narrowgate.core.policy import EVERYTHING, Effect
from narrowgate.core.uses import BUILT_IN_GROUPS, POD_SPECS
from narrowgate.core.yaml_reader import Field, Reader, meant

KEY: Final = "pods"

_KEYS: Final = (
    "serviceAccounts", "strongerAccounts", "automountToken", "tokenAudiences", "level", "images", "nodeChoice",
    "templates", "otherwise",
)  # fmt: skip
_ACTIONS: Final[Mapping[str, tuple[Action, ...]]] = {
    "strongerAccounts": (Action.DENY, Action.APPROVE, Action.ALLOW),
    "automountToken": (Action.ALLOW, Action.MEND, Action.APPROVE, Action.DENY),
    "nodeChoice": (Action.ALLOW, Action.DENY),
    "otherwise": (Action.DENY, Action.APPROVE),
}
_ENTERED: Final = frozenset({*SHELLS, "pods/portforward", "nodes/proxy"})
"""Where the account alone has a say; with a debug container its image and level, too."""
_OF_ENTRY: Final = frozenset({"strongerAccounts", "otherwise"})
_OF_TOKENS: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("", TOKENS): _OF_ENTRY | {"tokenAudiences"},
    ("", "secrets"): _OF_ENTRY,
    ("certificates.k8s.io", "certificatesigningrequests"): _OF_ENTRY,
}
"""Where tokens of accounts are had made (`minted_tokens`), and what can be said of them: a Secret's and a certificate
are for the API server and nobody else."""
_ACCOUNT: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
"""A subdomain of RFC 1123, as ServiceAccounts are named."""
_WHOLE_PREFIX: Final = re.compile(r".*[/:@]\*\Z")
"""A pattern of images ends where a part of the reference does: `registry.corp*` would be registry.corp.evil, too."""


def read_pods(reader: Reader, field: Field, effect: Effect, what: Mapping[str, Any]) -> PodRules | None:
    """The value of `pods` in a rule about `what` (its groups and resources); None where it was refused."""
    mistakes = len(reader.errors)
    if effect is Effect.DENY:
        reader.refuse(
            field,
            "says what pods have to be in a rule that gives something; in one that denies it would read both ways",
            "write it in the rules that give, or deny use of what pods take from the node (hostaccess.narrowgate.dev)",
        )
    entries = reader.mapping(field, _KEYS)
    if isinstance(field.node, yaml.MappingNode) and not entries and len(reader.errors) == mistakes:
        reader.refuse(field, "says nothing of pods", f"known are {', '.join(_KEYS)}")
    _check_about_pods(reader, field, entries, what)
    readers: Mapping[str, tuple[str, Callable[[Field], Any]]] = {
        "strongerAccounts": ("stronger_accounts", lambda at: _action(reader, at, "strongerAccounts")),
        "automountToken": ("automount_token", lambda at: _action(reader, at, "automountToken")),
        "otherwise": ("otherwise", lambda at: _action(reader, at, "otherwise")),
        "nodeChoice": ("node_choice", lambda at: _action(reader, at, "nodeChoice") is Action.ALLOW),
        "serviceAccounts": ("service_accounts", lambda at: _accounts(reader, at)),
        "tokenAudiences": ("token_audiences", lambda at: tuple(text for _, text in reader.texts(at, "audiences"))),
        "images": ("images", lambda at: _images(reader, at)),
        "templates": ("templates", lambda at: _templates(reader, at, what)),
        "level": ("level", lambda at: _level(reader, at)),
    }
    found = {readers[key][0]: readers[key][1](entries[key]) for key in _KEYS if key in entries}
    return PodRules(**found) if len(reader.errors) == mistakes else None


def asks(entries: Mapping[str, Field]) -> bool:
    """Whether the rule says that people are asked about pods. What is wrong with that, `read_pods` says."""
    node = entries[KEY].node if KEY in entries else None
    if not isinstance(node, yaml.MappingNode):
        return False
    return any(isinstance(value, yaml.ScalarNode) and value.value == Action.APPROVE.value for _, value in node.value)


def _check_about_pods(reader: Reader, field: Field, entries: Mapping[str, Field], what: Mapping[str, Any]) -> None:
    """Refuse it where nothing that the rule is about makes pods or gets into them."""
    groups: Sequence[str] = what.get("api_groups", ())
    resources: Sequence[str] = what.get("resources", ())
    entered = [resource for resource in resources if resource in _ENTERED or resource == EVERYTHING]
    made = [resource for resource in resources if _makes_pods(groups, resource)]
    tokens = frozenset[str]().union(*(_OF_TOKENS.get(one, ()) for one in product(groups, resources)))
    if resources and not entered and not made and not tokens:
        reader.refuse(field, "is about pods, and nothing here makes any or gets into one", "take it out")
    elif tokens and not made and "pods/ephemeralcontainers" not in entered:
        for key in entries:
            if key not in tokens:
                reader.refuse(entries[key], "is about pods that are made, and here tokens are", "take it out")
    elif entered and not made and "pods/ephemeralcontainers" not in entered:
        for key in entries:
            if key not in _OF_ENTRY:
                reader.refuse(
                    entries[key], "is about pods that are made, and here they are there already", "take it out"
                )


def _makes_pods(groups: Sequence[str], resource: str) -> bool:
    base, _, subresource = resource.partition("/")
    if resource == EVERYTHING or EVERYTHING in groups or subresource == "scale":
        return True
    known = any((group, base) in POD_SPECS for group in groups) and not subresource
    return known or (any(group not in BUILT_IN_GROUPS for group in groups) and not subresource)


def _action(reader: Reader, field: Field, key: str) -> Action:
    known = [action.value for action in _ACTIONS[key]]
    text = reader.text(field)
    if text in known:
        return Action(text)
    if text:
        reader.refuse(field, f'"{text}" is none of {", ".join(known)}', meant(text, known) or "")
    return Action.DENY


def _level(reader: Reader, field: Field) -> Level:
    known = [level.value for level in Level]
    text = reader.text(field)
    if text in known:
        return Level(text)
    if text:
        reader.refuse(field, f'"{text}" is none of {", ".join(known)}', meant(text, known) or "")
    return Level.RESTRICTED


def _accounts(reader: Reader, field: Field) -> tuple[str, ...]:
    found = reader.texts(field, "service accounts")
    for item, name in found:
        if not _ACCOUNT.match(name):
            reader.refuse(item, f'"{name[:100]}" cannot be the name of a service account', "names are exact")
    return tuple(name for _, name in found)


def _templates(reader: Reader, field: Field, what: Mapping[str, Any]) -> tuple[TemplatePath, ...]:
    groups: Sequence[str] = what.get("api_groups", ())
    if groups and all(group in BUILT_IN_GROUPS for group in groups):
        reader.refuse(field, "is about custom resources, and where these kinds keep pods is known", "take it out")
    texts = reader.texts(field, "paths")
    if len(texts) > PATHS_LIMIT:
        reader.refuse(field, f"has more than {PATHS_LIMIT} paths")
    found = [(item, text, path_of(text)) for item, text in texts]
    for item, text, path in found:
        if path is None:
            reader.refuse(
                item,
                f'"{text[:100]}" is no path to pods in an object',
                'write "spec.template", "spec.workers[*].template.spec", "spec.groups.*.serviceAccountName" or so, '
                'with "?" at its end where it need not be there',
            )
    return tuple(path for _, _, path in found if path is not None)


def _images(reader: Reader, field: Field) -> tuple[str, ...]:
    found = reader.texts(field, "images")
    for item, image in found:
        if "*" in image and (image.count("*") > 1 or not _WHOLE_PREFIX.match(image)):
            reader.refuse(
                item,
                f'"{image[:100]}" may have one "*", at its end, behind "/", ":" or "@"',
                'write "registry.corp/*" for all images of a registry',
            )
    return tuple(image for _, image in found)
