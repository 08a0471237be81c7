"""Credentials for API servers that lie in Secrets, ConfigMaps and variables. Kinds and names are told, never values.

What is looked for is what opens something by itself: tokens that Kubernetes writes into Secrets (KEP-2799), tokens of
ServiceAccounts wherever they stand (KEP-1205), kubeconfigs with a credential in them, bootstrap tokens (KEP-130).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from narrowgate.core.documents import parse_yaml
from narrowgate.core.malformed import Malformed
from narrowgate.core.pods_seen import CONTAINERS, mappings
from narrowgate.core.roads import Kind, PodsLike, Road

LARGEST: Final = 256 << 10
"""Bytes of one value that are looked into: a kubeconfig for a hundred clusters."""

MOST_TOKENS: Final = 20
"""Of one value."""

_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{10,8192}+\.(eyJ[A-Za-z0-9_-]{10,8192}+)\.[A-Za-z0-9_-]{10,2048}+")
_PASSWORD: Final = re.compile(r"//.*@")
"""What a URL may have before its host."""
_OF_ACCOUNTS: Final = "system:serviceaccount:"
_OPENS: Final = {
    "token": "a token",
    "client-key-data": "a client certificate",
    "client-key": "a client certificate",
    "exec": "a credential plugin",
    "auth-provider": "an auth-provider",
    "password": "a password",
}
"""Keys of a kubeconfig's user that open something; `tokenFile` names a file, which is looked at where it is."""
_KEYS: Final = re.compile(rf"""(?m)(?:^|[{{,])[- \t"']*({"|".join(_OPENS)})["']?\s*:\s*\S""")
"""The same where a text cannot be read as YAML: first in a line, or in braces. Of one line alone: a text of nothing but
line breaks would be gone through from each of them."""


class Gate(msgspec.Struct, frozen=True):
    """What leads to the gate, and so is no road around it."""

    audience: str = ""
    """Of tokens for it; empty where none is known."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Where it is called."""


def roads_of_secret(secret: Mapping[str, Any], gate: Gate) -> Iterator[Road]:
    """What one Secret holds."""
    metadata = _inside(secret, "metadata")
    where = f"secret {metadata.get('name')}"
    if secret.get("type") == "kubernetes.io/service-account-token":
        account = _inside(metadata, "annotations").get("kubernetes.io/service-account.name")
        yield _road(where, f"a token of account {account} for the API server, which does not expire")
        return
    if secret.get("type") == "bootstrap.kubernetes.io/token":
        yield _road(where, "a bootstrap token, by which nodes join")
    for key, encoded in _inside(secret, "data").items():
        yield from _roads_of_text(f"{where}, {key}", _decoded(encoded), gate)


def roads_of_config_map(config_map: Mapping[str, Any], gate: Gate) -> Iterator[Road]:
    """What one ConfigMap holds."""
    where = f"configmap {_inside(config_map, 'metadata').get('name')}"
    for key, text in _inside(config_map, "data").items():
        yield from _roads_of_text(f"{where}, {key}", str(text)[:LARGEST], gate)
    for key, encoded in _inside(config_map, "binaryData").items():
        yield from _roads_of_text(f"{where}, {key}", _decoded(encoded), gate)


def roads_of_variables(pods: PodsLike, gate: Gate) -> Iterator[Road]:
    """What is written into the pods themselves: variables, commands and arguments."""
    for field in CONTAINERS:
        for container in mappings(pods.spec.get(field)):
            where = f"{pods.where}, container {container.get('name')}"
            for variable in mappings(container.get("env")):
                text = variable.get("value")
                if isinstance(text, str):
                    yield from _roads_of_text(f"{where}, {variable.get('name')}", text[:LARGEST], gate)
            for words in (container.get("command"), container.get("args")):
                for word in words if isinstance(words, list) else ():
                    yield from _roads_of_text(f"{where}, its command", str(word)[:LARGEST], gate)


def _roads_of_text(where: str, text: str, gate: Gate) -> Iterator[Road]:
    for found in dict.fromkeys((*_tokens(text, gate), *_kubeconfig(text, gate))):
        yield _road(where, found)


def _tokens(text: str, gate: Gate) -> Iterator[str]:
    for _, match in zip(range(MOST_TOKENS), _TOKEN.finditer(text), strict=False):
        claims = _claims(match[1])
        subject = str(claims.get("sub", ""))
        if not subject.startswith(_OF_ACCOUNTS) and "kubernetes.io" not in claims:
            continue
        audiences = claims.get("aud")
        listed = audiences if isinstance(audiences, list) else [audiences] if audiences else []
        if not gate.audience or listed != [gate.audience]:
            account = subject.removeprefix(_OF_ACCOUNTS).replace(":", "/") or "a service account"
            yield f"a token of {account}"


def _claims(part: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _kubeconfig(text: str, gate: Gate) -> Iterator[str]:
    if "users" not in text or "clusters" not in text:
        return
    try:
        document = parse_yaml(text.encode())
    except (Malformed, UnicodeEncodeError):
        # Other readers of YAML take more: what cannot be told apart here may be one to them.
        yield from (f"what may be a kubeconfig, with {_OPENS[key]}" for key in _KEYS.findall(text))
        return
    if not isinstance(document, dict):
        return
    servers = [str(_inside(one, "cluster").get("server")) for one in mappings(document.get("clusters"))]
    if servers and all(_leads_to(server, gate) for server in servers):
        return
    for one in mappings(document.get("users")):
        user = _inside(one, "user")
        for key, what in _OPENS.items():
            if user.get(key):
                told = ", ".join(_PASSWORD.sub("//", server) for server in servers[:2])
                yield f"a kubeconfig with {what} for {told or 'no server'}"


def _leads_to(server: str, gate: Gate) -> bool:
    try:
        parts = urlsplit(server)
        return (parts.hostname or "", parts.port or 443) in gate.hosts
    except ValueError:
        return False


def _road(where: str, what: str) -> Road:
    return Road(
        kind=Kind.CREDENTIALS,
        where=where,
        found=f"holds {what}",
        to_do="delete it, and end what it opens: pods of the namespace can mount it",
    )


def _decoded(encoded: Any) -> str:
    try:
        return base64.b64decode(str(encoded)[: LARGEST * 2], validate=True)[:LARGEST].decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _inside(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
