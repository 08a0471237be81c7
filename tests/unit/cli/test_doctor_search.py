"""Where credentials are looked for, and what is said of them before anybody tries them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from narrowgate.cli.doctor_report import Line, Outcome
from narrowgate.cli.doctor_resting import KnownGate
from narrowgate.cli.doctor_search import searched
from narrowgate.cli.oauth_client import GatePort

GATE = KnownGate(GatePort("https://gate.example:8444", ""), (("gate.example", 8443),), "")


def kubeconfig(path: Path, server: str = "https://c.example:6443", **user: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user or {"token": "hidden"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def found(home: Path, gate: KnownGate | None = GATE, **variables: str) -> list[Line]:
    looked = searched(gate, {"HOME": str(home), **variables}, tries=False)
    return [line for one in looked for line in one.lines if line.check != "usual places"]


def places(lines: list[Line], outcome: Outcome = Outcome.FINDING) -> list[str]:
    return [line.where.removesuffix(" (x)") for line in lines if line.outcome is outcome]


def test_every_usual_place_is_looked_into(tmp_path: Path) -> None:
    home = tmp_path / "home"
    named = kubeconfig(tmp_path / "elsewhere")
    there = [
        kubeconfig(home / ".kube" / "config"),
        kubeconfig(home / ".kube" / "old.yaml"),
        kubeconfig(home / "my.kubeconfig"),
    ]
    kubeconfig(home / "notes.yaml")
    lines = found(home, KUBECONFIG=f"{named}:{tmp_path / 'absent'}:")
    assert places(lines) == [str(path) for path in (named, *there)]
    assert not any("hidden" in str(line) for line in lines)
    assert all("https://c.example:6443: a token, not tried" in line.found for line in lines)


def test_a_file_in_two_places_is_told_once_and_what_is_no_kubeconfig_not_at_all(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / ".kube" / "config")
    (tmp_path / ".kube" / "link").symlink_to(config)
    (tmp_path / ".kube" / "note.txt").write_text("- milk\n")
    (tmp_path / ".kube" / "cache").mkdir()
    assert places(found(tmp_path, KUBECONFIG=str(config))) == [str(config)]


def test_where_a_kubeconfig_must_be_one_that_cannot_be_read_is_no_all_clear(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / ".kube" / "config")
    path.write_text("- milk\n")
    (line,) = found(tmp_path)
    assert (line.outcome, line.counts, line.where) == (Outcome.NOT_TRIED, True, str(path))


def test_what_goes_through_the_gate_is_no_road_around_it(tmp_path: Path) -> None:
    kubeconfig(tmp_path / ".kube" / "config", "https://gate.example:8443")
    assert [line.outcome for line in found(tmp_path)] == [Outcome.OK]
    # Where nobody knows the gate, nobody can tell.
    assert [line.outcome for line in found(tmp_path, None)] == [Outcome.FINDING]


def test_a_road_that_cannot_be_tried_clears_nobody(tmp_path: Path) -> None:
    kubeconfig(tmp_path / ".kube" / "config", "http://127.0.0.1:8001")
    (line,) = found(tmp_path)
    assert (line.outcome, line.counts, "no https server" in line.found) == (Outcome.NOT_TRIED, True, True)


def test_plugins_that_are_found_do_not_run_unless_that_is_wanted(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    touch = shutil.which("touch")
    kubeconfig(tmp_path / ".kube" / "config", exec={"command": touch, "args": [str(mark)]})
    (line,) = found(tmp_path)
    assert (line.outcome, "the plugin touch" in line.found) == (Outcome.FINDING, True)
    assert not mark.exists()


def test_without_a_home_only_what_is_named_is_looked_into(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config")
    looked = list(searched(None, {"KUBECONFIG": str(config)}, tries=False))
    assert places([line for one in looked for line in one.lines]) == [str(config)]
    assert looked[-1].lines[0].where == "no home"
