"""The policies folder becomes revisions; what is broken changes nothing and is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from narrowgate.config import Config
from narrowgate.core.policy_file import PolicyErrors
from narrowgate.main.policy_folder import PolicyFolder, parse_set, rulebook_of
from narrowgate.store.port import NotThere, Store
from narrowgate.store.sqlite import SQLiteStore

GOOD = """
apiVersion: narrowgate.dev/v1alpha1
kind: Policy
metadata: {name: NAME}
spec:
  subjects: [{kind: Agent, name: ci}]
  clusters: [dev]
  rules:
    - {id: pods, effect: allow, verbs: [get], apiGroups: [""], resources: [pods], namespaces: [ci]}
"""


def good(name: str = "ci") -> str:
    return GOOD.replace("NAME", name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(SQLiteStore(tmp_path / "gate.db")) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path, store: Store) -> PolicyFolder:
    policies = tmp_path / "policies"
    policies.mkdir()
    config = Config(
        path=tmp_path / "narrowgate.yaml", data_dir=tmp_path, store="sqlite:gate.db", recordings="file:x",
        policies=policies,
    )  # fmt: skip
    return PolicyFolder(config, store)


def write(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "policies" / name).write_text(text)


def test_the_folder_becomes_a_revision_and_the_same_files_no_other(
    folder: PolicyFolder, store: Store, tmp_path: Path
) -> None:
    write(tmp_path, "ci.yaml", good())
    folder.load()
    folder.load()
    assert store.revision().number == 1
    assert rulebook_of(store.revision()).revision == 1


def test_a_change_is_the_next_revision(folder: PolicyFolder, store: Store, tmp_path: Path) -> None:
    write(tmp_path, "ci.yaml", good())
    folder.load()
    write(tmp_path, "other.yaml", good("other"))
    folder.load()
    assert store.revision().number == 2


def test_a_broken_file_keeps_the_last_good_revision_and_is_said(
    folder: PolicyFolder, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "ci.yaml", good())
    folder.load()
    write(tmp_path, "ci.yaml", good().replace("allow", "alow"))

    folder.load_first()

    assert store.revision().number == 1
    assert "ci.yaml" in folder.trouble
    assert "revision 1 stays in force" in caplog.text


def test_what_is_mended_is_no_trouble_any_more(folder: PolicyFolder, tmp_path: Path) -> None:
    write(tmp_path, "ci.yaml", good())
    folder.load()
    write(tmp_path, "ci.yaml", "kind: nonsense")
    folder.load_first()
    assert folder.trouble
    write(tmp_path, "ci.yaml", good("mended"))
    folder.load()
    assert folder.trouble == ""


def test_a_broken_file_with_nothing_to_fall_back_to_ends_the_start(
    folder: PolicyFolder, store: Store, tmp_path: Path
) -> None:
    write(tmp_path, "ci.yaml", "kind: nonsense")
    with pytest.raises(PolicyErrors):
        folder.load_first()
    with pytest.raises(NotThere):
        store.revision()


def test_all_errors_of_all_files_are_told_at_once() -> None:
    with pytest.raises(PolicyErrors) as refusal:
        parse_set([("a.yaml", good().replace("allow", "alow")), ("b.yaml", good("b").replace("Agent", "Agnt"))])
    assert "a.yaml" in str(refusal.value)
    assert "b.yaml" in str(refusal.value)


def test_one_name_for_two_policies_is_refused() -> None:
    with pytest.raises(PolicyErrors):
        parse_set([("a.yaml", good()), ("b.yaml", good())])
