"""Output of programs, masked: lines, prompts that have no end, and files."""

from __future__ import annotations

import io
import random
import tarfile

import pytest

from narrowgate.core.masking.known_values import KnownValues
from narrowgate.core.masking.masked_value import MASKED_BYTES, ValueMasker
from narrowgate.core.masking.patterns import TEXT_RULES, text_patterns
from narrowgate.core.masking.secret_parts import Known
from narrowgate.core.masking.stream_text import BLOCK, KEY_BYTES, OVERLAP, PARTIAL_LIMIT, StreamMasker

SECRET = b"correct horse battery staple"
TOKEN = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
KEY_LINES = b"\n".join(b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC%d" % number for number in range(20))
KEY = b"-----BEGIN PRIVATE KEY-----\n" + KEY_LINES + b"\n-----END PRIVATE KEY-----\n"


def masker(counts: dict[str, int] | None = None) -> StreamMasker:
    known = KnownValues([Known(SECRET, SECRET)])
    return StreamMasker(
        text_patterns(frozenset(TEXT_RULES)), ValueMasker(b"k" * 32), {} if counts is None else counts, known
    )


def test_a_line_leaves_once_it_has_ended() -> None:
    one = masker()
    assert one.feed(b"hello ") == b""
    assert one.holds_back
    assert one.feed(b"world\nand ") == b"hello world\n"
    assert one.finish() == b"and "


def test_a_prompt_is_let_go_and_its_line_goes_on() -> None:
    one = masker()
    assert one.feed(b"Continue? [y/N] ") + one.release() == b"Continue? [y/N] "
    assert not one.holds_back
    assert one.release() == b""
    assert one.feed(b"y\nDone\n") == b"y\nDone\n"


@pytest.mark.parametrize("at", range(1, len(SECRET)))
def test_of_a_value_that_comes_in_two_with_a_pause_between_less_than_eight_bytes_are_seen(at: int) -> None:
    one = masker()
    seen = one.feed(b"it is " + SECRET[:at]) + one.release() + one.feed(SECRET[at:] + b" indeed\n") + one.finish()
    left = MASKED_BYTES.sub(b"", seen)
    assert left == b"it is " + (SECRET[:at] if at < 8 else b"") + b" indeed\n"


@pytest.mark.parametrize("at", range(12, len(TOKEN)))
def test_what_looks_like_a_secret_once_it_is_whole_shows_no_more_of_itself(at: int) -> None:
    one = masker()
    seen = one.feed(b"got " + TOKEN[:at]) + one.release() + one.feed(TOKEN[at:] + b"\n")
    assert TOKEN[at:] not in seen


@pytest.mark.parametrize("pause", range(1, 60, 7))
def test_a_key_is_hidden_whatever_pauses_its_program_makes(pause: int) -> None:
    one = masker()
    seen = b""
    text = b"here: " + KEY + b"$ "
    for start in range(0, len(text), pause):
        seen += one.feed(text[start : start + pause]) + one.release()
    seen += one.finish()
    assert not any(line in seen for line in KEY_LINES.split(b"\n"))
    assert seen.endswith(b"$ ")


def test_a_block_under_a_secrets_name_is_hidden_and_a_prompt_after_it_is_not() -> None:
    one = masker()
    seen = one.feed(b"password: |\n  hunter2\n  swordfish\n") + one.release()
    seen += one.feed(b"$ ") + one.release()
    assert b"hunter2" not in seen
    assert seen.endswith(b"$ ")
    assert one.feed(b"ls\n") == b"ls\n"


def test_an_echo_is_short_and_a_word_that_may_be_a_secret_is_not() -> None:
    one = masker()
    one.feed(b"$ ls -l")
    assert one.is_short
    one.feed(b" AKIAIOSFODNN7")
    assert not one.is_short


def test_a_line_without_an_end_is_masked_as_it_comes() -> None:
    one = masker()
    text = (b"x" * 1000 + SECRET) * 200
    seen = b"".join(one.feed(text[start : start + 4096]) for start in range(0, len(text), 4096)) + one.finish()
    assert SECRET not in seen
    assert MASKED_BYTES.sub(b"", seen) == b"x" * 200_000
    assert len(one.feed(b"y" * 2 * PARTIAL_LIMIT)) > PARTIAL_LIMIT


def archive(*contents: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number, content in enumerate(contents):
            entry = tarfile.TarInfo(f"f{number}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("step", [1, 511, 4096, 10**9])
def test_an_archive_stays_whole_and_what_is_secret_in_it_is_overwritten(step: int) -> None:
    counts: dict[str, int] = {}
    one = masker(counts)
    contents = [b"plain\n" * 3000, b"it is " + SECRET + b"\n", KEY, bytes(range(256)) * 64]
    packed = archive(*contents)
    seen = b"".join(one.feed(packed[start : start + step]) for start in range(0, len(packed), step)) + one.finish()
    assert len(seen) == len(packed)
    with tarfile.open(fileobj=io.BytesIO(seen)) as tar:
        read = [file.read() for entry in tar.getmembers() if (file := tar.extractfile(entry)) is not None]
    assert (read[0], read[3]) == (contents[0], contents[3])
    assert SECRET not in seen
    assert read[2] == b"*" * (len(KEY) - 1) + b"\n"
    assert counts["narrowgate/known-value"] >= 1


def test_a_file_that_pauses_is_let_go_but_for_a_key_that_has_begun() -> None:
    one = masker()
    assert one.feed(b"\0\1\2") + one.release() == b"\0\1\2"
    assert one.feed(b"\0" + KEY[:200]) + one.release() == b"\0"
    assert one.feed(KEY[200:]) + one.finish() == b"*" * (len(KEY) - 1) + b"\n"


def test_no_more_is_held_than_a_key_and_a_block() -> None:
    one = masker()
    left = len(one.feed(b"\0-----BEGIN PRIVATE KEY-----\n"))
    for fed in range(0, 2 * (KEY_BYTES + BLOCK), 1024):
        left += len(one.feed(b"A" * 1024))
        assert fed - left <= KEY_BYTES + BLOCK + OVERLAP
    assert left > 0


def test_noise_is_no_text_whatever_patterns_find_in_it() -> None:
    noise = random.Random(5).randbytes(4 * 1024 * 1024)
    one = masker()
    assert one.feed(noise) + one.finish() == noise


def test_a_known_value_is_overwritten_though_what_is_around_it_only_looks_like_a_setting() -> None:
    one = masker()
    seen = one.feed(b"\0password=\1" + SECRET) + one.finish()
    assert SECRET not in seen


def test_a_setting_in_a_file_of_an_archive_is_overwritten() -> None:
    one = masker()
    packed = archive("naïve: ü\npassword=hunter2hunter2\nlänge: 3\n".encode())
    seen = one.feed(packed) + one.finish()
    assert b"hunter2" not in seen
    assert len(seen) == len(packed)
