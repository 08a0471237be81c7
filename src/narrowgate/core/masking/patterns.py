r"""What secrets look like in text: patterns that know a secret by its own form or by what is written before it.

Patterns run over bytes, in RE2: time grows with the text and with nothing else, whatever a log may hold. None crosses
a line break, so that text can be masked line by line (`text`, which also knows what goes over several lines). A pattern
without a group means all that it matches. With groups the secret is the first that took part; a `named` pattern's
first group is the name it is given under, which `secret_names` must also take for a secret's.

What is masked where a pattern matches too much is an inconvenience; what is not masked has left. So values run on to
the next space, and in lines that are nothing but `key: value` to the end of the line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import re2

from narrowgate.core.masking.masked_value import MASKED_BYTES
from narrowgate.core.masking.secret_names import is_secret_name

MEMORY_LIMIT: Final = 64 * 1024 * 1024
"""Bytes for the states of all patterns together. RE2 starts over when they are used up; it takes a few MB."""

CLEAN_LENGTH: Final = 128
CLEAN_LIMIT: Final = 16_384
"""Texts in which nothing was found are remembered up to so many characters, and so many of them: objects of one list
repeat each other's values. At most some 4 MB."""

PRIVATE_KEY: Final = "narrowgate/private-key"
CLOUD_KEY: Final = "narrowgate/cloud-key"
ACCESS_TOKEN: Final = "narrowgate/access-token"
AUTHORIZATION: Final = "narrowgate/authorization"
URL_PASSWORD: Final = "narrowgate/url-password"
NAMED_SECRET: Final = "narrowgate/named-secret"
PASSWORD_HASH: Final = "narrowgate/password-hash"
ARCHIVE: Final = "narrowgate/archive"
COMMAND_LINE: Final = "narrowgate/command-line"
KNOWN_VALUE: Final = "narrowgate/known-value"

TEXT_RULES: Final[dict[str, str]] = {
    PRIVATE_KEY: "private keys in PEM, also in base64; age keys",
    CLOUD_KEY: "access keys of AWS, Google Cloud and Azure, signatures in signed URLs",
    ACCESS_TOKEN: "JWTs, bootstrap tokens, tokens of GitHub, GitLab, Slack, npm, Vault and others, and the gate's own",
    AUTHORIZATION: "Authorization headers, bearer tokens, the auth of registries",
    URL_PASSWORD: "passwords in URLs and connection strings",
    NAMED_SECRET: "what follows a secret's name: password=..., token: ..., a variable's name and its value",
    PASSWORD_HASH: "hashes of passwords (crypt, bcrypt, argon2)",
    ARCHIVE: "archives in base64, which nothing could look into (Helm releases)",
    COMMAND_LINE: "passwords of mysql, curl, sshpass and redis-cli on a command line",
    KNOWN_VALUE: "values of the cluster's own Secrets, where it is registered with maskKnownValues",
}
"""The rules that look at text, each with what it finds. All but the last (`known_values`) are patterns."""

_SECRET_NAME: Final = (
    r"(?:[\w.-]*(?:pass|pwd|secret|token|credential|(?:api|access|private|signing|encryption|master|client|storage"
    r"|account|shared|preshared|certificate)[_.-]?key|dsn|connection[_.-]?string)[\w.-]*|\b(?:[\w.-]*[_.-])?pw)"
)
"""Names before a value in a text: fewer than `secret_names` has, because in prose and manifests `key: ` is everywhere.
"""
_QUOTE: Final = r"""(?:\\*["'])?"""
_IS: Final = r"[ \t]*(?:=>|:=|[:=])[ \t]*"
_VALUE: Final = (
    r'(?:\\"((?:[^"\\\n]|\\[^"\\\n]|\\\\+"?)*)\\"'  # in a string of JSON
    r'|"((?:[^"\\\n]|\\[^\n])*)"'
    r"|'((?:[^'\n]|'')*)'"
    r"""|["'\\]+([^\n]*)"""  # a quotation that does not end: all of the line
    r"""|([^\s"'\\](?:[^\s"]|"[^\s"',;:}\])])*))"""
)

_PEM_NAMES: Final = r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?"
PEM_BEGINS: Final = re.compile(rb"-----BEGIN " + _PEM_NAMES.encode() + rb"-----")
PEM_ENDS: Final = re.compile(rb"-----END " + _PEM_NAMES.encode() + rb"-----")

_NOTHING: Final = re.compile(
    rb"(?:null|nil|none|true|false|~|<none>|<nil>|<unset>|\{\}|\[\]|[{\[(]|\{\{-?|[|>][0-9+-]{0,2}|\*+"
    rb"|\$\([\w.-]+\)|\$\{[A-Za-z_]\w*\}|\{\{[^{}]*\}\})[,;.)\]}]*\Z",
    re.IGNORECASE,
)
"""Values that are none: words for nothing, the beginning of a structure, a variable that is put in elsewhere."""


