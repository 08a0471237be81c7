"""Conditions on a request and its object: the `when` of a rule, in CEL, with Kubernetes' own names.

Variables are those of ValidatingAdmissionPolicy (https://kubernetes.io/docs/reference/using-api/cel/): `object`,
`oldObject` and the fields of `request`, each of which is declared with its type, so that `request.nmae` and
`request.name == 1` are refused when the policy is loaded. Two things differ. `request.verb` is added, because the gate
also judges reads, for which `request.operation` is empty. `request.dryRun` is not there, because a dry run is judged as
the real thing.

An answer is `True`, `False`, or a `Undecided` that says why. Undecided is not false: a rule that guards refuses on it.

Bounds. The evaluator (Google's C++ CEL) stops a comprehension after 10,000 steps in all, and its regular expressions
are RE2's, linear in the text. What it does not bound is bounded here before it sees the object: how deep the object
is (it recurses, and 10,000 levels end the process), what kinds of value are in it, how large the product of its
longest text and its largest list is, because a comprehension over the one may search the other each time, and that no
text holds a NUL: its Python binding ends a text there, and would judge "safe" where the cluster gets "safe\\0anything".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

MAX_CONDITION_CHARS: Final = 8 * 1024
"""Longest condition; ten times the longest that the examples of Kubernetes' own documentation reach."""

MAX_DEPTH: Final = 254
"""Nesting of an object that a condition may look at, which is what orjson writes. Kubernetes' own types end below 30;
the evaluator dies near 10,000.
"""

MAX_VALUES: Final = 200_000
"""Values in one object. An object of 1.5 MiB, etcd's limit, has fewer unless it was made to be awkward."""

MAX_WORK: Final = 64 * 1024 * 1024
"""Characters of the longest text times the entries of the largest list: some 0.3 s of searching when it is all used."""

SMALL_BYTES: Final = 16 * 1024
"""A JSON text of this size cannot reach MAX_WORK: half of it as text, half as entries of two bytes are 32 Mi."""

_STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_ESCAPED_NUL: Final = b"\\u0000"
"""A NUL in JSON, or a text about one; which of the two is found out by looking closer."""
_HOLDS_NUL: Final = "the object has a text with a NUL character in it, which conditions do not look at"
_PLAIN: Final = frozenset({bool, int, float, type(None)})

MAX_REMEMBERED: Final = 4096
"""Compiled conditions kept: a reload compiles only what is new. Each takes some 10 KiB."""

_STRING: Final = cel.Type.STRING
_REQUEST: Final[Mapping[str, Any]] = {
    "request.verb": _STRING,
    "request.operation": _STRING,
    "request.kind.group": _STRING,
    "request.kind.version": _STRING,
    "request.kind.kind": _STRING,
    "request.resource.group": _STRING,
    "request.resource.version": _STRING,
    "request.resource.resource": _STRING,
    "request.subResource": _STRING,
    "request.name": _STRING,
    "request.namespace": _STRING,
    "request.userInfo.username": _STRING,
    "request.userInfo.groups": cel.Type.List(_STRING),
    "request.userInfo.extra": cel.Type.Map(_STRING, cel.Type.List(_STRING)),
}
_OBJECT: Final = {"object": cel.Type.DYN}
_OLD_OBJECT: Final = {"oldObject": cel.Type.DYN}


def _environment(variables: Mapping[str, Any]) -> Any:
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()])


_FULL: Final = _environment({**_REQUEST, **_OBJECT, **_OLD_OBJECT})
_WITHOUT_OBJECT: Final = _environment({**_REQUEST, **_OLD_OBJECT})
_WITHOUT_OLD_OBJECT: Final = _environment({**_REQUEST, **_OBJECT})


