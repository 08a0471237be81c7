"""Of which recordings the text may be searched, as the configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.config import ConfigError, SearchedText, parse_config

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("", SearchedText.PLAIN),
        ("search: {text: Plain}", SearchedText.PLAIN),
        ("search: {text: All}", SearchedText.ALL),
        ("search: {text: None}", SearchedText.NONE),
    ],
)
def test_encrypted_recordings_are_searched_only_where_somebody_says_so(said: str, wanted: SearchedText) -> None:
    assert parse_config(HEAD + said, Path("gate.yaml")).searched_text is wanted


def test_another_word_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r'unknown value "all"'):
        parse_config(HEAD + "search: {text: all}", Path("gate.yaml"))
