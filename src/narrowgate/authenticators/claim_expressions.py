"""CEL over the claims of a token, or over the user they are mapped to, as in Kubernetes' AuthenticationConfiguration.

`claims` is a map of whatever the issuer put there; `user.username`, `user.uid`, `user.groups` and `user.extra` have
types. An expression is compiled and type-checked when the configuration is loaded. What it comes to for one token is
the value that was wanted, or a refusal: an error, a missing claim and a value of another type all count as no.

Bounds are those of `core.conditions`: what an evaluation takes is bounded by the evaluator, and what is looked at by
`awkward`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from narrowgate.core.conditions import MAX_CONDITION_CHARS, ConditionInvalid, awkward

_STRING: Final = cel.Type.STRING
_DYN: Final = cel.Type.DYN


def _environment(variables: Mapping[str, Any]) -> Any:
    return cel.NewEnv(variables=variables, extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()])


_CLAIMS: Final = _environment({"claims": cel.Type.Map(_STRING, _DYN)})
_USER: Final = _environment(
    {
        "user.username": _STRING,
        "user.uid": _STRING,
        "user.groups": cel.Type.List(_STRING),
        "user.extra": cel.Type.Map(_STRING, cel.Type.List(_STRING)),
    }
)


class Wanted(enum.Enum):
    """What an expression has to come to; the values complete "it has to be"."""

    YES_OR_NO = "true or false"
    TEXT = "text"
    TEXTS = "text, or a list of texts"


_TYPES: Final = {
    Wanted.YES_OR_NO: (cel.Type.BOOL, _DYN),
    Wanted.TEXT: (_STRING, _DYN),
    Wanted.TEXTS: (_STRING, _DYN, cel.Type.List(_STRING), cel.Type.List(_DYN)),
}


class NoValue(ValueError):
    """The expression came to nothing that could be used; the text says why, in words about the expression."""


class _Expression:
    """A compiled expression; immutable."""

    __slots__ = ("_environment", "_expression", "_wanted", "text")

    def __init__(self, environment: Any, text: str, wanted: Wanted) -> None:
        self.text = text
        self._wanted = wanted
        self._environment = environment
        self._expression = _compiled(environment, text, wanted)

    def _evaluated(self, variables: Mapping[str, Any]) -> Any:
        try:
            value = self._expression.eval(self._environment.Activation(variables))
            if value.type() != cel.Type.ERROR:
                return value
            why = str(value.value())
        except Exception as error:  # noqa: BLE001 - the evaluator documents no errors; each of them means no value
            why = str(error)
        raise NoValue(_plain(why))


class ClaimExpression(_Expression):
    """An expression over `claims`."""

    def __init__(self, text: str, wanted: Wanted) -> None:
        """Raises ConditionInvalid: syntax, unknown name, wrong type."""
        super().__init__(_CLAIMS, text, wanted)

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Whether it is true for these claims. Raises NoValue."""
        return _truth(self._evaluated({"claims": _bounded(claims)}))

    def texts(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """Its value as texts, none for null. Raises NoValue."""
        return _texts(self._evaluated({"claims": _bounded(claims)}), self._wanted)


class UserExpression(_Expression):
    """An expression over `user`."""

    def __init__(self, text: str) -> None:
        """Raises ConditionInvalid: syntax, unknown name, wrong type."""
        super().__init__(_USER, text, Wanted.YES_OR_NO)

    def holds(self, username: str, uid: str, groups: Sequence[str], extra: Mapping[str, Sequence[str]]) -> bool:
        """Whether it is true for this user. Raises NoValue."""
        return _truth(
            self._evaluated(
                {
                    "user.username": username,
                    "user.uid": uid,
                    "user.groups": list(groups),
                    "user.extra": {key: list(values) for key, values in extra.items()},
                }
            )
        )


def _compiled(environment: Any, text: str, wanted: Wanted) -> Any:
    if len(text) > MAX_CONDITION_CHARS:
        raise ConditionInvalid(f"an expression is at most {MAX_CONDITION_CHARS} characters long, this has {len(text)}")
    if not text.strip():
        raise ConditionInvalid("the expression is empty; write one, or leave the key out")
    try:
        expression = environment.compile(text)
    except Exception as error:  # noqa: BLE001 - the evaluator documents no errors
        raise ConditionInvalid(f"{_complaint(str(error))}; correct the expression") from None
    answers = expression.return_type()
    if answers not in _TYPES[wanted]:
        raise ConditionInvalid(f"the expression is of type {answers.name()}; it has to be {wanted.value}")
    return expression


def _bounded(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    if awkward(claims):
        raise NoValue("the claims are nested too deep, or hold a character that expressions do not look at")
    return claims


def _truth(value: Any) -> bool:
    # The type first: what is no BOOL may still be something that Python takes for true.
    if value.type() != cel.Type.BOOL:
        raise NoValue(f"it comes to {value.type().name()}, not to true or false")
    return value.value() is True


def _texts(value: Any, wanted: Wanted) -> tuple[str, ...]:
    kind = value.type()
    if kind == cel.Type.NULL:
        return ()
    if kind == _STRING:
        return (str(value.value()),)
    if wanted is Wanted.TEXTS and kind in (cel.Type.List(_DYN), cel.Type.List(_STRING)):
        items = value.value()
        if all(item.type() == _STRING for item in items):
            return tuple(str(item.value()) for item in items)
    raise NoValue(f"it comes to {kind.name()}, not to {wanted.value}")


def _complaint(report: str) -> str:
    """The first line of the compiler's report, without codes and places: an expression is one line."""
    first = report.splitlines()[0] if report else "it cannot be read"
    message = first.partition(": ERROR: ")[2].partition(": ")[2] or _plain(first)
    message = message.removesuffix(" (in container '')")
    if message.startswith("Syntax error: "):
        # The parser goes on to list every token it would have taken.
        message = "syntax error: " + message.removeprefix("Syntax error: ").split(" expecting ")[0]
    return message.replace("undeclared reference to", "unknown name")


def _plain(answer: str) -> str:
    """The evaluator's message on one line, without its error codes, and not too long for a refusal."""
    message = " ".join(answer.split())
    head, colon, rest = message.partition(": ")
    if colon and head.isupper():
        message = rest
    return message[:200] or "no value"
