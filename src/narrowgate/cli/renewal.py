"""Access credentials renewed at the gate, once for however many clients ask at a time.

A person's sign-in has a secret that changes with every use; workloads and agents bring a proof of their own. Loaded by
the kubectl plugin only when there is something to renew, and then the standard library alone, but for an agent's key,
whose signature needs a library.
"""

from __future__ import annotations

import binascii
import time

from narrowgate.cli.access_cache import LETTERS, PERSON, Access, Asked, cached_access, keep_access, moment
from narrowgate.cli.oauth_client import (
    ASSERTION_IS_JWT,
    CLIENT_ID,
    GRANT_EXCHANGE,
    TOKEN_IS_JWT,
    GatePort,
    GateRefused,
    GateUnreachable,
    Granted,
)
from narrowgate.cli.private_text import NoPlace, Unusable, read_private
from narrowgate.cli.sign_in_files import forget_sign_in, gate_lock, keep_sign_in, read_facts, read_sign_in

AGAIN_SECONDS = 20
"""From a renewal that failed while the credential is still good to the next: a gate that is away is asked by one
call every so often, and not by each. Its answer may have been lost on the way, and the gate takes a replaced secret
for a minute: this and the longest wait for an answer are well within it."""

LARGEST_TOKEN = 64 << 10
"""Bytes of a token file; the gate takes no longer form."""

LARGEST_KEY = 16 << 10
"""Bytes of a key file; Ed25519 keys have under 200."""

LARGEST_AUTHORITY = 64 << 10
"""Bytes of a file of CA certificates: some thirty of them."""


def renewed(asked: Asked, had: Access | None, *, refused: bool) -> Access:
    """A new credential, or the one that the caller `had` where that is still good and there is no better one.

    `refused`: as far as one can tell, the gate has refused it. Raises Unusable (GateUnreachable, GateRefused).
    """
    path, now = asked.path(), time.time()
    good = had if had is not None and had.good(now) else None
    if not path or not _has_folder(asked):
        return _got(asked)
    with gate_lock(asked.gate, wait=good is None or refused) as held:
        if not held and good is not None:
            # Somebody else renews it this moment.
            return good
        again = cached_access(asked, path)
        if again is not None and again.fresh(time.time()) and (had is None or not refused or again.made != had.made):
            return again
        try:
            access = _got(asked)
        except GateRefused as error:
            if asked.source == PERSON and error.error == "invalid_grant":
                forget_sign_in(asked.gate)
                raise GateRefused(error.error, _with_the_way_on(str(error), asked.gate)) from None
            if good is None or refused:
                raise
            access = _for_a_while(good)
        except GateUnreachable:
            if good is None:
                raise
            access = _for_a_while(good)
        keep_access(asked, path, access)
    return access


def _for_a_while(good: Access) -> Access:
    """The same credential, to be renewed a little later."""
    return Access(good.token, good.made, moment(time.time() + AGAIN_SECONDS), good.expires)


def _has_folder(asked: Asked) -> bool:
    """Whether there is a place for a cache: a person's sign-in needs one, a workload's pod may have none.

    Raises Unusable where there is one that somebody else may enter.
    """
    if asked.source == PERSON:
        return True
    try:
        with gate_lock(asked.gate, wait=False):
            return True
    except NoPlace:
        return False


def _got(asked: Asked) -> Access:
    """A credential from the gate. Raises Unusable."""
    now = time.time()
    granted = _of_person(asked) if asked.source == PERSON else _of_workload(asked)
    if not LETTERS.issuperset(granted.access):
        raise GateUnreachable(f"{asked.gate} gave an answer without a credential in it: is it a gate's control port?")
    return Access.lasting(granted.access, now, granted.seconds)


def _of_person(asked: Asked) -> Granted:
    kept, facts = read_sign_in(asked.gate), read_facts(asked.gate)
    if kept is None or facts is None:
        raise Unusable(f"nobody is signed in at {asked.gate}: run: narrowgate login {asked.gate}")
    fields = {
        "grant_type": "refresh_token",
        "client_id": CLIENT_ID,
        "refresh_token": kept.secret,
        "resource": resource(asked),
    }
    granted = GatePort(asked.gate, facts.authority).granted(fields)
    if granted.secret:
        keep_sign_in(asked.gate, kept._replace(secret=granted.secret))
    return granted


def _of_workload(asked: Asked) -> Granted:
    if asked.token_file:
        fields = {
            "grant_type": GRANT_EXCHANGE,
            "subject_token": _token(asked.token_file),
            "subject_token_type": TOKEN_IS_JWT,
        }
    else:
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_IS_JWT,
            "client_assertion": _assertion(asked),
        }
    return GatePort(asked.gate, _authority(asked)).granted(fields | {"resource": resource(asked)})


def resource(asked: Asked) -> str:
    """What the credential is to open (RFC 8707): one cluster, or the control port."""
    return f"{asked.gate}/clusters/{asked.cluster}" if asked.cluster else asked.gate


def _token(path: str) -> str:
    """The token in a file. Whoever may read the file may be its subject: Kubernetes mounts tokens for a whole pod."""
    token = _content(path, LARGEST_TOKEN).strip()
    if not token or not LETTERS.issuperset(token):
        raise Unusable(f"{path}: holds no token; name the file that the token is mounted as")
    return token


def _assertion(asked: Asked) -> str:
    """What an agent proves its key with (RFC 7523)."""
    # Not of the standard library, and loaded for this alone.
    from narrowgate.cli.failure import Failed
    from narrowgate.cli.key_assertion_maker import make_key_assertion

    to_do = "name the agent's private key"
    try:
        key = read_private(asked.key_file, LARGEST_KEY, to_do)
        return make_key_assertion(key.encode(), asked.agent, asked.gate, time.time())
    except FileNotFoundError:
        raise Unusable(f"{asked.key_file}: no such file; {to_do}") from None
    except Failed as error:
        raise Unusable(f"{asked.key_file}: {error}") from None


def _authority(asked: Asked) -> str:
    """PEM of the CA to trust: as the command line says, else as a sign-in at this gate found it."""
    if asked.authority_file:
        return _content(asked.authority_file, LARGEST_AUTHORITY)
    if asked.authority_data:
        try:
            return binascii.a2b_base64(asked.authority_data, strict_mode=True).decode("ascii")
        except ValueError:
            raise Unusable("--certificate-authority-data: not base64 of PEM; make the kubeconfig anew") from None
    facts = read_facts(asked.gate) if asked.path() else None
    return facts.authority if facts is not None else ""


def _content(path: str, most: int) -> str:
    """The text of a file that may be anybody's to read. Raises Unusable."""
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
        if len(content) <= most:
            return content.decode("ascii")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unusable(f"{path}: {reason}; correct the path, or see that it is mounted") from None
    except UnicodeDecodeError:
        pass
    raise Unusable(f"{path}: holds something else; name another file")


def _with_the_way_on(text: str, gate: str) -> str:
    return text if "narrowgate login" in text else f"{text}; run: narrowgate login {gate}"
