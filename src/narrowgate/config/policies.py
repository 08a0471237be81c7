"""The policy folder as texts; what they mean is `core.policy_file`'s business."""

from __future__ import annotations

from pathlib import Path

from narrowgate.config.document import read_text
from narrowgate.config.errors import ConfigError

MOST_POLICY_FILES = 10_000
"""A folder with more is not a policy folder (a home directory, say), and reading it all would stall the start."""


def load_policy_files(folder: Path) -> list[tuple[str, str]]:
    """Name and text of every `*.yaml` and `*.yml` in `folder`, sorted by name; hidden and backup files are skipped.

    Raises ConfigError when the folder is missing or one of its files cannot be read: a policy left out might be the one
    that denies.
    """
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        raise ConfigError(f"{folder}: the policy folder does not exist; make it, or correct `policies`") from None
    except NotADirectoryError:
        raise ConfigError(f"{folder}: the policy folder is a file; name the folder it is in") from None
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{folder}: the policy folder cannot be read: {reason}; change its owner or mode") from None
    files = [entry for entry in entries if _is_policy_file(entry)]
    if len(files) > MOST_POLICY_FILES:
        raise ConfigError(f"{folder}: more than {MOST_POLICY_FILES} policy files; is it the right folder?")
    return [(entry.name, read_text(entry, "the policy file")) for entry in files]


def _is_policy_file(entry: Path) -> bool:
    # Editors leave `.x.yaml.swp`, `.#x.yaml`, `#x.yaml#`, `x.yaml~`; ConfigMap volumes hold a `..data` folder and links
    # into it.
    return entry.suffix in {".yaml", ".yml"} and not entry.name.startswith((".", "#")) and not entry.is_dir()
