"""`narrowgate audit` on a small record made by the gate's own writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.trail.recorded import KEY, a_record

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
        (["search", "--decision", "maybe"], 2, '"maybe" is no decision; write one of allowed, denied'),
        (["search", "--code", "teapot"], 2, "write 403, or 4xx"),
        (["search", "--object", "web"], 2, "like deployments/web"),
        (["search", "--object", "pods/a", "--name", "b"], 2, "leave the others out"),
        (["search", "--resource", "/exec"], 2, "is no resource"),
        (["search", "--since", "1h", "--until", "2h"], 2, "not later than"),
        (["search", "--text", "ab"], 2, "3 to 256 characters"),
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
