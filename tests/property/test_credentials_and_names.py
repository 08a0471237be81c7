"""Laws of names, durations and credentials over all text, said in other words than the code says them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from narrowgate.authenticators.credential import credential_problem, new_credential
from narrowgate.core.duration import duration_text, seconds_of
from narrowgate.core.names import valid_name

names = st.one_of(st.text(max_size=60), st.text(st.sampled_from("sSyｙsStTeEmM:： \t\n\0a"), max_size=12))


@settings(max_examples=500, deadline=None)
@given(name=names)
def test_a_valid_name_fits_into_one_header_line_and_is_nobody_of_kubernetes_own(name: str) -> None:
    if valid_name(name):
        assert not name.lower().startswith("system:")
        assert name.encode().decode() == name
        assert len(name.splitlines()) == 1
        assert all(character >= " " and character != "\x7f" for character in name)


@settings(max_examples=300, deadline=None)
@given(seconds=st.integers(0, 10**9))
def test_a_written_length_reads_back(seconds: int) -> None:
    assert seconds_of(duration_text(seconds)) == seconds


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_one_changed_letter_is_noticed_without_asking_the_store(data: st.DataObject) -> None:
    text = new_credential().text
    index = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters().filter(lambda drawn: drawn != text[index]))
    assert credential_problem(text[:index] + letter + text[index + 1 :])


@settings(max_examples=300, deadline=None)
@given(index=st.integers(15, 62))
def test_any_two_swapped_letters_are_noticed(index: int) -> None:
    text = new_credential().text
    swapped = text[:index] + text[index + 1] + text[index] + text[index + 2 :]
    assert swapped == text or credential_problem(swapped)
