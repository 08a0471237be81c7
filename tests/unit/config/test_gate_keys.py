"""The gate's keys as its configuration wants them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from narrowgate.config import ConfigError, gate_keys, parse_config
from narrowgate.keys import KeysUnusable

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"


def test_the_certificate_is_for_the_addresses_listened_on_and_the_names_given(tmp_path: Path) -> None:
    text = HEAD + "listen: {kubernetes: '192.0.2.7:8443', control: '0.0.0.0:8444'}\ntls: {names: [gate.example.com]}\n"
    keys = gate_keys(parse_config(text, tmp_path / "narrowgate.yaml"))
    certificate = x509.load_pem_x509_certificate(keys.certificate_path.read_bytes())
    names = {
        str(name.value) for name in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    }
    assert {"192.0.2.7", "gate.example.com", "localhost", "127.0.0.1", "::1"} <= names
    assert "0.0.0.0" not in names


def test_a_given_pair_takes_the_place_of_the_made_one(tmp_path: Path) -> None:
    made = gate_keys(parse_config(HEAD + "dataDir: elsewhere\n", tmp_path / "narrowgate.yaml"))
    text = HEAD + f"tls: {{certificate: {made.certificate_path}, key: {made.key_path}}}\n"
    keys = gate_keys(parse_config(text, tmp_path / "narrowgate.yaml"))
    assert (keys.certificate_path, keys.key_path) == (made.certificate_path, made.key_path)
    assert keys.verify_key != made.verify_key


def test_the_encryption_key_comes_from_a_file_or_the_environment_never_from_both(tmp_path: Path) -> None:
    (tmp_path / "sealing").write_text("k" * 40 + "\n")
    config = parse_config(HEAD + "encryption: {keyFile: sealing}\n", tmp_path / "narrowgate.yaml")
    assert gate_keys(config, {}).passphrase == "k" * 40
    with pytest.raises(ConfigError, match="both encryption"):
        gate_keys(config, {"NARROWGATE_ENCRYPTION_KEY": "k" * 40})
    without = parse_config(HEAD, tmp_path / "narrowgate.yaml")
    assert gate_keys(without, {"NARROWGATE_ENCRYPTION_KEY": "k" * 40}).passphrase == "k" * 40
    with pytest.raises(KeysUnusable, match="no key to decrypt"):
        gate_keys(without, {})
