"""Habits of the source that no linter sees."""

from __future__ import annotations

import ast
import re

import pytest
from tests.house.tree import ROOT, called_name, calls_in, python_files, syntax_of, text_of, tracked

REFUSED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "handler", "misc", "tools"}

COVERED_ELSEWHERE = {
    "cli/__main__.py": "tests/e2e: every gate in the background is started by it",
    "cli/api_server.py": "tests/e2e/test_cli_clusters.py, against a real API server",
    "cli/background.py": "tests/e2e/test_cli_up.py, with real processes",
    "cli/cluster_check.py": "tests/e2e/test_cli_clusters.py, against a real API server",
    "cli/clusters.py": "tests/e2e/test_cli_clusters.py",
    "cli/first_run.py": "tests/e2e/test_cli_up.py",
    "cli/policy.py": "tests/e2e/test_cli_policy.py",
    "cli/policy_check.py": "tests/e2e/test_cli_policy.py",
    "cli/policy_explain.py": "tests/e2e/test_cli_policy.py",
    "cli/serve.py": "tests/e2e: every gate is started by it",
    "cli/up.py": "tests/e2e/test_cli_up.py",
    "config/clusters.py": "tests/contract/test_kubeconfigs.py, with a real API server's credentials",
}
"""Modules without a unit test of their own, and the tier that covers them instead. The list may only shrink."""

SHELLS = ("proxy/", "main/", "control/")
"""Layers that are input and output throughout: tests/e2e and tests/fault run them for real."""


@pytest.mark.parametrize("name", python_files("src", "dev", "bench", "tests"))
def test_no_file_is_named_for_what_it_is_not(name: str) -> None:
    stem = name.rpartition("/")[2].removesuffix(".py").removeprefix("test_")
    assert stem not in REFUSED_NAMES


@pytest.mark.parametrize("name", python_files("src"))
def test_a_module_begins_by_saying_what_belongs_in_it(name: str) -> None:
    said = ast.get_docstring(syntax_of(name))
    assert said, f"{name} has no docstring"
    assert len(said.split()) >= 5, f"{name}: {said!r} does not say what belongs in the file"


def test_only_decide_makes_an_allow() -> None:
    makers = [name for name in python_files("src") for call in calls_in(name) if called_name(call) == "Allow"]
    assert set(makers) == {"src/narrowgate/core/decide.py"}


@pytest.mark.parametrize("name", python_files("src"))
def test_no_task_is_without_a_parent(name: str) -> None:
    orphans = [
        f"{name}:{call.lineno}"
        for call in calls_in(name)
        if called_name(call) in ("create_task", "ensure_future") and not _has_a_group(call)
    ]
    assert orphans == []


def _has_a_group(call: ast.Call) -> bool:
    """Whether it is `something.create_task` of a task group: the loop's and asyncio's own have no parent."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr == "ensure_future":
        return False
    owner = ast.unparse(call.func.value)
    return owner != "asyncio" and not owner.endswith("loop") and not owner.endswith("loop()")


@pytest.mark.parametrize("name", python_files("src"))
def test_no_state_hides_in_a_module(name: str) -> None:
    globals_used = [node.lineno for node in ast.walk(syntax_of(name)) if isinstance(node, ast.Global)]
    assert globals_used == []


def test_the_credential_plugin_imports_nothing_that_costs() -> None:
    for name in ("src/narrowgate/__init__.py", "src/narrowgate/cli/__init__.py"):
        imported = [node for node in syntax_of(name).body if isinstance(node, ast.Import | ast.ImportFrom)]
        named = {getattr(node, "module", "") or node.names[0].name for node in imported}
        assert named <= {"__future__"}, name


def _mirrors(module: str) -> list[str]:
    folder, _, file = module.rpartition("/")
    place = f"tests/unit/{folder}/" if folder else "tests/unit/"
    return [f"{place}test_{file}", *(one for one in tracked() if one.startswith(f"{place}test_{file[:-3]}_"))]


@pytest.mark.parametrize(
    "module",
    [
        name.removeprefix("src/narrowgate/")
        for name in python_files("src")
        if not name.endswith("/__init__.py") and not name.removeprefix("src/narrowgate/").startswith(SHELLS)
    ],
)
def test_a_module_has_a_unit_test_or_says_who_covers_it(module: str) -> None:
    mirrored = [one for one in _mirrors(module) if one in tracked()]
    if module in COVERED_ELSEWHERE:
        assert not mirrored, f"{module} has a unit test now: take it off the list"
    else:
        assert mirrored or _is_only_values(module), f"{module} has no {_mirrors(module)[0]}"


def _is_only_values(module: str) -> bool:
    """A file of types and constants: there is nothing in it that could be wrong by itself."""
    found = [node for node in ast.walk(syntax_of(f"src/narrowgate/{module}")) if isinstance(node, ast.FunctionDef)]
    return all(_is_declaration(node) for node in found)


def _is_declaration(function: ast.FunctionDef) -> bool:
    """One statement besides the docstring: a protocol's method, a property, a constructor of one value."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return len(body) <= 1


def test_nothing_of_this_machine_is_in_the_tree() -> None:
    forbidden = re.compile(r"/work/(main|shared)|/tmp/brief|/opt/wheels")
    here = "tests/house/test_source.py"
    found = [name for name in tracked() if name != here and _is_text(name) and forbidden.search(text_of(name))]
    assert found == []


def _is_text(name: str) -> bool:
    return (ROOT / name).stat().st_size < 1 << 20 and b"\0" not in (ROOT / name).read_bytes()[:1024]


def test_lock_files_name_no_address() -> None:
    for name in ("requirements/runtime.txt", "requirements/dev.txt"):
        addresses = [line for line in text_of(name).splitlines() if "://" in line or line.startswith("-")]
        assert addresses == [], name
        assert "--hash=sha256:" in text_of(name)


def test_the_sample_policies_of_the_package_are_the_examples() -> None:
    packaged = text_of("src/narrowgate/cli/samples/deny-base.yaml")
    assert packaged == text_of("examples/policies/deny-base.yaml")
