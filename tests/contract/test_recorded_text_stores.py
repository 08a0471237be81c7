"""The text of recordings is taken in from every store that they are kept in: a folder, and a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.contract.object_server import ObjectServer
from tests.recorded_sessions import a_session, begin

from narrowgate.config import SearchedText
from narrowgate.main.text_filling import Filled, Recordings, TextFilling
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.object_storage import store_of
from narrowgate.recordings.port import RecordingStore, RecordingsUnavailable
from narrowgate.trail.text_index import TextCounts, TextIndex

DAY = "2026-11-18"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    server = ObjectServer(tmp_path_factory.mktemp("s3-of-texts"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordingStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "kept")
    server: ObjectServer = request.getfixturevalue("server")
    return store_of(server.bucket(prefix=f"texts/{tmp_path.name}"))


def keep(store: RecordingStore, folder: Path, session: str) -> str:
    folder.mkdir(exist_ok=True)
    live = begin(folder, session=session)
    live.write(a_session())
    name = live.finish().name
    store.put(name, folder / f"{DAY}.{session}.recording")
    return name


def found(trail: Path) -> list[str]:
    with closing(TextIndex.open(trail)) as texts:
        return sorted(session for session, number in texts.holding("readme").items() if texts.find(number, "readme"))


def test_text_follows_what_a_store_keeps_and_lets_go(store: RecordingStore, tmp_path: Path) -> None:
    (tmp_path / "trail").mkdir()
    filling = TextFilling(tmp_path / "trail", Recordings(store, tmp_path / "spool", ()), SearchedText.PLAIN)
    assert filling.fill() is Filled.UP_TO_DATE
    first = keep(store, tmp_path / "made", "one")
    assert (filling.fill(), found(tmp_path / "trail")) == (Filled.UP_TO_DATE, ["one"])
    keep(store, tmp_path / "made", "two")
    assert (filling.fill(), found(tmp_path / "trail")) == (Filled.UP_TO_DATE, ["one", "two"])
    store.remove(first)
    assert (filling.fill(), found(tmp_path / "trail")) == (Filled.UP_TO_DATE, ["two"])


def test_a_store_that_is_away_takes_nothing_out_of_the_index(tmp_path: Path) -> None:
    server = ObjectServer(tmp_path / "s3")
    server.start()
    store = store_of(server.bucket())
    (tmp_path / "trail").mkdir()
    filling = TextFilling(tmp_path / "trail", Recordings(store, tmp_path / "spool", ()), SearchedText.PLAIN)
    keep(store, tmp_path / "made", "one")
    filling.fill()
    server.stop()
    with pytest.raises(RecordingsUnavailable):
        filling.fill()
    assert found(tmp_path / "trail") == ["one"]
    with closing(TextIndex.open(tmp_path / "trail")) as texts:
        assert texts.counts() == TextCounts(searched=1)
