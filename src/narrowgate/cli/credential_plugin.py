"""`narrowgate-credential`: hands kubectl the credential, as `client.authentication.k8s.io/v1` asks for it.

kubectl starts this on every call, so it imports nothing that a bare Python has not loaded already: no argparse, no
json. The credential comes from `--credential-file FILE`, else from NARROWGATE_CREDENTIAL. The file holds the credential
in its first line and, optionally, `expires: <RFC 3339, UTC>` in its second.
"""

import os
import sys
import time

API_GROUP = "client.authentication.k8s.io"
VARIABLE = "NARROWGATE_CREDENTIAL"
USAGE = f"usage: narrowgate-credential [--credential-file FILE]   (without it, ${VARIABLE} holds the credential)"

LARGEST_FILE = 4096
"""Bytes. A credential has 65 characters and its expiry 20 more; a longer file is another one."""

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~+/=")
"""What a bearer token may hold (RFC 6750, section 2.1); none of it needs escaping in JSON."""


class Unusable(Exception):
    """There is no credential to hand over; the text says where it was looked for, why not, and what to do."""


def main() -> int:
    """Run with the arguments and environment of this process: 0 done, 1 no credential, 2 misuse."""
    arguments = sys.argv[1:]
    path = ""
    match arguments:
        case []:
            pass
        case ["--credential-file", path] if path:
            pass
        case [option] if option.startswith("--credential-file=") and not option.endswith("="):
            path = option.partition("=")[2]
        case ["-h" | "--help"]:
            sys.stdout.write(f"{USAGE}\n")
            return 0
        case _:
            sys.stderr.write(f"narrowgate-credential: cannot tell what {arguments[0]!r} means; {USAGE}\n")
            return 2
    try:
        token, expires = read_credential(path, os.environ.get(VARIABLE, ""))
        if expires and expires <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()):
            raise Unusable(f"{path}: the credential expired on {expires}; ask for `narrowgate agents rotate`")
    except Unusable as error:
        sys.stderr.write(f"narrowgate-credential: {error}\n")
        return 1
    sys.stdout.write(exec_credential(token, expires, os.environ.get("KUBERNETES_EXEC_INFO", "")))
    return 0


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
    lines = (_private_text(path) if path else variable).split("\n")
    token, where = lines[0].strip(), path or f"${VARIABLE}"
    if not token:
        raise Unusable(f"{where}: empty; write the credential into it")
    if not LETTERS.issuperset(token):
        raise Unusable(f"{where}: holds characters that no credential has; write the bare credential into it")
    expires = ""
    if len(lines) > 1 and lines[1].startswith("expires:"):
        expires = lines[1].removeprefix("expires:").strip()
        if not _is_moment(expires):
            raise Unusable(f"{where}: line 2: write it like `expires: 2026-12-31T00:00:00Z`, or remove it")
    return token, expires


def _private_text(path: str) -> str:
    """The text of a file that nobody but its owner may read. Raises Unusable."""
    try:
        # Not blocking: a named pipe that nobody writes would hold up kubectl for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Asked of the open file, not of the path: it is the file that is read.
            mode = os.fstat(descriptor).st_mode
            if mode & 0o170000 != 0o100000:
                raise Unusable(f"{path}: not a file; name the file with the credential")
            if mode & 0o077:
                raise Unusable(f"{path}: other users may read it (mode {mode & 0o777:04o}); run: chmod 600 {path}")
            content = os.read(descriptor, LARGEST_FILE + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", "") or str(error)).lower()
        raise Unusable(f"{path}: {reason}; correct the path, or write the credential there") from None
    if len(content) > LARGEST_FILE or not content.isascii():
        raise Unusable(f"{path}: not a credential file; write the bare credential into it")
    return content.decode("ascii")


def _is_moment(text: str) -> bool:
    """Whether it is RFC 3339 in UTC and whole seconds, which is compared as text and quoted as it stands."""
    shape = "".join("0" if character in "0123456789" else character for character in text)
    return shape == "0000-00-00T00:00:00Z"
