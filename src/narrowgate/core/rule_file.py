"""One rule of a policy file, from YAML to `policy.Rule`, and everything that makes a rule impossible.

A rule that can never match is refused rather than kept: whoever wrote it believes that it does something. Rules that
work but are wider than they should be are `lint`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from narrowgate.core import entry_file, pod_rules_file
from narrowgate.core.conditions import ConditionInvalid, compile_condition
from narrowgate.core.known_resources import CLUSTER_SCOPED, GROUPS_OF, NAMESPACED, PLURAL_OF
from narrowgate.core.policy import (
    EVERYTHING,
    LONGEST_EMERGENCY,
    LONGEST_REVIEW,
    Approval,
    Approvers,
    Effect,
    MountedSecrets,
    OnEnd,
    Rule,
)
from narrowgate.core.task_limits import MOST_REQUESTS, MOST_STREAMS
from narrowgate.core.task_links import MOST_LINKS, beginning_problem
from narrowgate.core.yaml_reader import Field, Reader, meant

_KEYS: Final = (
    "id", "effect", "verbs", "apiGroups", "resources", "nonResourceURLs", "namespaces", "names", "when",
    "maxDuration", "approval", "maxRequests", "maxStreams", "links", "onEnd", "emergency", "mountedSecrets",
    *entry_file.KEYS, pod_rules_file.KEY,
)  # fmt: skip

RESOURCE_VERBS: Final = (
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
    "use", "impersonate", "bind", "escalate", "approve", "sign", "attest", EVERYTHING,
)  # fmt: skip
"""Verbs of requests, and those Kubernetes checks beside them
(k8s.io/docs/reference/access-authn-authz/authorization).
"""

URL_VERBS: Final = ("get", "head", "post", "put", "patch", "delete", "options", EVERYTHING)
"""Verbs of requests for no resource: their HTTP methods in lower case."""

_VERB_MEANT: Final[Mapping[str, str]] = {
    "read": "write get, list, watch",
    "view": "write get, list, watch",
    "write": "write create, update, patch, delete",
    "edit": "write create, update, patch, delete",
    "post": "write create",
    "put": "write update",
    "apply": "write create, patch",
    "remove": "write delete",
    "exec": "write verbs: [create] and resources: [pods/exec]",
    "attach": "write verbs: [create] and resources: [pods/attach]",
    "portforward": "write verbs: [create] and resources: [pods/portforward]",
    "port-forward": "write verbs: [create] and resources: [pods/portforward]",
    "logs": "write verbs: [get] and resources: [pods/log]",
    "log": "write verbs: [get] and resources: [pods/log]",
    "scale": "write verbs: [patch, update] and the resource with /scale",
    "all": 'write "*"',
}

_CREATED_ONLY: Final = frozenset({"pods/exec", "pods/attach", "pods/portforward"})
"""Requests for these are `create` whatever their HTTP method, so another verb on them would never match."""

_INTO_PODS: Final = frozenset(
    {"pods/exec", "pods/attach", "pods/ephemeralcontainers", "*/exec", "*/attach", "*/ephemeralcontainers", EVERYTHING}
)
"""Resources of rules by which somebody gets into pods."""

_SUBRESOURCE_MEANT: Final[Mapping[str, str]] = {
    "pods/logs": "pods/log",
    "pods/port-forward": "pods/portforward",
    "pods/evict": "pods/eviction",
    "serviceaccounts/tokens": "serviceaccounts/token",
    "certificatesigningrequests/approve": "certificatesigningrequests/approval",
}

_GRANTABLE_ONLY: Final = ("maxDuration", "maxRequests", "maxStreams", "links", "onEnd", "emergency")
"""What only makes sense where a task is granted something."""

ID_SHAPE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")
"""Ids of rules and masks: short, and safe in a log, a URL and `policy/rule`."""

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_GROUP: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")
_RESOURCE: Final = re.compile(r"(\*|[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)(/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?\Z")
_VERSIONED: Final = re.compile(r"(.*/)?v[0-9]+((alpha|beta)[0-9]+)?\Z")
_DURATION: Final = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?\Z")


def read_rule(reader: Reader, field: Field) -> Rule | None:
    """The rule written at `field`; None where it was refused (the reader then knows why)."""
    mistakes = len(reader.errors)
    entries = reader.mapping(field, _KEYS)
    identifier = read_id(reader, field, entries)
    effect = _effect(reader, field, entries)
    urls = "nonResourceURLs" in entries
    read = _read_urls if urls else _read_resources
    what = read(reader, field, entries)
    if effect in (Effect.ALLOW, Effect.GRANTABLE) and not urls and "namespaces" not in entries:
        _check_namespaced(reader, field, what)
    when = _condition(reader, entries["when"]) if "when" in entries else ""
    terms = _terms(reader, field, entries, effect, what.get("resources", ())) if effect else {}
    if effect and not urls:
        inside = entry_file.read_inside(reader, entries, effect, what.get("resources", ()), read_approval)
        if "asked_lines" in inside and "lines_approval" not in inside:
            inside["lines_approval"] = _asked_about_lines(reader, entries["lines"], terms.get("approval"))
        terms.update(inside)
        if pod_rules_file.KEY in entries:
            terms["pods"] = pod_rules_file.read_pods(reader, entries[pod_rules_file.KEY], effect, what)
    if len(reader.errors) > mistakes or effect is None:
        return None
    return Rule(id=identifier, effect=effect, when=when, line=field.line, **what, **terms)


def read_id(reader: Reader, field: Field, entries: Mapping[str, Field]) -> str:
    """The id of a rule or mask; "" where it is refused."""
    if "id" not in entries:
        if isinstance(field.node, yaml.MappingNode):
            reader.refuse(field, "has no id", "write id: followed by a short name for logs and refusals")
        return ""
    text = reader.text(entries["id"])
    if text and not ID_SHAPE.match(text):
        reader.refuse(entries["id"], f'"{text}" is no id: up to 63 letters, digits, ".", "_" and "-"')
    return text


def read_groups(reader: Reader, field: Field, entries: Mapping[str, Field]) -> tuple[str, ...]:
    """`apiGroups`, required wherever resources are named, as in RBAC."""
    if "apiGroups" not in entries:
        reader.refuse(
            field, "has no apiGroups", 'write apiGroups: [""] for the core group, apiGroups: [apps] for Deployments'
        )
        return ()
    found = reader.texts(entries["apiGroups"], "API groups", empty=True)
    for item, group in found:
        if _VERSIONED.match(group):
            plain = group.rpartition("/")[0]
            reader.refuse(item, f'"{group}" has a version, and groups have none', f'write "{plain}"')
        elif group == "core":
            reader.refuse(item, '"core" is not its name', 'write ""')
        elif group not in ("", EVERYTHING) and not _GROUP.match(group):
            reader.refuse(item, f'"{group}" is no API group')
    return tuple(group for _, group in found)


def read_resources(reader: Reader, field: Field, entries: Mapping[str, Field]) -> tuple[str, ...]:
    """`resources`, in the plural and in lower case, as in RBAC."""
    if "resources" not in entries:
        reader.refuse(field, "has no resources", "write resources: [pods], for example")
        return ()
    found = reader.texts(entries["resources"], "resources")
    for item, resource in found:
        _check_resource(reader, item, resource)
    return tuple(resource for _, resource in found)


def read_namespaces(reader: Reader, entries: Mapping[str, Field]) -> tuple[str, ...] | None:
    """`namespaces`: exact names, or "*"; None where the key is not written."""
    if "namespaces" not in entries:
        return None
    found = reader.texts(entries["namespaces"], "namespaces")
    for item, namespace in found:
        if namespace != EVERYTHING and not _LABEL.match(namespace):
            pattern = "*" in namespace
            reader.refuse(
                item, f'"{namespace}" is no namespace', 'names are exact; "*" alone means all' if pattern else ""
            )
    return tuple(namespace for _, namespace in found)


def read_duration(reader: Reader, field: Field) -> float:
    """A duration such as `10m` or `1h30m`, in seconds; 1 stands in for what is none."""
    if isinstance(field.node, yaml.ScalarNode) and field.node.value.isdecimal():
        reader.refuse(
            field, f'"{field.node.value}" has no unit', f"write {field.node.value}s, {field.node.value}m or so"
        )
        return 1
    text = reader.text(field)
    parts = _DURATION.match(text)
    if parts is None and text:
        reader.refuse(field, f'"{text}" is no duration', "write 10m, 1h30m or 45s")
    elif parts is not None and text:
        hours, minutes, seconds = (int(part or 0) for part in parts.groups())
        if total := hours * 3600 + minutes * 60 + seconds:
            return float(total)
        reader.refuse(field, "is no time at all")
    return 1


def _effect(reader: Reader, field: Field, entries: Mapping[str, Field]) -> Effect | None:
    known = [*(effect.value for effect in Effect), "reveal"]
    if "effect" not in entries:
        if isinstance(field.node, yaml.MappingNode):
            reader.refuse(field, "has no effect", f"write effect: and one of {', '.join(known)}")
        return None
    text = reader.text(entries["effect"])
    if text in known[:-1]:
        return Effect(text)
    if text:
        suggestion = meant(text, known) or f"known are {', '.join(known)}"
        reader.refuse(entries["effect"], f'"{text}" is no effect', suggestion)
    return None


def _verbs(reader: Reader, field: Field, entries: Mapping[str, Field], known: tuple[str, ...]) -> tuple[str, ...]:
    if "verbs" not in entries:
        reader.refuse(field, "has no verbs", "write verbs: [get, list, watch], for example")
        return ()
    found = reader.texts(entries["verbs"], "verbs")
    for item, verb in found:
        if verb not in known:
            suggestion = _VERB_MEANT.get(verb.lower()) or meant(verb, known) or f"known are {', '.join(known)}"
            reader.refuse(item, f'unknown verb "{verb}"', suggestion)
    return tuple(verb for _, verb in found)


def _read_urls(reader: Reader, field: Field, entries: Mapping[str, Field]) -> dict[str, Any]:
    for key in ("resources", "apiGroups", "namespaces", "names", *entry_file.KEYS, pod_rules_file.KEY):
        if key in entries:
            reader.refuse(entries[key], "does not go with nonResourceURLs", "write two rules")
    found = reader.texts(entries["nonResourceURLs"], "paths")
    for item, url in found:
        if url != EVERYTHING and not url.startswith("/"):
            reader.refuse(item, f'"{url}" is no path', f'write "/{url}"')
        elif "*" in url[:-1]:
            reader.refuse(item, f'"{url}" has "*" in the middle, and it may only be at the end')
    return {
        "verbs": _verbs(reader, field, entries, URL_VERBS),
        "non_resource_urls": tuple(url for _, url in found),
    }


def _read_resources(reader: Reader, field: Field, entries: Mapping[str, Field]) -> dict[str, Any]:
    if not isinstance(field.node, yaml.MappingNode):
        return {}
    verbs = _verbs(reader, field, entries, RESOURCE_VERBS)
    groups = read_groups(reader, field, entries)
    resources = read_resources(reader, field, entries)
    namespaces = read_namespaces(reader, entries)
    names = read_names(reader, entries)
    if "resources" in entries:
        _check_possible(reader, entries["resources"], groups, resources)
        _check_created_only(reader, entries, verbs, resources)
    if namespaces is not None:
        _check_scope(reader, entries["namespaces"], (groups, resources, namespaces))
    return {
        "verbs": verbs,
        "api_groups": groups,
        "resources": resources,
        "namespaces": namespaces,
        "names": names,
    }


def read_names(reader: Reader, entries: Mapping[str, Field]) -> tuple[str, ...] | None:
    """`names`: exact; None where the key is not written."""
    if "names" not in entries:
        return None
    found = reader.texts(entries["names"], "names")
    for item, name in found:
        if "*" in name:
            reader.refuse(item, f'"{name}" is a pattern, and names are exact', "leave names out to mean every name")
        elif "/" in name or "%" in name or name in (".", ".."):
            reader.refuse(item, f'"{name}" cannot be the name of an object')
    return tuple(name for _, name in found)


def _check_resource(reader: Reader, item: Field, resource: str) -> None:
    base, slash, sub = resource.partition("/")
    plural = PLURAL_OF.get(base.lower())
    lowered = (plural or base.lower()) + slash + sub.lower()
    lowered = _SUBRESOURCE_MEANT.get(lowered, lowered)
    if sub == EVERYTHING:
        reader.refuse(item, f'"{resource}" does not exist in RBAC', f'name each subresource, or write "{EVERYTHING}"')
    elif lowered != resource:
        why = "resources are written in lower case" if resource != resource.lower() else "is not the name of a resource"
        wrong = f'"{resource}": {why}' if resource != resource.lower() else f'"{resource}" {why}'
        reader.refuse(item, wrong, f'write "{lowered}"')
    elif not _RESOURCE.match(resource):
        reader.refuse(item, f'"{resource}" is no resource', 'write a plural such as "pods", or "pods/log"')


def _check_possible(reader: Reader, field: Field, groups: tuple[str, ...], resources: tuple[str, ...]) -> None:
    """Refuse built-in resources where only the core group is named and another one serves them."""
    if groups != ("",):
        return
    for resource in resources:
        base = resource.partition("/")[0]
        homes = GROUPS_OF.get(base)
        if homes is not None and "" not in homes:
            home = min(homes)
            reader.refuse(field, f'"{base}" is not in the core group', f'write apiGroups: ["{home}"]')
        elif homes is None and base != EVERYTHING and base == base.lower() and base not in PLURAL_OF:
            suggestion = meant(base, [name for name, at in GROUPS_OF.items() if "" in at])
            reader.refuse(
                field, f'the core group has no "{base}"', suggestion or "name the group that serves it in apiGroups"
            )


def _check_created_only(
    reader: Reader, entries: Mapping[str, Field], verbs: tuple[str, ...], resources: tuple[str, ...]
) -> None:
    shells = [resource for resource in resources if resource in _CREATED_ONLY]
    others = [verb for verb in verbs if verb not in ("create", EVERYTHING)]
    if not shells or not others or "verbs" not in entries:
        return
    reason = f"{shells[0]} is only ever created, by GET (WebSocket) as by POST (SPDY)"
    if len(shells) == len(resources):
        reader.refuse(entries["verbs"], reason, "write create")
    elif "create" not in verbs and EVERYTHING not in verbs:
        reader.refuse(entries["verbs"], reason, f"write a rule of its own for {shells[0]} with verbs: [create]")


def _check_scope(reader: Reader, field: Field, what: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]) -> None:
    """Refuse `namespaces` on rules whose every resource is known to live in none."""
    groups, resources, namespaces = what
    if EVERYTHING in namespaces or not groups or not resources or EVERYTHING in groups:
        return
    pairs = {(group, resource.partition("/")[0]) for group in groups for resource in resources}
    known = {(group, base) for group, base in pairs if group in GROUPS_OF.get(base, ())} or pairs
    # RequestInfo gives the object namespaces/ci the namespace ci, so there a list does mean something.
    if known <= CLUSTER_SCOPED - {("", "namespaces")}:
        which = ", ".join(sorted(base for _, base in known))
        reader.refuse(field, f"{which} are in no namespace, so this never matches", "leave namespaces out")


def _check_namespaced(reader: Reader, field: Field, what: Mapping[str, Any]) -> None:
    """Refuse giving rules without `namespaces` whose every resource is known to live in one."""
    bases = [resource.partition("/")[0] for resource in what.get("resources", ())]
    pairs = {(group, base) for group in what.get("api_groups", ()) for base in bases}
    known = {(group, base) for group, base in pairs if group in GROUPS_OF.get(base, ())}
    custom = {base for base in bases if base not in GROUPS_OF}
    if known and not custom and known <= NAMESPACED and EVERYTHING not in what["api_groups"]:
        which = ", ".join(sorted({base for _, base in known}))
        reader.refuse(
            field,
            f"has no namespaces, so it is about cluster-scoped resources alone, and {which} are in namespaces",
            'write namespaces: [...], or namespaces: ["*"] for all',
        )


def _condition(reader: Reader, field: Field) -> str:
    text = reader.text(field)
    if not text:
        return ""
    try:
        compile_condition(text)
    except ConditionInvalid as error:
        # Only a literal block keeps its lines; they begin below the `|`. Folded texts have lost theirs.
        kept = getattr(field.node, "style", None) == "|"
        reader.refuse(field, error.message, line=field.line + 1 + error.line if kept else field.line)
    return text


def _terms(
    reader: Reader, field: Field, entries: Mapping[str, Field], effect: Effect, resources: tuple[str, ...]
) -> dict[str, Any]:
    """`maxDuration`, `approval` and what else only some effects have: which needs them and which cannot have them."""
    grantable = effect is Effect.GRANTABLE
    for key in _GRANTABLE_ONLY:
        if key in entries and not grantable:
            reader.refuse(entries[key], f"goes with effect: grantable, and this rule's is {effect.value}")
    if "maxDuration" not in entries and grantable:
        reader.refuse(field, "has no maxDuration, and what is granted must end", "write maxDuration: 1h, for example")
    mounted = _mounted_secrets(reader, entries, effect, resources)
    asks_people = mounted is MountedSecrets.APPROVE or pod_rules_file.asks(entries)
    asks = grantable or effect is Effect.APPROVE or asks_people
    if "approval" in entries and not asks:
        reader.refuse(
            entries["approval"],
            "goes with effect: approve or grantable, with pods: {...: approve}, or with mountedSecrets: approve, "
            f"and this rule's effect is {effect.value}",
        )
    if "approval" not in entries and asks:
        none = "approval: none or " if grantable and mounted is not MountedSecrets.APPROVE else ""
        reader.refuse(
            field, "has no approval", f"write {none}approval: {{from: [{{group: sre, count: 1}}], within: 10m}}"
        )
    terms = {
        "max_duration": read_duration(reader, entries["maxDuration"])
        if grantable and "maxDuration" in entries
        else None,
        "approval": read_approval(reader, entries["approval"], effect) if asks and "approval" in entries else None,
        **(_limits(reader, entries) if grantable else {}),
        "mounted_secrets": mounted,
    }
    if mounted is MountedSecrets.APPROVE and terms["approval"] is None and "approval" in entries:
        reader.refuse(entries["approval"], "mountedSecrets: approve asks somebody", "name who must answer")
    if grantable and "emergency" in entries:
        terms["review"] = _review(reader, entries, terms)
    return terms


def _asked_about_lines(reader: Reader, field: Field, approval: Approval | None) -> Approval | None:
    """Who is asked about lines where that is not written with them: whoever the rule asks anyway."""
    if approval is None:
        ask = "approval: {from: [{group: sre, count: 1}], within: 10m}"
        reader.refuse(field, "asks about lines, and does not say whom", f"write lines: {{approve: [...], {ask}}}")
    return approval


def _mounted_secrets(
    reader: Reader, entries: Mapping[str, Field], effect: Effect, resources: tuple[str, ...]
) -> MountedSecrets | None:
    """`mountedSecrets` of a rule that lets somebody into pods; None where it is not written, or refused."""
    if "mountedSecrets" not in entries:
        return None
    field = entries["mountedSecrets"]
    if effect not in (Effect.ALLOW, Effect.GRANTABLE):
        reader.refuse(field, f"goes with effect: allow or grantable, and this rule's is {effect.value}")
        return None
    if not _INTO_PODS.intersection(resources):
        reader.refuse(field, "is about getting into pods", "name pods/exec, pods/attach or pods/ephemeralcontainers")
        return None
    known = [action.value for action in MountedSecrets]
    text = reader.text(field)
    if text not in known:
        reader.refuse(field, f'"{text}" is none of {", ".join(known)}', meant(text, known) or "")
        return None
    return MountedSecrets(text)


def _limits(reader: Reader, entries: Mapping[str, Field]) -> dict[str, Any]:
    """`maxRequests`, `maxStreams`, `links` and `onEnd` of a grantable rule; None (LEAVE) where they are not written."""
    most = {"maxRequests": MOST_REQUESTS, "maxStreams": MOST_STREAMS}
    found = {key: reader.count(entries[key], most[key]) if key in entries else None for key in most}
    links = _links(reader, entries["links"]) if "links" in entries else None
    on_end = _on_end(reader, entries) if "onEnd" in entries else OnEnd.LEAVE
    return {
        "max_requests": found["maxRequests"],
        "max_streams": found["maxStreams"],
        "links": links,
        "on_end": on_end,
    }


def _on_end(reader: Reader, entries: Mapping[str, Field]) -> OnEnd:
    """`onEnd: deleteWorkloads` or `leave`. An emergency is a person's, and nobody remembers what people had made."""
    field, known = entries["onEnd"], [one.value for one in OnEnd]
    text = reader.text(field)
    if text and text not in known:
        reader.refuse(field, f'"{text}" is none of {", ".join(known)}', meant(text, known) or "")
    elif text == OnEnd.DELETE_WORKLOADS.value and "emergency" in entries:
        reader.refuse(
            field, "does not go with emergency: what people create is not remembered", "leave onEnd out of this rule"
        )
    return OnEnd(text) if text in known else OnEnd.LEAVE


