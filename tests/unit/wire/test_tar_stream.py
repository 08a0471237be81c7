"""Tar streams are read as Python's own tarfile writes them, however they are cut; and nothing else is believed."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from narrowgate.wire.tar_stream import BLOCK, LONGEST_HEADER, TarFile, TarStream

CONTENT = bytes(range(256)) * 9
LONG = "a-folder/" + "n" * 300 + ".txt"


def archive(form: int, *names: str, content: bytes = CONTENT) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "x" * 200 if form != tarfile.USTAR_FORMAT else "x"
        tar.addfile(link)
    return written.getvalue()


def read(data: bytes, cut: int = 1 << 20) -> TarStream:
    stream = TarStream()
    for at in range(0, len(data), cut):
        stream.feed(data[at : at + cut])
    stream.finish()
    return stream


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("cut", [1 << 20, 511, 7])
def test_members_are_told_with_their_sizes_and_hashes(form: int, cut: int) -> None:
    names = ("folder/", "folder/a.txt", "gr\u00fcn") + (() if form == tarfile.USTAR_FORMAT else (LONG,))
    stream = read(archive(form, *names), cut)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert stream.problem == ""
    assert [(file.name.rstrip("/"), file.kind) for file in stream.files] == [
        *((name.rstrip("/"), "folder" if name.endswith("/") else "file") for name in names),
        ("link", "symbolic link"),
    ]
    assert {(file.size, file.sha256) for file in stream.files if file.kind == "file"} == {(len(CONTENT), digest)}


def test_a_long_path_is_put_together_from_both_fields_of_posix() -> None:
    name = "d" * 120 + "/" + "f" * 90
    assert read(archive(tarfile.USTAR_FORMAT, name)).files[0].name == name


def test_an_empty_file_has_the_hash_of_nothing() -> None:
    (file, _) = read(archive(tarfile.PAX_FORMAT, "empty", content=b"")).files
    assert file == TarFile("empty", "file", 0, hashlib.sha256(b"").hexdigest())


def test_a_file_that_did_not_come_whole_has_no_hash() -> None:
    data = archive(tarfile.PAX_FORMAT, "one", "two")
    stream = read(data[: BLOCK + 2560 + BLOCK + 100])
    assert [(file.name, bool(file.sha256)) for file in stream.files] == [("one", True), ("two", False)]
    assert stream.problem == "the archive was cut"


@pytest.mark.parametrize("data", [b"x" * 600, b"tar: /nope: No such file or directory\n" * 20])
def test_what_is_no_archive_is_said_to_be_none(data: bytes) -> None:
    stream = read(data)
    assert (stream.files, stream.problem) == ([], "this is no tar archive")


def test_nothing_at_all_is_a_cut_archive() -> None:
    assert read(b"").problem == "the archive was cut"


def test_an_empty_archive_holds_nothing_and_is_well() -> None:
    stream = read(bytes(10_240))
    assert (stream.files, stream.problem) == ([], "")


def test_a_damaged_header_ends_the_reading() -> None:
    data = bytearray(archive(tarfile.PAX_FORMAT, "one", "two"))
    data[BLOCK + 2560 + 3] ^= 1
    stream = read(bytes(data))
    assert ([file.name for file in stream.files], stream.problem) == (["one"], "the archive is damaged")


def header(kind: bytes, size: int, name: bytes = b"x") -> bytes:
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[124:136] = b"\x80" + size.to_bytes(11, "big") if size >= 8**11 else b"%011o\0" % size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_a_long_name_without_end_is_not_held() -> None:
    assert read(header(b"L", LONGEST_HEADER + 1)).problem == "the archive holds a header that is too long"


def test_sizes_beyond_octal_are_read() -> None:
    (file,) = read(header(b"0", 1 << 40)).files
    assert (file.size, file.sha256) == (1 << 40, "")


def test_records_that_are_none_end_the_reading() -> None:
    for content in (b"999 path=x\n", b"x path=x\n", b"0 ", b"11 pathxxx\n"):
        stream = read(header(b"x", len(content)) + content.ljust(BLOCK, b"\0"))
        assert stream.problem == "the archive holds a header that cannot be read"


def test_a_link_with_a_size_does_not_swallow_what_follows() -> None:
    stream = read(header(b"2", 10_000, b"link") + header(b"0", 0, b"hidden"))
    assert [file.name for file in stream.files] == ["link", "hidden"]
