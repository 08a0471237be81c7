"""What every store of recordings does, on each: a folder, a real S3 server, and one that speaks Azure's protocol."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.blob_server import BlobServer
from tests.contract.object_server import ObjectServer
from tests.recorded_sessions import KEY, a_session, begin, header, read

from narrowgate.core.moment import moment_text
from narrowgate.core.recording import Entry, Kind
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.object_storage import PART_BYTES, store_of
from narrowgate.recordings.port import (
    Hold,
    NoSuchRecording,
    OtherRecording,
    RecordingHeld,
    RecordingStore,
    RecordingsUnavailable,
)
from narrowgate.recordings.reading import Recording
from narrowgate.recordings.retention import Kept, KnownKinds, remove_old

DAY = "2026-11-18"
HOLD = Hold(by="person:alice", reason="case 12", at="2026-11-21T12:00:00Z")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    server = ObjectServer(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobServer]:
    blobs = BlobServer(tmp_path_factory.mktemp("azure"))
    blobs.start()
    yield blobs
    blobs.stop()


@pytest.fixture(params=["folder", "s3", "azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordingStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "kept")
    server: ObjectServer | BlobServer = request.getfixturevalue("server" if request.param == "s3" else "blobs")
    # A prefix of its own for each test.
    return store_of(server.bucket(prefix=f"{tmp_path.parent.name}/{tmp_path.name}"))


def spooled(folder: Path, session: str, entries: list[Entry] | None = None) -> tuple[str, Path]:
    """A finished recording in a spool, and its name."""
    folder.mkdir(exist_ok=True)
    live = begin(folder, KEY, session)
    live.write(a_session() if entries is None else entries)
    name = live.finish().name
    return name, folder / f"{DAY}.{session}.recording"


def test_what_was_put_is_read_again_from_anywhere_in_it(store: RecordingStore, tmp_path: Path) -> None:
    name, path = spooled(tmp_path / "spool", "one")
    store.put(name, path)
    content = path.read_bytes()
    source = store.open(name)
    assert source.size == len(content)
    assert source.read(0, 1 << 20) == content
    assert source.read(7, 20) == content[7:27]
    assert source.read(len(content) - 3, 100) == content[-3:]
    assert source.read(len(content), 10) == b""
    recording = Recording(source, (KEY,))
    assert recording.check().finished
    assert list(recording.entries(30)) == [entry for entry in a_session() if entry.at >= 30]


def test_putting_the_same_again_changes_nothing_and_another_is_refused(store: RecordingStore, tmp_path: Path) -> None:
    name, path = spooled(tmp_path / "spool", "one")
    store.put(name, path)
    store.put(name, path)
    _, other = spooled(tmp_path / "other", "one", a_session()[:3])
    with pytest.raises(OtherRecording, match="another recording"):
        store.put(name, other)
    assert store.open(name).read(0, 1 << 20) == path.read_bytes()


def test_a_large_recording_arrives_whole(store: RecordingStore, tmp_path: Path) -> None:
    noise = os.urandom(200_000)
    entries = [
        Entry(at, ChannelData(Channel.STDOUT, noise[at:] + noise[:at])) for at in range(2 * PART_BYTES // 200_000)
    ]
    name, path = spooled(tmp_path / "spool", "large", entries)
    assert path.stat().st_size > 1.9 * PART_BYTES
    store.put(name, path)
    recording = Recording(store.open(name), (KEY,))
    assert recording.check().entries == len(entries) + 1
    assert next(recording.entries(50)) == entries[50]


def test_recordings_are_listed_by_day(store: RecordingStore, tmp_path: Path) -> None:
    assert store.days() == []
    assert list(store.of_day(DAY)) == []
    names = []
    for session in ("b", "a"):
        name, path = spooled(tmp_path / "spool", session)
        store.put(name, path)
        names.append((name, path.stat().st_size))
    assert store.days() == [DAY]
    assert [(each.name, each.size) for each in store.of_day(DAY)] == sorted(names)
    assert all(abs(each.modified - time.time()) < 600 for each in store.of_day(DAY))
    assert list(store.of_day("2026-11-19")) == []
    store.hold(names[0][0], HOLD)
    assert len(list(store.of_day(DAY))) == 2


def test_a_held_recording_is_not_removed_before_the_hold_is_lifted(store: RecordingStore, tmp_path: Path) -> None:
    name, path = spooled(tmp_path / "spool", "one")
    store.put(name, path)
    assert store.held(name) is None
    store.hold(name, HOLD)
    assert store.held(name) == HOLD
    with pytest.raises(RecordingHeld, match="on hold"):
        store.remove(name)
    assert store.open(name).size == path.stat().st_size
    store.lift(name)
    store.lift(name)
    assert store.held(name) is None
    store.remove(name)
    store.remove(name)
    with pytest.raises(NoSuchRecording):
        store.open(name)
    with pytest.raises(NoSuchRecording):
        store.hold(name, HOLD)
    assert store.held(name) is None


@pytest.mark.parametrize(
    "name", ["", "../gate.db", f"{DAY}/../../gate.db", f"/{DAY}/a.recording", f"{DAY}/a.hold", DAY]
)
def test_nothing_but_recordings_can_be_asked_for(store: RecordingStore, tmp_path: Path, name: str) -> None:
    _, path = spooled(tmp_path / "spool", "one")
    with pytest.raises(NoSuchRecording):
        store.open(name)
    with pytest.raises(NoSuchRecording):
        store.put(name, path)
    with pytest.raises(NoSuchRecording):
        store.remove(name)
    with pytest.raises(NoSuchRecording):
        store.hold(name, HOLD)


def test_only_what_is_old_and_not_held_is_removed_by_retention(store: RecordingStore, tmp_path: Path) -> None:
    names = []
    for session in ("a", "b", "c", "d"):
        name, path = spooled(tmp_path / "spool", session)
        store.put(name, path)
        names.append(name)
    store.hold(names[1], HOLD)
    now = time.time()
    assert remove_old(store, Kept(3600.0), now, 10, KnownKinds(store, ())) == ()
    later = now + 7200
    assert moment_text(later)[:10] >= DAY
    assert remove_old(store, Kept(3600.0), later, 2, KnownKinds(store, ())) == (names[0], names[2])
    assert remove_old(store, Kept(3600.0), later, 2, KnownKinds(store, ())) == (names[3],)
    assert [each.name for each in store.of_day(DAY)] == [names[1]]


def test_kinds_go_in_their_own_time(store: RecordingStore, tmp_path: Path) -> None:
    name, path = spooled(tmp_path / "spool", "exec")
    store.put(name, path)
    kinds, later = KnownKinds(store, (KEY,)), time.time() + 7200
    assert remove_old(store, Kept(3600.0, {Kind.EXEC: 86_400.0}), later, 10, kinds) == ()
    assert remove_old(store, Kept(None, {Kind.LOG: 3600.0}), later, 10, kinds) == ()
    assert remove_old(store, Kept(None, {Kind.EXEC: 3600.0}), later, 10, kinds) == (name,)


@pytest.mark.parametrize("kind", [ObjectServer, BlobServer])
def test_a_store_that_was_away_takes_up_again(kind: type[ObjectServer | BlobServer], tmp_path: Path) -> None:
    server = kind(tmp_path / "server")
    store = store_of(server.bucket())
    name, path = spooled(tmp_path / "spool", "one")
    with pytest.raises(RecordingsUnavailable, match="check the address"):
        store.put(name, path)
    server.start()
    try:
        store.put(name, path)
        server.stop()
        with pytest.raises(RecordingsUnavailable):
            store.days()
        server.start()
        assert Recording(store.open(name), (KEY,)).check().finished
    finally:
        server.stop()


def test_a_slow_store_is_waited_for(server: ObjectServer, tmp_path: Path) -> None:
    store = store_of(server.bucket(prefix="slow"))
    name, path = spooled(tmp_path / "spool", "one")
    server.hold_up()
    waker = threading.Timer(1.5, server.go_on)
    waker.start()
    try:
        store.put(name, path)
    finally:
        waker.join()
    assert store.open(name).size == path.stat().st_size


@pytest.mark.parametrize("kind", ["server", "blobs"])
def test_wrong_credentials_are_said_to_be_wrong_without_saying_them(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: ObjectServer | BlobServer = request.getfixturevalue(kind)
    name, path = spooled(tmp_path / "spool", "one")
    # Base64 all the same, as Azure's are.
    wrong = "bm90IHRoZSBzZWNyZXQgb2YgdGhpcyBzZXJ2ZXI="
    store = store_of(server.bucket(secret=wrong))
    with pytest.raises(RecordingsUnavailable, match="credentials") as refused:
        store.put(name, path)
    assert wrong not in str(refused.value)


@pytest.mark.parametrize("kind", ["server", "blobs"])
def test_a_bucket_that_is_not_there_is_said_to_be_missing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: ObjectServer | BlobServer = request.getfixturevalue(kind)
    name, path = spooled(tmp_path / "spool", "one")
    place = msgspec.structs.replace(server.bucket(), bucket="another-one")
    with pytest.raises(RecordingsUnavailable, match=r"another-one.*is not there; create it"):
        store_of(place).put(name, path)
    with pytest.raises(RecordingsUnavailable):
        store_of(place).days()


def test_a_folder_on_another_file_system_gets_a_whole_copy(tmp_path: Path) -> None:
    name, path = spooled(tmp_path / "spool", "one")
    elsewhere = Path("/dev/shm") / f"narrowgate-{tmp_path.parent.name}-{os.getpid()}"
    store = FolderStore(elsewhere)
    try:
        store.put(name, path)
        assert read(elsewhere / name, KEY) == [Entry(0, header("one")), *a_session()]
        assert os.listdir(elsewhere / DAY) == ["one.recording"]
    finally:
        store.remove(name)
        elsewhere.rmdir()


def test_what_is_still_being_copied_is_taken_for_a_recording_by_nobody(tmp_path: Path) -> None:
    name, path = spooled(tmp_path / "spool", "one")
    content = path.read_bytes()
    slow = tmp_path / "slow"
    os.mkfifo(slow)
    elsewhere = Path("/dev/shm") / f"narrowgate-coming-{tmp_path.parent.name}-{os.getpid()}"
    store = FolderStore(elsewhere)
    putting = threading.Thread(target=store.put, args=(name, slow))
    putting.start()
    try:
        with slow.open("wb") as source:
            # It is being read: the copy has begun.
            under_way = os.listdir(elsewhere / DAY)
            listed = list(elsewhere.rglob("*.recording"))
            source.write(content)
        putting.join()
        assert len(under_way) == 1
        assert listed == []
        assert read(elsewhere / name, KEY) == [Entry(0, header("one")), *a_session()]
    finally:
        putting.join()
        store.remove(name)
        elsewhere.rmdir()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    name, path = spooled(tmp_path / "spool", "one")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordingsUnavailable, match="not a directory"):
        FolderStore(tmp_path / "file").put(name, path)


def test_a_hold_that_cannot_be_read_holds(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "kept")
    name, path = spooled(tmp_path / "spool", "one")
    store.put(name, path)
    (tmp_path / "kept" / f"{name}.hold").write_bytes(b"\xff{")
    with pytest.raises(RecordingHeld):
        store.remove(name)
