"""Calls of the gate's own API as the person who is signed in, by the access credential that the command line keeps."""

from __future__ import annotations

import time
from typing import Any

from narrowgate.cli.access_cache import Access, Asked, cached_access
from narrowgate.cli.failure import Failed
from narrowgate.cli.oauth_client import GatePort, GateRefused
from narrowgate.cli.renewal import renewed
from narrowgate.cli.sign_in_files import read_facts, read_sign_in

API = "/api/v1"

_NOT_SIGNED_IN = 401


def called_by_person(gate: str, method: str, path: str, document: object = None) -> dict[str, Any]:
    """What the API of this gate answers the person who is signed in there. Raises Failed, GateUnreachable, GateRefused.

    `path` is below API. A credential that the gate refuses (401: nothing was done) is renewed, once.
    """
    if read_sign_in(gate) is None:
        raise Failed("nobody is signed in", gate, f"run: narrowgate login {gate}")
    facts = read_facts(gate)
    port, access = GatePort(gate, facts.authority if facts is not None else ""), person_access(gate, None)
    try:
        return port.call(method, API + path, access.token, document)
    except GateRefused as error:
        if error.status != _NOT_SIGNED_IN:
            raise
        return port.call(method, API + path, person_access(gate, access).token, document)


def person_access(gate: str, refused: Access | None) -> Access:
    """An access credential for the control port: the one in the cache, or a new one in the place of one `refused`.

    Raises GateUnreachable, GateRefused.
    """
    asked = Asked(gate, "")
    had = refused or cached_access(asked, asked.path())
    if had is not None and refused is None and had.fresh(time.time()):
        return had
    return renewed(asked, had, refused=refused is not None)
