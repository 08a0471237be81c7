"""The gate's keys as its configuration wants them: one call for the gate and every command that needs its CA."""

from __future__ import annotations

import os
from collections.abc import Mapping

from narrowgate.config.document import read_text
from narrowgate.config.errors import ConfigError
from narrowgate.config.values import Config
from narrowgate.keys import Keys
from narrowgate.keys.saml_key import SAMLKey

ENCRYPTION_VARIABLE = "NARROWGATE_ENCRYPTION_KEY"
"""Holds the key that encrypts secrets at rest, where no file does."""


def gate_keys(config: Config, environ: Mapping[str, str] = os.environ) -> Keys:
    """The keys of this gate, made where they are missing. Raises `narrowgate.keys.KeysUnusable`, ConfigError.

    Gate and commands must ask for the same names, or they would renew the serving certificate in turns.
    """
    hosts = (config.listen.kubernetes[0], config.listen.control[0])
    names = (*hosts, *config.server_names)
    return Keys.load_or_make(config.data_dir, names, config.tls, passphrase=_passphrase(config, environ))


def saml_key(config: Config, environ: Mapping[str, str] = os.environ) -> SAMLKey | None:
    """The key that signs SAML requests, where people sign in with SAML; `gate_keys` comes before. Raises as that."""
    if not config.authentication.saml:
        return None
    return SAMLKey.load_or_make(config.data_dir, _passphrase(config, environ))


def _passphrase(config: Config, environ: Mapping[str, str]) -> str:
    if config.encryption_key is None:
        return environ.get(ENCRYPTION_VARIABLE, "").strip()
    if ENCRYPTION_VARIABLE in environ:
        raise ConfigError(f"both encryption.keyFile and {ENCRYPTION_VARIABLE} are set; keep one of them")
    key = read_text(config.encryption_key, "the encryption key").strip()
    if not key or "\n" in key:
        raise ConfigError(f"{config.encryption_key}: expected one line that holds the encryption key")
    return key
