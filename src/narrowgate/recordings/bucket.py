"""Where a bucket is, as a value: what a configuration says of object storage, without the library for it."""

from __future__ import annotations

import enum

import msgspec


class Protocol(enum.Enum):
    """What the object storage speaks; the value begins its URL."""

    S3 = "s3"
    AZURE = "az"


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where, and with which credentials."""

    protocol: Protocol = Protocol.S3
    bucket: str
    """Azure calls it a container."""
    prefix: str = ""
    """Before every name; without a slash at either end."""
    endpoint: str = ""
    """Of what is not AWS, or not Azure's public cloud: `https://minio.corp`."""
    region: str = ""
    """Of S3 alone."""
    access_key_id: str = ""
    """Of S3 alone."""
    account: str = ""
    """Of Azure alone, which has containers in storage accounts."""
    secret_key: str = ""
    """Of S3 the access key's secret, of Azure the account's key (base64)."""

    @property
    def where(self) -> str:
        """What to call it in complaints."""
        return f"{self.protocol.value}://{self.bucket}/{self.prefix}".rstrip("/")
