"""The gate's own keys: its CA, its serving certificate, and the keys that sign checkpoints and access credentials.

They are made on the first start in `<data dir>/keys` and kept from then on: clients trust the CA for as long as they
hold a kubeconfig, and a checkpoint is worth something only while its key stays the same. Nothing here is ever
overwritten but a serving certificate that runs out or lacks a name. The directory is 0700, every file 0600, and every
file appears whole.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from narrowgate.file_lock import FOR_EVER, held
from narrowgate.keys.secret_files import PRIVATE, KeysUnusable, SecretFiles, read, read_if_present, write_whole

CA_LIFETIME = timedelta(days=3652)
"""Ten years, as kubeadm's: replacing a CA means new kubeconfigs for everyone."""

SERVING_LIFETIME = timedelta(days=365)
"""A year, as kubeadm's serving certificates; renewed by itself, so nobody has to remember."""

RENEW_BEFORE = timedelta(days=30)
"""A gate that is started once a month never serves an expired certificate."""

BACKDATED = timedelta(minutes=5)
"""Certificates are valid from a little earlier: clients' clocks are not all exact."""


MASK_KEY_BYTES = 32
MASK_KEY_USE = b"narrowgate.dev/masked-values/v1"
"""What sets the key of masked values apart from whatever else is ever derived."""


class TLSFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A serving certificate that the operator provides, in place of the one made here."""

    certificate: Path
    """PEM, the serving certificate first, then its intermediates."""
    key: Path
    certificate_authority: Path | None = None
    """PEM of the CA to put into kubeconfigs; None when clients trust it already (a public CA)."""


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate proves itself with. PEM throughout."""

    ca_pem: bytes
    """CA for clients' kubeconfigs; empty where the operator's certificate is trusted without one."""
    certificate_path: Path
    """Serving certificate and intermediates, for `ssl.SSLContext.load_cert_chain`."""
    key_path: Path
    signing_key_pem: bytes
    """Ed25519 private key (PKCS #8) that signs checkpoints."""
    verify_key: bytes
    """Its public half (SubjectPublicKeyInfo), which may be copied elsewhere to verify the trail."""
    access_key_pem: bytes
    """Ed25519 private key (PKCS #8) that signs access credentials and nothing else."""
    passphrase: str = ""
    """What secrets at rest are encrypted with; empty where they are not."""
    serving_passphrase: str = ""
    """What the file at `key_path` is encrypted with; a key that the operator provides never is."""

    @property
    def access_key(self) -> ed25519.Ed25519PrivateKey:
        """The key of `access_key_pem`; who only believes credentials needs its public half."""
        key = serialization.load_pem_private_key(self.access_key_pem, password=None)
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        return key

    @property
    def mask_key(self) -> bytes:
        """32 bytes that key the hashes in masked values: of the access key, so that it is the same wherever that is,
        and no other secret has to be kept (RFC 5869).
        """
        secret = self.access_key.private_bytes_raw()
        return HKDF(algorithm=hashes.SHA256(), length=MASK_KEY_BYTES, salt=None, info=MASK_KEY_USE).derive(secret)

    @classmethod
    def load_or_make(
        cls,
        data_dir: Path,
        names: Iterable[str] = (),
        given: TLSFiles | None = None,
        now: datetime | None = None,
        passphrase: str = "",
    ) -> Self:
        """The keys of `data_dir`, made where they are missing, encrypted when there is a passphrase.

        `names` are the addresses and DNS names clients call the gate by, besides localhost and this machine's name.
        With `given` no CA or serving certificate is made, and the given ones are checked. Safe to call from several
        processes. Raises KeysUnusable.
        """
        now = now or datetime.now(UTC)
        folder = data_dir / "keys"
        files = SecretFiles(passphrase)
        with _locked(data_dir, folder):
            signing, access = _signing_key(files, folder, "checkpoint"), _signing_key(files, folder, "access")
            if given is None:
                ca_pem = _made_serving(files, folder, _subject_names(names), now)
                certificate_path, key_path = folder / "serving.pem", folder / "serving.key"
            else:
                ca_pem = _given_authority(given, now)
                certificate_path, key_path = given.certificate, given.key
        return cls(
            ca_pem=ca_pem,
            certificate_path=certificate_path,
            key_path=key_path,
            signing_key_pem=_plain_pem(signing),
            verify_key=_public_pem(signing),
            access_key_pem=_plain_pem(access),
            passphrase=passphrase,
            serving_passphrase="" if given else passphrase,
        )


def check_pair(certificates: bytes, key: bytes, what: str, now: datetime | None = None) -> x509.Certificate:
    """The first certificate of `certificates` (PEM), valid at `now` and belonging to `key` (PEM).

    Raises KeysUnusable, naming `what`, when one of the three is not so.
    """
    now = now or datetime.now(UTC)
    certificate = check_certificates(certificates, what)[0]
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError:
        raise KeysUnusable(f"{what}: the key is encrypted; give one without a passphrase") from None
    except ValueError:
        raise KeysUnusable(f"{what}: the key is not a PEM private key; give the key of the certificate") from None
    if _spki(private.public_key()) != _spki(certificate.public_key()):
        raise KeysUnusable(f"{what}: certificate and key do not belong together; give the key of this certificate")
    if now >= certificate.not_valid_after_utc:
        ended = _day(certificate.not_valid_after_utc)
        raise KeysUnusable(f"{what}: the certificate expired on {ended}; give a newer one")
    if now < certificate.not_valid_before_utc:
        valid = _day(certificate.not_valid_before_utc)
        raise KeysUnusable(f"{what}: the certificate is valid only from {valid}; correct this machine's clock, or wait")
    return certificate


