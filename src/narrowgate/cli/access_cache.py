"""Where the command line keeps what it got at a gate, and the access credentials among that, one file for each.

    $NARROWGATE_HOME, else $XDG_STATE_HOME/narrowgate, else ~/.local/state/narrowgate     folder, mode 0700
        gate.corp+8444/                 one folder for each gate (`sign_in_files.py` keeps the sign-in in it)
            access/person@prod          an access credential: for whom, and its cluster (none: the control port)
            access/person@prod.handed   to which process it was handed last

The kubectl plugin reads through this on every call: it imports nothing that a bare Python has not loaded already.
"""

import os
import time

from narrowgate.cli.private_text import NoPlace, Unusable, read_private, write_private

HOME_VARIABLE = "NARROWGATE_HOME"

LARGEST = 20_480
"""Bytes. An access credential has at most 16,384 characters, the lines below it some 700."""

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~+/=")
"""What a bearer token may hold (RFC 6750, section 2.1); none of it needs escaping in JSON."""

_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_CLUSTER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")

PERSON = "person"
"""The source of whoever signed in."""

LEAST_LEFT = 5
"""Seconds. What ends sooner is renewed: a request is on its way for a while. One that lives for two minutes or longer
is renewed with a minute left anyway, when half of its life is over."""

REFUSED_AFTER = 5
"""Seconds. A credential younger than this is not renewed because somebody asks for it again: a client that asks all the
time costs the gate one credential in five seconds at most."""

CLOCK_SET_BACK = 5
"""Seconds. What was made later than now by more than this was made before the clock was set back: of unknown age."""

_HANDED_SIZE = 64
"""Bytes of a note about who was handed a credential."""


