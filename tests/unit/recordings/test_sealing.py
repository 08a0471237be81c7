"""Keys, ciphers and compression of recordings."""

from __future__ import annotations

import os

import pytest
import zstandard
from tests.recorded_sessions import KEY, OTHER_KEY, PACKING, SECRET, counted, sealing

from narrowgate.recordings.errors import RecordingDamaged, RecordingKeyMissing
from narrowgate.recordings.sealing import NO_KEY, NONCE_BYTES, RecordingKey, Sealing


def test_a_key_is_known_by_an_id_that_does_not_tell_it() -> None:
    assert RecordingKey(SECRET).id == KEY.id
    assert KEY.id != OTHER_KEY.id
    assert KEY.id != NO_KEY
    assert KEY.id not in SECRET.encode()


def test_a_key_that_a_person_could_remember_is_none() -> None:
    with pytest.raises(ValueError, match="openssl rand"):
        RecordingKey("correct horse battery staple")


def test_a_part_is_unreadable_and_opens_with_its_key_its_nonce_and_its_place() -> None:
    one = sealing(KEY)
    nonce = one.nonce()
    stored = one.close(nonce, b"the part", b"its place")
    assert b"the part" not in stored
    assert len(stored) == 8 + one.overhead
    assert sealing(KEY).open(nonce, stored, b"its place", "here") == b"the part"
    for other, bound in ((sealing(OTHER_KEY), b"its place"), (sealing(KEY), b"another place")):
        with pytest.raises(RecordingDamaged, match="here"):
            other.open(nonce, stored, bound, "here")
    with pytest.raises(RecordingDamaged):
        Sealing(b"another salt 123", KEY).open(nonce, stored, b"its place", "here")
    with pytest.raises(RecordingDamaged):
        one.open(nonce, b"", b"its place", "here")


def test_no_nonce_comes_twice_and_without_a_key_there_is_none() -> None:
    one = Sealing(bytes(16), KEY)
    assert len({one.nonce() for _ in range(1000)}) == 1000
    assert Sealing(bytes(16), None).nonce() == bytes(NONCE_BYTES)
    assert counted()(NONCE_BYTES) == bytes(NONCE_BYTES)


def test_without_a_key_a_part_stays_as_it_is() -> None:
    plain = sealing()
    assert plain.close(plain.nonce(), b"the part", b"") == b"the part"
    assert plain.open(plain.nonce(), b"the part", b"", "here") == b"the part"
    assert plain.overhead == 0


def test_the_key_that_a_recording_names_is_found_among_several() -> None:
    found = Sealing.of(bytes(16), OTHER_KEY.id, (KEY, OTHER_KEY), "here")
    assert found.key_id == OTHER_KEY.id
    assert Sealing.of(bytes(16), NO_KEY, (KEY,), "here").overhead == 0


def test_a_key_that_is_missing_is_asked_for_by_its_id() -> None:
    with pytest.raises(RecordingKeyMissing, match=f"{OTHER_KEY.id.hex()}.*{KEY.id.hex()}.*formerRecordingKeyFiles"):
        Sealing.of(bytes(16), OTHER_KEY.id, (KEY,), "here")
    with pytest.raises(RecordingKeyMissing, match="the keys given are: none"):
        Sealing.of(bytes(16), KEY.id, (), "here")


@pytest.mark.parametrize("raw", [b"", b"x", b"ab" * 50_000, os.urandom(70_000)])
def test_what_was_packed_is_unpacked(raw: bytes) -> None:
    assert PACKING.unpack(PACKING.pack(raw), len(raw), "here") == raw


def test_what_would_unpack_to_more_than_it_says_is_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(100 << 20))
    with pytest.raises(RecordingDamaged, match="more or less"):
        PACKING.unpack(bomb, 1000, "here")
    # And one that does not say how much it is.
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100 << 20))
    with pytest.raises(RecordingDamaged):
        PACKING.unpack(silent, 1000, "here")


@pytest.mark.parametrize("odd", [b"", b"not zstd at all", b"\x28\xb5\x2f\xfd"])
def test_what_is_not_packed_is_damage(odd: bytes) -> None:
    with pytest.raises(RecordingDamaged, match="here"):
        PACKING.unpack(odd, 10, "here")


def test_nothing_may_follow_what_was_packed() -> None:
    with pytest.raises(RecordingDamaged):
        PACKING.unpack(PACKING.pack(b"12345") + b"x", 5, "here")
