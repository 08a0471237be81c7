"""What a rule says of command lines: patterns over the arguments as the process gets them, one by one.

    ls                        the program alone, without any argument
    cat /etc/*                one argument that begins so; `*` is some text within one argument, never a slash
    tail -n * /var/log/*      options are written out: a `*` at the front of an argument is no option
    kubectl get **            `**` at the end: any further arguments, none included
    [sh, -c, "ls /; id"]      the arguments one by one, where one of them holds a space

No shell reads an exec's arguments, so nothing here reads them as one would: there are no quotes, no `;`, no variables.
`sh -c STRING` has three arguments, and what the third one does nobody can tell from outside.

Rules that give and rules that guard read the same pattern in different ways, each towards no. Giving, it is exact:
argument by argument, `*` matches neither nothing, nor a slash, nor a way up (`..`), nor an option, nor what cannot be
printed. Guarding, it is generous (`CommandGuard`): whatever begins so, under any path, behind any other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from narrowgate.core.command_runners import may_run_others, program_of

REST: Final = "**"
"""As the last word of a pattern: any further arguments."""

MOST_PATTERNS: Final = 64
"""Patterns of one rule; more are several rules."""

MOST_WORDS: Final = 64
"""Words of one pattern."""

LONGEST_WORD: Final = 1024
"""Characters of one word of a pattern."""

MOST_LOOKED_AT: Final = 1024
"""Words of a command that a guard looks through, which takes it some 10 ms; it holds for longer ones."""

Pattern = tuple[str, ...]
"""One command as it is written, word by word."""

_SPACE: Final = re.compile(r"\s+")
_QUOTES: Final = re.compile(r"[\"'`]")
_BETWEEN_COMMANDS: Final = re.compile(r"[\s;&|()<>{}`$=]+")
"""What a shell would end a word or a command at, or begin another one."""
_SAID_AWAY: Final = str.maketrans("", "", "\"'\\\0")
"""What a shell takes out of a word: r\\m and 'rm' are rm. bash drops a NUL, too."""


_QUOTES_AWAY: Final = str.maketrans("", "", "\"'")
_STARS: Final = re.compile(r"\*+")


class CommandInvalid(ValueError):
    """What was written is no pattern. `suggestion` says what to write instead; both are for the author of a rule."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def pattern_of_text(text: str) -> Pattern:
    """A pattern that was written in one line. Raises CommandInvalid."""
    if _QUOTES.search(text):
        raise CommandInvalid(
            f"{text!r} has quotes, and nothing here takes them off", 'write the arguments one by one: [sh, -c, "ls /"]'
        )
    return checked_pattern(tuple(_SPACE.split(text.strip())))


def checked_pattern(words: Sequence[str]) -> Pattern:
    """A pattern that was written word by word. Raises CommandInvalid."""
    if not words or not words[0]:
        raise CommandInvalid("names no program", "write the program first: ls /tmp")
    if len(words) > MOST_WORDS:
        raise CommandInvalid(f"has more than {MOST_WORDS} words", f"end it with {REST}")
    for place, word in enumerate(words):
        if len(word) > LONGEST_WORD:
            raise CommandInvalid(f"has a word of more than {LONGEST_WORD} characters")
        if "\0" in word:
            raise CommandInvalid("has a NUL in it, which no argument can hold")
        if word == REST and place == len(words) - 1 and place > 0:
            continue
        if REST in word:
            where = "stands for further arguments, at the end" if word == REST else "is a word by itself, at the end"
            raise CommandInvalid(f'"{REST}" {where}', f"write {words[0].replace('*', '') or 'ls'} {REST}, for example")
        _pieces(word)
    return tuple(words)


def has_wildcard(pattern: Pattern) -> bool:
    """Whether it stands for more than one command."""
    return any(len(_pieces(word)) > 1 for word in pattern)


def shown(pattern: Pattern) -> str:
    """The pattern as a reader writes it: in one line where that means the same."""
    if all(word and not _SPACE.search(word) and not _QUOTES.search(word) for word in pattern):
        return " ".join(pattern)
    return "[" + ", ".join(f'"{word}"' if not word or _SPACE.search(word) else word for word in pattern) + "]"


def words_of(line: str) -> list[str]:
    """The words of a line that a shell may read, cut wherever a shell might end one or begin another command."""
    return _BETWEEN_COMMANDS.split(line)


def said(word: str) -> str:
    """A word without what a shell takes out of it."""
    return word.translate(_SAID_AWAY)


def as_in_line(pattern: Pattern) -> Pattern:
    """The pattern as its words stand in a line that is cut by `words_of` and `said`: `of=/dev/sda` is two of them.
    Empty where nothing of it is left.
    """
    rest = pattern[-1:] if pattern[-1] == REST else ()
    # A star that is meant as one keeps its backslash; every other backslash is an escaped one, which shells take out.
    marked = (word.replace("\\\\", "").replace("\\*", "\0") for word in pattern[: len(pattern) - len(rest)])
    parts = (part.translate(_QUOTES_AWAY) for word in marked for part in words_of(word))
    kept = tuple(_STARS.sub("*", part).replace("\0", "\\*") for part in parts if part)
    return (*kept, *rest) if kept else ()


class CommandGift:
    """The commands that a rule gives: exact."""

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._patterns: Final = tuple(_Gift(pattern) for pattern in patterns)

    def covers(self, command: Sequence[str]) -> bool:
        """Whether one of the patterns is this command and nothing else could be meant."""
        return any(pattern.covers(command) for pattern in self._patterns)


