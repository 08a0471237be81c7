"""What a search on the command line takes in before it answers, and what it says of recordings that it leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.recorded_sessions import KEY, SECRET, header, sealing
from tests.unit.trail.recorded import a_record

from narrowgate.cli.audit_texts import left_out, line_below
from narrowgate.cli.program import run
from narrowgate.core.recording import Ended, Entry
from narrowgate.core.stream_events import Channel, ChannelData
from narrowgate.recordings.folder import FolderStore
from narrowgate.recordings.live_file import LiveFile
from narrowgate.recordings.sealing import Packing, RecordingKey
from narrowgate.trail.text_file import LOCK, TEXT, lock_of
from narrowgate.trail.text_index import TextCounts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A gate's folder: a record with a session in it, without text."""
    a_record(tmp_path / "data")
    configure(tmp_path, {})
    return tmp_path


def configure(folder: Path, settings: dict[str, object]) -> None:
    document = {
        "apiVersion": "narrowgate.dev/v1alpha1", "kind": "Config", "dataDir": str(folder / "data"), **settings
    }  # fmt: skip
    (folder / "narrowgate.yaml").write_text(json.dumps(document))


def record(folder: Path, session: str, text: str, key: RecordingKey | None = None) -> None:
    spool = folder / "data" / "spool" / "gate-0"
    spool.mkdir(parents=True, exist_ok=True)
    live = LiveFile.begin(spool, header(session), sealing(key), Packing())
    live.write([Entry(1_500_000, ChannelData(Channel.STDOUT, text.encode())), Entry(2_000_000, Ended("over"))])
    name = live.finish().name
    path = spool / name.replace("/", ".", 1)
    FolderStore(folder / "data" / "recordings").put(name, path)
    path.unlink()


def search(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[list[str], str]:
    code = run(["audit", "search", "--config", str(folder / "narrowgate.yaml"), "-o", "json", *arguments])
    said = capsys.readouterr()
    assert code == 0, said.err
    return [entry["auditId"] for entry in json.loads(said.out)], said.err


def test_recordings_are_taken_in_before_a_text_is_looked_for(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    record(folder, "r4", "a kernel panic\r\n")
    assert search(capsys, folder, "--text", "kernel panic") == (["r4"], "")
    record(folder, "r1", "another kernel panic\r\n")
    assert search(capsys, folder, "--text", "kernel panic") == (["r4", "r1"], "")


def test_a_search_without_a_text_makes_no_index_of_text(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    record(folder, "r4", "a kernel panic\r\n")
    assert len(search(capsys, folder)[0]) == 5
    assert not (folder / "data" / "trail" / TEXT).exists()


def test_a_rebuild_reads_the_recordings_again(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    record(folder, "r4", "a kernel panic\r\n")
    search(capsys, folder, "--text", "kernel panic")
    (folder / "data" / "trail" / TEXT).unlink()
    assert len(search(capsys, folder, "--rebuild")[0]) == 5
    with lock_of(folder / "data" / "trail", LOCK):
        # Nobody can take anything in, and it is there.
        run(["audit", "search", "--data-dir", str(folder / "data"), "--text", "kernel panic", "-o", "json"])
    assert [entry["auditId"] for entry in json.loads(capsys.readouterr().out)] == ["r4"]


def test_how_many_encrypted_recordings_are_left_out_is_said(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "key").write_text(SECRET)
    encryption = {"encryption": {"recordingKeyFile": str(folder / "key")}}
    configure(folder, encryption)
    record(folder, "r4", "a kernel panic\r\n", KEY)
    found, said = search(capsys, folder, "--text", "kernel panic")
    assert (found, said.startswith("1 recording is not searched, being encrypted")) == ([], True)
    configure(folder, {**encryption, "search": {"text": "All"}})
    assert search(capsys, folder, "--text", "kernel panic") == (["r4"], "")


def test_where_no_text_is_wanted_that_is_said(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    record(folder, "r4", "a kernel panic\r\n")
    configure(folder, {"search": {"text": "None"}})
    found, said = search(capsys, folder, "--text", "kernel panic")
    assert (found, "search.text: None" in said) == ([], True)


def test_what_is_left_out_is_said_in_words() -> None:
    assert left_out(TextCounts(searched=5)) == []
    said = " ".join(left_out(TextCounts(waiting=2, encrypted=1, unreadable=3, cut=4)))
    for words in ("2 recordings are not in", "1 recording is not searched", "3 recordings are", "of 4 long recordings"):
        assert words in said


def test_a_request_without_a_place_has_no_line_below() -> None:
    from tests.unit.core.test_found_text import entry

    from narrowgate.core.found_text import FoundText, found_entry

    assert line_below(found_entry(entry(), None)) == ""
    place = FoundText(seconds=72.29, stream="errors", line="no \x1b[31m colour")
    assert line_below(found_entry(entry(), place)) == "    at 72.2s, errors: no ?[31m colour"