def _links(reader: Reader, field: Field) -> tuple[str, ...]:
    found = reader.texts(field, "addresses")
    if len(found) > MOST_LINKS:
        reader.refuse(field, f"has more than {MOST_LINKS} addresses", "name the trackers, not their tickets")
    for item, text in found:
        if problem := beginning_problem(text):
            reader.refuse(item, problem, "write what links begin with, like https://tickets.example/browse/")
    return tuple(text for _, text in found)


def read_approval(reader: Reader, field: Field, effect: Effect | None = None) -> Approval | None:
    """`approval`: who must say yes; None where it says `none`, which a rule that holds requests cannot."""
    if isinstance(field.node, yaml.ScalarNode) and field.node.value == "none":
        if effect is Effect.APPROVE:
            reader.refuse(field, "an approve rule that asks nobody", "name who must answer, or write effect: allow")
        return None
    entries = reader.mapping(field, ("from", "within", "notByOwner"))
    for key in ("from", "within"):
        if key not in entries and isinstance(field.node, yaml.MappingNode):
            reader.refuse(field, f"has no {key}", "write {from: [{group: sre, count: 1}], within: 10m}")
    if not entries.keys() >= {"from", "within"}:
        return None
    approvers = [_approvers(reader, item) for item in reader.items(entries["from"], "approvers")]
    not_by_owner = reader.flag(entries["notByOwner"]) if "notByOwner" in entries else False
    return Approval(tuple(approvers), read_duration(reader, entries["within"]), not_by_owner)


