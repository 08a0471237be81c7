"""The command line: one file per noun. This file holds only the entry point, and imports nothing.

kubectl starts `narrowgate.cli.credential_plugin` on every call, and importing that imports this: a library imported
here would be paid for by each `kubectl get`. A test holds it.
"""

from __future__ import annotations


def main() -> int:
    """Run `narrowgate` with the arguments of this process; the exit code is 0 done, 1 refused or failed, 2 misuse."""
    from narrowgate.cli.program import run

    return run()
