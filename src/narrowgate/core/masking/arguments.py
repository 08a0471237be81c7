"""Commands as lists of arguments: a secret may stand in one argument and its flag in the one before."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from narrowgate.core.masking.patterns import is_no_value
from narrowgate.core.masking.secret_names import is_secret_name

PROGRAM_FLAGS: Final[dict[str, frozenset[str]]] = {
    "curl": frozenset({"-u", "--user", "-U", "--proxy-user"}),
    "wget": frozenset({"--user"}),
    "redis-cli": frozenset({"-a"}),
    "sshpass": frozenset({"-p"}),
    "ldapsearch": frozenset({"-w"}),
    "openssl": frozenset({"-k", "-K", "-passin", "-passout"}),
}
"""Flags that are followed by a secret although their names do not say so, by program."""

JOINED: Final = re.compile(r"(?:mysql\w*|mariadb\w*)\Z")
"""Programs that take a password in the same argument as its flag: `-phunter2`."""

_FLAG: Final = re.compile(r"--?([A-Za-z][\w.-]{0,255})\Z")


def masked_arguments(arguments: list[str], scan: Callable[[str], str], hide: Callable[[str], str]) -> list[str]:
    """The arguments as they leave: those behind a secret's flag hidden, each other one scanned. The very same list
    where nothing is masked. What names a variable (`$(PASSWORD)`) stays.
    """
    masked = []
    program = ""
    hides_next = False
    for argument in arguments:
        hidden = hides_next and not argument.startswith("--") and argument
        if hidden and not is_no_value(argument.encode("utf-8", "surrogatepass")):
            new = hide(argument)
        elif JOINED.match(program) and argument.startswith("-p") and len(argument) > len("-p"):
            new = "-p" + hide(argument[len("-p") :])
        else:
            new = scan(argument)
        masked.append(argument if new == argument else new)
        flag = _FLAG.match(argument)
        hides_next = flag is not None and (
            is_secret_name(flag[1]) or argument in PROGRAM_FLAGS.get(program, frozenset())
        )
        name = argument.rpartition("/")[2]
        if name in PROGRAM_FLAGS or JOINED.match(name):
            program = name
    return arguments if all(new is old for new, old in zip(masked, arguments, strict=True)) else masked
