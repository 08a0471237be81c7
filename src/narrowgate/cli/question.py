"""A request in words, as people ask about one: `patch deployments.apps/web -n ci`. Words in, core values out.

Nothing here asks a cluster: what is cluster-scoped is known for Kubernetes' own resources, and everything else counts
as namespaced, as in the reading of policy files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from narrowgate.cli.failure import Failed
from narrowgate.core.entering import OPENED
from narrowgate.core.identity import Chain, Identity, Kind, chain_of
from narrowgate.core.intent import Entry, Intent, PodSeen
from narrowgate.core.known_resources import CLUSTER_SCOPED, GROUPS_OF, PLURAL_OF
from narrowgate.core.names import agent_name_problem, name_problem
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.uses import uses_of

_KINDS = {"agent": Kind.AGENT, "person": Kind.PERSON, "serviceaccount": Kind.WORKLOAD}

_RESOURCE = re.compile(r"(?P<resource>[a-z][a-z0-9-]*)(\.(?P<group>[a-z0-9.-]+))?(/(?P<name>[^/]+))?")

CONNECTS = frozenset({"exec", "attach", "portforward"})
"""Subresources that are opened, not read: Kubernetes writes the verb `create` for them."""


def identity_of(words: str, groups: tuple[str, ...]) -> Identity:
    """Read `agent:NAME`, `person:NAME` or `serviceaccount:NAMESPACE/NAME`. Raises Failed."""
    kind_word, colon, name = words.partition(":")
    kind = _KINDS.get(kind_word.lower())
    if kind is None or not colon:
        raise Failed(f'"{words}" is nobody', "--as", "write agent:NAME, person:NAME or serviceaccount:NAMESPACE/NAME")
    problem = agent_name_problem(name) if kind is Kind.AGENT else name_problem(name)
    if problem:
        raise Failed(f'"{name}" {problem}', "--as", "write the name as it is registered")
    return Identity(kind=kind, name=name, groups=groups, proven_by="asked", credential="")


def chain_in(words: tuple[str, ...], groups: tuple[str, ...]) -> Chain:
    """The chain of several `--as`, root first; groups belong to the last, who sends the request. Raises Failed."""
    *before, last = words
    return chain_of(*(identity_of(one, ()) for one in before), identity_of(last, groups))


def cluster_meant(given: str, known: Sequence[str]) -> str:
    """The cluster asked about: the one given, or the only one that is known. Raises Failed."""
    if given:
        return given
    if len(known) == 1:
        return known[0]
    if known:
        raise Failed(
            "which cluster is meant is not clear", "the question", f"add --cluster, one of: {', '.join(known)}"
        )
    raise Failed("no cluster is known", "the question", "add --cluster NAME")


def intent_of(verb: str, thing: str, subresource: str, namespace: str, cluster: str) -> Intent:
    """What is asked about: a verb and `RESOURCE[.GROUP][/NAME]`, or a verb and `/path`. Raises Failed."""
    if thing.startswith("/"):
        if namespace or subresource:
            raise Failed(f'"{thing}" is a path', "the question", "leave -n and --subresource out, or name a resource")
        return Intent(cluster=cluster, info=RequestInfo(is_resource_request=False, path=thing, verb=verb.lower()))
    match = _RESOURCE.fullmatch(thing)
    if match is None:
        raise Failed(
            f'"{thing}" is no resource', "the question", "write it like pods, deployments.apps/web or /metrics"
        )
    resource, name = match["resource"], match["name"] or ""
    _refuse_short_names(resource)
    group = _group(resource, match["group"])
    if subresource in CONNECTS and verb != "create":
        raise Failed(f'"{verb}" is not the verb of {subresource}', "the question", "write create, as Kubernetes does")
    info = RequestInfo(
        is_resource_request=True,
        path="",
        verb=verb,
        api_prefix="apis" if group else "api",
        api_group=group,
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
        parts=tuple(part for part in (resource, name, subresource) if part),
    )
    return Intent(cluster=cluster, info=info, namespaced=(group, resource) not in CLUSTER_SCOPED)


def into_pod(what: Intent, container: str, command: Sequence[str], labels: Sequence[str]) -> Intent:
    """Put into the question which container is entered, what is run there, and the labels of the pod, each `KEY=VALUE`.
    Raises Failed.
    """
    if what.info.subresource not in OPENED:
        told = "a container, labels and a command are for getting into pods"
        raise Failed(told, "the question", "add --subresource exec, or leave them out")
    if command and what.info.subresource != "exec":
        raise Failed(f"{what.info.subresource} starts no command", "the question", "leave what follows -- out")
    pod = None
    if labels:
        pairs = [label.partition("=") for label in labels]
        wrong = next((label for label in labels if not label.partition("=")[0] or "=" not in label), None)
        if wrong is not None:
            raise Failed(f'"{wrong}" is no label', "--label", "write it like app=web")
        pod = PodSeen(labels=tuple(sorted({key: value for key, _, value in pairs}.items())))
    return msgspec.structs.replace(what, entry=Entry(container=container, command=tuple(command)), pod=pod)


def about_object(what: Intent, document: Any, where: str) -> Intent:
    """Put the object that would be written into the question: its name, namespace and what it uses. Raises Failed."""
    if not isinstance(document, dict):
        raise Failed("not one Kubernetes object", where, "give one object, with apiVersion, kind and metadata")
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
    info = what.info
    if info.name and name and info.name != name:
        raise Failed(f'the object is named "{name}", the question "{info.name}"', where, "make them agree")
    if info.namespace and namespace and info.namespace != namespace:
        told = f'the object is in namespace "{namespace}", the question in "{info.namespace}"'
        raise Failed(told, where, "make them agree")
    # As in a request: the name of a create is in the body alone, that of everything else in the path as well.
    asked = info.name if info.verb == "create" else info.name or name
    place = info.namespace or (namespace if what.namespaced else "")
    info = msgspec.structs.replace(info, name=asked, namespace=place)
    return msgspec.structs.replace(what, info=info, object=document, uses=uses_of(info, document))


def _refuse_short_names(resource: str) -> None:
    plural = PLURAL_OF.get(resource)
    if plural and resource not in GROUPS_OF:
        raise Failed(f'"{resource}" is not how rules write it', "the question", f'write "{plural}"')


def _group(resource: str, written: str | None) -> str:
    """The API group: the one written, else the one that has this resource. Raises Failed where that is a guess."""
    if written is not None:
        return written
    groups = GROUPS_OF.get(resource)
    if groups is None:
        raise Failed(
            f'"{resource}" is in no group known here', "the question", f"write its group: {resource}.example.com"
        )
    if "" in groups:
        return ""
    if len(groups) > 1:
        raise Failed(f'"{resource}" is in several groups', "the question", f"write one: {resource}.{sorted(groups)[0]}")
    return next(iter(groups))
