"""Kubeconfigs for the gate: always with its CA (unless the system trusts it already), never without verification."""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path
from typing import Any, assert_never

import msgspec
import yaml

from narrowgate.cli.failure import Failed
from narrowgate.cli.private_text import read_private

PLUGIN = "narrowgate-credential"
"""The command that hands a stored credential to kubectl (`cli/credential_plugin.py`)."""

EXEC_API_VERSION = "client.authentication.k8s.io/v1"

HEADING = "# Written by narrowgate, which may write it anew; keep what is yours in another file.\n"
"""Begins every kubeconfig from here, so that no other file is ever overwritten by one."""

LARGEST = 128 << 10
"""Bytes of a kubeconfig that narrowgate wrote: a CA bundle fits many times."""


class InlineToken(msgspec.Struct, frozen=True):
    """The credential stands in the kubeconfig itself."""

    token: str


class CredentialPlugin(msgspec.Struct, frozen=True):
    """kubectl asks the plugin on each call, which reads the credential from a file, or from the environment."""

    command: str = PLUGIN
    credential_file: str = ""
    """Absolute path; empty where the plugin finds the credential in NARROWGATE_CREDENTIAL."""


class ExchangingPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """kubectl asks the plugin on each call, which gets short access credentials from the gate.

    For what: the person who is signed in, or a token file, or an agent's key. None of it is in the kubeconfig.
    """

    command: str = PLUGIN
    gate: str
    """The control port, `https://gate.corp:8444`."""
    cluster: str
    token_file: str = ""
    agent: str = ""
    key_file: str = ""
    authority: str = ""
    """PEM of the control port's CA, for a machine where nobody has signed in; empty where it is known there."""

    @property
    def arguments(self) -> list[str]:
        """The plugin's arguments."""
        data = base64.b64encode(self.authority.encode()).decode()
        options = {
            "--gate": self.gate,
            "--cluster": self.cluster,
            "--token-file": self.token_file,
            "--agent": self.agent,
            "--key-file": self.key_file,
            "--certificate-authority-data": data,
        }
        return [word for name, value in options.items() if value for word in (name, value)]


Credential = InlineToken | CredentialPlugin | ExchangingPlugin


def kubeconfig_document(server: str, ca_pem: bytes, cluster: str, user: str, credential: Credential) -> str:
    """A kubeconfig with one context, `<user>@<cluster>`, as text.

    `server` is the gate's `https://host:port`. With an empty `ca_pem` clients verify against their system's
    authorities. Raises ValueError for a server that is not https.
    """
    if not server.startswith("https://"):
        raise ValueError(f"a kubeconfig for the gate needs an https server, not {server}")
    reached: dict[str, Any] = {"server": server}
    if ca_pem:
        reached["certificate-authority-data"] = base64.b64encode(ca_pem).decode()
    context = f"{user}@{cluster}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": reached}],
        "users": [{"name": user, "user": _user(credential)}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
    }
    return HEADING + yaml.safe_dump(document, sort_keys=False, width=2**20)


def refuse_foreign(path: Path) -> None:
    """Refuse to overwrite what narrowgate did not write: somebody's ~/.kube/config, say. Raises Failed."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            foreign = file.readline() != HEADING
    except (FileNotFoundError, NotADirectoryError):
        return
    if foreign:
        raise Failed("this file is there and is not one that narrowgate wrote", str(path), "name a new file")


def inline_token(path: Path) -> str:
    """The credential that stands in a kubeconfig which narrowgate wrote. Raises Failed, Unusable."""
    wrong = Failed("holds no credential of a task", str(path), "name the file that `narrowgate tasks request` wrote")
    try:
        text = read_private(str(path), LARGEST, "name the kubeconfig of a task")
    except FileNotFoundError:
        raise Failed("no such file", str(path), "name the kubeconfig of a task") from None
    if not text.startswith(HEADING):
        raise wrong
    try:
        document = yaml.safe_load(text)
        token = document["users"][0]["user"]["token"]
    except (yaml.YAMLError, LookupError, TypeError):
        raise wrong from None
    if not isinstance(token, str) or not token:
        raise wrong
    return token


def plugin_command() -> str:
    """The plugin by its bare name where kubectl will find it, so that the kubeconfig can travel; else by its path."""
    beside = Path(sys.executable).with_name(PLUGIN)
    return PLUGIN if shutil.which(PLUGIN) or not beside.exists() else str(beside)


def _user(credential: Credential) -> dict[str, Any]:
    match credential:
        case InlineToken(token):
            return {"token": token}
        case CredentialPlugin(command, credential_file):
            return _exec(command, ["--credential-file", credential_file] if credential_file else [])
        case ExchangingPlugin():
            return _exec(credential.command, credential.arguments)
        case _:
            assert_never(credential)


def _exec(command: str, arguments: list[str]) -> dict[str, Any]:
    return {
        "exec": {
            "apiVersion": EXEC_API_VERSION,
            "command": command,
            "args": arguments,
            # It never asks anybody anything: a `kubectl get` in a script must not wait for a person.
            "interactiveMode": "Never",
            "provideClusterInfo": False,
            "installHint": f"{PLUGIN} comes with narrowgate: pip install narrowgate",
        }
    }
