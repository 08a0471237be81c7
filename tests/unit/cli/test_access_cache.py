"""What the plugin keeps: where, for whom, for how long, and when it takes a credential for a refused one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from narrowgate.cli.access_cache import (
    Access,
    Asked,
    cached_access,
    gate_folder_name,
    gate_url,
    keep_access,
    moment,
    note_handed,
    state_folder,
    was_handed,
)
from narrowgate.cli.private_text import Unusable, private_folder

GATE = "https://gate.corp:8444"
NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://gate.corp:8444", GATE),
        ("gate.corp:8444", GATE),
        ("https://Gate.Corp:8444/", GATE),
        ("https://gate.corp:443", "https://gate.corp"),
        ("https://[::1]:8444", "https://[::1]:8444"),
        ("[fd00::1]", "https://[fd00::1]"),
        ("10.0.0.1:8444", "https://10.0.0.1:8444"),
    ],
)
def test_a_gate_has_one_address_however_it_is_written(text: str, url: str) -> None:
    assert gate_url(text) == url
    assert gate_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "http://gate.corp", "https://", "gate.corp:", "gate.corp:x", "gate.corp:123456", "https://gate.corp/path",
        "https://user@gate.corp", "https://gate.corp?x", "../..", "..", ".hidden", "-x", "[::1", "[]:1", "[::1]8444",
        "gate corp", "gate.corp\n", "ｇate", "gate+corp",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_gate_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match=r"write it like https://gate\.corp:8444"):
        gate_url(text)


def test_two_gates_never_share_a_folder() -> None:
    urls = [GATE, "https://gate.corp", "https://[::1]:8444", "https://[::1:8444]", "https://gate.corp-8444"]
    assert len({gate_folder_name(url) for url in urls}) == len(urls)
    assert gate_folder_name(GATE) == "gate.corp+8444"


def test_the_folder_is_named_by_the_environment_or_is_the_users_own() -> None:
    assert state_folder({"NARROWGATE_HOME": "/x/y"}) == "/x/y"
    assert state_folder({"XDG_STATE_HOME": "/x"}) == "/x/narrowgate"
    assert state_folder({"XDG_STATE_HOME": "relative"}).endswith("/.local/state/narrowgate")


@pytest.mark.parametrize("cluster", ["../x", "a/b", "Prod", "a b", ".x", "x" * 64])
def test_a_cluster_that_is_none_is_refused_before_it_becomes_a_path(cluster: str) -> None:
    with pytest.raises(Unusable, match="no name of a cluster"):
        Asked(GATE, cluster)


@pytest.mark.parametrize("agent", ["a\nb", "ä", "\udcff"])
def test_an_agent_that_is_none_is_refused_before_it_is_signed(agent: str) -> None:
    with pytest.raises(Unusable, match="no name of an agent"):
        Asked(GATE, "prod", agent=agent, key_file="/key")


@pytest.fixture
def asked(home: Path) -> Asked:
    found = Asked(GATE, "prod")
    private_folder(str(Path(found.path()).parent))
    return found


def test_a_credential_is_kept_and_found_again(asked: Asked) -> None:
    keep_access(asked, asked.path(), Access.lasting("nga1_x.y", NOW, 3600))
    found = cached_access(asked, asked.path())
    assert found is not None
    assert (found.token, found.made, found.expires) == ("nga1_x.y", moment(NOW), moment(NOW + 3600))


def test_it_is_fresh_for_half_its_life_and_good_for_all_of_it() -> None:
    access = Access.lasting("t", NOW, 3600)
    assert access.fresh(NOW)
    assert access.fresh(NOW + 1799)
    assert not access.fresh(NOW + 1801)
    assert access.good(NOW + 3599)
    assert not access.good(NOW + 3600)


def test_in_its_last_seconds_it_is_not_fresh_however_short_its_life_was() -> None:
    assert not Access.lasting("t", NOW, 5).fresh(NOW)
    assert Access.lasting("t", NOW, 12).fresh(NOW + 5)
    assert not Access.lasting("t", NOW, 12).fresh(NOW + 6)
    # Postponed to later than it lives, because the gate was away.
    assert not Access("t", moment(NOW - 100), moment(NOW + 60), moment(NOW + 4)).fresh(NOW)


def test_one_from_the_future_is_renewed_because_its_age_is_unknown() -> None:
    assert not Access.lasting("t", NOW + 3600, 3600).fresh(NOW)
    assert Access.lasting("t", NOW + 3, 3600).fresh(NOW)


def test_what_stands_there_for_another_source_is_not_taken(asked: Asked, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    other = Asked(GATE, "prod", token_file=str(token))
    keep_access(other, asked.path(), Access.lasting("nga1_x.y", NOW, 3600))
    assert cached_access(asked, asked.path()) is None
    assert cached_access(other, asked.path()) is not None


def test_two_files_whose_names_read_alike_are_told_apart(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("one")
    (tmp_path / "a-b").write_text("two")
    first, second = (Asked(GATE, "prod", token_file=str(tmp_path / name)) for name in ("a b", "a-b"))
    assert first.path() == second.path()
    private_folder(str(Path(first.path()).parent))
    keep_access(first, first.path(), Access.lasting("nga1_x.y", NOW, 3600))
    assert cached_access(second, second.path()) is None


def test_another_token_in_the_file_means_another_credential(home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    asked = Asked(GATE, "prod", token_file=str(token))
    private_folder(str(Path(asked.path()).parent))
    keep_access(asked, asked.path(), Access.lasting("nga1_x.y", NOW, 3600))
    assert cached_access(asked, asked.path()) is not None
    token.unlink()
    token.write_text("another")
    assert cached_access(asked, asked.path()) is None
    token.unlink()
    with pytest.raises(Unusable, match="see that it is mounted"):
        cached_access(asked, asked.path())


@pytest.mark.parametrize(
    "text",
    ["", "x", "\n" * 6, "a\nmade: x\nrenew: y\nexpires: z\nfor: person\nproof: \n", 'a"\n', "nga1_x.y\n" * 7],
)
def test_what_is_no_credential_is_as_good_as_nothing(asked: Asked, text: str) -> None:
    Path(asked.path()).write_text(text)
    Path(asked.path()).chmod(0o600)
    assert cached_access(asked, asked.path()) is None


def test_a_cache_that_others_may_read_is_refused(asked: Asked) -> None:
    keep_access(asked, asked.path(), Access.lasting("nga1_x.y", NOW, 3600))
    Path(asked.path()).chmod(0o644)
    with pytest.raises(Unusable, match="chmod 600"):
        cached_access(asked, asked.path())


def test_who_was_handed_which_credential_is_remembered(asked: Asked) -> None:
    first, second = Access.lasting("a", NOW, 3600), Access.lasting("b", NOW + 60, 3600)
    assert not was_handed(asked.path(), first, 17)
    note_handed(asked.path(), first, 17)
    assert was_handed(asked.path(), first, 17)
    assert not was_handed(asked.path(), first, 18)
    assert not was_handed(asked.path(), second, 17)
    note_handed(asked.path(), first, 18)
    assert not was_handed(asked.path(), first, 17)


def test_a_credential_is_not_taken_for_refused_in_its_first_seconds() -> None:
    access = Access.lasting("a", NOW, 3600)
    assert not access.old_enough_to_be_refused(NOW + 4)
    assert access.old_enough_to_be_refused(NOW + 6)


def test_a_note_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    note_handed(str(tmp_path / "gone" / "x"), Access.lasting("a", time.time(), 1), 1)
    assert not (tmp_path / "gone").exists()


def test_moments_are_utc() -> None:
    assert moment(0) == "1970-01-01T00:00:00Z"