class CommandGuard:
    """The commands that a rule guards: generous, as far as they can be seen at all."""

    __slots__ = ("_by_program", "_with_wildcards", "most_words")

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._by_program: Final[dict[str, list[_Guarded]]] = {}
        self._with_wildcards: Final[list[_Guarded]] = []
        meant = dict.fromkeys(form for pattern in patterns for form in (pattern, as_in_line(pattern)) if form)
        self.most_words: Final = max(map(len, meant), default=0)
        """Of any of them, with what a shell would cut of their words counted one by one."""
        for pattern in meant:
            one = _Guarded(pattern)
            if one.program is None:
                self._with_wildcards.append(one)
            else:
                self._by_program.setdefault(one.program, []).append(one)

    def reaches(self, command: Sequence[str] | None) -> bool:
        """Whether the command, or anything that it may run, can be one of these. None: it is not known."""
        if not command or may_run_others(command[0]):
            return True
        return self.stands_in(command) or self.speaks_of(" ".join(command))

    def speaks_of(self, line: str) -> bool:
        """Whether one of these stands anywhere in a line that a shell may read, as far as a look can tell."""
        return self.stands_in([said(word) for word in words_of(line) if word])

    def stands_in(self, words: Sequence[str]) -> bool:
        """Whether one of these begins at any of the words."""
        if len(words) > MOST_LOOKED_AT:
            return True
        for place, word in enumerate(words):
            near = self._by_program.get(program_of(word), ())
            if any(one.begins(words, place) for one in (*near, *self._with_wildcards)):
                return True
        return False


class _Gift:
    """One pattern, read exactly."""

    __slots__ = ("_has_rest", "_words")

    def __init__(self, pattern: Pattern) -> None:
        self._has_rest: Final = pattern[-1] == REST
        self._words: Final = tuple(_segments(word) for word in (pattern[:-1] if self._has_rest else pattern))

    def covers(self, command: Sequence[str]) -> bool:
        if len(command) < len(self._words) or (len(command) > len(self._words) and not self._has_rest):
            return False
        return all(_is(segments, word) for segments, word in zip(self._words, command, strict=False))


class _Guarded:
    """One pattern, read generously."""

    __slots__ = ("_words", "program")

    def __init__(self, pattern: Pattern) -> None:
        words = pattern[:-1] if pattern[-1] == REST else pattern
        # `/bin/rm` guards `rm`, wherever it lies.
        first = _pieces(words[0].rpartition("/")[2] or words[0])
        self._words: Final = (tuple(piece.casefold() for piece in first), *(_pieces(word) for word in words[1:]))
        self.program: Final = program_of(self._words[0][0]) if len(first) == 1 else None
        """What it begins with; None where that is a wildcard."""

    def begins(self, words: Sequence[str], place: int) -> bool:
        if len(words) - place < len(self._words):
            return False
        if self.program is None and not any(_globs(self._words[0], name) for name in _names_of(words[place])):
            return False
        return all(_globs(pieces, words[place + 1 + at]) for at, pieces in enumerate(self._words[1:]))


def _names_of(word: str) -> tuple[str, str, str]:
    """What a pattern may mean by a program: its name, the word behind its path as it is, and all of the word."""
    whole = word.casefold()
    return program_of(word), whole.rpartition("/")[2], whole


def _pieces(word: str) -> tuple[str, ...]:
    """What stands between the wildcards of a word; one piece where it has none. Raises CommandInvalid."""
    pieces = [""]
    escaped = False
    for character in word:
        if escaped:
            if character not in "*\\":
                raise CommandInvalid(f'"\\{character}" means nothing', r"write \* for a star and \\ for a backslash")
            pieces[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "*":
            pieces.append("")
        else:
            pieces[-1] += character
    if escaped:
        raise CommandInvalid("ends with a backslash", r"write \\ for one")
    return tuple(pieces)


def _segments(word: str) -> tuple[tuple[str, ...], ...]:
    """The pieces of each part between two slashes."""
    segments: list[list[str]] = [[]]
    for number, piece in enumerate(_pieces(word)):
        first, *others = piece.split("/")
        if number == 0:
            segments[-1] = [first]
        else:
            segments[-1].append(first)
        segments += [[one] for one in others]
    return tuple(tuple(segment) for segment in segments)


def _is(segments: tuple[tuple[str, ...], ...], word: str) -> bool:
    """Whether a word is what the segments say, exactly."""
    parts = word.split("/")
    if len(parts) != len(segments):
        return False
    is_wild = any(len(segment) > 1 for segment in segments)
    if is_wild and (not word.isprintable() or (len(segments[0]) > 1 and not segments[0][0] and word.startswith("-"))):
        return False
    for segment, part in zip(segments, parts, strict=True):
        if len(segment) == 1:
            if segment[0] != part:
                return False
        elif not part or part == "." or ".." in part or not _globs(segment, part):
            return False
    return True


def _globs(pieces: tuple[str, ...], text: str) -> bool:
    """Whether the pieces stand in the text in their order, the first at its beginning, the last at its end.

    Taking each at the first place where it stands finds a match wherever there is one, and looks at each character once
    per piece at most.
    """
    first, *between = pieces
    if not between:
        return text == first
    last = between.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in between:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