class TextPattern(msgspec.Struct, frozen=True):
    """One pattern and the rule it belongs to; the file opens with what its groups mean."""

    rule: str
    regex: str
    named: bool = False
    mixed: bool = False
    """Whether letters and digits must both be there: what has one of them only is a word or a number."""


_PATTERNS: Final = (
    # PEM over several lines is `text`'s; here is what stands on one.
    TextPattern(PRIVATE_KEY, rf"-----BEGIN {_PEM_NAMES}-----(?:[^\n]*?-----END {_PEM_NAMES}-----|[^\n]*)"),
    TextPattern(
        PRIVATE_KEY,
        # "-----BEGIN " and the first letters of "PRIVATE", "RSA ", "EC P", "OPENSSH", "ENCRYPTED", "DSA ", "PGP "
        r"LS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0Eg|BFQyBQ|BPUEVOU1NI|BFTkNSWVBURUQg|BEU0Eg|BQR1Ag)[A-Za-z0-9+/]*={0,2}",
    ),
    TextPattern(PRIVATE_KEY, r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    # The private members of a JSON Web Key (RFC 7518, section 6).
    TextPattern(PRIVATE_KEY, r"\\*\"(?:d|p|q|dp|dq|qi|k)\\*\"[ \t]*:[ \t]*\\*\"([A-Za-z0-9_-]{22,})"),
    TextPattern(CLOUD_KEY, r"\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    TextPattern(CLOUD_KEY, r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}|\bGOCSPX-[0-9A-Za-z_-]{20,}"),
    TextPattern(CLOUD_KEY, r"(?i)\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/=]{20,})"),
    TextPattern(CLOUD_KEY, r"(?i)[?&](?:sig|X-Amz-Signature|X-Amz-Security-Token|X-Goog-Signature)=([^&\s\"'\\]+)"),
    TextPattern(ACCESS_TOKEN, r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_.-]*"),
    TextPattern(ACCESS_TOKEN, r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"),
    TextPattern(ACCESS_TOKEN, r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas)-[A-Za-z0-9_.-]{20,}"),
    TextPattern(ACCESS_TOKEN, r"\bxox[a-z]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}"),
    TextPattern(ACCESS_TOKEN, r"hooks\.slack\.com/(?:services|workflows)/([^\s\"'\\]+)"),
    TextPattern(
        ACCESS_TOKEN,
        r"\b(?:npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{50,}|dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{30,}"
        r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
        r"|hv[sbr]\.[A-Za-z0-9_-]{20,}|do[opr]_v1_[a-f0-9]{64}|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,})",
    ),
    TextPattern(
        ACCESS_TOKEN,
        r"\bdiscord(?:app)?\.com/api/webhooks/[0-9]+/([A-Za-z0-9_-]+)|\b([0-9]{8,10}:AA[A-Za-z0-9_-]{33})"
        r"|\b(SK[0-9a-f]{32}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|gl(?:c|sa)_[A-Za-z0-9_]{20,}|NRAK-[A-Z0-9]{27}"
        r"|dapi[a-f0-9]{32}|lin_api_[A-Za-z0-9]{40}|K10[0-9a-f]{64}::[A-Za-z0-9:._-]+)"
        r"|([A-Za-z0-9_~.]{3}8Q~[A-Za-z0-9_~.-]{31,34})",
    ),
    TextPattern(ACCESS_TOKEN, r"\bng[a-z]?[0-9]_[A-Za-z0-9_-]{20,}[A-Za-z0-9_.-]*"),
    TextPattern(ACCESS_TOKEN, r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", mixed=True),
    TextPattern(AUTHORIZATION, r"(?i)\bauthorization" + _QUOTE + _IS + _QUOTE + r"([^\"'\\\n]+)"),
    TextPattern(AUTHORIZATION, r"(?i)\bcookie" + _QUOTE + r"[ \t]*:[ \t]*" + _QUOTE + r"([^\"'\\\n]+)"),
    TextPattern(AUTHORIZATION, r"(?i)\bbearer[ \t]+([A-Za-z0-9._~+/=-]{16,})"),
    TextPattern(AUTHORIZATION, r"\\*[\"']auth\\*[\"']" + _IS + r"\\*[\"']([A-Za-z0-9+/=_-]{4,})"),
    TextPattern(URL_PASSWORD, r"[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@\"'<>]*:([^\s/\"'<>]+)@"),
    TextPattern(URL_PASSWORD, r"[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9_~.%-]{20,})@"),
    TextPattern(URL_PASSWORD, r"[\w.-]+:([^\s/\"'<>]+)@(?:tcp|unix|udp)\("),
    TextPattern(NAMED_SECRET, rf"(?i)({_SECRET_NAME}){_QUOTE}{_IS}{_VALUE}", named=True),
    TextPattern(
        NAMED_SECRET,
        rf"(?im)^[ \t-]*[\"']?({_SECRET_NAME})[\"']?[ \t]*[:=][ \t]*([^\s\"'\\{{\[|>][^\n]*?)[ \t\r]*$",
        named=True,
    ),
    TextPattern(
        NAMED_SECRET,
        rf"(?i)--?({_SECRET_NAME})[ \t]+(?:[\"']([^\"'\n]*)[\"']|([^\s\"'-][^\s\"']*))",
        named=True,
    ),
    TextPattern(
        NAMED_SECRET,
        rf"(?i)\bname{_QUOTE}{_IS}{_QUOTE}({_SECRET_NAME}){_QUOTE}[ \t]*,?[ \t]*{_QUOTE}value{_QUOTE}{_IS}{_VALUE}",
        named=True,
    ),
    # Text of other kinds: XML, arguments of a function, netrc, pgpass, SQL, redis.conf.
    TextPattern(NAMED_SECRET, rf"(?i)<({_SECRET_NAME})(?:[ \t][^<>\n]*)?>([^<\n]+)<", named=True),
    TextPattern(
        NAMED_SECRET,
        rf"(?i)[\"']({_SECRET_NAME})[\"'][ \t]*,[ \t]*[\"']([^\"'\n]+)[\"'][ \t]*[)\],;]",
        named=True,
    ),
    TextPattern(NAMED_SECRET, r"(?i)\blogin[ \t]+[^\s]+[ \t]+password[ \t]+([^\s]+)"),
    TextPattern(NAMED_SECRET, r"(?m)^[^:\s]+:[0-9*]+:[^:\s]+:[^:\s]+:([^\s]+)$"),
    TextPattern(NAMED_SECRET, r"(?i)\b(?:identified[ \t]+by|password)[ \t]+'([^'\n]*)'"),
    TextPattern(NAMED_SECRET, r"(?im)^[ \t]*(?:requirepass|masterauth)[ \t]+([^\s]+)"),
    TextPattern(PASSWORD_HASH, r"\{S?SHA\}[A-Za-z0-9+/]{20,}={0,2}"),
    TextPattern(PASSWORD_HASH, r"\$(?:2[aby]?|5|6|1|y|apr1)\$[^\s:\"'\\]{8,}"),
    TextPattern(PASSWORD_HASH, r"\$(?:argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]*)\$[^\s:\"'\\]{8,}"),
    # gzip, gzip twice encoded, zip, zstd, xz, bzip2
    TextPattern(ARCHIVE, r"(?:H4sI|SDRzSU|UEsDB|KLUv/|/Td6WF|QlpoO)[A-Za-z0-9+/_-]{60,}={0,2}"),
    TextPattern(COMMAND_LINE, r"\bmysql\w*(?:[ \t][^\n]*?)??[ \t]-p([^\s\"'\\]+)"),
    TextPattern(COMMAND_LINE, r"\bsshpass[ \t]+-p[ \t]*([^\s]+)|\bredis-cli(?:[ \t][^\n]*?)??[ \t]-a[ \t]+([^\s]+)"),
    TextPattern(COMMAND_LINE, r"\b(?:curl|wget)(?:[ \t][^\n]*?)??[ \t](?:-u|--user)[ =]?[\"']?[^\s:\"']+:([^\s\"']+)"),
)  # fmt: skip

_OPENING: Final = (
    (PRIVATE_KEY, rf"-----BEGIN {_PEM_NAMES}-----"),
    (NAMED_SECRET, rf"(?im:^[ \t-]*[\"']?{_SECRET_NAME}[\"']?[ \t]*:[ \t]*[|>][0-9+-]{{0,2}}[ \t\r]*(?:#[^\n]*)?$)"),
    (NAMED_SECRET, r"(?m:^[ \t-]*[\"']?stringData[\"']?:[ \t\r]*$)"),
    (NAMED_SECRET, rf"(?im:^[ \t{{-]*[\"']?name[\"']?[ \t]*[:=][ \t]*[\"']?{_SECRET_NAME}[\"']?[ \t]*,?[ \t\r]*$)"),
)
"""What goes on in the lines that follow; `text` reads them."""

_HAS_BOTH: Final = re.compile(rb"\.(?=[a-z]*[0-9])(?=[0-9]*[a-z])")

Span = tuple[int, int, str]
"""Where a secret is in a text, from and to, and the rule that found it."""


class TextPatterns:
    """The patterns of some rules, compiled together."""

    __slots__ = ("_any", "_clean", "_compiled", "_opening", "rules")

    def __init__(self, rules: frozenset[str]) -> None:
        self.rules: Final = rules
        options = _options()
        self._any: Final[Any] = re2.Set.SearchSet(options)
        self._compiled: Final[list[tuple[TextPattern, Any]]] = []
        for pattern in _PATTERNS:
            if pattern.rule in rules:
                regex = _sparing(pattern.regex)
                self._any.Add(regex)
                self._compiled.append((pattern, re2.compile(regex, options)))
        opening = [_sparing(regex) for rule, regex in _OPENING if rule in rules]
        for regex in opening:
            self._any.Add(regex)
        if self._compiled:
            self._any.Compile()
        self._opening: Final[Any] = re2.compile(b"|".join(opening), options) if opening else None
        self._clean: Final[set[str]] = set()

    def is_clean(self, text: str, plain: bytes) -> bool:
        """Whether nothing is to be found in a whole text, `plain` being its UTF-8, and nothing begins in it."""
        if not self._compiled:
            return True
        if self._any.Match(_without_zeros(plain)):
            return False
        if len(text) <= CLEAN_LENGTH:
            if len(self._clean) >= CLEAN_LIMIT:
                self._clean.clear()
            self._clean.add(text)
        return True

    def is_clean_in_bytes(self, plain: bytes) -> bool:
        """The same of a text that has no zeros, and is not remembered."""
        return not self._compiled or not self._any.Match(plain)

    def is_known_clean(self, text: str) -> bool:
        """Whether nothing was found in this very text before."""
        return text in self._clean

    def found_in(self, text: bytes) -> list[Span]:
        """Where secrets are in complete lines of text, in order, none overlapping another. Where two patterns meet, the
        earlier begins it and names it. Masked values are none.
        """
        text = _without_zeros(text)
        if not self._compiled or not (near := self._any.Match(text)):
            return []
        if b"[masked:" in text:
            # A masked value names its rule, and rules are named like secrets: nothing is to be found in one, and no
            # value goes on behind one.
            text = MASKED_BYTES.sub(lambda found: b"\0" * len(found[0]), text)
        spans: list[Span] = []
        for index in near:
            if index >= len(self._compiled):
                continue
            pattern, compiled = self._compiled[index]
            spans.extend(_matches(pattern, compiled, text))
        return _merged(spans)

    def opens_in(self, text: bytes) -> Iterator[int]:
        """Where something begins that goes on in the lines that follow: a private key, a block in YAML, a variable's
        name whose value is on the next line.
        """
        if self._opening is not None:
            for match in self._opening.finditer(_without_zeros(text)):
                yield match.start()


@functools.lru_cache(maxsize=64)
def text_patterns(rules: frozenset[str]) -> TextPatterns:
    """The compiled patterns of these rules (`TEXT_RULES`), each set made once: there are as many as there are ways in
    which policies reveal them.
    """
    return TextPatterns(rules)


def is_no_value(value: bytes) -> bool:
    """Whether what follows a secret's name is none: a word for nothing, a variable."""
    return _NOTHING.match(value) is not None


def _sparing(regex: str) -> bytes:
    """The pattern with nothing in it that could match what is written over masked values."""
    return regex.replace("[^", "[^\\x00").encode()


def _without_zeros(text: bytes) -> bytes:
    """A zero stands for what is masked, and for nothing that was in the text."""
    return text.replace(b"\0", b"\1") if b"\0" in text else text


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = MEMORY_LIMIT
    options.log_errors = False
    return options


_ACCOUNT: Final = b"system:serviceaccount:"
"""What follows is a namespace and a name (k8s.io/apiserver/pkg/authentication/serviceaccount), whatever they are
called: refusals of the API server say who was refused.
"""


def _matches(pattern: TextPattern, compiled: Any, text: bytes) -> Iterator[Span]:
    for match in compiled.finditer(text):
        if pattern.named and text.endswith(_ACCOUNT, 0, match.start(1)):
            continue
        first = 2 if pattern.named else 1
        group = next((at for at in range(first, compiled.groups + 1) if match.start(at) >= 0), 0)
        start, end = match.span(group)
        if start < end and not is_no_value(text[start:end]) and _is_meant(pattern, match, text[start:end]):
            yield start, end, pattern.rule


def _is_meant(pattern: TextPattern, match: Any, value: bytes) -> bool:
    """What a regular expression cannot say of its match."""
    if pattern.named:
        name = match.group(1).decode("latin-1")
        # Models count tokens; nobody's token is a small number.
        return is_secret_name(name) and not (name.lower().endswith("tokens") and value.isdigit())
    return not pattern.mixed or _HAS_BOTH.search(value) is not None


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end, rule in sorted(spans):
        if merged and start < merged[-1][1]:
            before = merged[-1]
            merged[-1] = (before[0], max(before[1], end), before[2])
        else:
            merged.append((start, end, rule))
    return merged
