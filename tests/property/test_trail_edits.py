"""The law of the trail: whatever is done to the files before the last checkpointed head, `verify` finds it.

Stated as edits of bytes and files, not of entries, so that it knows nothing of how the chain is made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from narrowgate.trail.checkpoints import Checkpoints
from narrowgate.trail.journal import Bounds, Journal
from narrowgate.trail.signing import Signer
from narrowgate.trail.verify import verify

SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

Files = dict[str, bytes]


def a_trail(folder: Path) -> Files:
    """Two journals of several short segments each, sealed now and then and closed in order."""
    ticks = iter(range(1_700_000_000, 1_800_000_000))
    checkpoints = Checkpoints(folder / "trail", SIGNER, copy_to=folder / "copy.jsonl", clock=lambda: next(ticks))
    for writer in ("w0", "w1"):
        journal = Journal.open(
            folder / "trail", writer, SIGNER, bounds=Bounds(segment_bytes=900), clock=lambda: next(ticks)
        )
        checkpoints.add(journal.sync())
        for number in range(9):
            journal.append(b'{"auditID":"%d","verb":"get"}' % number)
            if number % 2:
                journal.write()
            if number == 5:
                checkpoints.add(journal.sync())
        journal.write()
        checkpoints.add(journal.sync(), closed=True)
        journal.close()
    return contents_of(folder / "trail")


def contents_of(trail: Path) -> Files:
    return {str(path.relative_to(trail)): path.read_bytes() for path in sorted(trail.rglob("*.jsonl"))}


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Files]:
    folder = tmp_path_factory.mktemp("edits")
    return folder, a_trail(folder)


def problems_after(folder: Path, files: Files) -> list[str]:
    edited = folder / "edited"
    shutil.rmtree(edited, ignore_errors=True)
    for name, content in files.items():
        (edited / name).parent.mkdir(parents=True, exist_ok=True)
        (edited / name).write_bytes(content)
    report = verify(edited, SIGNER.verifier, checkpoints=folder / "copy.jsonl")
    assert report.content == (not report.problems)
    return [str(problem) for problem in report.problems]


def flip(content: bytes, at: int, what: int) -> bytes:
    return content[:at] + bytes([content[at] ^ (what % 255 + 1)]) + content[at + 1 :]


def cut_out(content: bytes, at: int, what: int) -> bytes:
    return content[:at] + content[at + what % 300 + 1 :]


def insert(content: bytes, at: int, what: int) -> bytes:
    return content[:at] + bytes([what % 256]) * (what % 3 + 1) + content[at:]


def truncate(content: bytes, at: int, what: int) -> bytes:
    return content[:at]


def double_a_line(content: bytes, at: int, what: int) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(what % (len(lines) + 1), lines[at % len(lines)])
    return b"".join(lines)


def drop_a_line(content: bytes, at: int, what: int) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[at % len(lines)]
    return b"".join(lines)


def swap_lines(content: bytes, at: int, what: int) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = at % len(lines), what % len(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


EDITS: list[Callable[[bytes, int, int], bytes]] = [
    flip,
    cut_out,
    insert,
    truncate,
    double_a_line,
    drop_a_line,
    swap_lines,
]


def test_an_untouched_trail_is_content(trail: tuple[Path, Files]) -> None:
    folder, files = trail
    assert problems_after(folder, files) == []


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 10**6), at=st.integers(0, 10**6), what=st.integers(0, 10**6), edit=st.sampled_from(EDITS))
def test_any_edit_of_any_file_is_found(
    trail: tuple[Path, Files], which: int, at: int, what: int, edit: Callable[[bytes, int, int], bytes]
) -> None:
    folder, files = trail
    name = sorted(files)[which % len(files)]
    edited = edit(files[name], at % len(files[name]), what)
    if edited == files[name]:
        return
    found = problems_after(folder, {**files, name: edited})
    assert found, f"{edit.__name__} of {name}"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gone=st.sets(st.integers(0, 10**6), min_size=1, max_size=3))
def test_any_missing_file_is_found(trail: tuple[Path, Files], gone: set[int]) -> None:
    folder, files = trail
    names = sorted(files)
    missing = {names[number % len(names)] for number in gone}
    assert problems_after(folder, {name: content for name, content in files.items() if name not in missing})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=st.integers(0, 10**6), other=st.integers(0, 10**6))
def test_files_that_changed_places_are_found(trail: tuple[Path, Files], one: int, other: int) -> None:
    folder, files = trail
    names = sorted(name for name in files if "/" in name)
    first, second = names[one % len(names)], names[other % len(names)]
    if first == second:
        return
    assert problems_after(folder, {**files, first: files[second], second: files[first]})
