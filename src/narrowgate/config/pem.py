"""A CA as it may be written in the configuration: PEM text as in Kubernetes, or a path to a file with it."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from narrowgate.config.document import Document, Path_, read_text

_BEGIN = "-----BEGIN"
"""RFC 7468, section 2: what tells PEM from a path."""


def read_authority(document: Document, here: Path_, written: str, folder: Path) -> str:
    """The PEM of the CA certificates, checked; empty where nothing is written. Raises ConfigError.

    Paths are relative to `folder`. What else is in the text is left behind: a key, for one, has no business in memory.
    """
    if not written:
        return ""
    if "\0" in written:
        document.refuse(here, "expected PEM, or the path of a PEM file, found nothing usable; write one")
    text = written
    if _BEGIN not in written:
        text = read_text(Path(os.path.normpath(folder / Path(written).expanduser())), "the certificate authority")
    try:
        certificates = x509.load_pem_x509_certificates(text.encode("utf-8"))
    except ValueError:
        document.refuse(here, "holds no certificate that can be read; give PEM with BEGIN CERTIFICATE, or a path to it")
    return "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in certificates)
