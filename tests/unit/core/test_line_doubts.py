"""Lines of which nobody knows whether they are all of a command, or what an interactive shell makes of them."""

from __future__ import annotations

import pytest

from narrowgate.core.line_doubts import goes_on, takes_from_history


@pytest.mark.parametrize(
    "text",
    [
        "rm 'a", 'rm "a', "rm `a", "rm \\", "rm |", "rm | ", "rm &&", "rm ||", "(rm", "rm)", "{ rm", "rm; }", "$(rm",
        "cat <<E", "cat <<-E", "f() {", "for a in b; do rm", "if rm; then x", "while", "case a in", 'rm "a\\"',
        "rm 'a' 'b", "rm \"$(a\" ) '", "esac", "rm a && {",
    ],
)  # fmt: skip
def test_an_open_end_goes_on(text: str) -> None:
    assert goes_on(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "rm a", "rm 'a b' \"c d\" `e`", "rm a; ls", "rm a && ls", "rm a | wc", "(rm a)", "{ rm a; }", "rm $(ls)",
        "rm a\\\nb", "rm a\\'b", "for a in b; do rm $a; done", "if a; then rm b; fi", "rm \"it's\"", "rm 'a\"b'",
        "cat < a", "rm a &", "rm '<<'", "rm a # b", 'rm "a\\"b"',
    ],
)  # fmt: skip
def test_a_whole_command_does_not(text: str) -> None:
    assert not goes_on(text)


@pytest.mark.parametrize("text", ["!!", "sudo !!", "!rm", "!-1", "!?a", "a!b", "!$", "^a^b", '"!x"', "!:0", "!#"])
def test_what_bash_would_put_earlier_lines_into(text: str) -> None:
    assert takes_from_history(text)


@pytest.mark.parametrize(
    "text", ["", "a!", "! a", "a != b", "$!", "${!a}", "[!a]", "'!a'", "\\!a", "a^b", '"a!"', "!("]
)
def test_and_what_not(text: str) -> None:
    assert not takes_from_history(text)