def check_certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    """The certificates in `pem`, at least one. Raises KeysUnusable, naming `what`, when there is none to be read."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise KeysUnusable(f"{what}: no PEM certificate that can be read; give a file with BEGIN CERTIFICATE") from None


@contextlib.contextmanager
def _locked(data_dir: Path, folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone: two that start together must not make two CAs."""
    with contextlib.ExitStack() as kept:
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            # Held for the milliseconds that making keys takes; a holder that dies gives it up.
            kept.enter_context(held(folder / ".lock", FOR_EVER))
        except OSError as error:
            why = f"keys cannot be kept: {error.strerror or error}; correct dataDir or its owner"
            raise KeysUnusable(f"{error.filename}: {why}") from error
        if folder.stat().st_mode & PRIVATE:
            raise KeysUnusable(f"{folder}: other users may enter the folder with the keys; run: chmod 700 {folder}")
        yield


def _made_serving(files: SecretFiles, folder: Path, names: frozenset[str], now: datetime) -> bytes:
    """Make or renew CA and serving certificate as needed; the CA's PEM."""
    ca_key = _ec_key(files, folder / "ca.key", beside=folder / "ca.pem")
    ca = _authority(folder / "ca.pem", ca_key, now)
    # The key outlives its certificates: replacing one file is atomic, replacing two is not.
    key = _ec_key(files, folder / "serving.key", beside=None)
    present = read_if_present(folder / "serving.pem")
    if present is None or not _still_good(present, ca, key, names, now):
        certificate = _issue(ca, ca_key, key, names, now)
        write_whole(folder / "serving.pem", _certificate_pem(certificate))
    return _certificate_pem(ca)


def _authority(path: Path, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    content = read_if_present(path)
    if content is not None:
        # Clients trust this certificate by its bytes: never replace it, not even when it can no longer be used.
        ca = check_certificates(content, f"{path} (the gate's CA)")[0]
        if _spki(ca.public_key()) != _spki(key.public_key()):
            raise KeysUnusable(f"{path}: not the CA of ca.key beside it; restore both, or remove both for a new CA")
        if now >= ca.not_valid_after_utc:
            ended = _day(ca.not_valid_after_utc)
            raise KeysUnusable(
                f"{path}: the gate's CA expired on {ended}; remove ca.pem and ca.key for a new one, and hand out new "
                "kubeconfigs"
            )
        return ca
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"narrowgate CA of {_host_name()}"[:64])])
    ca = (
        _dated(name, name, key.public_key(), now, CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_whole(path, _certificate_pem(ca))
    return ca


def _issue(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    names: frozenset[str],
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "narrowgate")])
    lifetime = min(SERVING_LIFETIME, ca.not_valid_after_utc - now)
    return (
        _dated(subject, ca.subject, key.public_key(), now, lifetime)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in sorted(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _dated(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _still_good(
    present: bytes, ca: x509.Certificate, key: ec.EllipticCurvePrivateKey, names: frozenset[str], now: datetime
) -> bool:
    """Whether the serving certificate on disk can be kept: ours, for these names, with time left."""
    try:
        certificate = x509.load_pem_x509_certificate(present)
        certificate.verify_directly_issued_by(ca)
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        # It is derived from the CA: making it anew loses nothing.
        return False
    held = {str(name.value) for name in san}
    return (
        held == names
        and _spki(certificate.public_key()) == _spki(key.public_key())
        and certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - RENEW_BEFORE
    )


def _given_authority(given: TLSFiles, now: datetime) -> bytes:
    """Check what the operator provides; the PEM of the CA for kubeconfigs, empty when clients need none."""
    certificates = read(given.certificate)
    check_pair(certificates, read(given.key), f"{given.certificate}", now)
    if given.certificate_authority is None:
        return b""
    authority = read(given.certificate_authority)
    check_certificates(authority, f"{given.certificate_authority}")
    return authority


def _signing_key(files: SecretFiles, folder: Path, name: str) -> ed25519.Ed25519PrivateKey:
    path = folder / f"{name}.key"
    key = files.read(path)
    if key is None:
        key = ed25519.Ed25519PrivateKey.generate()
        files.write(path, key)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise KeysUnusable(f"{path}: not an Ed25519 key; restore it from a backup")
    if read_if_present(folder / f"{name}.pub") != _public_pem(key):
        write_whole(folder / f"{name}.pub", _public_pem(key))
    return key


def _ec_key(files: SecretFiles, path: Path, beside: Path | None) -> ec.EllipticCurvePrivateKey:
    """The key in `path`, made when missing, but not when the certificate `beside` it says that there was one."""
    key = files.read(path)
    if key is not None:
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeysUnusable(f"{path}: not an ECDSA key; restore it from a backup")
        return key
    if beside is not None and beside.exists():
        raise KeysUnusable(f"{path}: missing, though {beside.name} is there; restore it, or remove that for a new CA")
    made = ec.generate_private_key(ec.SECP256R1())
    files.write(path, made)
    return made


def _subject_names(names: Iterable[str]) -> frozenset[str]:
    """Every name the certificate must carry; `0.0.0.0` and `::` are places to listen, not names to call."""
    wanted = {"localhost", "127.0.0.1", "::1", _host_name()}
    for name in names:
        address = _address(name)
        if address is None:
            wanted.add(name.lower())
        elif not address.is_unspecified:
            wanted.add(str(address))
    return frozenset(wanted)


def _host_name() -> str:
    name = socket.gethostname().lower()
    # A name that DNS could not hold is one that nobody calls the gate by.
    return name if name and name.isascii() else "localhost"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _general_name(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _spki(key: object) -> bytes:
    public_bytes = getattr(key, "public_bytes")  # noqa: B009 - the union of public key types has no common base
    der: bytes = public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def _public_pem(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _plain_pem(key: ed25519.Ed25519PrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
