"""An agent that hands a part of its task to a helper, by one HTTP call. Nothing but Python's standard library.

    export NARROWGATE_GATE=https://gate.corp:8444                # the gate's control port
    export NARROWGATE_CERTIFICATE_AUTHORITY=gate-ca.pem          # where its certificate is not of a CA known here
    export NARROWGATE_CREDENTIAL=ngt1_...                        # of the agent's task (narrowgate tasks request)
    python3 delegate.py helper "count the pods" "list:pods@ci" 10m /api/v1/namespaces/ci/pods

The helper gets a credential of its own, for less than the task has and no longer; with it, it reads the path at the
cluster. Whatever it does is judged for the agent as well, recorded with both names, and over when the task is.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

NEW_SECONDS = 5.0
"""Each process of a gate hears of a new credential by itself, within a moment; until then it answers 401."""

TRUST = ssl.create_default_context(cafile=os.environ.get("NARROWGATE_CERTIFICATE_AUTHORITY"))


def delegate(gate: str, credential: str, name: str, purpose: str, scope: str, lasts: str = "10m") -> dict[str, Any]:
    """A credential for a helper called `name`, as `access_token`, with what it covers (RFC 8693, RFC 6749).

    `scope` is what it may do, apart by spaces: `get,list:pods@ci patch:deployments.apps/web@ci get:nodes`; all of it
    must be within the task whose credential this is. Raises PermissionError with the gate's words where it is not.
    """
    form = {
        "grant_type": EXCHANGE,
        "subject_token": credential,
        "subject_token_type": ACCESS_TOKEN,
        "scope": scope,
        "narrowgate_name": name,
        "narrowgate_purpose": purpose,
        "narrowgate_for": lasts,
    }
    call = urllib.request.Request(f"{gate}/oauth/token", urllib.parse.urlencode(form).encode())
    try:
        with urllib.request.urlopen(call, context=TRUST, timeout=30) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            raise PermissionError(json.load(error)["error_description"]) from None


def read(server: str, credential: str, path: str) -> Any:
    """What the cluster behind the gate has at a path. Raises PermissionError with the gate's words."""
    call = urllib.request.Request(server + path, headers={"Authorization": f"Bearer {credential}"})
    known_by = time.monotonic() + NEW_SECONDS
    while True:
        try:
            with urllib.request.urlopen(call, context=TRUST, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 401 or time.monotonic() > known_by:
                    raise PermissionError(json.load(error)["message"]) from None
        time.sleep(0.2)


def server_of(gate: str) -> str:
    """Where clusters are reached by this gate."""
    with urllib.request.urlopen(f"{gate}/.well-known/oauth-authorization-server", context=TRUST, timeout=30) as answer:
        return str(json.load(answer)["narrowgate_kubernetes_url"])


def main() -> None:
    """Delegate, and let the helper read one path."""
    name, purpose, scope, lasts, path = sys.argv[1:]
    gate, credential = os.environ["NARROWGATE_GATE"], os.environ["NARROWGATE_CREDENTIAL"]
    try:
        helper = delegate(gate, credential, name, purpose, scope, lasts)
        sys.stderr.write(f"{helper['act']['sub']} has {helper['scope']} for {helper['expires_in']} seconds\n")
        sys.stdout.write(json.dumps(read(server_of(gate), helper["access_token"], path)) + "\n")
    except PermissionError as refused:
        raise SystemExit(str(refused)) from None


if __name__ == "__main__":
    main()
