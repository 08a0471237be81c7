"""Where recordings are kept and what they are encrypted with, as written, and how it becomes a store and keys."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from narrowgate.config.document import Document, Path_, read_text
from narrowgate.config.errors import ConfigError
from narrowgate.config.secret_source import SecretSources
from narrowgate.config.values import Config
from narrowgate.core.recording import Kind
from narrowgate.recordings.bucket import Bucket, Protocol
from narrowgate.recordings.retention import Kept

if TYPE_CHECKING:
    from narrowgate.recordings.port import RecordingStore
    from narrowgate.recordings.sealing import RecordingKey

MOST_FORMER_KEYS = 16
"""Keys that old recordings are read with: several years of yearly changes."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
"""Amazon S3's rules for bucket names."""

_CONTAINER = re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}", re.ASCII)
"""Azure's rules for containers."""

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}", re.ASCII)
"""Azure's rules for storage accounts."""

_PREFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){0,7}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)


class ObjectStorageEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`objectStorage` as written."""

    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    account: str = ""
    secret_key_file: str = ""
    secret_key_variable: str = ""


class KeptEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`retention.recordings` by kind, as written; the keys are those of `audit` that have them recorded."""

    sessions: str = ""
    port_forwards: str = ""
    logs: str = ""
    watches: str = ""
    bodies: str = ""
    default: str = ""


def read_kept(written: str | KeptEntry, seconds: Callable[[str, Path_], float]) -> Kept:
    """For how long recordings are kept; `seconds` reads a length that stands at a place. Raises ConfigError."""
    here = ("retention", "recordings")
    if isinstance(written, str):
        return Kept(seconds(written, here) if written else None)
    kinds = {
        Kind.EXEC: ("sessions", written.sessions),
        Kind.ATTACH: ("sessions", written.sessions),
        Kind.PORT_FORWARD: ("portForwards", written.port_forwards),
        Kind.LOG: ("logs", written.logs),
        Kind.WATCH: ("watches", written.watches),
        Kind.API: ("bodies", written.bodies),
    }
    by_kind = {kind: seconds(text, (*here, key)) for kind, (key, text) in kinds.items() if text}
    return Kept(seconds(written.default, (*here, "default")) if written.default else None, by_kind)


def read_recordings(document: Document, url: str) -> str:
    """The kind of place that `recordings` names: `file` (also by saying nothing), `s3` or `az`. Raises ConfigError."""
    kind = url.partition(":")[0] if url else "file"
    if kind == "gs":
        document.refuse(
            ("recordings",), "Google Cloud Storage is not in this version yet; write file:<folder>, s3:// or az://"
        )
    if kind not in ("file", *(protocol.value for protocol in Protocol)):
        document.refuse(
            ("recordings",),
            f'cannot tell what "{url}" is; write file:<folder>, s3://<bucket>/<prefix> or az://<container>/<prefix>',
        )
    return kind


def read_bucket(document: Document, url: str, written: ObjectStorageEntry, folder: Path) -> Bucket | None:
    """The bucket that `recordings` names; None where it names a folder. Raises ConfigError."""
    here = ("objectStorage",)
    kind = read_recordings(document, url)
    if kind == "file":
        if written != ObjectStorageEntry():
            document.refuse(here, "goes with recordings: s3://<bucket> or az://<container> only; remove it")
        return None
    protocol = Protocol(kind)
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    is_azure = protocol is Protocol.AZURE
    rule, called = (_CONTAINER, "container") if is_azure else (_BUCKET, "bucket")
    if not rule.fullmatch(parts.netloc) or (prefix and not _PREFIX.fullmatch(prefix)) or "?" in url or "#" in url:
        document.refuse(
            ("recordings",), f'"{url}" is no {called}; write {kind}://<{called}> or {kind}://<{called}>/<prefix>'
        )
    path = f"/{written.account}" if is_azure else ""
    if written.endpoint and not _is_endpoint(written.endpoint, path):
        document.refuse(
            (*here, "endpoint"),
            f'"{written.endpoint}" is not https://host[:port]{path and "[/account]"}; http is for this machine',
        )
    secret = SecretSources(document, folder).read(
        here, "secretKey", written.secret_key_file, written.secret_key_variable
    )
    if is_azure:
        _check_azure(document, written, secret)
    else:
        _check_s3(document, written, secret)
    return Bucket(
        protocol=protocol,
        bucket=parts.netloc,
        prefix=prefix,
        endpoint=written.endpoint.rstrip("/"),
        region=written.region,
        access_key_id=written.access_key_id,
        account=written.account,
        secret_key=secret,
    )


def _check_s3(document: Document, written: ObjectStorageEntry, secret: str) -> None:
    here = ("objectStorage",)
    if written.account:
        document.refuse((*here, "account"), "goes with az:// only; remove it")
    if written.region and not _REGION.fullmatch(written.region):
        document.refuse((*here, "region"), f'"{written.region}" is no region; write one like eu-central-1')
    if bool(secret) != bool(written.access_key_id):
        document.refuse(here, "accessKeyId and secretKeyFile go together; give both, or neither for the environment's")


def _check_azure(document: Document, written: ObjectStorageEntry, secret: str) -> None:
    here = ("objectStorage",)
    for key, text in (("region", written.region), ("accessKeyId", written.access_key_id)):
        if text:
            document.refuse((*here, key), "goes with s3:// only; remove it")
    if not _ACCOUNT.fullmatch(written.account):
        document.refuse(
            (*here, "account") if written.account else here,
            f'"{written.account}" is no storage account, which az:// needs; write its name: 3 to 24 of a-z and 0-9',
        )
    if secret and not _is_base64(secret):
        # What it is, nobody is told: it may be a secret all the same.
        document.refuse(here, "the secret key is no account key of Azure, which is base64; copy it again")


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def _is_endpoint(text: str, path: str) -> bool:
    """Whether it is a server's address, with nothing behind it but `path`, where that is not empty."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.path.rstrip("/") not in ("", path) or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def recording_store(config: Config) -> RecordingStore:
    """Where finished recordings are kept. Raises ConfigError where a library for it is not installed."""
    # Every command reads the configuration; few of them have to do with recordings.
    from narrowgate.recordings.folder import FolderStore
    from narrowgate.recordings.object_storage import store_of
    from narrowgate.recordings.port import RecordingsUnavailable

    if config.bucket is not None:
        try:
            return store_of(config.bucket)
        except RecordingsUnavailable as error:
            raise ConfigError(f"{config.path}: recordings: {error}") from error
    return FolderStore(Path(config.recordings.removeprefix("file:")))


def recording_keys(config: Config) -> Sequence[RecordingKey]:
    """The key that recordings are encrypted with, then those that older ones were; none where they are plain.

    Raises ConfigError.
    """
    if config.recording_key is None:
        return ()
    return [_key(path) for path in (config.recording_key, *config.former_recording_keys)]


def _key(path: Path) -> RecordingKey:
    from narrowgate.recordings.sealing import RecordingKey

    secret = read_text(path, "the key of recordings").strip()
    if not secret or "\n" in secret:
        raise ConfigError(f"{path}: expected one line that holds a key")
    try:
        return RecordingKey(secret)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
