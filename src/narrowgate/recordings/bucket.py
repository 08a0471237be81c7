"""Where a bucket is, as a value: what a configuration says of object storage, without the library for it."""

from __future__ import annotations

import msgspec


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Where, and with which credentials."""

    bucket: str
    prefix: str = ""
    """Before every name; without a slash at either end."""
    endpoint: str = ""
    """Of what is not AWS: `https://minio.corp`."""
    region: str = ""
    access_key_id: str = ""
    secret_key: str = ""
