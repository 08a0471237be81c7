"""Which store a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.store.open import open_store
from narrowgate.store.port import StoreUnavailable


@pytest.mark.parametrize(
    ("url", "says"),
    [("postgresql://db/gate", "not in this version"), ("mongo:x", '"mongo:x"'), ("sqlite:", "sqlite:<file>")],
)
def test_a_store_that_this_version_has_not_is_refused_in_words(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(StoreUnavailable, match=says):
        open_store(url, tmp_path)


def test_without_a_url_the_store_is_in_the_data_folder(tmp_path: Path) -> None:
    open_store("", tmp_path).close()
    assert (tmp_path / "gate.db").exists()


def test_an_absolute_path_stays_where_it_is_and_a_relative_one_is_in_the_data_folder(tmp_path: Path) -> None:
    open_store(f"sqlite:{tmp_path / 'a.db'}", tmp_path / "data").close()
    open_store("sqlite:b.db", tmp_path / "data").close()
    assert (tmp_path / "a.db").exists()
    assert (tmp_path / "data" / "b.db").exists()
