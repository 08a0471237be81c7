"""What `narrowgate login` keeps of a gate: how to reach and trust it, and the secret that renews the sign-in.

Files are numbered JSON, mode 0600, in the gate's folder (`access_cache.py` says where that is). `gate.json` is no
secret and stays after a sign-out, as ssh keeps known hosts; `sign-in.json` is one. Whoever changes or renews a sign-in
holds the folder's lock: its secret changes with every use. Standard library only: the plugin renews sign-ins.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from narrowgate.cli.access_cache import HOME_VARIABLE, gate_folder_name, state_folder
from narrowgate.cli.private_text import NoPlace, Unusable, private_folder, read_private, write_private
from narrowgate.file_lock import held

VERSION = 1
"""Of both files; a newer one is refused by name."""

LARGEST = 128 << 10
"""Bytes: a CA bundle, or a person with every group, fits many times."""

LOCK_SECONDS = 45
"""Longest wait for another process that renews: it waits for the gate twice at most, ten seconds each, and writes."""

_LAST = "last-gate"


class GateFacts(NamedTuple):
    """How a gate is reached and trusted."""

    url: str
    authority: str
    """PEM; empty where the system trusts the gate."""
    kubernetes_url: str


class KeptSignIn(NamedTuple):
    """A sign-in as this machine knows it."""

    person: str
    secret: str
    """What the next access credential is got with, once."""
    signed_in: str
    """When, as RFC 3339 in UTC."""
    expires: str
    """When it is over at the latest; empty where the gate did not say."""


def gate_folder(url: str) -> str:
    """The folder of a gate, which need not be there. Raises Unusable where there is no place for it."""
    home = state_folder()
    if not home:
        raise Unusable(f"there is no home folder to keep a sign-in in: set {HOME_VARIABLE}")
    return f"{home}/{gate_folder_name(url)}"


def read_facts(url: str) -> GateFacts | None:
    """How a gate is reached and trusted; None where nobody has signed in there. Raises Unusable."""
    found: GateFacts | None = _read(f"{gate_folder(url)}/gate.json", GateFacts)
    return found


def keep_facts(facts: GateFacts) -> None:
    """Keep how a gate is reached. Raises Unusable."""
    folder = gate_folder(facts.url)
    _prepare(folder)
    _write(f"{folder}/gate.json", facts)


def read_sign_in(url: str) -> KeptSignIn | None:
    """The sign-in at a gate; None where there is none. Raises Unusable."""
    found: KeptSignIn | None = _read(f"{gate_folder(url)}/sign-in.json", KeptSignIn)
    return found


def keep_sign_in(url: str, kept: KeptSignIn) -> None:
    """Keep a sign-in, under the lock. Raises Unusable."""
    folder = gate_folder(url)
    _prepare(folder)
    _write(f"{folder}/sign-in.json", kept)


def forget_sign_in(url: str) -> None:
    """Remove a sign-in and every access credential got by it, under the lock. Raises Unusable."""
    folder = gate_folder(url)
    paths = [f"{folder}/sign-in.json"]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{folder}/access") as entries:
        paths += [entry.path for entry in entries if entry.name.lstrip(".").startswith("person@")]
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unusable(f"{path}: cannot be removed ({_why(error)}); remove it yourself") from None


def last_gate() -> str:
    """The address of the gate that was used last; empty where there was none. Raises Unusable."""
    home = state_folder()
    try:
        return read_private(f"{home}/{_LAST}", LARGEST, "remove it").strip() if home else ""
    except FileNotFoundError:
        return ""


def note_last_gate(url: str) -> None:
    """Note which gate is meant when none is named. Raises Unusable."""
    home = os.path.dirname(gate_folder(url))
    private_folder(home)
    _text(f"{home}/{_LAST}", f"{url}\n")


@contextlib.contextmanager
def gate_lock(url: str, *, wait: bool) -> Iterator[bool]:
    """Hold a gate's folder for oneself; yields whether it is held, False only without `wait`. Raises Unusable."""
    folder = gate_folder(url)
    _prepare(folder)
    with contextlib.ExitStack() as kept:
        try:
            is_held = kept.enter_context(held(f"{folder}/lock", LOCK_SECONDS if wait else 0.0))
        except OSError as error:
            text = f"{_why(error)}; remove it, or see that its folder can be written to"
            raise NoPlace(f"{folder}/lock: {text}") from None
        if wait and not is_held:
            text = f"another narrowgate has been busy with it for {LOCK_SECONDS} seconds; see what it waits for"
            raise Unusable(f"{folder}: {text}")
        yield is_held


def _prepare(folder: str) -> None:
    for path in (os.path.dirname(folder), folder, f"{folder}/access"):
        private_folder(path)


def _read(path: str, kind: type[Any]) -> Any:
    to_do = f"remove {os.path.dirname(path)} and sign in again with `narrowgate login`"
    try:
        text = read_private(path, LARGEST, to_do)
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        version = document.pop("version")
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        raise Unusable(f"{path}: cannot be read; {to_do}") from None
    if version != VERSION:
        raise Unusable(f"{path}: of version {version!s:.20}, and this narrowgate reads {VERSION}; use a newer one")
    if set(document) != set(kind._fields) or not all(isinstance(value, str) for value in document.values()):
        raise Unusable(f"{path}: cannot be read; {to_do}")
    return kind(**document)


def _write(path: str, value: Any) -> None:
    _text(path, json.dumps({"version": VERSION, **value._asdict()}, indent=1) + "\n")


def _text(path: str, text: str) -> None:
    try:
        write_private(path, text)
    except OSError as error:
        raise Unusable(f"{path}: cannot be written ({_why(error)}); make room, then sign in again") from None


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
