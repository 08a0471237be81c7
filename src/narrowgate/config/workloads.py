"""`authentication.serviceAccounts` and `authentication.clientCertificates`: how workloads prove what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from narrowgate.authenticators.certificate_names import authority_problem
from narrowgate.authenticators.certificate_rule import CertificateRule, NameFrom
from narrowgate.authenticators.service_account_rules import ServiceAccountRules, Verify
from narrowgate.config.document import Document, Path_, read_text, suggestion
from narrowgate.config.errors import ConfigError
from narrowgate.core.certificate_name import trust_domain_problem
from narrowgate.core.uses import BUILT_IN_GROUPS
from narrowgate.keys import KeysUnusable, check_certificates

LONGEST_AUDIENCE = 256
"""Characters. It is written into every token."""

PEM = "-----BEGIN"
"""How a certificate begins that is written into the configuration itself, rather than named by its path."""


class ServiceAccountsEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`serviceAccounts` as written."""

    audience: str = "narrowgate"
    verify: list[str] | None = None
    clusters: list[str] | None = None
    lineage: bool = True
    lineage_owners: list[str] = []


class ClientCertificatesEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One entry of `clientCertificates` as written."""

    certificate_authority: str
    name: str
    trust_domain: str = ""


def read_service_accounts(
    document: Document, here: Path_, written: ServiceAccountsEntry, clusters: Sequence[str]
) -> ServiceAccountRules:
    """The rules, checked; `clusters` are the registered ones. Raises ConfigError with file, line and key."""
    audience = written.audience
    if not audience or len(audience) > LONGEST_AUDIENCE or not audience.isprintable() or audience != audience.strip():
        document.refuse((*here, "audience"), f'"{audience}" is no audience; write a word, such as "narrowgate"')
    if audience.startswith("https://kubernetes.default"):
        document.refuse(
            (*here, "audience"),
            f'"{audience}" is what tokens for the API server itself are for, and whoever may use one must not hold the '
            'other; write "narrowgate" here and into the pods\' volumes',
        )
    return ServiceAccountRules(
        audience=audience,
        verify=_verify(document, (*here, "verify"), written.verify),
        clusters=_clusters(document, (*here, "clusters"), written.clusters, clusters),
        lineage=written.lineage,
        lineage_owners=_owners(document, (*here, "lineageOwners"), written.lineage_owners),
    )


def _owners(document: Document, here: Path_, written: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`databases.example.com` as group and plural."""
    found = []
    for index, word in enumerate(written):
        resource, _, group = word.partition(".")
        if not resource or not group or "*" in word or group in BUILT_IN_GROUPS or not word.isprintable():
            document.refuse(
                (*here, index), f'"{word}" is no operator\'s resource; write plural and group: databases.example.com'
            )
        found.append((group, resource))
    return tuple(found)


def _verify(document: Document, here: Path_, written: Sequence[str] | None) -> tuple[Verify, ...]:
    if written is None:
        return ServiceAccountRules().verify
    if not written:
        document.refuse(here, "nobody would verify the tokens; write [keys, tokenReview], or leave it out")
    found: list[Verify] = []
    for index, word in enumerate(written):
        try:
            verify = Verify(word)
        except ValueError:
            document.refuse((*here, index), f'unknown word "{word}"{suggestion(word, [each.value for each in Verify])}')
        if verify in found:
            document.refuse((*here, index), f'"{word}" is written twice; keep one')
        found.append(verify)
    return tuple(found)


def _clusters(
    document: Document, here: Path_, written: Sequence[str] | None, registered: Sequence[str]
) -> tuple[str, ...]:
    if written is None:
        return tuple(registered)
    if not written:
        document.refuse(here, "names no cluster; name some, or leave it out for all")
    for index, name in enumerate(written):
        if name not in registered:
            document.refuse((*here, index), f'there is no cluster "{name}"{suggestion(name, registered)}')
        if name in written[:index]:
            document.refuse((*here, index), f'"{name}" is written twice; keep one')
    return tuple(written)


def read_client_certificates(
    document: Document, here: Path_, written: Sequence[ClientCertificatesEntry], folder: Path
) -> tuple[CertificateRule, ...]:
    """The rules, checked; relative paths count from `folder`. Raises ConfigError with file, line and key."""
    seen: dict[bytes, int] = {}
    rules: list[CertificateRule] = []
    for index, entry in enumerate(written):
        place = (*here, index)
        name_from = _name_from(document, place, entry)
        pem = _authority(document, (*place, "certificateAuthority"), entry.certificate_authority, folder)
        for certificate in x509.load_pem_x509_certificates(pem.encode("ascii")):
            first = seen.setdefault(_key_of(certificate), index)
            if first != index:
                # One CA that speaks for two entries: which of them a certificate is of could not be told.
                document.refuse(
                    (*place, "certificateAuthority"),
                    f"its CA is that of entry {first} already; keep one of them, or use a CA for each",
                )
        rules.append(CertificateRule(certificate_authority=pem, name_from=name_from, trust_domain=entry.trust_domain))
    return tuple(rules)


def _name_from(document: Document, place: Path_, entry: ClientCertificatesEntry) -> NameFrom:
    try:
        name_from = NameFrom(entry.name)
    except ValueError:
        known = suggestion(entry.name, [each.value for each in NameFrom])
        document.refuse((*place, "name"), f'unknown word "{entry.name}"{known}')
    if name_from is NameFrom.SPIFFE:
        if problem := trust_domain_problem(entry.trust_domain):
            document.refuse(
                (*place, "trustDomain"),
                f'"{entry.trust_domain}" {problem}; write the trust domain that this CA signs for, such as "prod.corp"',
            )
    elif entry.trust_domain:
        document.refuse((*place, "trustDomain"), "common names have no trust domain; remove it, or write name: spiffe")
    return name_from


def _authority(document: Document, here: Path_, written: str, folder: Path) -> str:
    """The CA certificates of an entry as PEM and nothing else: what the file holds besides is left behind."""
    if not written or "\0" in written:
        document.refuse(here, "expected PEM, or the path of a PEM file, found nothing usable; write one")
    try:
        pem = written if PEM in written else read_text(folder / Path(written).expanduser(), "the certificate authority")
        certificates = check_certificates(pem.encode("utf-8"), "certificateAuthority")
    except (ConfigError, KeysUnusable) as error:
        document.refuse(here, str(error).removeprefix("certificateAuthority: "))
    for certificate in certificates:
        if problem := authority_problem(certificate):
            subject = certificate.subject.rfc4514_string()
            document.refuse(here, f'the certificate "{subject}" {problem}; name the CA that signs the clients\'')
    return "".join(_pem(certificate) for certificate in certificates)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _key_of(certificate: x509.Certificate) -> bytes:
    """The CA's key: another certificate of the same one signs for the same."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return digest.finalize()
