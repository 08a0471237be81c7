"""Editing the clusters of a configuration file in place: what is not the entry stays byte for byte."""

from __future__ import annotations

import pytest
import yaml

from narrowgate.cli.cluster_entries import Entry, entry_names, with_entry, without_entry
from narrowgate.cli.failure import Failed

FULL = """\
# The gate of the team.
apiVersion: narrowgate.dev/v1alpha1
kind: Config
clusters:
  # The real one.
  - name: prod   # careful
    kubeconfig: ./prod.kubeconfig
    upstream: {mode: impersonate}

  - name: stage
    server: https://stage:6443
# What follows is about policies.
policies: ./policies
"""

NEW: Entry = {"name": "dev", "kubeconfig": "/home/a b/config", "context": "123", "upstream": {"mode": "credential"}}


def clusters_of(text: str) -> object:
    return yaml.safe_load(text).get("clusters")


def test_an_entry_is_added_behind_the_others_and_nothing_else_moves() -> None:
    added = with_entry(FULL, NEW, "f")
    assert clusters_of(added)[-1] == NEW  # type: ignore[index]
    lines = added.splitlines()
    assert [line for line in lines if line not in FULL.splitlines()] == [
        "  - name: dev",
        '    kubeconfig: "/home/a b/config"',
        '    context: "123"',
        "    upstream: {mode: credential}",
    ]
    assert [line for line in lines if line in FULL.splitlines()] == FULL.splitlines()


@pytest.mark.parametrize(
    "empty",
    [
        "kind: Config\n",
        "kind: Config",
        "kind: Config\nclusters: []\n",
        "kind: Config\nclusters:\n",
        "clusters: [ ]  # none yet\nkind: Config\n",
        "clusters: # none yet\nkind: Config\n",
        "clusters:\n# none yet\nkind: Config\n",
        "clusters: null\nkind: Config",
    ],
)
def test_the_first_entry_can_be_added_however_the_list_is_empty(empty: str) -> None:
    added = with_entry(empty, NEW, "f")
    assert yaml.safe_load(added) == {"kind": "Config", "clusters": [NEW]}
    assert ("# none yet" in added) == ("# none yet" in empty)


@pytest.mark.parametrize("name", ["prod", "stage"])
def test_an_entry_is_removed_and_nothing_else_moves(name: str) -> None:
    rest = without_entry(FULL, name, "f")
    assert entry_names(rest, "f") == [one for one in ("prod", "stage") if one != name]
    assert "# What follows is about policies.\npolicies: ./policies\n" in rest
    assert rest.startswith("# The gate of the team.\n")


def test_adding_and_removing_gives_the_text_back() -> None:
    assert without_entry(with_entry(FULL, NEW, "f"), "dev", "f") == FULL


def test_removing_the_last_entry_leaves_an_empty_list() -> None:
    rest = without_entry("clusters:\n- name: a\n  server: x\nkind: Config\n", "a", "f")
    assert yaml.safe_load(rest) == {"kind": "Config", "clusters": []}
    assert with_entry(rest, NEW, "f").count("- name") == 1


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Failed, match='no cluster "dev", f: registered are: prod, stage'):
        without_entry(FULL, "dev", "f")


@pytest.mark.parametrize(
    "text", ["clusters: [{name: a}]\n", "clusters: {a: b}\n", "{clusters: []}\n", "- a\n", "a: [\n", ""]
)
def test_what_cannot_be_edited_safely_is_refused(text: str) -> None:
    with pytest.raises(Failed):
        with_entry(text, NEW, "f")