class ConditionInvalid(ValueError):
    """The text is no condition. `line` counts from 0 within the text; the message is for whoever wrote it."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Undecided(msgspec.Struct, frozen=True):
    """The condition came to no answer, because of this."""

    why: str


class ObjectNeeds(msgspec.Struct, frozen=True):
    """Which objects must be at hand before something can be judged."""

    object: bool = False
    old_object: bool = False


class Condition:
    """A compiled condition; immutable, and safe to evaluate any number of times."""

    __slots__ = ("_expression", "needs", "text")

    def __init__(self, text: str, expression: Any, needs: ObjectNeeds) -> None:
        self.text = text
        self.needs = needs
        self._expression = expression

    def holds(self, facts: Facts) -> bool | Undecided:
        """Evaluate over `facts`. Never raises: whatever goes wrong is an `Undecided`."""
        lacking = facts.lacking(self.needs)
        if lacking:
            return Undecided(lacking)
        try:
            value = self._expression.eval(facts.activation)
            # Errors come back as values too, and their .value() is a truthy string: the type alone tells.
            if value.type() == cel.Type.BOOL:
                return value.value() is True
            answer = str(value.value())
        except Exception as error:  # noqa: BLE001 - the evaluator documents no errors; each of them leaves it undecided
            answer = str(error)
        return Undecided(_plain(answer))


@lru_cache(maxsize=MAX_REMEMBERED)
def compile_condition(text: str) -> Condition:
    """Compile and type-check `text`. Raises ConditionInvalid: syntax, unknown name, wrong type, not a yes-or-no."""
    if len(text) > MAX_CONDITION_CHARS:
        raise ConditionInvalid(f"a condition is at most {MAX_CONDITION_CHARS} characters long, this has {len(text)}")
    if not text.strip():
        raise ConditionInvalid("the condition is empty; leave `when` out where there is none")
    try:
        expression = _FULL.compile(text)
    except Exception as error:  # noqa: BLE001 - the evaluator documents no errors
        raise _invalid(str(error), text) from None
    answers = expression.return_type()
    if answers not in (cel.Type.BOOL, cel.Type.DYN):
        # The type checker takes has(request.name) for request.name.
        message = f"a condition answers true or false, this one is of type {answers.name()}"
        raise ConditionInvalid(message + _about_has(text))
    needs = ObjectNeeds(
        object=not _compiles(_WITHOUT_OBJECT, text), old_object=not _compiles(_WITHOUT_OLD_OBJECT, text)
    )
    return Condition(text, expression, needs)


class Facts:
    """What a condition may look at for one request and one identity; made once and used for every rule.

    `object_missing` says why an object could not be had though the request has one; a condition that looks at it is
    then undecided. None without such a reason is Kubernetes' `null`: a delete has no object, a create no oldObject.
    """

    __slots__ = ("_activation", "_lacking_object", "_lacking_old_object", "_object", "_old_object", "_request")

    def __init__(
        self,
        request: Mapping[str, Any],
        object: Any = None,
        old_object: Any = None,
        lacking_object: str = "",
        lacking_old_object: str = "",
    ) -> None:
        self._request = request
        self._object = object
        self._old_object = old_object
        self._lacking_object = lacking_object or awkward(object)
        self._lacking_old_object = lacking_old_object or awkward(old_object)
        self._activation: Any = None

    def lacking(self, needs: ObjectNeeds) -> str:
        """Why something among `needs` cannot be looked at; empty where everything can."""
        if needs.object and self._lacking_object:
            return self._lacking_object
        if needs.old_object and self._lacking_old_object:
            return self._lacking_old_object
        return ""

    @property
    def activation(self) -> Any:
        """The variables, converted for the evaluator on first use."""
        if self._activation is None:
            self._activation = _FULL.Activation(
                {
                    **self._request,
                    "object": None if self._lacking_object else self._object,
                    "oldObject": None if self._lacking_old_object else self._old_object,
                }
            )
        return self._activation


def awkward(value: Any) -> str:
    """Why a condition may not look at this value: too deep, too large, not JSON. Empty where it may."""
    if value is None:
        return ""
    try:
        # What is small as JSON is within every bound; writing it costs a twentieth of walking through it.
        text = orjson.dumps(value, option=_STRICT)
        if len(text) <= SMALL_BYTES and _ESCAPED_NUL not in text:
            return ""
    except orjson.JSONEncodeError:
        pass
    return _awkward_part(value)


def _awkward_part(value: Any) -> str:
    """`awkward`, level by level."""
    longest_text = largest_list = values = 0
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        values += len(level)
        if values > MAX_VALUES:
            return f"the object has more than {MAX_VALUES} values, which conditions do not look at"
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                longest_text = max(longest_text, len(item))
                if "\0" in item:
                    return _HOLDS_NUL
            elif kind is dict or kind is list:
                largest_list = max(largest_list, len(item))
                below.extend(_members(item))
            elif kind not in _PLAIN:
                return f"the object holds a {kind.__name__}, which is not a JSON value"
        level = below
        if not level:
            break
    else:
        return f"the object is nested deeper than {MAX_DEPTH} levels, which conditions do not look at"
    if longest_text * largest_list > MAX_WORK:
        return "the object has a text so long and a list so large that conditions do not look at it"
    return ""


def _members(container: dict[Any, Any] | list[Any]) -> Iterable[Any]:
    """What is inside; a key is handed out too where it is no text, or one with a NUL in it."""
    if isinstance(container, list):
        return container
    if all(type(key) is str for key in container):
        return (*container.values(), *(key for key in container if "\0" in key))
    return (b"a key that is not text",)


def _compiles(environment: Any, text: str) -> bool:
    try:
        environment.compile(text)
    except Exception:  # noqa: BLE001 - whatever the reason, it does not compile there
        return False
    return True


_COMPILER_LINE: Final = re.compile(r"<input>:(\d+):\d+: (.*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([\w.]+)'")
_ADVICE: Final[Mapping[str, str]] = {
    "request": "name one of its fields, each of which is always there, empty where there is nothing to say",
    "request.dryRun": "a dry run is judged as the real thing",
    "request.object": "write object",
    "request.oldObject": "write oldObject",
    "old_object": "write oldObject",
    "oldobject": "write oldObject",
    "quantity": "Kubernetes' quantity library is not there; compare the text",
    "params": "a policy has no parameters",
    "authorizer": "a policy does not ask the authorizer",
}


def _invalid(report: str, text: str) -> ConditionInvalid:
    found = _COMPILER_LINE.search(report)
    line, message = (int(found[1]) - 1, found[2]) if found else (0, report.splitlines()[0])
    message = message.removesuffix(" (in container '')")
    undeclared = _UNDECLARED.search(message)
    if undeclared:
        message = f'unknown name "{undeclared[1]}"'
        advice = _ADVICE.get(undeclared[1]) or _ADVICE.get(undeclared[1].split(".")[0])
        if undeclared[1].startswith("request.") and undeclared[1] not in _ADVICE:
            advice = f"known are {', '.join(_REQUEST)}"
        if advice:
            message += f": {advice}"
    elif message.startswith("Syntax error: "):
        # The parser goes on to list every token it would have taken.
        message = "syntax error: " + message.removeprefix("Syntax error: ").split(" expecting ")[0]
        if "'<EOF>'" in message:
            message = "syntax error: it ends before it is complete"
    return ConditionInvalid(message + _about_has(text), min(line, text.count("\n")))


def _about_has(text: str) -> str:
    if "has(request." not in text.replace(" ", ""):
        return ""
    return '; a field of request is always there, so compare it with "" instead of has()'


def _plain(answer: str) -> str:
    """The evaluator's message without its error codes, on one line and not too long for a refusal."""
    message = re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$", "", " ".join(answer.split()))
    return message[:200] if message else "no answer"
