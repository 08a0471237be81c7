"""The gate's own keys: `gate_keys.py` says which there are and makes them, `secret_files.py` keeps them on disk."""

from narrowgate.keys.gate_keys import Keys, TLSFiles, check_certificates, check_pair
from narrowgate.keys.secret_files import KeysUnusable

__all__ = ["Keys", "KeysUnusable", "TLSFiles", "check_certificates", "check_pair"]
