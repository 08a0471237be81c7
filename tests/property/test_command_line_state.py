"""Laws of what the command line keeps: addresses and folders one to one, files read or refused, never obeyed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from narrowgate.cli.access_cache import LETTERS, Asked, cached_access, gate_folder_name, gate_url, is_moment, moment
from narrowgate.cli.gate_address import certificates_in, fingerprint_of
from narrowgate.cli.private_text import Unusable
from narrowgate.cli.sign_in_files import KeptSignIn, read_sign_in

HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,20}[a-z0-9])?|\[[0-9a-f:]{2,12}\]", fullmatch=True)
URLS = st.builds(lambda host, port: f"https://{host}{port}", HOSTS, st.sampled_from(["", ":1", ":443", ":8444"]))
NOW = 1_800_000_000.0


@contextmanager
def state_home() -> Iterator[Path]:
    """A folder of this example's own, as NARROWGATE_HOME."""
    before = os.environ.get("NARROWGATE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NARROWGATE_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ["NARROWGATE_HOME"]
            if before is not None:
                os.environ["NARROWGATE_HOME"] = before


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(content)
    path.chmod(0o600)


@given(URLS)
def test_the_one_way_to_write_an_address_is_a_way_to_write_it(url: str) -> None:
    assert gate_url(gate_url(url)) == gate_url(url)
    assert gate_url(url.upper().replace("HTTPS://", "https://")) == gate_url(url)


@given(URLS, URLS)
def test_two_gates_share_a_folder_only_if_they_are_one(first: str, second: str) -> None:
    one, other = gate_url(first), gate_url(second)
    assert (gate_folder_name(one) == gate_folder_name(other)) == (one == other)


@given(st.text(max_size=40))
def test_whatever_is_typed_for_a_gate_never_leaves_the_folder(text: str) -> None:
    try:
        name = gate_folder_name(gate_url(text))
    except Unusable:
        return
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40), st.text(max_size=20))
def test_whatever_is_typed_for_a_cluster_or_a_token_is_one_file_of_the_cache(token_file: str, cluster: str) -> None:
    with state_home() as home:
        try:
            asked = Asked("gate.corp", cluster, token_file=token_file)
        except Unusable:
            return
        assert Path(asked.path()).parent == home / "gate.corp" / "access"
        assert "\n" not in asked.source


LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["nga1_a.b", "made: 2026-01-01T00:00:00Z", "expires: 2999-01-01T00:00:00Z", "for: person", "proof: "]
        ),
    ),
    max_size=8,
)


@given(st.one_of(st.binary(max_size=300), LINES.map(lambda lines: "\n".join(lines).encode())))
def test_a_file_of_the_cache_is_a_credential_or_nothing(content: bytes) -> None:
    with state_home():
        asked = Asked("gate.corp", "prod")
        put(Path(asked.path()), content)
        try:
            found = cached_access(asked, asked.path())
        except Unusable:
            return
        if found is not None:
            assert LETTERS.issuperset(found.token)
            assert all(is_moment(one) for one in (found.made, found.renew, found.expires))


@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda text: f'{{"version": {text}}}'.encode())))
def test_a_sign_in_that_cannot_be_read_is_refused_in_words(content: bytes) -> None:
    with state_home() as home:
        put(home / "gate.corp" / "sign-in.json", content)
        said = ""
        try:
            assert isinstance(read_sign_in("https://gate.corp"), KeptSignIn)
        except Unusable as error:
            said = str(error)
        assert not said or said.startswith(str(home))


@given(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000))
def test_moments_compare_as_their_times_do(first: int, second: int) -> None:
    assert is_moment(moment(first))
    assert (moment(first) < moment(second)) == (first < second)


@given(st.text(max_size=200))
def test_nothing_but_certificates_is_taken_from_a_file_of_them(text: str) -> None:
    for pem in certificates_in(text):
        assert pem.startswith("-----BEGIN CERTIFICATE-----\n")
        assert "PRIVATE" not in pem or "PRIVATE" in text
    assert fingerprint_of(text) == "" or len(fingerprint_of(text)) == 64
