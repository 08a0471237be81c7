"""Kubeconfigs for the gate: always with its CA (unless the system trusts it already), never without verification."""

from __future__ import annotations

import base64
from typing import Any, assert_never

import msgspec
import yaml

PLUGIN = "narrowgate-credential"
"""The command that hands a stored credential to kubectl (`cli/credential_plugin.py`)."""

EXEC_API_VERSION = "client.authentication.k8s.io/v1"

HEADING = "# Written by narrowgate, which may write it anew; keep what is yours in another file.\n"
"""Begins every kubeconfig from here, so that no other file is ever overwritten by one."""


class InlineToken(msgspec.Struct, frozen=True):
    """The credential stands in the kubeconfig itself."""

    token: str


class CredentialPlugin(msgspec.Struct, frozen=True):
    """kubectl asks the plugin on each call, which reads the credential from a file, or from the environment."""

    command: str = PLUGIN
    credential_file: str = ""
    """Absolute path; empty where the plugin finds the credential in NARROWGATE_CREDENTIAL."""


def kubeconfig_document(
    server: str, ca_pem: bytes, cluster: str, user: str, credential: InlineToken | CredentialPlugin
) -> str:
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


def _user(credential: InlineToken | CredentialPlugin) -> dict[str, Any]:
    match credential:
        case InlineToken(token):
            return {"token": token}
        case CredentialPlugin(command, credential_file):
            asked = ["--credential-file", credential_file] if credential_file else []
            return {
                "exec": {
                    "apiVersion": EXEC_API_VERSION,
                    "command": command,
                    "args": asked,
                    "interactiveMode": "Never",
                    "installHint": f"{PLUGIN} comes with narrowgate: pip install narrowgate",
                }
            }
        case _:
            assert_never(credential)
