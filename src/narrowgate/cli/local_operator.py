"""Who works at this terminal, as changes to the store are signed."""

from __future__ import annotations

import os
import pwd


def local_operator() -> str:
    """`local:alice`, by user id: the file modes say who may write the store, and names in the environment lie."""
    user = os.getuid()
    try:
        return f"local:{pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"local:{user}"
