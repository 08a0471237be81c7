"""The digest by which a set of policy files is known again."""

from __future__ import annotations

from narrowgate.store.port import digest_of

FILES = [("b.yaml", "two: ü\n"), ("a.yaml", "one\n")]


def test_the_digest_tells_files_apart_whose_names_and_texts_run_together() -> None:
    assert digest_of([("ab", "c")]) != digest_of([("a", "bc")])
    assert digest_of([("a", ""), ("b", "")]) != digest_of([("a", "b")])
    assert digest_of(FILES) == digest_of(FILES[::-1])
