"""`authentication.serviceAccounts` and `authentication.clientCertificates`: how workloads prove what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from narrowgate.authenticators.certificate_rule import CertificateRule
from narrowgate.authenticators.service_account_rules import ServiceAccountRules
from narrowgate.config.document import Document, Path_


class ServiceAccountsEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`serviceAccounts` as written."""


class ClientCertificatesEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One entry of `clientCertificates` as written."""


def read_service_accounts(document: Document, here: Path_, written: ServiceAccountsEntry) -> ServiceAccountRules:
    """The rules, checked. Raises ConfigError with file, line and key."""
    del written
    document.refuse(here, "not in this version yet; remove it")


def read_client_certificates(
    document: Document, here: Path_, written: Sequence[ClientCertificatesEntry], folder: Path
) -> tuple[CertificateRule, ...]:
    """The rules, checked. Raises ConfigError with file, line and key."""
    del folder
    if written:
        document.refuse(here, "not in this version yet; remove the entries")
    return ()
