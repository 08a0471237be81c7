"""What makes it doubtful whether a line that a shell reads is all of a command, and says what is run.

Nobody here parses what shells parse: in doubt a line goes on.
"""

from __future__ import annotations

import re
from typing import Final

_QUOTED: Final = re.compile(r"\\.|'[^']*'", re.DOTALL)
_PLAIN_QUOTED: Final = re.compile(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`", re.DOTALL)
_OPEN: Final = re.compile(r"[\"'`]|<<|\\\Z|(?:\||&&|\(|\{)\s*\Z|\b(?:do|then|else|elif|in|while|until|if)\s*\Z")
_PAIRS: Final = (("(", ")"), ("{", "}"), ("if", "fi"), ("do", "done"), ("case", "esac"))
_WORDS: Final = re.compile(r"[(){}]|\b(?:if|fi|do|done|case|esac)\b")
_FROM_HISTORY: Final = re.compile(r"\A\^|(?<![$\[{])!(?![\s=(\"]|\Z)")
"""Where bash, zsh and csh put earlier lines (bash's manual, History Expansion): `!!`, `!rm`, `^old^new`."""


def goes_on(text: str) -> bool:
    """Whether what follows may belong to the same command, or be read by it: an open quote, a `|` at the end, `<<`."""
    plain = _PLAIN_QUOTED.sub("x", text)
    if _OPEN.search(plain):
        return True
    found = _WORDS.findall(plain)
    return any(found.count(begin) != found.count(end) for begin, end in _PAIRS)


def takes_from_history(text: str) -> bool:
    """Whether an interactive shell would put earlier lines into this one."""
    return _FROM_HISTORY.search(_QUOTED.sub("", text)) is not None
