"""Field paths of masks: how a policy says which fields leave masked.

    data.dsn                                           one key after the other, from the top of the object
    data.*password*                                    `*` and `?` within one key, in any case (PASSWORD, Password)
    spec.template.spec.containers[*].env[*].value      [*]: every element of a list
    metadata.annotations["example.com/key"]            a key that has dots, brackets or quotes in it
    spec.**.password                                   **: any number of keys and elements, none included

A key without `*` or `?` is compared as it is: Kubernetes does, too. A path ends at a value or at everything below an
object; a list on the way is gone through element by element, whether or not `[*]` is written. A path means a field of
the object, whatever version of it is asked for; `data` of a Secret is base64 there, and masked values are, too.
"""

from __future__ import annotations

import re
from typing import Final

from narrowgate.core.masking.plan import Anywhere, Every, Key, KeyGlob, Step

PATH_LIMIT: Final = 1_024
"""Characters of a path; the deepest fields of CRDs take some 300."""

STEPS_LIMIT: Final = 40
"""Steps of a path, for the same reason."""

STARS_LIMIT: Final = 4
"""`*` within one key: what is looked for is a word or two, and each more costs another pass over every key."""

_PART: Final = re.compile(
    r"""(?P<quoted>\["(?P<inner>(?:[^"\\]|\\.)*)"\])|(?P<every>\[\*\])|(?P<bracket>\[[^\]]*\]?)|(?P<key>[^.\[\]"]+)""",
    re.DOTALL,
)


class FieldPathInvalid(ValueError):
    """A path that cannot be meant; the text says why, `suggestion` how it is written."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.suggestion: Final = suggestion


def parse_field_path(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises FieldPathInvalid; its text follows on the path in quotes (`"a..b" has ...`)."""
    if len(path) > PATH_LIMIT:
        raise FieldPathInvalid(f"has more than {PATH_LIMIT} characters", "mask what lies above it")
    if path.startswith(("$", ".", "/")):
        raise FieldPathInvalid("does not begin with a key", 'write it from the top of the object: "data.password"')
    steps: list[Step] = []
    at = 0
    while at < len(path):
        if steps and path[at] == ".":
            at += 1
            if at == len(path) or path[at] == ".":
                raise FieldPathInvalid("has a dot with no key after it", 'keys stand between dots: "data.password"')
            if path[at] == "[":
                raise FieldPathInvalid("has a dot before a bracket", 'write containers[*] and annotations["a.b/c"]')
        elif steps and path[at] != "[":
            raise FieldPathInvalid(f'has no dot before "{path[at : at + 20]}"', 'keys stand between dots: "data.key"')
        found = _PART.match(path, at)
        if found is None:
            raise FieldPathInvalid(f'cannot be read at "{path[at : at + 20]}"', 'quote such a key: data["a.b"]')
        steps.append(_step(found))
        at = found.end()
    return _checked(steps)


def _step(found: re.Match[str]) -> Step:
    if found["quoted"] is not None:
        return Key(re.sub(r"\\(.)", r"\1", found["inner"], flags=re.DOTALL))
    if found["every"] is not None:
        return Every()
    if found["bracket"] is not None:
        written = found["bracket"]
        if written.strip("[]").isdigit():
            raise FieldPathInvalid(
                f"has the index {written}, and lists change their order", "write [*] for every element"
            )
        raise FieldPathInvalid(f"has {written}, which is no step", 'write [*] for every element, ["a.b"] for a key')
    key = found["key"]
    if key != key.strip():
        raise FieldPathInvalid(f'has spaces around "{key.strip()}"', "leave them out")
    if key == "**":
        return Anywhere()
    if key == "*":
        return Every()
    if "**" in key:
        raise FieldPathInvalid(f'has "{key}", and ** is a step of its own', "write one * within a key")
    if key.count("*") > STARS_LIMIT:
        raise FieldPathInvalid(f'has more than {STARS_LIMIT} stars in "{key}"', "leave some out")
    return KeyGlob(key) if "*" in key or "?" in key else Key(key)


def _checked(steps: list[Step]) -> tuple[Step, ...]:
    if not steps:
        raise FieldPathInvalid("is empty", 'write a field: "data.password"')
    if isinstance(steps[0], Every):
        raise FieldPathInvalid(
            "begins with every key, name and kind included, and nothing could be found again",
            'write the field: "spec", "data"',
        )
    if isinstance(steps[-1], Anywhere):
        raise FieldPathInvalid("ends with **", "leave it out: a path masks everything below its end")
    if len(steps) > STEPS_LIMIT:
        raise FieldPathInvalid(f"has more than {STEPS_LIMIT} steps", "mask what lies above it")
    if steps[0] in (Key("apiVersion"), Key("kind")) or tuple(steps) in _NEEDED:
        raise FieldPathInvalid(
            "is what tells objects apart, and nothing could be done without it", "mask another field"
        )
    return tuple(steps)


_NEEDED: Final = (
    (Key("metadata"),),
    (Key("metadata"), Key("name")),
    (Key("metadata"), Key("namespace")),
    (Key("metadata"), Key("uid")),
    (Key("metadata"), Key("resourceVersion")),
    (Key("metadata"), Every()),
)
