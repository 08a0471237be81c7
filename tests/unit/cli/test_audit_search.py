"""`narrowgate audit search` and `show` on a small record made by the gate's own writer."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from tests.unit.trail.recorded import NOTICED, a_record
from tests.unit.trail.sealed import SIGNER
from tests.unit.trail.texts import put_text

from narrowgate.cli.program import run
from narrowgate.trail.index_file import filling_lock
from narrowgate.trail.journal import Journal


@pytest.fixture
def data(tmp_path: Path) -> Path:
    a_record(tmp_path / "data")
    return tmp_path / "data"


def audit(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run(["audit", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def found(capsys: pytest.CaptureFixture[str], data: Path, *arguments: str) -> list[str]:
    code, out, err = audit(capsys, "search", "--data-dir", data, "-o", "json", *arguments)
    assert (code, err) == (0, "")
    return [entry["auditId"] for entry in json.loads(out)]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ((), ["r5", "r4", "r3", "r2", "r1"]),
        (("--who", "agent:ci"), ["r5", "r4", "r2", "r1"]),
        (("--who", "alice"), ["r4"]),
        (("--who", "system:anonymous"), ["r3"]),
        (("--verb", "delete"), ["r2"]),
        (("--resource", "pods"), ["r4", "r1"]),
        (("--resource", "pods/exec"), ["r4"]),
        (("--resource", "deployments.apps"), ["r2"]),
        (("--resource", "deployments.extensions"), []),
        (("-n", "prod"), ["r2"]),
        (("--name", "web"), ["r4", "r2"]),
        (("--decision", "deny"), ["r2"]),
        (("--decision", "malformed"), ["r3"]),
        (("--cluster", "dev"), ["r5", "r4", "r2", "r1"]),
        (("--rule", "ci"), ["r5", "r4", "r1"]),
        (("--rule", "ci/read"), ["r5", "r1"]),
        (("--rule", "c"), []),
        (("--id", "r3"), ["r3"]),
        (("--since", "2023-11-14T22:13:22Z"), ["r5", "r4", "r3"]),
        (("--since", "2023-11-14T23:13:22+01:00", "--until", "2023-11-14T22:13:23.5Z"), ["r4", "r3"]),
        (("--since", "10m"), []),
        (("--decision", "denied"), ["r3", "r2"]),
        (("--decision", "allowed"), ["r5", "r4", "r1"]),
        (("--decision", "waited"), []),
        (("--object", "deployments/web"), ["r2"]),
        (("--object", "deployments.apps/web"), ["r2"]),
        (("--object", "deployments.extensions/web"), []),
        (("--code", "403"), ["r2"]),
        (("--code", "4xx"), ["r3", "r2"]),
        (("--kind", "agent"), ["r5", "r4", "r2", "r1"]),
        (("--owner", "person:alice"), ["r5", "r4", "r2", "r1"]),
        (("--source", "10.0.0.1"), ["r5", "r4", "r3", "r2", "r1"]),
        (("--task", "t1"), []),
        (("--noticed",), ["r5"]),
        (("--noticed", "--verb", "get"), []),
        (("--who", "ci", "--decision", "allow", "--verb", "get"), ["r1"]),
        (("--who", "' OR 1=1 --"), []),
    ],
)
def test_search_finds_by(
    capsys: pytest.CaptureFixture[str], data: Path, arguments: tuple[str, ...], ids: list[str]
) -> None:
    assert found(capsys, data, *arguments) == ids


def test_a_search_goes_on_behind_the_page_before(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    pages: list[list[str]] = []
    more: list[str] = []
    while len(pages) < 5:
        code, out, err = audit(capsys, "search", "--data-dir", data, "--limit", 2, "-o", "jsonl", *more)
        assert code == 0
        pages.append([json.loads(line)["auditId"] for line in out.splitlines()])
        if not err:
            break
        assert err.startswith("the latest 2; more with --limit, or go on with --continue ")
        more = ["--continue", err.split()[-1]]
    assert pages == [["r5", "r4"], ["r3", "r2"], ["r1"]]


def test_show_tells_everything_about_one_request(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    code, out, err = audit(capsys, "show", "r4", "--data-dir", data, "-o", "json")
    shown = json.loads(out)
    assert (code, err, shown["entry"]["auditId"]) == (0, "", "r4")
    assert [event["stage"] for event in shown["events"]] == ["RequestReceived", "ResponseComplete"]
    code, out, _ = audit(capsys, "show", "r4", "--data-dir", data)
    assert "chain:        person:alice > agent:ci" in out.splitlines()
    assert '"stage": "RequestReceived"' in out


def test_show_says_that_there_is_no_such_request(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    code, out, err = audit(capsys, "show", "r9", "--data-dir", data)
    assert (code, out) == (1, "")
    assert "the record has no request r9" in err


def test_what_is_not_of_a_terminal_does_not_reach_one(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    journal = Journal.open(data / "trail", "w1", SIGNER)
    journal.append(
        b'{"auditID":"e1","stage":"ResponseComplete","verb":"get\\u001b[2J","requestURI":"/\\u001b]0;x\\u0007",'
        b'"userAgent":"\\u009b31m","requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z","stageTimestamp":"x"}'
    )
    journal.write()
    journal.close()
    for command in (("search", "-o", "wide"), ("show", "e1"), ("search", "-o", "json"), ("show", "e1", "-o", "json")):
        code, out, _ = audit(capsys, *command, "--data-dir", data)
        assert code == 0
        assert not {"\x1b", "\x07"} & set(out)
        assert "json" in command or "\x9b" not in out


def test_text_of_recordings_is_found(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    code, out, err = audit(capsys, "search", "--data-dir", data, "--text", "panic", "-o", "json")
    assert (code, json.loads(out), err) == (0, [], "no text of recordings is kept for searching here\n")
    put_text(data / "trail", "r4", "a kernel pa", "nic\n")
    assert found(capsys, data, "--text", "Kernel PANIC") == ["r4"]
    assert found(capsys, data, "--text", "kernel panic", "--who", "alice") == ["r4"]
    assert found(capsys, data, "--text", "kernel panic", "--who", "bob") == []


def test_a_text_is_shown_with_its_time_and_its_line(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    put_text(data / "trail", "r4", "at first\n", "a kernel\tpanic\n")
    code, out, err = audit(capsys, "search", "--data-dir", data, "--text", "panic")
    assert (code, err) == (0, "")
    assert out.splitlines()[2] == "    at 1.0s, output: a kernel panic"
    for form in ("json", "jsonl"):
        _, out, _ = audit(capsys, "search", "--data-dir", data, "--text", "panic", "-o", form)
        (entry,) = json.loads(out) if form == "json" else [json.loads(out)]
        assert entry["recorded"] == {"seconds": 1.0, "stream": "output", "line": "a kernel panic"}


def test_an_index_made_anew_tells_the_same(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    before = found(capsys, data)
    index = sqlite3.connect(data / "trail" / "index.db")
    index.execute("DELETE FROM requests WHERE id = (SELECT max(id) FROM requests)")
    index.commit()
    index.close()
    assert found(capsys, data) == before[1:]
    assert found(capsys, data, "--rebuild") == before


def test_a_search_does_not_wait_for_ever_for_another_one(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    found(capsys, data)
    a_record(data, prefix="later-")
    with filling_lock(data / "trail", 0.0) as held:
        assert held
        code, out, err = audit(capsys, "search", "--data-dir", data, "-o", "jsonl")
    assert (code, len(out.splitlines())) == (0, 5)
    assert err.startswith("the search index is behind: ")
    assert len(found(capsys, data)) == 10


def test_a_request_is_one_entry_with_how_it_ended(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, out, _ = audit(capsys, "search", "--data-dir", data, "-o", "json", "--id", "r4")
    (entry,) = json.loads(out)
    assert entry["chain"] == ["person:alice", "agent:ci"]
    assert (entry["stage"], entry["code"], entry["rule"]) == ("ResponseComplete", 101, "ci/exec")
    assert entry["finishedAt"] == "2023-11-14T22:13:33.000000Z"


def test_what_was_noticed_stands_in_the_place_of_the_rule(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, out, _ = audit(capsys, "search", "--data-dir", data, "--noticed", "-o", "wide")
    heads, row = out.splitlines()
    assert "NOTICED" in heads
    assert NOTICED in row
    assert "ci/read" not in row


def test_a_request_under_way_has_no_end(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, out, _ = audit(capsys, "search", "--data-dir", data, "--id", "r5")
    assert "  200...  " in out


def test_the_table_fits_a_terminal_and_marks_what_was_refused(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, out, _ = audit(capsys, "search", "--data-dir", data)
    lines = out.splitlines()
    assert max(map(len, lines)) <= 120
    assert [line for line in lines if "DENY" in line] == [line for line in lines if "delete" in line]
    assert lines[0].split() == ["TIME", "WHO", "VERB", "WHAT", "CODE", "DECISION", "RULE", "OR", "REASON"]


def test_the_wide_table_cuts_nothing(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, out, _ = audit(capsys, "search", "--data-dir", data, "-o", "wide")
    assert "agent:ci may not delete deployments.apps in namespace prod of cluster dev: no rule allows it" in out
    assert "person:alice > agent:ci" in out


def test_a_search_sees_what_was_written_since_and_needs_no_index_to_begin_with(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    assert len(found(capsys, data)) == 5
    a_record(data, prefix="later-")
    assert len(found(capsys, data)) == 10
    (data / "trail" / "index.db").unlink()
    assert len(found(capsys, data)) == 10
    (data / "trail" / "index.db").write_bytes(b"no database" * 1000)
    assert len(found(capsys, data)) == 10


def test_the_index_forgets_what_is_gone(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    found(capsys, data)
    a_record(data, prefix="later-")
    (data / "trail" / "w0" / "00000001.jsonl").unlink()
    assert all(each.startswith("later-") for each in found(capsys, data))