def _review(reader: Reader, entries: Mapping[str, Field], terms: Mapping[str, Any]) -> Approval | None:
    """`emergency: {review: {from: [...], within: 24h}}`: who looks at it afterwards. It begins at once and is short."""
    field = entries["emergency"]
    if terms["approval"] is not None:
        reader.refuse(entries["approval"], "an emergency waits for nobody", "write approval: none")
    if terms["max_duration"] is not None and terms["max_duration"] > LONGEST_EMERGENCY:
        longest = _hours(LONGEST_EMERGENCY)
        reader.refuse(entries["maxDuration"], f"an emergency lasts {longest} at most", f"write maxDuration: {longest}")
    inside = reader.mapping(field, ("review",))
    if "review" not in inside:
        if isinstance(field.node, yaml.MappingNode):
            reader.refuse(field, "has no review", "write review: {from: [{group: sre, count: 1}], within: 24h}")
        return None
    if isinstance(inside["review"].node, yaml.ScalarNode) and inside["review"].node.value == "none":
        reader.refuse(inside["review"], "an emergency that nobody looks at afterwards", "name who reviews it")
        return None
    review = read_approval(reader, inside["review"], Effect.APPROVE)
    if review is not None and review.within > LONGEST_REVIEW:
        longest = _hours(LONGEST_REVIEW)
        reader.refuse(inside["review"], f"a review is due within {longest} at most", f"write within: {longest}")
    return review


def _hours(seconds: float) -> str:
    return f"{int(seconds // 3600)}h"


def _approvers(reader: Reader, field: Field) -> Approvers:
    entries = reader.mapping(field, ("group", "count"))
    if "group" not in entries and isinstance(field.node, yaml.MappingNode):
        reader.refuse(field, "has no group", "write {group: sre, count: 1}")
    group = reader.text(entries["group"]) if "group" in entries else ""
    if group == EVERYTHING:
        reader.refuse(entries["group"], '"*" would let anybody approve', "name a group")
    return Approvers(group, reader.count(entries["count"]) if "count" in entries else 1)
