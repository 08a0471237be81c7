"""Rules about commands in pods that work and give more than they seem to, or guard less."""

from __future__ import annotations

from collections.abc import Iterator

from narrowgate.core.command_runners import runs_by_options
from narrowgate.core.commands import REST, Pattern, shown
from narrowgate.core.mask_lint import Remark
from narrowgate.core.policy import Effect, Rule


def gift_remarks(rule: Rule) -> Iterator[Remark]:
    """About a rule that gives."""
    for pattern in rule.commands or ():
        yield from _about_gift(pattern)
    if rule.commands is not None and "pods/ephemeralcontainers" in rule.resources:
        yield (
            "debug-image",
            "lets a debug container run its commands, from whatever image its sender names",
            "add a when that looks at the image, or leave pods/ephemeralcontainers out",
        )


def guard_remarks(rule: Rule) -> Iterator[Remark]:
    """About a rule that withholds."""
    for pattern in rule.commands or ():
        if rule.effect is Effect.DENY and len(pattern) > 1 and pattern[1:] != (REST,):
            yield (
                "guard-gap",
                f'guards "{shown(pattern)}", and arguments can be written in other ways and another order',
                f"guard the program: {pattern[0]}",
            )


def _about_gift(pattern: Pattern) -> Iterator[Remark]:
    said = shown(pattern)
    chooses_options = pattern[-1] == REST or any(word.startswith("-") and "*" in word for word in pattern)
    if runs_by_options(pattern[0]) and chooses_options:
        yield (
            "wide-command",
            f'gives "{said}", and options of {pattern[0]} start other programs, write files or reach elsewhere',
            "write its options out, and * for single arguments",
        )
    elif pattern[-1] == REST:
        yield (
            "wide-command",
            f'gives "{said}" with any arguments, options and paths like /proc/1/root among them',
            "write * for each argument",
        )
