"""`narrowgate-credential`: hands kubectl the credential, as `client.authentication.k8s.io/v1` asks for it.

kubectl starts this on every call. Until a credential has to be renewed it imports nothing that a bare Python has not
loaded already, and two files of ours that do the same: no argparse, no json. Where the credential comes from:

    --gate URL --cluster NAME                                    the person who signed in with `narrowgate login`
    --gate URL --cluster NAME --token-file FILE                  a projected ServiceAccount token, or a CI system's
    --gate URL --cluster NAME --agent NAME --key-file FILE       an agent's registered key
    --credential-file FILE, or NARROWGATE_CREDENTIAL             an agent's credential as it is

The first three are exchanged at the gate for a short access credential, which is kept (`access_cache.py`) and renewed
(`renewal.py`). FILE of the last holds the credential in its first line and, optionally, `expires: <RFC 3339, UTC>` in
its second.
"""

import os
import sys
import time

from narrowgate.cli.access_cache import (
    LETTERS,
    Access,
    Asked,
    cached_access,
    is_moment,
    moment,
    note_handed,
    was_handed,
)
from narrowgate.cli.private_text import Unusable, read_private

API_GROUP = "client.authentication.k8s.io"
VARIABLE = "NARROWGATE_CREDENTIAL"
USAGE = (
    "usage: narrowgate-credential --gate URL --cluster NAME [--token-file FILE | --agent NAME --key-file FILE] "
    "[--certificate-authority FILE | --certificate-authority-data BASE64], "
    f"or narrowgate-credential [--credential-file FILE]   (without it, ${VARIABLE} holds the credential)"
)

OPTIONS = (
    "--credential-file",
    "--gate",
    "--cluster",
    "--token-file",
    "--agent",
    "--key-file",
    "--certificate-authority",
    "--certificate-authority-data",
)

LARGEST_FILE = 4096
"""Bytes. An agent's credential has 65 characters and its expiry 20 more; a longer file is another one."""


class Misused(Exception):
    """The command line makes no sense; the text says which part of it."""


def main() -> int:
    """Run with the arguments and environment of this process: 0 done, 1 no credential, 2 misuse."""
    arguments = sys.argv[1:]
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(f"{USAGE}\n")
        return 0
    try:
        given = options_of(arguments)
        if "--gate" in given:
            token, expires = exchanged(asked_of(given))
        else:
            token, expires = as_it_is(given.get("--credential-file", ""))
    except Misused as error:
        sys.stderr.write(f"narrowgate-credential: {error}; {USAGE}\n")
        return 2
    except Unusable as error:
        sys.stderr.write(f"narrowgate-credential: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("narrowgate-credential: stopped before there was a credential\n")
        return 1
    sys.stdout.write(exec_credential(token, expires, os.environ.get("KUBERNETES_EXEC_INFO", "")))
    return 0


def options_of(arguments: list[str]) -> dict[str, str]:
    """The command line as options and their values. Raises Misused."""
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in OPTIONS:
            raise Misused(f"cannot tell what {name + equals + value!a} means")
        if not equals and rest:
            value = rest.pop(0)
        if not value:
            raise Misused(f"{name} needs a value")
        if name in given:
            raise Misused(f"{name} comes twice")
        given[name] = value
    _refuse_what_does_not_fit(given)
    return given


def _refuse_what_does_not_fit(given: dict[str, str]) -> None:
    beside = [name for name in given if name not in ("--gate", "--credential-file")]
    if "--gate" not in given and beside:
        raise Misused(f"{beside[0]} goes with --gate")
    if "--gate" in given and ("--cluster" not in given or "--credential-file" in given):
        raise Misused("--gate goes with --cluster, and without --credential-file")
    if ("--agent" in given) != ("--key-file" in given) or ("--token-file" in given and "--agent" in given):
        raise Misused("give --token-file, or --agent and --key-file, or none of them")
    if "--certificate-authority" in given and "--certificate-authority-data" in given:
        raise Misused("--certificate-authority-data says the same as --certificate-authority")


def asked_of(given: dict[str, str]) -> Asked:
    """What is asked for. Raises Unusable."""
    if not given["--cluster"].strip():
        raise Unusable("--cluster: empty; write the cluster's name as the gate lists it")
    return Asked(
        given["--gate"],
        given["--cluster"],
        token_file=given.get("--token-file", ""),
        agent=given.get("--agent", ""),
        key_file=given.get("--key-file", ""),
        authority_file=given.get("--certificate-authority", ""),
        authority_data=given.get("--certificate-authority-data", ""),
    )


def exchanged(asked: Asked) -> tuple[str, str]:
    """An access credential for what is asked, and its expiry: from the cache, or renewed. Raises Unusable."""
    now, path, client = time.time(), asked.path(), os.getppid()
    had = cached_access(asked, path)
    refused = had is not None and had.old_enough_to_be_refused(now) and was_handed(path, had, client)
    access: Access
    if had is not None and had.fresh(now) and not refused:
        access = had
    else:
        from narrowgate.cli.renewal import renewed

        access = renewed(asked, had, refused=refused)
    if path:
        note_handed(path, access, client)
    return access.token, access.expires


def as_it_is(path: str) -> tuple[str, str]:
    """An agent's own credential, and when it expires (empty: unknown). Raises Unusable."""
    token, expires = read_credential(path, os.environ.get(VARIABLE, ""))
    if expires and expires <= moment(time.time()):
        raise Unusable(f"{path}: the credential expired on {expires}; ask for `narrowgate agents rotate`")
    return token, expires


def exec_credential(token: str, expires: str, asked: str) -> str:
    """The ExecCredential that kubectl reads, of the version that it `asked` for (the text of KUBERNETES_EXEC_INFO)."""
    version = "v1beta1" if f'"{API_GROUP}/v1beta1"' in asked else "v1"
    until = f',"expirationTimestamp":"{expires}"' if expires else ""
    status = f'{{"token":"{token}"{until}}}'
    return f'{{"apiVersion":"{API_GROUP}/{version}","kind":"ExecCredential","status":{status}}}\n'


def read_credential(path: str, variable: str) -> tuple[str, str]:
    """The credential and when it expires (empty: unknown). Raises Unusable."""
    if not path and not variable:
        raise Unusable(f"no credential: give --credential-file FILE or set {VARIABLE}")
    to_do = "correct the path, or write the bare credential there"
    try:
        lines = (read_private(path, LARGEST_FILE, to_do) if path else variable).split("\n")
    except FileNotFoundError:
        raise Unusable(f"{path}: no such file or directory; {to_do}") from None
    token, where = lines[0].strip(), path or f"${VARIABLE}"
    if not token:
        raise Unusable(f"{where}: empty; write the credential into it")
    if not LETTERS.issuperset(token):
        raise Unusable(f"{where}: holds characters that no credential has; write the bare credential into it")
    expires = ""
    if len(lines) > 1 and lines[1].startswith("expires:"):
        expires = lines[1].removeprefix("expires:").strip()
        if not is_moment(expires):
            raise Unusable(f"{where}: line 2: write it like `expires: 2026-12-31T00:00:00Z`, or remove it")
    return token, expires
