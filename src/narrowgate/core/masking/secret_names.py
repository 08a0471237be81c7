"""Which names say that a value is a secret: of environment variables, map keys, headers, command line flags.

The lists are the documentation. They err towards masking: a name of several words is a secret's when one of its words
is (`DB_PASSWORD_1`), unless the last word says that it is only about one (`TOKEN_TTL`, `PASSWORD_FILE`).
"""

from __future__ import annotations

import functools
import re
from typing import Final

NAME_LIMIT: Final = 256
"""Characters. Longer names are no names that people gave to variables, and count as secret unread."""

SECRET_PARTS: Final = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "credential", "apikey", "accesskey",
    "privatekey", "signingkey", "encryptionkey", "masterkey", "connectionstring", "htpasswd",
    "keystore", "requirepass", "masterauth", "userkey",
)  # fmt: skip
"""Found anywhere in a name, once what is not a letter or digit is dropped: `PGPASSWORD`, `client-secret`, `authToken`,
`API_KEY`."""

SECRET_WORDS: Final = frozenset(
    {"pass", "pwd", "pw", "key", "keys", "dsn", "cred", "creds", "auth", "jwt", "pat", "otp", "pin", "salt", "pem",
     "cookie", "authorization", "bearer", "privkey", "psk", "jks", "pfx", "dockercfg", "dockerconfigjson"}
)  # fmt: skip
"""Secret only as a word of its own: `SSH_KEY`, not `KEYBOARD`; `DB_PASS`, not `BYPASS`."""

ONLY_ABOUT: Final = frozenset(
    {"file", "files", "filename", "path", "dir", "directory", "mount", "name", "names", "ref", "refs", "ttl", "timeout",
     "expiry", "expiration", "expires", "seconds", "minutes", "hours", "days", "length", "size", "count", "limit",
     "type", "kind", "format", "algorithm", "alg", "issuer", "audience", "audiences", "enabled", "disabled", "required",
     "version", "namespace", "endpoint", "url", "uri", "host", "port", "sock", "socket", "prefix", "suffix", "policy",
     "interval", "mode", "provider", "method", "scope", "scopes"}
)  # fmt: skip
"""As the last word: the name speaks of a secret, its value is none (a URL with a password in it is found by patterns).
A hash is not among them: it can be guessed at."""

NOT_SECRET: Final = re.compile(
    r"tokeni[sz]|tokens?[_.-]?per|(max|min|num|total|input|output|prompt|completion|new)[_.-]?tokens"
    r"|(eos|bos|pad|unk|sep|cls)[_.-]?token|public[_.-]?key|secretary|author(?!iz)|key(board|space|word)",
    re.IGNORECASE,
)
"""Parts of names that only look like it: `TOKENIZERS_PARALLELISM`, `MAX_TOKENS`, `PUBLIC_KEY`."""

SHELLS_OWN: Final = frozenset({"PWD", "OLDPWD"})
"""Where a shell is and was, which `env` prints: in capitals these are no passwords."""

ONLY_KEYS: Final = frozenset({"key", "keys", "topologykey", "remotekey", "labelkey"})
"""Fields, in lower case, that hold the key of something: of a label, of an entry in a Secret."""

SECRET_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
"""HTTP headers that carry credentials, besides those that are named like secrets (`X-Api-Key`, `X-Auth-Token`)."""

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_OTHER: Final = re.compile(r"[^a-z0-9]")


def is_secret_name(name: str) -> bool:
    """Whether a value of this name is taken for a secret. Compares words, whatever separates them, in any case."""
    return len(name) > NAME_LIMIT or _is_secret(name)


@functools.lru_cache(maxsize=8_192)
def _is_secret(name: str) -> bool:
    if name in SHELLS_OWN:
        return False
    named = NOT_SECRET.sub("_", name)
    words = [word.lower() for word in _WORDS.findall(named)]
    while words and words[-1].isdigit():
        words.pop()
    if not words or words[-1] in ONLY_ABOUT:
        return False
    joined = _OTHER.sub("", named.lower())
    return any(part in joined for part in SECRET_PARTS) or not SECRET_WORDS.isdisjoint(words)


def is_secret_field(name: str) -> bool:
    """Whether a key of an object or a ConfigMap is named like a secret. `key` alone is not: selectors, tolerations and
    references to Secrets have one.
    """
    return is_secret_name(name) and name.lower() not in ONLY_KEYS


def is_secret_header(name: str) -> bool:
    """Whether an HTTP header of this name carries credentials."""
    return name.lower() in SECRET_HEADERS or is_secret_name(name)