class Asked:
    """What the plugin was asked for: which gate and cluster, and what proves the caller there."""

    __slots__ = ("agent", "authority_data", "authority_file", "cluster", "gate", "key_file", "token_file")

    def __init__(  # noqa: PLR0913 (they are the plugin's options)
        self,
        gate: str,
        cluster: str,
        *,
        token_file: str = "",
        agent: str = "",
        key_file: str = "",
        authority_file: str = "",
        authority_data: str = "",
    ) -> None:
        """Raises Unusable where an address or name is none. An empty `cluster` asks for the control port.

        Without `token_file` and `key_file` it is the person who signed in. `authority_file` (PEM) or `authority_data`
        (base64 of PEM) is the gate's CA; both are empty where the sign-in has it, or the system trusts the gate.
        """
        self.gate = gate_url(gate)
        if len(cluster) > 63 or not _CLUSTER.issuperset(cluster) or cluster.startswith("."):
            raise Unusable(f'--cluster: "{cluster}" is no name of a cluster; write it as the gate lists it')
        if not agent.isascii() or not agent.isprintable():
            raise Unusable(f"--agent: {agent!a} is no name of an agent; write it as the gate lists it")
        self.cluster = cluster
        self.token_file = os.path.abspath(token_file) if token_file else ""
        self.agent = agent
        self.key_file = os.path.abspath(key_file) if key_file else ""
        self.authority_file = authority_file
        self.authority_data = authority_data

    @property
    def source(self) -> str:
        """In one line of ASCII what proves the caller."""
        if self.token_file:
            return f"token {self.token_file!a}"
        return f"key {self.agent!a} {self.key_file!a}" if self.key_file else PERSON

    def proof(self) -> str:
        """Which file it is at this moment: another one, or another content, and the cache is not for it.

        Empty for people: their sign-in and its cache are changed together. Raises Unusable.
        """
        path = self.token_file or self.key_file
        if not path:
            return ""
        try:
            status = os.stat(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise Unusable(f"{path}: {reason}; correct the path, or see that it is mounted") from None
        return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"

    def path(self) -> str:
        """The file of the cache; empty where there is no folder to keep one in."""
        home = state_folder()
        if not home:
            return ""
        # Only for people to read: two sources that share a name here are told apart by what stands in the file.
        readable = "".join(letter if letter in _HOST else "-" for letter in self.source.lower())[-100:].strip("-.")
        return f"{home}/{gate_folder_name(self.gate)}/access/{readable}@{self.cluster}"


class Access:
    """An access credential. Moments are RFC 3339 in UTC and whole seconds, which compare as text."""

    __slots__ = ("expires", "made", "renew", "token")

    def __init__(self, token: str, made: str, renew: str, expires: str) -> None:
        self.token = token
        self.made = made
        self.renew = renew
        self.expires = expires

    @classmethod
    def lasting(cls, token: str, now: float, seconds: float) -> "Access":
        """A credential made at `now` (Unix seconds) that lives for `seconds`; renewed when half of them are over."""
        return cls(token, moment(now), moment(now + seconds / 2), moment(now + seconds))

    def good(self, now: float) -> bool:
        """Whether it can be handed out at all."""
        return self.expires > moment(now)

    def fresh(self, now: float) -> bool:
        """Whether there is nothing to be done about it: half of its life, and some seconds, are left."""
        return moment(now + LEAST_LEFT) < self.expires and moment(now) < self.renew and self._dated(now)

    def old_enough_to_be_refused(self, now: float) -> bool:
        """Whether asking for it again is taken to mean that the gate refused it."""
        return self.made <= moment(now - REFUSED_AFTER)

    def _dated(self, now: float) -> bool:
        return self.made <= moment(now + CLOCK_SET_BACK)


def state_folder(environ: "os._Environ[str] | dict[str, str]" = os.environ) -> str:
    """Where the command line keeps its state, absolute; empty where nothing says where (a pod without a home)."""
    if named := environ.get(HOME_VARIABLE):
        return os.path.abspath(named)
    # XDG Base Directory Specification: what is not absolute is to be ignored.
    state = environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        home = os.path.expanduser("~")
        if not home.startswith("/"):
            return ""
        state = f"{home.rstrip('/')}/.local/state"
    return f"{state}/narrowgate"


def gate_url(text: str) -> str:
    """The one way to write a gate's address, `https://gate.corp:8444`; `https://` may be left out. Raises Unusable."""
    host = text.removeprefix("https://").rstrip("/").lower().removesuffix(":443")
    name, colon, port = host.partition("]") if host.startswith("[") else host.partition(":")
    if host.startswith("["):
        known = bool(colon) and frozenset("0123456789abcdef:.").issuperset(name[1:]) and len(name) > 1
        known = known and (not port or port.startswith(":"))
        colon, port = port[:1], port[1:]
    else:
        known = bool(name) and _HOST.issuperset(name) and not name.startswith((".", "-"))
    if not known or bool(colon) != bool(port) or (port and not (port.isascii() and port.isdigit() and len(port) < 6)):
        raise Unusable(f'"{text}" is no address of a gate; write it like https://gate.corp:8444')
    return f"https://{host}"


def gate_folder_name(url: str) -> str:
    """What a gate's folder is called: its address; no host name holds a plus."""
    return url.removeprefix("https://").replace(":", "+")


def cached_access(asked: Asked, path: str) -> Access | None:
    """The credential in the cache; None where there is none for what is asked. Raises Unusable for a file in danger."""
    if not path:
        return None
    try:
        text = read_private(path, LARGEST, "remove it")
    except FileNotFoundError:
        return None
    except NoPlace:
        if asked.source == PERSON:
            raise
        return None
    lines = text.split("\n")
    if len(lines) != 7 or lines[4] != f"for: {asked.source}" or lines[5] != f"proof: {asked.proof()}":
        return None
    token, moments = lines[0], [line.partition(": ")[2] for line in lines[1:4]]
    if not token or not LETTERS.issuperset(token) or not all(is_moment(one) for one in moments):
        return None
    return Access(token, *moments)


def keep_access(asked: Asked, path: str, access: Access) -> None:
    """Write a credential into the cache. Raises Unusable."""
    lines = (
        access.token,
        f"made: {access.made}",
        f"renew: {access.renew}",
        f"expires: {access.expires}",
        f"for: {asked.source}",
        f"proof: {asked.proof()}",
    )
    try:
        write_private(path, "\n".join(lines) + "\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unusable(
            f"{path}: cannot be written ({reason}); make room, or name another folder with {HOME_VARIABLE}"
        ) from None


def was_handed(path: str, access: Access, process: int) -> bool:
    """Whether this very credential was handed to this very process before.

    client-go keeps a credential until it expires, and asks again before that only when it was answered 401.
    """
    try:
        return read_private(f"{path}.handed", _HANDED_SIZE, "remove it") == _handed(access, process)
    except (FileNotFoundError, Unusable):
        return False


def note_handed(path: str, access: Access, process: int) -> None:
    """Note to whom a credential was handed. What fails here fails nobody: a refusal is then noticed later."""
    try:
        descriptor = os.open(f"{path}.handed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.write(descriptor, _handed(access, process).encode())
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _handed(access: Access, process: int) -> str:
    return f"{process} {access.made}\n"


def moment(at: float) -> str:
    """RFC 3339 in UTC and whole seconds, of Unix seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def is_moment(text: str) -> bool:
    """Whether it is RFC 3339 in UTC and whole seconds, which is compared as text and quoted as it stands."""
    shape = "".join("0" if character in "0123456789" else character for character in text)
    return shape == "0000-00-00T00:00:00Z"
