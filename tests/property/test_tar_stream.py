"""Laws of reading tar streams: what tarfile writes is told, however it is cut; what is no tar harms nothing."""

from __future__ import annotations

import hashlib
import io
import tarfile
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from narrowgate.wire.tar_stream import BLOCK, LONGEST_HEADER, TarFile, TarStream

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/", exclude_categories=("Cs",)), min_size=1).map(
    lambda name: f"d/{name}"
)
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=2000)), max_size=4)
FORMS = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def archive(members: list[tuple[str, bytes]], form: int) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def read(*pieces: bytes) -> tuple[list[TarFile], str]:
    stream = TarStream()
    for piece in pieces:
        stream.feed(piece)
        assert len(stream._header) < BLOCK
        assert stream._extended is None or len(stream._extended) <= LONGEST_HEADER
    stream.finish()
    return stream.files, stream.problem


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(each % (len(data) + 1) for each in at)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(MEMBERS, FORMS, st.lists(st.integers(0, 1 << 20), max_size=8))
def test_what_was_written_is_told_however_it_is_cut(members: list[tuple[str, bytes]], form: int, at: list[int]) -> None:
    files, problem = read(*cut(archive(members, form), at))
    assert problem == ""
    assert files == [
        TarFile(name, "file", len(content), hashlib.sha256(content).hexdigest()) for name, content in members
    ]


@given(MEMBERS, FORMS, st.integers(0, 1 << 20), st.integers(1, 255), st.lists(st.integers(0, 1 << 20), max_size=5))
def test_where_a_damaged_one_is_cut_never_matters(
    members: list[tuple[str, bytes]], form: int, where: int, change: int, at: list[int]
) -> None:
    data = bytearray(archive(members, form))
    data[where % len(data)] ^= change
    assert read(*cut(bytes(data), at)) == read(bytes(data))


@given(st.binary(max_size=4 * BLOCK), st.lists(st.integers(0, 4 * BLOCK), max_size=5))
def test_what_is_no_archive_is_read_without_harm(data: bytes, at: list[int]) -> None:
    assert read(*cut(data, at)) == read(data)


@given(MEMBERS, FORMS, st.integers(0, 1 << 20))
def test_a_cut_archive_tells_no_hash_that_is_not_of_a_whole_file(
    members: list[tuple[str, bytes]], form: int, end: int
) -> None:
    data = archive(members, form)
    files, _ = read(data[: end % len(data)])
    known = {hashlib.sha256(content).hexdigest() for _, content in members}
    assert {file.sha256 for file in files} <= known | {""}
