"""`narrowgate audit` on a small record made by the gate's own writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.trail.recorded import KEY, NOTICED, a_record

from narrowgate.cli.program import run
from narrowgate.trail.signing import Verifier


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
        ((), ["r1", "r2", "r3", "r4", "r5"]),
        (("--who", "agent:ci"), ["r1", "r2", "r4", "r5"]),
        (("--who", "alice"), ["r4"]),
        (("--who", "system:anonymous"), ["r3"]),
        (("--verb", "delete"), ["r2"]),
        (("--resource", "pods"), ["r1", "r4"]),
        (("--resource", "pods/exec"), ["r4"]),
        (("--resource", "deployments.apps"), ["r2"]),
        (("--resource", "deployments.extensions"), []),
        (("-n", "prod"), ["r2"]),
        (("--name", "web"), ["r2", "r4"]),
        (("--decision", "deny"), ["r2"]),
        (("--decision", "malformed"), ["r3"]),
        (("--cluster", "dev"), ["r1", "r2", "r4", "r5"]),
        (("--rule", "ci"), ["r1", "r4", "r5"]),
        (("--rule", "ci/read"), ["r1", "r5"]),
        (("--rule", "c"), []),
        (("--id", "r3"), ["r3"]),
        (("--since", "2023-11-14T22:13:22Z"), ["r3", "r4", "r5"]),
        (("--since", "2023-11-14T23:13:22+01:00", "--until", "2023-11-14T22:13:23.5Z"), ["r3", "r4"]),
        (("--since", "10m"), []),
        (("--limit", "2"), ["r4", "r5"]),
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


def test_an_untouched_record_is_content(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    code, out, err = audit(capsys, "verify", "--data-dir", data)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("content: ")
    assert "nothing was changed, removed or added" in out


def test_a_changed_record_is_named_with_its_place(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    segment = data / "trail" / "w0" / "00000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"auditID":"r2"', b'"auditID":"r9"', 1))
    code, out, _ = audit(capsys, "verify", "--data-dir", data)
    assert code == 1
    assert f"PROBLEM  {segment}, line 4 (entry 4): edited: " in out
    assert out.splitlines()[-1].startswith("NOT CONTENT: 1 problem in ")
    code, out, _ = audit(capsys, "verify", "--data-dir", data, "-o", "json")
    report = json.loads(out)
    assert (code, report["content"], report["problemCount"]) == (1, False, 1)
    assert (report["problems"][0]["line"], report["problems"][0]["entry"]) == (4, 4)


def test_export_writes_events_in_order_of_time(capfdbinary: pytest.CaptureFixture[bytes], data: Path) -> None:
    assert run(["audit", "export", "--data-dir", str(data)]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    stamps = [json.loads(line)["stageTimestamp"] for line in lines]
    assert stamps == sorted(stamps)
    assert run(["audit", "export", "--data-dir", str(data), "--format", "audit"]) == 0
    whole = json.loads(capfdbinary.readouterr().out)
    assert (whole["kind"], whole["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
    assert whole["items"] == [json.loads(line) for line in lines]
    assert len(lines) == 10


def test_export_of_nothing_is_still_a_document(capfdbinary: pytest.CaptureFixture[bytes], data: Path) -> None:
    assert run(["audit", "export", "--data-dir", str(data), "--since", "1m"]) == 0
    assert capfdbinary.readouterr().out == b""
    assert run(["audit", "export", "--data-dir", str(data), "--since", "1m", "--format", "audit"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["items"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["search", "--since", "yesterday"], 2, "write how long ago (10m, 2h, 7d) or RFC 3339"),
        (["search", "--decision", "maybe"], 2, "'maybe' is not one of"),
        (["search", "--limit", "-1"], 2, "-1 is not in the range"),
        (["search", "--config", "x.yaml"], 2, "give one of them"),
        (["verify", "--checkpoints", "/nowhere/copy.jsonl"], 1, "/nowhere/copy.jsonl: no checkpoints here"),
        (["verify", "--public-key", "/nowhere/key.pub"], 1, "/nowhere/key.pub"),
        (["verify", "--public-key", "/etc/hostname"], 1, "not a PEM public key"),
    ],
)
def test_bad_input_gets_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], data: Path, arguments: list[str], code: int, words: str
) -> None:
    got, out, err = audit(capsys, *arguments, "--data-dir", data)
    assert (got, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1


def test_no_record_is_said_with_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = audit(capsys, "search", "--data-dir", tmp_path)
    assert (code, err) == (
        1,
        f"narrowgate: {tmp_path}/trail: no record here; start the gate once, or name its data folder\n",
    )


def test_the_public_key_is_found_in_the_data_folder(data: Path) -> None:
    public = (data / "keys" / "checkpoint.pub").read_bytes()
    assert Verifier.from_pem(public).key == Verifier.from_pem(KEY).key
