from __future__ import annotations

import pytest

from narrowgate.core.masking.arguments import masked_arguments


def masked(*arguments: str) -> list[str]:
    return masked_arguments(
        [*arguments], lambda text: text.replace("secret=1", "secret=<scanned>"), lambda _: "<hidden>"
    )


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["app", "--password", "x", "y"], ["app", "--password", "<hidden>", "y"]),
        (["app", "-password", "-x"], ["app", "-password", "<hidden>"]),
        (["app", "--token", "--verbose"], ["app", "--token", "--verbose"]),
        (["app", "--token-file", "/x"], ["app", "--token-file", "/x"]),
        (["app", "--password", "$(PASSWORD)"], ["app", "--password", "$(PASSWORD)"]),
        (["app", "--password", ""], ["app", "--password", ""]),
        (["app", "--password"], ["app", "--password"]),
        (["app", "--secret=1"], ["app", "--secret=<scanned>"]),
        (["/usr/bin/curl", "-u", "me:x", "http://h"], ["/usr/bin/curl", "-u", "<hidden>", "http://h"]),
        (["ls", "-u", "me"], ["ls", "-u", "me"]),
        (["mysqldump", "-u", "me", "-px", "-p"], ["mysqldump", "-u", "me", "-p<hidden>", "-p"]),
        (["env", "sshpass", "-p", "x"], ["env", "sshpass", "-p", "<hidden>"]),
        ([], []),
    ],
)
def test_what_stands_behind_a_secrets_flag_is_hidden(arguments: list[str], left: list[str]) -> None:
    assert masked(*arguments) == left


def test_arguments_of_which_nothing_is_masked_are_the_very_same() -> None:
    arguments = ["app", "--verbose", "x"]
    assert masked_arguments(arguments, str, lambda _: "<hidden>") is arguments
