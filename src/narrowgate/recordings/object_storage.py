"""Recordings kept in S3 or in what speaks its protocol, or in Azure's blob storage. The extra `object-storage` brings
the library for both.

Credentials are those of the configuration; without any they come as the clouds' own programs find theirs: the
environment, a workload identity's token file, the machine's role or managed identity.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

import msgspec

from narrowgate.recordings.bucket import Bucket, Protocol
from narrowgate.recordings.folder import HOLD, REMOVING, read_hold
from narrowgate.recordings.names import is_day, is_recording_name
from narrowgate.recordings.port import (
    Hold,
    NoSuchRecording,
    OtherRecording,
    RecordingHeld,
    RecordingsUnavailable,
    Stored,
)

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, RetryConfig, S3Store

CONNECT_SECONDS = 5
REQUEST_SECONDS = 60
"""Of one request, its body included: a part of `PART_BYTES` goes through a line of 2 Mbit/s in that time."""

TRIES = 2
"""Besides the first, within one call. Who waits for an upload tries again on his own."""

TRYING_SECONDS = 90
PART_BYTES = 8 << 20
"""Of an upload in parts: what a part holds is in memory. Recordings of up to 80 GB fit (10,000 parts)."""

_T = TypeVar("_T")


def store_of(place: Bucket) -> ObjectStorage:
    """The store. Nothing is connected to yet.

    Raises RecordingsUnavailable where the library is not installed, or takes what is said of the bucket for wrong.
    """
    try:
        from obstore.exceptions import BaseError
    except ImportError:
        raise RecordingsUnavailable(
            "recordings in object storage need the library obstore; install narrowgate[object-storage]"
        ) from None
    try:
        return ObjectStorage(_opened(place), place.where)
    except (BaseError, ValueError) as error:
        raise RecordingsUnavailable(f"{place.where}: {_first_line(error)}; correct objectStorage") from error


def _opened(place: Bucket) -> S3Store | AzureStore:
    from obstore.store import AzureStore, S3Store

    client: ClientConfig = {
        "allow_http": place.endpoint.startswith("http://"),
        "connect_timeout": datetime.timedelta(seconds=CONNECT_SECONDS),
        "timeout": datetime.timedelta(seconds=REQUEST_SECONDS),
    }
    retry: RetryConfig = {"max_retries": TRIES, "retry_timeout": datetime.timedelta(seconds=TRYING_SECONDS)}
    prefix = place.prefix or None
    # The library's signatures have no type for options that may be left out.
    match place.protocol:
        case Protocol.S3:
            options = {
                "endpoint": place.endpoint,
                "region": place.region,
                "access_key_id": place.access_key_id,
                "secret_access_key": place.secret_key,
            }
            return S3Store(place.bucket, prefix=prefix, client_options=client, retry_config=retry, **_given(options))
        case Protocol.AZURE:
            options = {
                "account_name": place.account,
                "account_key": place.secret_key,
                "endpoint": place.endpoint,
            }
            return AzureStore(place.bucket, prefix=prefix, client_options=client, retry_config=retry, **_given(options))
        case _:
            assert_never(place.protocol)


def _given(options: dict[str, str]) -> dict[str, Any]:
    """Without those that are empty, so that what the environment says counts in their place."""
    return {name: value for name, value in options.items() if value}


class ObjectStorage:
    """See `recordings.port.RecordingStore`."""

    def __init__(self, store: S3Store | AzureStore, where: str) -> None:
        self._store = store
        self.where = where

    def put(self, name: str, path: Path) -> None:
        """See the port."""
        _checked(name, self.where)
        found = self._size(name)
        if found is not None:
            # Puts of a recording are the same file again; a hash of all of it would be read over the network.
            if found != path.stat().st_size or not self._same_end(name, path, found):
                raise OtherRecording(f"{self.where}/{name}: is another recording of that name; look at both")
            return
        # An object appears whole, whether it came in one piece or in parts.
        self._call(lambda: self._store.put(name, path, chunk_size=PART_BYTES, max_concurrency=2))

    def open(self, name: str) -> _Object:
        """See the port."""
        _checked(name, self.where)
        size = self._size(name)
        if size is None:
            raise NoSuchRecording(f"{self.where} has no recording {name}")
        return _Object(self, name, size)

    def days(self) -> list[str]:
        """See the port."""
        found = self._call(lambda: self._store.list_with_delimiter(None))
        names = (prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])
        return sorted(name for name in names if is_day(name))

    def of_day(self, day: str) -> Iterator[Stored]:
        """See the port."""
        if not is_day(day):
            return
        pages = self._call(lambda: self._store.list(f"{day}/", chunk_size=1000))
        while (page := self._call(lambda: next(pages, None))) is not None:
            for each in page:
                if is_recording_name(each["path"]):
                    yield Stored(each["path"], each["size"], each["last_modified"].timestamp())

    def remove(self, name: str) -> None:
        """See the port."""
        _checked(name, self.where)
        if self._size(name) is None:
            return
        # See `REMOVING`; reads see what was written before (S3 since 2020, and whoever speaks its protocol).
        self._call(lambda: self._store.put(name + REMOVING, b""))
        is_held = self.held(name) is not None
        if not is_held:
            self._delete(name)
        self._delete(name + REMOVING)
        if is_held:
            raise RecordingHeld(f"{name} is on hold; lift the hold first")

    def hold(self, name: str, hold: Hold) -> None:
        """See the port."""
        _checked(name, self.where)
        if self._size(name) is None:
            raise NoSuchRecording(f"{self.where} has no recording {name}")
        self._call(lambda: self._store.put(name + HOLD, msgspec.json.encode(hold)))
        is_being_removed = self._size(name + REMOVING) is not None
        if self._size(name) is None:
            self._delete(name + HOLD)
            raise NoSuchRecording(f"{self.where} has no recording {name}")
        if is_being_removed:
            raise RecordingsUnavailable(f"{name} is being removed at this moment; ask again")

    def lift(self, name: str) -> None:
        """See the port."""
        _checked(name, self.where)
        self._delete(name + HOLD)

    def held(self, name: str) -> Hold | None:
        """See the port."""
        _checked(name, self.where)
        content = self._call_for_one(lambda: bytes(self._store.get(name + HOLD).bytes()))
        return None if content is None else read_hold(content, f"{self.where}/{name}{HOLD}")

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Bytes of a recording, within its size. Raises NoSuchRecording, RecordingsUnavailable."""
        found = self._call_for_one(lambda: bytes(self._store.get_range(name, start=offset, length=length)))
        if found is None:
            raise NoSuchRecording(f"{self.where}/{name}: was removed")
        return found

    def _size(self, name: str) -> int | None:
        return self._call_for_one(lambda: int(self._store.head(name)["size"]))

    def _same_end(self, name: str, path: Path, size: int) -> bool:
        """Whether both end alike: the last hash of a recording stands for all of it."""
        reach = min(size, 256)
        with path.open("rb") as file:
            file.seek(size - reach)
            return file.read(reach) == self.read(name, size - reach, reach)

    def _delete(self, name: str) -> None:
        self._call_for_one(lambda: self._store.delete(name))

    def _call(self, call: Callable[[], _T]) -> _T:
        from obstore.exceptions import BaseError

        try:
            return call()
        except FileNotFoundError as error:
            raise RecordingsUnavailable(f"{self.where}: is not there; create it, or correct `recordings`") from error
        except (BaseError, OSError, ValueError) as error:
            raise RecordingsUnavailable(
                f"{self.where}: {_first_line(error)}; check the address and the credentials"
            ) from error

    def _call_for_one(self, call: Callable[[], _T]) -> _T | None:
        """The same for what asks for one object: None where there is none of that name."""

        def asked() -> _T | None:
            try:
                return call()
            except FileNotFoundError:
                return None

        return self._call(asked)


class _Object:
    """A recording in the bucket, read in pieces."""

    def __init__(self, storage: ObjectStorage, name: str, size: int) -> None:
        self._storage = storage
        self._name = name
        self.where = f"{storage.where}/{name}"
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """See `recordings.reading.Source`."""
        length = min(length, self.size - offset)
        return self._storage.read(self._name, offset, length) if length > 0 else b""


def _checked(name: str, where: str) -> None:
    if not is_recording_name(name):
        raise NoSuchRecording(f'{where} has no recording "{name[:100]}"')


def _first_line(error: Exception) -> str:
    """The library writes several lines, the request among them; the first one says it."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
